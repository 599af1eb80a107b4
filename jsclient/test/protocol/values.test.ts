import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { decodeFrame } from '../../src/protocol/frames.js';
import { encodeMessage } from '../../src/protocol/messages.js';
import { shorten } from '../../src/protocol/shorten.js';
import { checkDepth, MAX_DEPTH, pack } from '../../src/protocol/values.js';
import { encodeFrame, joinFrame } from '../frames.js';

function travel(value: unknown): unknown {
  const frame = joinFrame(encodeFrame([encodeMessage({ type: 'result', id: 1, value })]));
  const [message] = decodeFrame(frame);
  return message?.type === 'result' ? message.value : undefined;
}

function nest(depth: number, inner: unknown = []): unknown {
  let value = inner;
  for (let level = 1; level < depth; level++) {
    value = [value];
  }
  return value;
}

function shape(array: object, dimensions: unknown): object {
  return Object.defineProperty(array, 'shape', { value: dimensions });
}

describe('an array whose program changes it while a value is read', () => {
  test('travels as it is at the end', () => {
    const array = new Uint8Array([1]);
    const other = { toJSON: () => (array[0] = 9) };
    expect(travel([array, other])).toStrictEqual([new Uint8Array([9]), 9]);
  });

  test.each([1, 600_000])('is refused where it was transferred, with %s bytes', (size) => {
    const array = new Uint8Array(size);
    const other = {
      get x() {
        return structuredClone(1, { transfer: [array.buffer] });
      },
    };
    const words = 'args[0].a has changed its size, or was transferred, while it was read.';
    expect(() => pack([{ a: array }, other], 'args', undefined, true)).toThrow(new TypeError(words));
  });
});

