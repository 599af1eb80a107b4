/**
 * Values: which can be sent, and how they are encoded as JSON and attachments.
 *
 * A value is checked and copied in one walk, before anything is sent. So JSON.stringify sees what was checked, whatever
 * getters and proxies would say to a second look. The walk remembers only the keys of the containers that it is inside,
 * and makes a path of them only for an attachment or an error, so that checking 200,000 numbers costs less than encoding
 * them.
 */

import { ProtocolError } from '../errors.js';
import {
  countElements,
  isShape,
  MAX_ATTACHMENTS,
  MAX_DIMENSIONS,
  readData,
  type Attachment,
  type ValueField,
} from './attachments.js';
import { MAX_SHOWN_KEYS, shorten } from './shorten.js';

/** The deepest nesting of arrays and objects in one argument or result. */
export const MAX_DEPTH = 200;

const TYPES_OF_CLASSES: ReadonlyMap<unknown, string> = new Map([
  ['ArrayBuffer', 'bytes'],
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

const TYPED_ARRAY = Object.getPrototypeOf(Uint8Array.prototype) as object;

/** What becomes of NaN and the infinities, which JSON has no form for; without it they are refused. */
export type Nan = 'null' | 'keep';

type ToJson = (key: string) => unknown;

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
 * @param nan - What becomes of NaN and the infinities.
 * @param mayBorrow - Whether the value leaves in this step. Then large arrays need not be copied.
 * @returns The JSON and the attachments, which are copies unless they are borrowed.
 * @throws TypeError if something inside has a type that cannot be sent. The message says where, as in `args[0].x[3]`.
 * @throws RangeError likewise, if a number cannot be sent or the nesting is too deep.
 */
export function pack(value: unknown, field: ValueField, nan?: Nan, mayBorrow = false): Packed {
  // The array of arguments is the client's own. Where all of them are simple, nothing in it needs a walk.
  if (field === 'args' && Array.isArray(value) && value.every(isSimple) && readToJson(value) === undefined) {
    return new Packed(JSON.stringify(value), []);
  }
  if (isSimple(value)) {
    return new Packed(JSON.stringify(value), []);
  }
  const walk = new Walk(field, nan);
  const plain = walk.convert(value, 0);
  return new Packed(JSON.stringify(plain ?? null), walk.readAttachments(mayBorrow));
}

/** An array that a walk has found, with the bytes that it has then. */
interface FoundArray extends Omit<Attachment, 'data' | 'isBorrowed'> {
  readonly bytes: Uint8Array;
  readonly size: number;
}

/** One walk through a value. The first `depth` entries of `keys` are the current position. */
class Walk {
  readonly #arrays: FoundArray[] = [];
  readonly #field: ValueField;
  readonly #maxDepth: number;
  readonly #nan: Nan | undefined;
  readonly #keys: (string | number)[] = [];
  readonly #containers: object[] = [];

  constructor(field: ValueField, nan: Nan | undefined) {
    this.#field = field;
    this.#nan = nan;
    this.#maxDepth = field === 'args' ? MAX_DEPTH + 1 : MAX_DEPTH;
  }

  /**
   * Return the value for JSON.stringify: a copy of plain objects and arrays, with nulls in the places of attachments.
   *
   * Whatever runs code of a user's (toJSON, a getter, a proxy) is asked once, here.
   *
   * @param converted - Whether the value is what a toJSON has returned. Like JSON.stringify, this calls no second one.
   */
  convert(value: unknown, depth: number, converted = false): unknown {
    switch (typeof value) {
      case 'string':
      case 'boolean':
      case 'undefined':
        return value;
      case 'number':
        return Number.isFinite(value) ? value : this.#convertNan(value, depth);
      case 'object':
        return value === null ? null : this.#convertObject(value, depth, converted);
      case 'bigint':
        return this.#convertBigInt(value, depth, converted);
      default:
        throw new TypeError(`${this.#show(depth)} is a ${typeof value}, which cannot be sent.`);
    }
  }

  /**
   * Return the attachments, when the walk is over: code of a user's that runs in it may change or transfer an array.
   *
   * @throws TypeError if an array has other bytes than it had.
   */
  readAttachments(mayBorrow: boolean): Attachment[] {
    return this.#arrays.map(({ bytes, size, path, type, shape }) => {
      if (bytes.length !== size) {
        this.#keys.splice(0, Infinity, ...path.slice(1));
        throw new TypeError(`${this.#show(path.length - 1)} has changed its size, or was transferred, while it was read.`);
      }
      return { path, type, shape, ...readData(bytes, mayBorrow) };
    });
  }

  #convertNan(value: number, depth: number): null {
    if (this.#nan === undefined) {
      throw new RangeError(`${this.#show(depth)} is ${String(value)}, a number that JSON does not have.`);
    }
    if (this.#nan === 'keep') {
      this.#add('number', undefined, new Uint8Array(Float64Array.of(value).buffer), depth);
    }
    return null;
  }

  #convertBigInt(value: bigint, depth: number, converted: boolean): unknown {
    // JSON.stringify asks for it, so that pages can say how theirs are written.
    const toJson = readToJson(value);
    if (toJson !== undefined && !converted) {
      return this.#callToJson(value, toJson, depth);
    }
    throw new TypeError(
      `${this.#show(depth)} is a BigInt, which cannot be sent. ` +
        'Send a number, a string, or many of them as a BigInt64Array.',
    );
  }

  #convertObject(value: object, depth: number, converted: boolean): unknown {
    if (ArrayBuffer.isView(value)) {
      return this.#attach(value, depth);
    }
    const toJson = readToJson(value);
    if (toJson !== undefined && !converted) {
      return this.#callToJson(value, toJson, depth);
    }
    if (Array.isArray(value)) {
      return this.#convertArray(value, depth);
    }
    if (isPlain(value)) {
      return this.#convertRecord(value as Record<string, unknown>, depth);
    }
    if (toJson !== undefined) {
      throw new TypeError(`${this.#show(depth)} gives by toJSON() what has a toJSON() itself, so it cannot be sent.`);
    }
    return this.#attach(value, depth);
  }

  #callToJson(value: object | bigint, toJson: ToJson, depth: number): unknown {
    return this.convert(Reflect.apply(toJson, value, [String(this.#keys[depth - 1] ?? '')]), depth, true);
  }

  #convertArray(array: readonly unknown[], depth: number): unknown {
    this.#enter(array, depth);
    // Of all ways to copy, this is one of the fastest, and it calls neither an iterator nor a constructor of a user's.
    const copy = ([] as unknown[]).concat(array);
    for (let index = 0; index < copy.length; index++) {
      const item = copy[index];
      if (isSimple(item)) {
        continue;
      }
      this.#keys[depth] = index;
      const converted = this.convert(item, depth + 1);
      if (converted !== item) {
        copy[index] = converted;
      }
    }
    return hideToJson(copy);
  }

  #convertRecord(record: Record<string, unknown>, depth: number): unknown {
    this.#enter(record, depth);
    if (Object.getOwnPropertySymbols(record).length > 0) {
      throw new TypeError(`${this.#show(depth)} has a key that is a symbol. Only keys that are strings can be sent.`);
    }
    // Engines copy all keys at once six times as fast as one after the other.
    const copy = { ...record };
    for (const key of Object.keys(copy)) {
      const value = copy[key];
      if (isSimple(value)) {
        continue;
      }
      this.#keys[depth] = key;
      // The key is its own, so this sets even a key named `__proto__`.
      copy[key] = this.convert(value, depth + 1);
    }
    return hideToJson(copy);
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

  /** Add an attachment. Its place in the JSON becomes null. */
  #attach(value: object, depth: number): null {
    const { type, bytes, length } = this.#readBytes(value, depth);
    const shape = length === undefined ? undefined : this.#readShape(value, length, depth);
    this.#add(shape !== undefined && type === 'bytes' ? 'uint8' : type, shape, bytes, depth);
    return null;
  }

  #add(type: string, shape: readonly number[] | undefined, bytes: Uint8Array, depth: number): void {
    if (this.#arrays.length >= MAX_ATTACHMENTS) {
      throw new RangeError(
        `${this.#show(depth)} is one array too many: ${String(MAX_ATTACHMENTS)} are the most in one message. ` +
          'Send them as one array, or with several calls.',
      );
    }
    const path = [this.#field, ...this.#keys.slice(0, depth)];
    this.#arrays.push({ path, type, shape, bytes, size: bytes.length });
  }

  /** Return the type and the bytes of an object, and the number of its elements if it has any. */
  #readBytes(value: object, depth: number): { type: string; bytes: Uint8Array; length: number | undefined } {
    const className = classOf(value);
    const type = TYPES_OF_CLASSES.get(className);
    if (type === undefined) {
      throw new TypeError(`${this.#show(depth)} is ${describeObject(value)}, which cannot be sent.${adviseOn(value)}`);
    }
    try {
      if (className === 'ArrayBuffer') {
        return { type, bytes: new Uint8Array(value as ArrayBuffer), length: undefined };
      }
      const prototype = className === 'DataView' ? DataView.prototype : TYPED_ARRAY;
      const [buffer, offset, size, length] = ['buffer', 'byteOffset', 'byteLength', 'length'].map(
        (key) => Reflect.get(prototype, key, value) as unknown,
      );
      const bytes = new Uint8Array(buffer as ArrayBuffer, offset as number, size as number);
      return { type, bytes, length: length as number | undefined };
    } catch {
      throw new TypeError(`${this.#show(depth)} has no bytes any more: its buffer was transferred to somewhere else.`);
    }
  }

  #readShape(value: object, length: number, depth: number): readonly number[] | undefined {
    const { shape } = value as { shape?: unknown };
    if (shape === undefined) {
      return undefined;
    }
    const copy: unknown = Array.isArray(shape) ? ([] as unknown[]).concat(shape) : shape;
    if (!isShape(copy) || countElements(copy) !== length) {
      throw new TypeError(
        `${this.#show(depth)}.shape must be an array of at most ${String(MAX_DIMENSIONS)} integers from 0 on, ` +
          `whose product is the array's length, ${String(length)}.`,
      );
    }
    return copy;
  }

  #show(depth: number): string {
    const root = this.#field === 'args' ? 'args' : 'result';
    const keys = this.#keys.slice(0, Math.min(depth, MAX_SHOWN_KEYS));
    return root + keys.map(showKey).join('') + (depth > MAX_SHOWN_KEYS ? '…' : '');
  }
}

