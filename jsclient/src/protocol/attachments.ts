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
  /** The bytes: a copy, unless they are borrowed. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Whether the bytes are the program's own, which may change them in its next step: they must leave in this one. */
  readonly isBorrowed?: boolean;
}

/**
 * The attachments of a frame leave apart, in frames of their own, if they have at least this many bytes on average, as
 * the pieces of a stream have: new memory for the frame, and a copy into it, cost more than frames do.
 */
export const APART_FROM = 64 * 1024;

/**
 * Return the bytes of an attachment.
 *
 * @param mayBorrow - Whether they leave in this step. Then large ones are not copied.
 */
export function readData(bytes: Uint8Array, mayBorrow: boolean): Pick<Attachment, 'data' | 'isBorrowed'> {
  const isBorrowed = mayBorrow && bytes.length >= APART_FROM && isFixed(bytes.buffer);
  return { data: isBorrowed ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes), isBorrowed };
}

/** Return whether a buffer is neither shared nor resizable. WebSockets take no others. */
function isFixed(buffer: ArrayBufferLike): boolean {
  try {
    Reflect.get(ArrayBuffer.prototype, 'byteLength', buffer);
  } catch {
    return false;
  }
  return Reflect.get(ArrayBuffer.prototype, 'resizable', buffer) !== true;
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
 * Return the sizes of the attachments of a received message.
 *
 * @param entries - Its field `attachments`.
 * @throws ProtocolError if it is no array of entries with sizes.
 */
export function sizesOf(entries: unknown): number[] {
  if (!Array.isArray(entries) || entries.length === 0) {
    throw new ProtocolError('attachments must be an array of one or more objects');
  }
  return (entries as unknown[]).map((entry) => {
    if (typeof entry !== 'object' || entry === null) {
      throw new ProtocolError('an attachment must be an object');
    }
    const { size } = entry as Record<string, unknown>;
    if (!Number.isSafeInteger(size) || (size as number) < 0) {
      throw new ProtocolError(`an attachment cannot have the size ${shorten(size)}`);
    }
    return size as number;
  });
}

/**
 * Put the attachments of a received message into their places.
 *
 * @param fields - The parsed JSON of the message, whose attachments have sizes.
 * @param allowed - The fields of the message that can hold attachments.
 * @param take - Returns the bytes of the next attachment, given their number. They begin where a typed array can.
 * @throws ProtocolError if the attachments violate the protocol.
 */
export function restore(
  fields: Record<string, unknown>,
  allowed: readonly AttachmentField[],
  take: (size: number) => Uint8Array<ArrayBuffer>,
): void {
  for (const entry of fields['attachments'] as unknown[]) {
    const { path, type, shape, size } = entry as Record<string, unknown>;
    if (type !== 'bytes' && Array.isArray(path) && (path[0] === 'stream' || path[0] === 'data')) {
      throw new ProtocolError(`what a stream holds must be bytes, and is of type ${shorten(type)}`);
    }
    const Elements = ELEMENT_TYPES.get(type);
    if (Elements === undefined) {
      throw new ProtocolError(`there is no attachment of type ${shorten(type)}`);
    }
    const unit = Elements.BYTES_PER_ELEMENT;
    const bytes = size as number;
    if (bytes % unit !== 0) {
      throw new ProtocolError(`an attachment of type ${String(type)} cannot have the size ${String(bytes)}`);
    }
    if (type === 'number' && (shape !== undefined || bytes !== unit)) {
      throw new ProtocolError('an attachment of type number has 8 bytes and no shape');
    }
    if (shape !== undefined && (type === 'bytes' || !isShape(shape) || countElements(shape) * unit !== bytes)) {
      throw new ProtocolError(
        `an attachment of type ${String(type)} and size ${String(bytes)} cannot have the shape ${shorten(shape)}`,
      );
    }
    const array = makeArray(Elements, take(bytes), shape);
    place(fields, allowed, path, type === 'number' ? (array as Float64Array)[0] : array);
  }
}

/** Return the number of bytes from an offset to the next one at which an attachment can begin. */
export function padding(offset: number): number {
  return (ALIGNMENT - (offset % ALIGNMENT)) % ALIGNMENT;
}

function makeArray(Elements: ElementType, bytes: Uint8Array<ArrayBuffer>, shape: readonly number[] | undefined): object {
  const { buffer, byteOffset: start } = bytes;
  const length = bytes.length / Elements.BYTES_PER_ELEMENT;
  // A small attachment inside a frame is copied, so that it does not keep the whole frame alive. Large ones come apart.
  const array =
    bytes.length * 2 > buffer.byteLength
      ? new Elements(buffer, start, length)
      : new Elements(buffer.slice(start, start + bytes.length), 0, length);
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
