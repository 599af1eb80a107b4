/**
 * Values: which can be sent, and how they are encoded as JSON and attachments.
 *
 * A value is checked in one walk, before anything is sent. The walk remembers only the keys of the containers that it
 * is inside, and makes a path of them only for an attachment or an error, so that checking 200,000 numbers costs less
 * than encoding them.
 */

import { ProtocolError } from '../errors.js';
import { countElements, isShape, MAX_DIMENSIONS, type Attachment, type ValueField } from './attachments.js';
import { MAX_SHOWN_KEYS, shorten } from './shorten.js';

/** The deepest nesting of arrays and objects in one argument or result. */
export const MAX_DEPTH = 200;

const TYPES_OF_CLASSES: ReadonlyMap<unknown, string> = new Map([
  ['Uint8Array', 'bytes'],
  ['DataView', 'bytes'],
  ['Uint8ClampedArray', 'uint8'],
  ['Int8Array', 'int8'],
  ['Int16Array', 'int16'],
  ['Uint16Array', 'uint16'],
  ['Int32Array', 'int32'],
  ['Uint32Array', 'uint32'],
  ['BigInt64Array', 'int64'],
  ['BigUint64Array', 'uint64'],
  ['Float32Array', 'float32'],
  ['Float64Array', 'float64'],
]);

/** A value that has been checked and encoded. Later changes of the original have no effect on it. */
export class Packed {
  readonly text: string;
  readonly attachments: readonly Attachment[];

  constructor(text: string, attachments: readonly Attachment[]) {
    this.text = text;
    this.attachments = attachments;
  }
}

/**
 * Check and encode a value.
 *
 * @param value - The value: the array of arguments, or a result.
 * @param field - The message's field that will hold it, with which the paths of attachments begin.
 * @returns The JSON and the attachments, which are copies.
 * @throws TypeError if something inside has a type that cannot be sent. The message says where, as in `args[0].x[3]`.
 * @throws RangeError likewise, if a number cannot be sent or the nesting is too deep.
 */
export function pack(value: unknown, field: ValueField): Packed {
  const walk = new Walk(field);
  const plain = walk.convert(value, 0);
  return new Packed(JSON.stringify(plain ?? null), walk.attachments);
}

/** One walk through a value. The first `depth` entries of `keys` are the current position. */
class Walk {
  readonly attachments: Attachment[] = [];
  readonly #field: ValueField;
  readonly #maxDepth: number;
  readonly #keys: (string | number)[] = [];
  readonly #containers: object[] = [];

  constructor(field: ValueField) {
    this.#field = field;
    this.#maxDepth = field === 'args' ? MAX_DEPTH + 1 : MAX_DEPTH;
  }

  /** Return the value for JSON.stringify: itself or, if it has attachments, a copy with nulls in their places. */
  convert(value: unknown, depth: number): unknown {
    switch (typeof value) {
      case 'string':
      case 'boolean':
      case 'undefined':
        return value;
      case 'number':
        if (Number.isFinite(value)) {
          return value;
        }
        throw new RangeError(`${this.#show(depth)} is ${String(value)}, a number that JSON does not have.`);
      case 'object':
        return value === null ? null : this.#convertObject(value, depth);
      case 'bigint':
        throw new TypeError(
          `${this.#show(depth)} is a BigInt, which cannot be sent. ` +
            'Send a number, a string, or many of them as a BigInt64Array.',
        );
      default:
        throw new TypeError(`${this.#show(depth)} is a ${typeof value}, which cannot be sent.`);
    }
  }

  #convertObject(value: object, depth: number): unknown {
    if (Array.isArray(value)) {
      return this.#convertArray(value, depth);
    }
    if (hasOwnJson(value)) {
      // JSON.stringify likewise ignores a toJSON of what toJSON returns.
      const json = value.toJSON(String(this.#keys[depth - 1] ?? ''));
      if (typeof json === 'object' && json !== null && hasOwnJson(json)) {
        throw new TypeError(`${this.#show(depth)} gives by toJSON() what has a toJSON() itself, so it cannot be sent.`);
      }
      return this.convert(json, depth);
    }
    if (isPlain(value)) {
      return this.#convertRecord(value as Record<string, unknown>, depth);
    }
    this.#attach(value, depth);
    return null;
  }

  #convertArray(array: readonly unknown[], depth: number): unknown {
    this.#enter(array, depth);
    let copy: unknown[] | undefined;
    for (let index = 0; index < array.length; index++) {
      const item = array[index];
      // Most large arrays are made of these, and never leave this loop.
      if (typeof item === 'number' ? Number.isFinite(item) : typeof item === 'string') {
        continue;
      }
      this.#keys[depth] = index;
      const converted = this.convert(item, depth + 1);
      if (converted !== item) {
        copy ??= Array.from(array);
        copy[index] = converted;
      }
    }
    return copy ?? array;
  }

