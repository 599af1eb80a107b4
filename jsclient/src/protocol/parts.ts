/**
 * The parts in which a stream of the server is fetched through a proxy: what stands before the data of each.
 *
 * The head says how long the part is and what follows it, so that one which a proxy has cut short or replaced is noticed.
 */

import { ProtocolError } from '../errors.js';

const HEAD_SIZE = 8;
const LENGTH_SIZE = 4;

const MARKS = ['more', 'last', 'fail'] as const;

/** What follows a part: another one; nothing, for the stream has ended; nothing, for its source has failed. */
export type PartMark = (typeof MARKS)[number];

/** One part of a stream. */
export interface Part {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly mark: PartMark;
}

/**
 * Reads a part.
 *
 * @returns The part, whose data has a buffer of its own.
 * @throws ProtocolError when it is not the whole of one.
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