/** Return whether a value stays as it is. Most values do, and never leave the loops above. */
function isSimple(value: unknown): boolean {
  return typeof value === 'number' ? Number.isFinite(value) : typeof value === 'string' || typeof value === 'boolean';
}

/** Return the toJSON method of a value, as a Date, a URL and a DOMRect have one. */
function readToJson(value: object | bigint): ToJson | undefined {
  const { toJSON } = value as { toJSON?: unknown };
  return typeof toJSON === 'function' ? (toJSON as ToJson) : undefined;
}

/**
 * Return a copy so that JSON.stringify calls no toJSON on it.
 *
 * Some pages have one in the prototype of all arrays or objects. It has been called for the original.
 */
function hideToJson(copy: object): object {
  if (readToJson(copy) !== undefined) {
    Object.defineProperty(copy, 'toJSON', { value: undefined });
  }
  return copy;
}

/**
 * Return the class of a typed array, DataView or ArrayBuffer; `undefined` for any other object.
 *
 * It asks the getters of the language, which see through whatever a subclass or a property says.
 */
function classOf(value: object): string | undefined {
  if (ArrayBuffer.isView(value)) {
    return (Reflect.get(TYPED_ARRAY, Symbol.toStringTag, value) as string | undefined) ?? 'DataView';
  }
  try {
    Reflect.get(ArrayBuffer.prototype, 'byteLength', value);
    return 'ArrayBuffer';
  } catch {
    return undefined;
  }
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
  if ('then' in value) {
    return ' Await it first.';
  }
  return Symbol.asyncIterator in value || 'arrayBuffer' in value
    ? ' Send it as a stream, with callWithStream.'
    : ' Send what it holds, as plain objects, arrays, numbers and strings.';
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
