/** Frames: arrays of messages, as text or, if any message has attachments, as bytes. */

import { ProtocolError } from '../errors.js';
import { MAX_ATTACHMENTS, padding, restore, type Attachment } from './attachments.js';
import { attachmentFieldsOf, parseMessage, valueFieldOf, type Encoded, type Message } from './messages.js';
import { checkDepth, MAX_DEPTH } from './values.js';

/** The most bytes of a frame of several messages. */
export const BATCH_LIMIT = 256 * 1024;

/** The most bytes of a frame besides its messages: the length field and the brackets. */
export const FRAME_OVERHEAD = 8;

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

/** Encode messages as one frame. */
export function encodeFrame(messages: readonly Encoded[]): Frame {
  const text = `[${messages.map((message) => message.text).join(',')}]`;
  const attachments = messages.flatMap((message) => message.attachments);
  if (attachments.length === 0) {
    return text;
  }
  const json = new TextEncoder().encode(text);
  const begin = LENGTH_SIZE + json.length;
  const size = attachments.reduce((end, { data }) => end + padding(end) + data.length, begin);
  const frame = findRoom(attachments, begin) ?? new Uint8Array(size);
  new DataView(frame.buffer, frame.byteOffset).setUint32(0, json.length, true);
  frame.set(json, LENGTH_SIZE);
  let end = begin;
  for (const { data } of attachments) {
    const start = end + padding(end);
    // The room may have been used before.
    frame.fill(0, end, start);
    if (data.buffer !== frame.buffer) {
      frame.set(data, start);
    }
    end = start + data.length;
  }
  return frame;
}

/** Return a frame whose only attachment is in its place already, if there is room for the rest before it. */
function findRoom(attachments: readonly Attachment[], begin: number): Uint8Array<ArrayBuffer> | undefined {
  const [first, second] = attachments;
  const start = begin + padding(begin);
  return first?.room !== undefined && second === undefined && start <= first.room
    ? new Uint8Array(first.data.buffer, first.data.byteOffset - start, start + first.data.length)
    : undefined;
}

/**
 * Decode a frame.
 *
 * @param frame - The text of a text frame, or the bytes of a binary frame.
 * @returns The messages, with typed arrays in the places of their attachments. A typed array that makes up more than
 *   half of its frame is a view of the frame's buffer; others have their own buffers.
 * @throws ProtocolError if the frame violates the protocol. No frame makes it throw any other error.
 */
export function decodeFrame(frame: string | ArrayBuffer): Message[] {
  return typeof frame === 'string' ? decodeText(frame) : decodeBinary(new Uint8Array(frame));
}

function decodeText(text: string): Message[] {
  return parseObjects(text).map((object) => {
    if (attachmentFieldsOf(object['type']).length > 0 && object['attachments'] !== undefined) {
      throw new ProtocolError('a message in a text frame cannot have attachments');
    }
    return parseMessage(object);
  });
}

function decodeBinary(bytes: Uint8Array<ArrayBuffer>): Message[] {
  if (bytes.length < LENGTH_SIZE) {
    throw new ProtocolError('a binary frame is shorter than its length field');
  }
  const begin = LENGTH_SIZE + new DataView(bytes.buffer).getUint32(0, true);
  if (begin > bytes.length) {
    throw new ProtocolError('a binary frame is shorter than its JSON');
  }
  let end = begin;
  let attached = 0;
  let count = 0;
  const messages = parseObjects(decodeUtf8(bytes.subarray(LENGTH_SIZE, begin))).map((object) => {
    const fields = attachmentFieldsOf(object['type']);
    if (fields.length > 0 && object['attachments'] !== undefined) {
      count += Array.isArray(object['attachments']) ? object['attachments'].length : 0;
      if (count > MAX_ATTACHMENTS) {
        throw new ProtocolError(`a frame has more than ${String(MAX_ATTACHMENTS)} attachments`);
      }
      end = restore(object, fields, bytes, end);
      attached++;
    }
    return parseMessage(object);
  });
  if (attached === 0) {
    throw new ProtocolError('a binary frame must have attachments');
  }
  if (end !== bytes.length) {
    throw new ProtocolError(`a binary frame has ${String(bytes.length - end)} bytes after its last attachment`);
  }
  return messages;
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
