/**
 * The parts in which a stream of the server is fetched through a proxy.
 *
 * Each has a head with its length and with what follows it, so that a part that a proxy has truncated or replaced is
 * detected.
 */

import { ProtocolError } from '../errors.js';

const HEAD_SIZE = 8;
const LENGTH_SIZE = 4;

/** The most bytes of a part, with its head. */
export const PART_LIMIT = 4 * 1024 * 1024 + HEAD_SIZE;

const MARKS = ['more', 'last', 'fail'] as const;

/** What follows a part: another one, the end of the stream, or the failure of its source. */
export type PartMark = (typeof MARKS)[number];

/** One part of a stream. */
export interface Part {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly mark: PartMark;
}

/**
 * Decode a part.
 *
 * @returns The part. Its data has its own buffer.
 * @throws ProtocolError if it is not a whole part.
 */
export function decodePart(body: ArrayBuffer): Part {
  const head = new TextDecoder('latin1').decode(body.slice(LENGTH_SIZE, HEAD_SIZE));
  const mark = MARKS.find((known) => known === head);
  if (mark === undefined) {
    throw new ProtocolError(`a part of it, of ${String(body.byteLength)} bytes, has no head`);
  }
  const length = new DataView(body).getUint32(0, true);
  if (body.byteLength !== HEAD_SIZE + length) {
    const sizes = `${String(body.byteLength - HEAD_SIZE)} bytes of data instead of ${String(length)}`;
    throw new ProtocolError(`a part of it has ${sizes}`);
  }
  return { data: new Uint8Array(body.slice(HEAD_SIZE)), mark };
}