describe('a value that travels', () => {
  test.each([
    ['undefined as null', undefined, null],
    ['undefined in an array as null', [undefined, 1], [null, 1]],
    ['without the properties whose value is undefined', { a: undefined, b: 1 }, { b: 1 }],
    ['a hole in an array as null', Object.assign(Array.from({ length: 0 }), { 1: 'x' }), [null, 'x']],
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ['an object whose prototype has none, as those of other windows', Object.create(Object.create(null) as object), {}],
    ['the same object at two places', ((o) => [o, o])({ a: 1 }), [{ a: 1 }, { a: 1 }]],
    ['booleans and null', [true, false, null], [true, false, null]],
    ['a Date, by its toJSON', [{ when: new Date(0) }], [{ when: '1970-01-01T00:00:00.000Z' }]],
    ['a URL, by its toJSON', new URL('http://x/y'), 'http://x/y'],
    ['what the toJSON of a plain object gives', { a: 1, toJSON: () => [2, undefined] }, [2, null]],
    ['what toJSON makes of its key', [{ toJSON: (key: string) => key }], ['0']],
    ['a large array of numbers', Array.from({ length: 1000 }, (_, i) => i / 8), Array.from({ length: 1000 }, (_, i) => i / 8)],
  ])('arrives: %s', (_, value, arrived) => {
    expect(travel(value)).toStrictEqual(arrived);
  });

  test.each([
    ['Uint8Array', new Uint8Array([1, 2]), new Uint8Array([1, 2])],
    ['ArrayBuffer', new Uint8Array([1, 2]).buffer, new Uint8Array([1, 2])],
    ['DataView', new DataView(new Uint8Array([1, 2, 3]).buffer, 1), new Uint8Array([2, 3])],
    ['Uint8ClampedArray', new Uint8ClampedArray([1, 2]), new Uint8Array([1, 2])],
    ['Float64Array', new Float64Array([NaN, -0]), new Float64Array([NaN, -0])],
    ['BigInt64Array', new BigInt64Array([-1n]), new BigInt64Array([-1n])],
    ['a part of a larger buffer', new Int16Array([1, 2, 3]).subarray(1, 2), new Int16Array([2])],
    ["Node's Buffer", Buffer.from('ab'), new Uint8Array([97, 98])],
    ['a view of a SharedArrayBuffer', new Uint8Array(new SharedArrayBuffer(2)), new Uint8Array(2)],
  ])('arrives: %s', (_, value, arrived) => {
    expect(travel({ x: [value] })).toStrictEqual({ x: [arrived] });
  });

  test('keeps the shape of a typed array as an own property that is not enumerable', () => {
    const array = travel(shape(new Float32Array(6), [2, 3])) as Float32Array;
    expect(Object.getOwnPropertyDescriptor(array, 'shape')).toStrictEqual({
      value: [2, 3],
      enumerable: false,
      writable: true,
      configurable: true,
    });
  });

  test('keeps the shape of bytes by travelling as uint8', () => {
    const { attachments } = pack(shape(new Uint8Array(4), [2, 2]), 'value');
    expect(attachments.map(({ type, shape: dimensions }) => ({ type, dimensions }))).toStrictEqual([
      { type: 'uint8', dimensions: [2, 2] },
    ]);
  });

  test('has no shape where its sender gave none', () => {
    expect(travel(new Int8Array(2))).not.toHaveProperty('shape');
  });

  test('ignores the shape of what has no elements', () => {
    expect(travel(shape(new DataView(new ArrayBuffer(2)), 'x'))).toStrictEqual(new Uint8Array(2));
  });

  test('does not change with its original afterwards', () => {
    const bytes = new Uint8Array([1]);
    const { attachments } = pack([bytes], 'args');
    bytes[0] = 2;
    expect(attachments[0]?.data).toStrictEqual(new Uint8Array([1]));
  });

  test('leaves its original as it was', () => {
    const original = { list: [new Uint8Array(1)], other: 1 };
    pack([original], 'args');
    expect(original).toStrictEqual({ list: [new Uint8Array(1)], other: 1 });
  });

  test('may have attachments below the key __proto__', () => {
    const value = JSON.parse('{"__proto__":{"a":1}}') as Record<string, unknown>;
    Object.defineProperty(value, '__proto__', { value: [new Uint8Array([7])], enumerable: true });
    const arrived = travel(value) as object;
    expect(Object.getOwnPropertyDescriptor(arrived, '__proto__')?.value).toStrictEqual([new Uint8Array([7])]);
    expect(Object.getPrototypeOf(arrived)).toBe(Object.prototype);
  });

  test('may be nested as deeply as the limit', () => {
    expect(travel(nest(MAX_DEPTH))).toStrictEqual(nest(MAX_DEPTH));
  });
});

