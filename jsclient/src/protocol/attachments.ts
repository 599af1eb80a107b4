/** Attachments: the bytes of a message that are sent after its JSON. */

import { ProtocolError } from '../errors.js';
import { shorten } from './shorten.js';

/** Attachments begin at multiples of this in their frame, so that typed arrays can be views of the frame. */
export const ALIGNMENT = 8;

/** The most attachments of a message, and of a frame. */
export const MAX_ATTACHMENTS = 65_536;

/** The most dimensions of an array. Every version of NumPy supports this many. */
export const MAX_DIMENSIONS = 32;

/** A field of a message that holds values. */
export type ValueField = 'args' | 'value';

/** A field of a message that can hold attachments. */
export type AttachmentField = ValueField | 'stream' | 'data';

interface ElementType {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): ArrayBufferView<ArrayBuffer>;
}

// The wire is little-endian, and so is every engine that runs this.
const ELEMENT_TYPES: ReadonlyMap<unknown, ElementType> = new Map<string, ElementType>([
  ['bytes', Uint8Array],
  ['int8', Int8Array],
  ['uint8', Uint8Array],
  ['int16', Int16Array],
  ['uint16', Uint16Array],
  ['int32', Int32Array],
  ['uint32', Uint32Array],
  ['int64', BigInt64Array],
  ['uint64', BigUint64Array],
  ['float32', Float32Array],
  ['float64', Float64Array],
  // A single number that JSON has no form for.
  ['number', Float64Array],
]);

type Path = readonly (string | number)[];

/** An attachment of a message. */
export interface Attachment {
  /** The keys that lead from the message to the attachment's place. The first is `args`, `value`, `stream` or `data`. */
  readonly path: Path;
  /** `bytes`, `number` or the name of an element type, such as `float32`. */
  readonly type: string;
  /** The dimensions, if the sender has set them. */
  readonly shape: readonly number[] | undefined;
  /** A copy of the bytes. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** The free bytes before the data in its buffer. */
  readonly room?: number;
}

/** Larger arrays, in bytes, are copied only once: what their frame has before them is written into the same buffer. */
const ROOM_FROM = 64 * 1024;

/** The room before such an array. A call of one array takes about 200 bytes more than its array. */
const ROOM = 1024;

/** Return a copy of bytes, with room before it if they are many. */
export function copyWithRoom(bytes: Uint8Array): Pick<Required<Attachment>, 'data' | 'room'> {
  const room = bytes.length < ROOM_FROM ? 0 : ROOM;
  const data = new Uint8Array(new ArrayBuffer(room + bytes.length), room);
  data.set(bytes);
  return { data, room };
}

/** Return whether a value can be the dimensions of an array. */
export function isShape(value: unknown): value is number[] {
  return (
    Array.isArray(value) &&
    value.length <= MAX_DIMENSIONS &&
    value.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0)
  );
}