  #convertRecord(record: Record<string, unknown>, depth: number): unknown {
    this.#enter(record, depth);
    if (Object.getOwnPropertySymbols(record).length > 0) {
      throw new TypeError(`${this.#show(depth)} has a key that is a symbol. Only keys that are strings can be sent.`);
    }
    let copy: Record<string, unknown> | undefined;
    for (const key of Object.keys(record)) {
      const item = record[key];
      this.#keys[depth] = key;
      const converted = this.convert(item, depth + 1);
      if (converted !== item) {
        // No prototype, so that `__proto__` is an ordinary key.
        copy ??= Object.assign(Object.create(null), record) as Record<string, unknown>;
        copy[key] = converted;
      }
    }
    return copy ?? record;
  }

  #enter(container: object, depth: number): void {
    if (depth >= this.#maxDepth) {
      if (this.#containers.slice(0, depth).includes(container)) {
        const first = this.#containers.indexOf(container);
        throw new TypeError(`${this.#show(first)} contains itself, so it cannot be sent.`);
      }
      throw new RangeError(
        `${this.#show(depth)} is nested too deeply: at most ${String(MAX_DEPTH)} arrays and objects, ` +
          'one in the other, can be sent.',
      );
    }
    this.#containers[depth] = container;
  }

  #attach(value: object, depth: number): void {
    const { type, bytes } = this.#readBytes(value, depth);
    const shape = this.#readShape(value, depth);
    this.attachments.push({
      path: [this.#field, ...this.#keys.slice(0, depth)],
      type: shape !== undefined && type === 'bytes' ? 'uint8' : type,
      shape,
      data: bytes.slice(),
    });
  }

  #readBytes(value: object, depth: number): { type: string; bytes: Uint8Array } {
    const className = Object.prototype.toString.call(value).slice('[object '.length, -1);
    const type = className === 'ArrayBuffer' ? 'bytes' : TYPES_OF_CLASSES.get(className);
    if (type === undefined || !(className === 'ArrayBuffer' || ArrayBuffer.isView(value))) {
      throw new TypeError(`${this.#show(depth)} is ${describeObject(value)}, which cannot be sent.${adviseOn(value)}`);
    }
    try {
      return {
        type,
        bytes: ArrayBuffer.isView(value)
          ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
          : new Uint8Array(value as ArrayBuffer),
      };
    } catch {
      throw new TypeError(`${this.#show(depth)} has no bytes any more: its buffer was transferred to somewhere else.`);
    }
  }

  #readShape(value: object, depth: number): readonly number[] | undefined {
    const shape: unknown = 'length' in value && 'shape' in value ? value.shape : undefined;
    if (shape === undefined) {
      return undefined;
    }
    const length = (value as { length: number }).length;
    if (!isShape(shape) || countElements(shape) !== length) {
      throw new TypeError(
        `${this.#show(depth)}.shape must be an array of at most ${String(MAX_DIMENSIONS)} integers from 0 on, ` +
          `whose product is the array's length, ${String(length)}.`,
      );
    }
    return [...shape];
  }

  #show(depth: number): string {
    const root = this.#field === 'args' ? 'args' : 'result';
    const keys = this.#keys.slice(0, Math.min(depth, MAX_SHOWN_KEYS));
    return root + keys.map(showKey).join('') + (depth > MAX_SHOWN_KEYS ? '…' : '');
  }
}

/** Return whether an object has a toJSON method, as a Date, a URL and a DOMRect have. Those of bytes do not count. */
function hasOwnJson(value: object): value is { toJSON(key: string): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function' && !ArrayBuffer.isView(value);
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  // The last condition accepts the plain objects of other windows.
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function showKey(key: string | number): string {
  if (typeof key === 'number') {
    return `[${String(key)}]`;
  }
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]{0,39}$/u.test(key) ? `.${key}` : `[${shorten(key)}]`;
}

function describeObject(value: object): string {
  const name: unknown = (value.constructor as { name?: unknown } | undefined)?.name;
  return typeof name === 'string' && name !== '' ? `an object of the class ${name}` : 'an object that is not plain';
}

function adviseOn(value: object): string {
  return 'then' in value ? ' Await it first.' : ' Send what it holds, as plain objects, arrays, numbers and strings.';
}

/**
 * Check the nesting of a received value.
 *
 * @param value - The value: the array of arguments, or a result.
 * @param field - The message's field that holds it.
 * @throws ProtocolError if it is too deep.
 */
export function checkDepth(value: unknown, field: ValueField): void {
  descend(value, field === 'args' ? MAX_DEPTH + 1 : MAX_DEPTH);
}

function descend(value: unknown, left: number): void {
  if (typeof value !== 'object' || value === null) {
    return;
  }
  if (left === 0) {
    throw new ProtocolError(`a value is nested deeper than ${String(MAX_DEPTH)}`);
  }
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) {
      if (typeof item === 'object') {
        descend(item, left - 1);
      }
    }
  } else {
    const record = value as Record<string, unknown>;
    for (const key of Object.keys(record)) {
      descend(record[key], left - 1);
    }
  }
}