describe('a value is asked once what it is', () => {
  /** Return an object whose getters, or a proxy whose traps, answer only the first time. */
  function once(target: object): object {
    const asked = new Set<unknown>();
    return new Proxy(target, {
      get(object, key, receiver) {
        if (key !== 'toJSON' && key !== 'constructor') {
          expect(asked).not.toContain(key);
        }
        asked.add(key);
        return Reflect.get(object, key, receiver) as unknown;
      },
    });
  }

  test.each([
    ['an array', () => once([1, 'a', null, true]), [1, 'a', null, true]],
    ['an object', () => once({ a: 1, b: [2], c: undefined }), { a: 1, b: [2] }],
    ['an object with bytes', () => once({ a: new Uint8Array([1]), b: 2 }), { a: new Uint8Array([1]), b: 2 }],
    ['an array with bytes', () => once([new Uint8Array([1]), 2, once({ x: 3 })]), [new Uint8Array([1]), 2, { x: 3 }]],
  ])('as a proxy of %s', (_, make, arrived) => {
    expect(travel(make())).toStrictEqual(arrived);
    expect(travel({ x: [make()] })).toStrictEqual({ x: [arrived] });
  });

  test.each([
    ['NaN', NaN],
    ['a Date', new Date(0)],
    ['bytes', new Uint8Array(1)],
    ['a function', () => 1],
  ])('so a getter that gives a number first and then %s has given the number', (_, second) => {
    const values = [1, second, second];
    const getter = { get: () => values.shift(), enumerable: true };
    expect(pack(Object.defineProperty({}, 'a', getter), 'value').text).toBe('{"a":1}');
    values.splice(0, 3, 1, second, second);
    expect(pack(Object.defineProperty([], 0, getter), 'value').text).toBe('[1]');
  });

  test('so a getter is called once beside bytes', () => {
    let calls = 0;
    const value = {
      get count() {
        return ++calls;
      },
      bytes: new Uint8Array(1),
    };
    expect(pack(value, 'value').text).toBe('{"count":1,"bytes":null}');
  });

  test('so toJSON is read and called once', () => {
    const methods = [() => 1, () => 2];
    const value = Object.defineProperty({}, 'toJSON', { get: () => methods.shift() });
    expect(travel({ x: value })).toStrictEqual({ x: 1 });
  });

  test('and its toJSON is that of JSON.stringify: with its key, for arrays and for BigInts', () => {
    const list = Object.assign([1], { toJSON: (key: string) => ({ key }) });
    expect(travel({ list })).toStrictEqual({ list: { key: 'list' } });
    expect(travel(Object.assign([1], { toJSON: () => [new Uint8Array([2])] }))).toStrictEqual([new Uint8Array([2])]);
    const toJSON = function (this: bigint): string {
      return this.toString();
    };
    Object.defineProperty(BigInt.prototype, 'toJSON', { value: toJSON, configurable: true });
    try {
      expect(travel([1n])).toStrictEqual(['1']);
      expect(() => travel({ toJSON: () => 1n })).toThrow('result is a BigInt, which cannot be sent.');
    } finally {
      Reflect.deleteProperty(BigInt.prototype, 'toJSON');
    }
  });

  test.each([
    ['arrays', Array.prototype],
    ['objects', Object.prototype],
  ])('and a toJSON of all %s is called for the values once, and not for the messages round them', (_, prototype) => {
    let frame;
    const toJSON = function (this: object): unknown {
      return Array.isArray(this) ? [...(this as unknown[]), 'more'] : { ...this, more: true };
    };
    const body = { type: 'call', id: 1, channel: 1, name: 'f', stream: { id: 1, total: 2 } } as const;
    Object.defineProperty(prototype, 'toJSON', { value: toJSON, configurable: true });
    try {
      frame = joinFrame(encodeFrame([encodeMessage({ ...body, args: [[new Uint8Array([7])], { a: 1 }] })]));
    } finally {
      Reflect.deleteProperty(prototype, 'toJSON');
    }
    const [list, record] = [[new Uint8Array([7]), 'more'], { a: 1 }];
    const args = prototype === Array.prototype ? [list, record, 'more'] : [list, { ...record, more: true }, 'more'];
    expect(decodeFrame(frame)).toStrictEqual([{ ...body, args }]);
  });

  test('and a toJSON of all arrays is called for simple arguments, too', () => {
    Object.defineProperty(Array.prototype, 'toJSON', { value: () => ['other'], configurable: true });
    try {
      expect(pack([1, 'a', true], 'args').text).toBe('["other"]');
    } finally {
      Reflect.deleteProperty(Array.prototype, 'toJSON');
    }
  });

  test.each([
    ['class', Object.defineProperty(new Float32Array([1]), Symbol.toStringTag, { value: 'Int8Array' }), new Float32Array([1])],
    ['length', shape(Object.defineProperty(new Int16Array([1, 2]), 'length', { value: 1 }), [2]), shape(new Int16Array([1, 2]), [2])],
    ['size', Object.defineProperty(new Int16Array([1, 2]), 'byteLength', { value: 1 }), new Int16Array([1, 2])],
    ['offset', Object.defineProperty(new Int16Array([1, 2]), 'byteOffset', { value: 1 }), new Int16Array([1, 2])],
    ['buffer', Object.defineProperty(new DataView(new ArrayBuffer(2)), 'buffer', { value: new ArrayBuffer(1) }), new Uint8Array(2)],
  ])('and a typed array by the language, whatever it says of its %s', (_, value, arrived) => {
    const got = travel(value) as object;
    expect(got).toStrictEqual(arrived);
    expect(Reflect.get(got, 'shape')).toStrictEqual(Reflect.get(arrived, 'shape'));
  });

  test('and a shape by its elements', () => {
    const lengths = [2, 3];
    const dimensions = Object.defineProperty([1], 0, { get: () => lengths.shift() });
    expect(pack(shape(new Uint8Array(2), dimensions), 'value').attachments[0]?.shape).toStrictEqual([2]);
  });
});

