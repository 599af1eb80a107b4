/** Frames: arrays of messages as text, and their attachments: in the same frame, or each in one of its own behind it. */

import { ProtocolError } from '../errors.js';
import { APART_FROM, MAX_ATTACHMENTS, padding, restore, sizesOf, type Attachment } from './attachments.js';
import { attachmentFieldsOf, parseMessage, utf8Length, valueFieldOf, type Encoded, type Message } from './messages.js';
import { checkDepth, MAX_DEPTH } from './values.js';

/** The most bytes of a frame of several messages. */
export const BATCH_LIMIT = 256 * 1024;

/** The most bytes of a frame besides its messages: the length field and the brackets. */
export const FRAME_OVERHEAD = 8;

/** The most bytes of a frame whose attachments are apart: as long as it waits for them it counts as no request. */
export const HEAD_LIMIT = 256 * 1024;

const LENGTH_SIZE = 4;

/** A frame to send: text, or bytes, which may be a part of their buffer. */
export type Frame = string | Uint8Array<ArrayBuffer>;

/**
 * Return how many of the queued messages, from the first on, make one frame.
 *
 * @param waiting - The queued messages, at least one.
 * @param frameLimit - The largest frame, in bytes.
 */
export function countBatch(waiting: readonly Encoded[], frameLimit = BATCH_LIMIT): number {
  const limit = Math.min(BATCH_LIMIT, frameLimit);
  let size = FRAME_OVERHEAD;
  let length = 0;
  for (const message of waiting) {
    size += message.size + 1;
    if (length > 0 && size > limit) {
      break;
    }
    length++;
  }
  return length;
}

/**
 * Encode messages as a frame, and behind it their attachments if they leave apart.
 *
 * @param apartFrom - The size in bytes that they must have on average for that.
 */
export function encodeFrames(messages: readonly Encoded[], apartFrom = APART_FROM): [Frame, ...Frame[]] {
  const text = `[${messages.map((message) => message.text).join(',')}]`;
  if (messages.every(({ attachments }) => attachments.length === 0)) {
    return [text];
  }
  const attachments = messages.flatMap((message) => message.attachments);
  const total = attachments.reduce((sum, { data }) => sum + data.length, 0);
  if (total >= apartFrom * attachments.length && utf8Length(text) <= HEAD_LIMIT) {
    return [text, ...attachments.map(({ data }) => data)];
  }
  return [joinAttachments(text, attachments)];
}

/** Return one frame with the JSON of messages, and their attachments behind it. */
function joinAttachments(text: string, attachments: readonly Attachment[]): Frame {
  const json = new TextEncoder().encode(text);
  const begin = LENGTH_SIZE + json.length;
  const frame = new Uint8Array(attachments.reduce((end, { data }) => end + padding(end) + data.length, begin));
  new DataView(frame.buffer).setUint32(0, json.length, true);
  frame.set(json, LENGTH_SIZE);
  let end = begin;
  for (const { data } of attachments) {
    end += padding(end);
    frame.set(data, end);
    end += data.length;
  }
  return frame;
}

/**
 * Decode a frame.
 *
 * @param frame - The text of a text frame, or the bytes of a binary frame.
 * @param apart - The frames behind it, with the attachments that are apart.
 * @returns The messages, with typed arrays in the places of their attachments. A typed array that makes up more than
 *   half of its frame is a view of the frame's buffer; others have their own buffers.
 * @throws ProtocolError if a frame violates the protocol, or is missing. No frame makes it throw any other error.
 */
export function decodeFrame(frame: string | ArrayBuffer, ...apart: (string | ArrayBuffer)[]): Message[] {
  const arriving = new Arriving(frame);
  for (const data of apart) {
    arriving.add(data);
  }
  return arriving.finish();
}

/** A frame that arrives: whole, or with attachments in frames of their own behind it. */
export class Arriving {
  /** The frame itself. */
  readonly head: string | ArrayBuffer;
  /** The bytes of all attachments that come behind it. */
  readonly apartSize: number;
  readonly #bytes: Uint8Array<ArrayBuffer> | undefined;
  readonly #objects: readonly Record<string, unknown>[];
  readonly #missing: readonly number[];
  readonly #apart: Uint8Array<ArrayBuffer>[] = [];
  /** The number of those that have been taken. */
  #taken = 0;
  /** The offset in a binary frame at which the attachments end that have been taken. */
  #end = 0;