/** Return the number of elements of an array with these dimensions. */
export function countElements(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/**
 * Put the attachments of a received message into their places.
 *
 * @param fields - The parsed JSON of the message.
 * @param allowed - The fields of the message that can hold attachments.
 * @param frame - The binary frame.
 * @param offset - The offset in the frame at which the attachments of the messages before this one end.
 * @returns The offset in the frame at which the attachments of this message end.
 * @throws ProtocolError if the attachments violate the protocol.
 */
export function restore(
  fields: Record<string, unknown>,
  allowed: readonly AttachmentField[],
  frame: Uint8Array<ArrayBuffer>,
  offset: number,
): number {
  const entries = fields['attachments'];
  if (!Array.isArray(entries) || entries.length === 0) {
    throw new ProtocolError('attachments must be an array of one or more objects');
  }
  let end = offset;
  for (const entry of entries as unknown[]) {
    if (typeof entry !== 'object' || entry === null) {
      throw new ProtocolError('an attachment must be an object');
    }
    const { path, type, shape, size } = entry as Record<string, unknown>;
    if (type !== 'bytes' && Array.isArray(path) && (path[0] === 'stream' || path[0] === 'data')) {
      throw new ProtocolError(`what a stream holds must be bytes, and is of type ${shorten(type)}`);
    }
    const Elements = ELEMENT_TYPES.get(type);
    if (Elements === undefined) {
      throw new ProtocolError(`there is no attachment of type ${shorten(type)}`);
    }
    const unit = Elements.BYTES_PER_ELEMENT;
    if (!Number.isSafeInteger(size) || (size as number) < 0 || (size as number) % unit !== 0) {
      throw new ProtocolError(`an attachment of type ${String(type)} cannot have the size ${shorten(size)}`);
    }
    const bytes = size as number;
    if (type === 'number' && (shape !== undefined || bytes !== unit)) {
      throw new ProtocolError('an attachment of type number has 8 bytes and no shape');
    }
    if (shape !== undefined && (type === 'bytes' || !isShape(shape) || countElements(shape) * unit !== bytes)) {
      throw new ProtocolError(
        `an attachment of type ${String(type)} and size ${String(bytes)} cannot have the shape ${shorten(shape)}`,
      );
    }
    const start = end + padding(end);
    if (start + bytes > frame.length) {
      throw new ProtocolError('a binary frame is shorter than its attachments');
    }
    if (frame.subarray(end, start).some((byte) => byte !== 0)) {
      throw new ProtocolError('the padding before an attachment is not zero');
    }
    end = start + bytes;
    const array = makeArray(Elements, frame, start, bytes, shape);
    place(fields, allowed, path, type === 'number' ? (array as Float64Array)[0] : array);
  }
  return end;
}

/** Return the number of bytes from an offset to the next one at which an attachment can begin. */
export function padding(offset: number): number {
  return (ALIGNMENT - (offset % ALIGNMENT)) % ALIGNMENT;
}

function makeArray(
  Elements: ElementType,
  frame: Uint8Array<ArrayBuffer>,
  start: number,
  bytes: number,
  shape: readonly number[] | undefined,
): object {
  const length = bytes / Elements.BYTES_PER_ELEMENT;
  // A small attachment is copied, so that it does not keep the whole frame alive. To copy a large one, too, would make a
  // call take 0.8 to 1.5 ms longer for 1 MiB (of 2.5 to 2.9 ms), 8 to 16 ms for 16 MiB (of 73 to 79) and 45 ms for
  // 60 MiB (of 370 to 390), so its `buffer` is that of the frame.
  const array =
    bytes * 2 > frame.length
      ? new Elements(frame.buffer, start, length)
      : new Elements(frame.buffer.slice(start, start + bytes), 0, length);
  if (shape !== undefined) {
    Object.defineProperty(array, 'shape', { value: [...shape], writable: true, configurable: true, enumerable: false });
  }
  return array;
}

function place(
  fields: Record<string, unknown>,
  allowed: readonly AttachmentField[],
  path: unknown,
  value: unknown,
): void {
  const field = allowed.find((name) => Array.isArray(path) && path[0] === name);
  if (!Array.isArray(path) || field === undefined) {
    throw new ProtocolError(`the path of an attachment must be an array that begins with ${allowed.join(' or ')}`);
  }
  let container: Record<string | number, unknown> = fields;
  let key: string | number = field;
  for (const next of (path as unknown[]).slice(1)) {
    const inside = container[key];
    if (!isOwnKey(inside, next)) {
      throw new ProtocolError(`the path of an attachment, ${shorten(path)}, leads to nothing`);
    }
    container = inside as Record<string | number, unknown>;
    key = next as string | number;
  }
  if (container[key] !== null) {
    throw new ProtocolError(`the path of an attachment, ${shorten(path)}, leads to something that is not null`);
  }
  // The key exists, so this sets even a key named `__proto__`.
  container[key] = value;
}

function isOwnKey(container: unknown, key: unknown): boolean {
  if (Array.isArray(container)) {
    return Number.isInteger(key) && (key as number) >= 0 && (key as number) < container.length;
  }
  return (
    typeof container === 'object' &&
    container !== null &&
    !ArrayBuffer.isView(container) &&
    typeof key === 'string' &&
    Object.hasOwn(container, key)
  );
}