describe('a number of JavaScript', () => {
  /** Return doubles of all sizes, the same at every run, and whole numbers of up to 22 digits. */
  function* makeNumbers(): Generator<number> {
    const view = new DataView(new ArrayBuffer(8));
    let state = 1n;
    for (let index = 0; index < 3000; index++) {
      state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
      view.setBigUint64(0, state);
      const number = view.getFloat64(0);
      if (Number.isFinite(number)) {
        yield number;
      }
      yield Number(state >> BigInt(index % 50));
      yield -Number(state) * 10 ** (index % 4);
    }
  }

  test('comes back as it went', () => {
    const numbers = [...makeNumbers(), 2 ** 53 + 2, 2 ** 60, 1e21, 2 ** 70, Number.MAX_VALUE, Number.MIN_VALUE];
    expect(travel(numbers)).toStrictEqual(numbers);
    for (const number of numbers) {
      expect(travel(number)).toBe(number);
    }
  });

  test('is the same as Python writes it, with all its digits', () => {
    for (const number of makeNumbers()) {
      if (Number.isInteger(number) && Math.abs(number) < 1e21) {
        const [message] = decodeFrame(`[{"type":"result","id":1,"value":${BigInt(number).toString()}}]`);
        expect(message).toStrictEqual({ type: 'result', id: 1, value: number === 0 ? 0 : number });
      }
    }
  });

  test('has lost the sign of a zero when it comes back', () => {
    expect(travel([-0])).toStrictEqual([0]);
    expect(travel(new Float64Array([-0]))).toStrictEqual(new Float64Array([-0]));
  });
});