  /** @throws ProtocolError if the frame violates the protocol. */
  constructor(frame: string | ArrayBuffer) {
    this.head = frame;
    let text: string;
    if (typeof frame === 'string') {
      text = frame;
    } else {
      this.#bytes = new Uint8Array(frame);
      this.#end = findEndOfJson(this.#bytes);
      text = decodeUtf8(this.#bytes.subarray(LENGTH_SIZE, this.#end));
    }
    this.#objects = parseObjects(text);
    const sizes = findSizes(this.#objects);
    if (this.#bytes !== undefined && sizes.length === 0) {
      throw new ProtocolError('a binary frame must have attachments');
    }
    this.#missing = this.#bytes === undefined ? sizes : [];
    if (this.#missing.length > 0 && utf8Length(text) > HEAD_LIMIT) {
      const most = String(HEAD_LIMIT);
      throw new ProtocolError(`a frame of ${String(utf8Length(text))} bytes has its attachments apart, and ${most} are the most`);
    }
    this.apartSize = this.#missing.reduce((sum, size) => sum + size, 0);
  }

  /** Whether all attachments have come. */
  get isWhole(): boolean {
    return this.#apart.length === this.#missing.length;
  }

  /**
   * Add the next frame, which is an attachment.
   *
   * @throws ProtocolError if it is not.
   */
  add(frame: string | ArrayBuffer): void {
    const size = this.#missing[this.#apart.length];
    if (size === undefined) {
      throw new ProtocolError('a frame has come with more than its attachments');
    }
    if (typeof frame === 'string' || frame.byteLength !== size) {
      throw new ProtocolError(`a frame came in the place of an attachment of ${String(size)} bytes`);
    }
    this.#apart.push(new Uint8Array(frame));
  }

  /**
   * Return the messages. This can be done once.
   *
   * @throws ProtocolError if the frame is not whole, or a message violates the protocol.
   */
  finish(): Message[] {
    if (!this.isWhole) {
      throw new ProtocolError(`${String(this.#missing.length - this.#apart.length)} attachments have not come`);
    }
    const bytes = this.#bytes;
    const take = (size: number): Uint8Array<ArrayBuffer> =>
      bytes === undefined ? this.#takeApart() : this.#takeInside(bytes, size);
    const messages = this.#objects.map((object) => {
      if (hasAttachments(object)) {
        restore(object, attachmentFieldsOf(object['type']), take);
      }
      return parseMessage(object);
    });
    if (bytes !== undefined && this.#end !== bytes.length) {
      throw new ProtocolError(`a binary frame has ${String(bytes.length - this.#end)} bytes after its last attachment`);
    }
    return messages;
  }

  #takeApart(): Uint8Array<ArrayBuffer> {
    const [bytes] = this.#apart.slice(this.#taken, this.#taken + 1) as [Uint8Array<ArrayBuffer>];
    this.#taken++;
    return bytes;
  }

  #takeInside(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
    const start = this.#end + padding(this.#end);
    if (start + size > bytes.length) {
      throw new ProtocolError('a binary frame is shorter than its attachments');
    }
    if (bytes.subarray(this.#end, start).some((byte) => byte !== 0)) {
      throw new ProtocolError('the padding before an attachment is not zero');
    }
    this.#end = start + size;
    return bytes.subarray(start, this.#end);
  }
}

/** Return whether an object of a frame has attachments: whether its field of that name is one of its message's. */
function hasAttachments(object: Record<string, unknown>): boolean {
  return object['attachments'] !== undefined && attachmentFieldsOf(object['type']).length > 0;
}

/** Return the sizes of the attachments of a frame's objects. */
function findSizes(objects: readonly Record<string, unknown>[]): number[] {
  const sizes: number[] = [];
  for (const object of objects) {
    if (hasAttachments(object)) {
      for (const size of sizesOf(object['attachments'])) {
        sizes.push(size);
      }
      if (sizes.length > MAX_ATTACHMENTS) {
        throw new ProtocolError(`a frame has more than ${String(MAX_ATTACHMENTS)} attachments`);
      }
    }
  }
  return sizes;
}

/** Return the offset of a binary frame at which its JSON ends. */
function findEndOfJson(bytes: Uint8Array<ArrayBuffer>): number {
  if (bytes.length < LENGTH_SIZE) {
    throw new ProtocolError('a binary frame is shorter than its length field');
  }
  const end = LENGTH_SIZE + new DataView(bytes.buffer).getUint32(0, true);
  if (end > bytes.length) {
    throw new ProtocolError('a binary frame is shorter than its JSON');
  }
  return end;
}

function decodeUtf8(bytes: Uint8Array<ArrayBuffer>): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ProtocolError('the JSON of a binary frame is not UTF-8');
  }
}

function parseObjects(text: string): Record<string, unknown>[] {
  let objects: unknown;
  try {
    objects = JSON.parse(text);
  } catch (error) {
    throw new ProtocolError(`a frame is not JSON: ${(error as SyntaxError).message}`);
  }
  if (!Array.isArray(objects) || objects.length === 0) {
    throw new ProtocolError('a frame must be a JSON array of one or more messages');
  }
  // Each level takes at least two characters, so most frames need no check.
  const mayBeDeep = text.length > 2 * MAX_DEPTH;
  for (const object of objects as unknown[]) {
    if (typeof object !== 'object' || object === null || Array.isArray(object)) {
      throw new ProtocolError('a message must be a JSON object');
    }
    const field = mayBeDeep ? valueFieldOf((object as Record<string, unknown>)['type']) : undefined;
    if (field !== undefined) {
      checkDepth((object as Record<string, unknown>)[field], field);
    }
  }
  return objects as Record<string, unknown>[];
}