describe('a value that does not travel is refused', () => {
  class Point {
    x = 1;
  }
  const circle: unknown[] = [];
  circle.push({ circle });
  const detached = new Uint8Array(4);
  const lost = new DataView(detached.buffer);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });

  test.each([
    ['NaN', [NaN], RangeError, 'args[0] is NaN, a number that JSON does not have.'],
    ['Infinity', [1, { x: [0, 1, 2, -Infinity] }], RangeError, 'args[1].x[3] is -Infinity, a number that'],
    ['a bigint', [{ 'a b': 1n }], TypeError, 'args[0]["a b"] is a BigInt, which cannot be sent.'],
    ['a function', [{ f: () => 1 }], TypeError, 'args[0].f is a function, which cannot be sent.'],
    ['a symbol', [Symbol('s')], TypeError, 'args[0] is a symbol, which cannot be sent.'],
    ['a key that is a symbol', [{ [Symbol('s')]: 1 }], TypeError, 'args[0] has a key that is a symbol.'],
    [
      'what an object gives that has a toJSON itself',
      [{ when: { toJSON: () => new Date(0) } }],
      TypeError,
      'args[0].when gives by toJSON() what has a toJSON() itself, so it cannot be sent.',
    ],
    ['a Map that toJSON gives', [{ toJSON: () => new Map() }], TypeError, 'args[0] is an object of the class Map'],
    ['a Map', [new Map()], TypeError, 'args[0] is an object of the class Map, which cannot be sent. Send what it holds'],
    ['a Blob', [new Blob(['a'])], TypeError, 'args[0] is an object of the class Blob, which cannot be sent. Send it as a stream'],
    ['a stream', [new ReadableStream()], TypeError, 'which cannot be sent. Send it as a stream, with callWithStream.'],
    ['an instance', [new Point()], TypeError, 'args[0] is an object of the class Point'],
    ['a promise', [Promise.resolve(1)], TypeError, 'args[0] is an object of the class Promise, which cannot be sent. Await it first.'],
    ['an object with a strange prototype', [Object.create({ constructor: 1 })], TypeError, 'args[0] is an object that is not plain'],
    ['an object without a class', [Object.create(Object.create({}, { constructor: { value: undefined } }) as object)], TypeError, 'args[0] is an object that is not plain'],
    ['a typed array that is only called so', [new (class { readonly [Symbol.toStringTag] = 'Int8Array'; })()], TypeError, 'args[0] is an object'],
    ['a SharedArrayBuffer', [new SharedArrayBuffer(1)], TypeError, 'args[0] is an object of the class SharedArrayBuffer'],
    ['a transferred array', [detached], TypeError, 'args[0] has no bytes any more'],
    ['a transferred DataView', [lost], TypeError, 'args[0] has no bytes any more'],
    ['a buffer that is only called so', [new (class { readonly [Symbol.toStringTag] = 'ArrayBuffer'; readonly length = 1; })()], TypeError, 'args[0] is an object'],
    ['a BigInt that toJSON gives', [{ toJSON: () => 1n }], TypeError, 'args[0] is a BigInt'],
    ['a transferred buffer', [detached.buffer], TypeError, 'args[0] has no bytes any more'],
    ['a circular value', [circle], TypeError, 'args[0] contains itself, so it cannot be sent.'],
    ['a value that is nested too deeply', [nest(MAX_DEPTH + 1)], RangeError, 'args[0][0][0][0][0][0][0][0][0][0][0][0]… is nested too deeply'],
    ['a shape that is no array', [shape(new Uint8Array(1), 1)], TypeError, "args[0].shape must be an array of at most 32 integers from 0 on, whose product is the array's length, 1."],
    ['a shape of another length', [shape(new Uint8Array(4), [2, 3])], TypeError, 'args[0].shape must be'],
    ['a shape with a negative number', [shape(new Uint8Array(4), [-2, -2])], TypeError, 'args[0].shape must be'],
    ['a shape with a fraction', [shape(new Uint8Array(4), [0.5, 8])], TypeError, 'args[0].shape must be'],
    ['a shape of too many dimensions', [shape(new Uint8Array(1), Array.from({ length: 33 }, () => 1))], TypeError, 'args[0].shape must be'],
    ['a long key', [{ ['k'.repeat(50)]: NaN }], RangeError, `args[0]["${'k'.repeat(39)}…] is NaN`],
  ])('%s', (_, args, type, message) => {
    let error: unknown;
    try {
      pack(args, 'args');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(type);
    expect((error as Error).message).toContain(message);
  });

  test('and a result is named so', () => {
    expect(() => pack({ a: [NaN] }, 'value')).toThrow('result.a[0] is NaN');
  });

  test('and a result by itself too', () => {
    expect(() => pack(Infinity, 'value')).toThrow('result is Infinity');
  });
});

describe('the check of received values', () => {
  test('takes records as deep as the limit', () => {
    expect(() => {
      checkDepth({ a: nest(MAX_DEPTH - 1), b: 1, c: null }, 'value');
    }).not.toThrow();
  });

  test('refuses records that are deeper', () => {
    expect(() => {
      checkDepth({ a: nest(MAX_DEPTH) }, 'value');
    }).toThrow(ProtocolError);
  });
});

test.each([
  ['null', null, 'null'],
  ['a long text', 'x'.repeat(60), `"${'x'.repeat(39)}…`],
  ['what is inside an array', ['a', 1, [2], {}, undefined], '["a",1,[…],{…},undefined]'],
])('an error message shows %s', (_, value, text) => {
  expect(shorten(value)).toBe(text);
});
