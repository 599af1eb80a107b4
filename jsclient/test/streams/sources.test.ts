/** What can be sent as a stream, and how it is read. */

import { describe, expect, test, vi } from 'vitest';
import { MetaGenerator } from '../../src/streams/reader.js';
import { discard, isStream, makeSource, PART_SIZE, type Source } from '../../src/streams/sources.js';

async function readAll(source: Source): Promise<string> {
  let text = '';
  for (let part = await source.read(); part !== null; part = await source.read()) {
    text += part instanceof Uint8Array ? toText(part) : await part.text();
  }
  return text;
}

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const toText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

async function* generate(...chunks: unknown[]): AsyncGenerator {
  for (const chunk of chunks) {
    await Promise.resolve();
    yield chunk;
  }
}

function* generateNow(...chunks: unknown[]): Generator {
  yield* chunks;
}

function* failAtTheEnd(): Generator {
  try {
    yield encode('a');
  } finally {
    // eslint-disable-next-line no-unsafe-finally -- this is what some sources do
    throw new Error('late');
  }
}

async function* failLaterAtTheEnd(): AsyncGenerator {
  yield* failAtTheEnd();
  await Promise.resolve();
}

function streamOf(...chunks: unknown[]): ReadableStream {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) {
        controller.enqueue(chunk);
      }
      controller.close();
    },
  });
}

/** Return a response like one from the network. */
function responseOf(body: string | null, headers: Record<string, string>, type: ResponseType = 'basic'): Response {
  return Object.defineProperty(new Response(body, { headers }), 'type', { value: type });
}

describe('a source', () => {
  test.each<[string, () => unknown, number | undefined]>([
    ['an async generator', () => generate(encode('ab'), encode('c')), undefined],
    ['a generator', () => generateNow(encode('ab'), encode('c')), undefined],
    ['an array of chunks', () => [encode('ab'), encode('c')], undefined],
    ['a ReadableStream', () => streamOf(encode('ab'), encode('c')), undefined],
    ['a Blob', () => new Blob(['ab', 'c']), 3],
    ['a File', () => new File(['abc'], 'name'), 3],
    ['a Response', () => responseOf('abc', { 'content-length': '3' }), 3],
    ['a Uint8Array', () => encode('abc'), 3],
    ['a part of a buffer', () => encode('xabcx').subarray(1, 4), 3],
    ['a DataView', () => new DataView(encode('abc').buffer), 3],
    ['an ArrayBuffer', () => encode('abc').buffer, 3],
    ['typed arrays as chunks', () => generate(Uint16Array.of(0x6261), encode('c').buffer), undefined],
  ])('can be %s', async (_, make, total) => {
    const source = makeSource(make());
    expect(source.total).toBe(total);
    expect(await readAll(source)).toBe('abc');
  });

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a string', 'abc'],
    ['a number', 3],
    ['a function', generate],
    ['an object that is none of these', { length: 3 }],
    ['an object of the class Date', new Date(0)],
    ['an object of the class Promise', Promise.resolve()],
  ])('cannot be %s', (name, given) => {
    expect(() => makeSource(given)).toThrow(
      new TypeError(
        'A stream must be an async iterable or an iterable of Uint8Arrays, a ReadableStream, a Blob, a Response, ' +
          `a typed array or an ArrayBuffer. This is ${name}.`,
      ),
    );
  });

  test('cannot be a locked ReadableStream', () => {
    const stream = streamOf();
    stream.getReader();
    expect(() => makeSource(stream)).toThrow('it is locked');
  });

  test('cannot be a Response that has been read', async () => {
    const response = new Response('abc');
    await response.text();
    expect(() => makeSource(response)).toThrow('its body has been read');
  });

  test('cannot be a Response whose body a page must not see', () => {
    expect(() => makeSource(responseOf(null, {}, 'opaque'))).toThrow('of the mode no-cors');
  });

  test('cannot be an array of anything but bytes', () => {
    expect(() => makeSource([1, 2])).toThrow(
      new TypeError('A stream is made of Uint8Arrays or other bytes, and this chunk is a number.'),
    );
  });

  test('cannot be a typed array without its buffer', () => {
    const bytes = encode('abc');
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect(() => makeSource(bytes)).toThrow('its buffer was transferred');
  });

  test.each<[string, unknown]>([
    ['a string', 'abc'],
    ['null', null],
    ['an object of the class Blob', new Blob()],
  ])('fails when a chunk is %s', async (name, chunk) => {
    await expect(makeSource(generate(chunk)).read()).rejects.toThrow(
      new TypeError(`A stream is made of Uint8Arrays or other bytes, and this chunk is ${name}.`),
    );
    await expect(makeSource(streamOf(chunk)).read()).rejects.toThrow(TypeError);
  });

  test('is not changed when its bytes change afterwards', async () => {
    const bytes = encode('abc');
    const source = makeSource(bytes);
    bytes[0] = 0;
    expect(await readAll(source)).toBe('abc');
  });

  test('can be a generator that fills the same buffer again', async () => {
    const buffer = encode('a');
    const source = makeSource(
      (function* () {
        yield buffer;
        buffer[0] = 98;
        yield buffer;
      })(),
    );
    const [first, second] = [await source.read(), await source.read()];
    expect([first, second]).toStrictEqual([encode('a'), encode('b')]);
  });

  test('can be an iterator whose results have a method then, which is not called', async () => {
    const then = vi.fn();
    const results = [{ done: false, value: encode('ab'), then }, { done: true, value: undefined, then }];
    const iterator = { next: () => results.shift(), return: () => ({ done: true, then }) };
    const source = makeSource({ [Symbol.iterator]: () => iterator });
    expect(await readAll(source)).toBe('ab');
    source.close();
    await Promise.resolve();
    expect(then).not.toHaveBeenCalled();
  });

  test('can be a Response without a body', async () => {
    const source = makeSource(new Response(null, { status: 204 }));
    expect([source.total, await source.read()]).toStrictEqual([0, null]);
  });

  test.each<[string, Response]>([
    ['without a length', responseOf('abc', {})],
    ['that was encoded', responseOf('abc', { 'content-length': '2', 'content-encoding': 'gzip' })],
    ['from another origin', responseOf('abc', { 'content-length': '2' }, 'cors')],
    ['with a strange length', responseOf('abc', { 'content-length': '3, 3' })],
  ])('that is a Response %s is of unknown length', (_, response) => {
    expect(makeSource(response).total).toBeUndefined();
  });

  test('that is a large Blob is given in slices and not read', async () => {
    const read = vi.spyOn(Blob.prototype, 'arrayBuffer');
    const source = makeSource(new Blob([new Uint8Array(PART_SIZE + 1)]));
    const sizes = [];
    for (let part = (await source.read()) as Blob | null; part !== null; part = (await source.read()) as Blob | null) {
      sizes.push(part.size);
    }
    expect(sizes).toStrictEqual([PART_SIZE, 1]);
    expect(read).not.toHaveBeenCalled();
  });

  test('that is large in memory is given in parts', async () => {
    const source = makeSource(new Uint8Array(PART_SIZE + 1));
    expect([await source.read(), await source.read(), await source.read()]).toMatchObject([
      { length: PART_SIZE },
      { length: 1 },
      null,
    ]);
  });

  test('that is a stream from Python has its length, if nothing of it was read', async () => {
    const reader = { total: 2, read: () => Promise.resolve(encode('ab')), stop: () => undefined };
    const stream = new MetaGenerator(reader);
    expect(makeSource(stream).total).toBe(2);
    await stream.byLimit(1).next();
    expect(makeSource(stream).total).toBeUndefined();
  });
});

describe('closing a source', () => {
  test('runs the finally of a generator', async () => {
    const end = vi.fn();
    const source = makeSource(
      (function* () {
        try {
          yield encode('a');
        } finally {
          end();
        }
      })(),
    );
    await source.read();
    source.close();
    expect(end).toHaveBeenCalledOnce();
  });

  test('cancels a ReadableStream', () => {
    const cancel = vi.fn();
    makeSource(new ReadableStream({ cancel })).close();
    expect(cancel).toHaveBeenCalledOnce();
  });

  test('does no harm to what has nothing to close', () => {
    const iterator = { next: vi.fn() };
    const iterables = [{ [Symbol.asyncIterator]: () => iterator }, { [Symbol.iterator]: () => iterator }];
    for (const given of [new Blob(), encode('a'), ...iterables]) {
      expect(() => {
        makeSource(given).close();
      }).not.toThrow();
    }
  });

  test.each<[string, () => unknown]>([
    ['a generator', failAtTheEnd],
    ['an async generator', failLaterAtTheEnd],
  ])('lets pass what the source throws then: %s', async (_, make) => {
    const source = makeSource(make());
    await source.read();
    expect(() => {
      source.close();
    }).not.toThrow();
  });
});

describe('a result that is a stream', () => {
  test.each<[string, unknown, boolean]>([
    ['an async generator', generate(), true],
    ['a ReadableStream', streamOf(), true],
    ['a Blob', new Blob(), true],
    ['a File', new File([], 'name'), true],
    ['a Response', new Response(), true],
    ['a Uint8Array', encode('a'), false],
    ['an array of them', [encode('a')], false],
    ['an object with a strange key', { [Symbol.asyncIterator]: 1 }, false],
    ['null', null, false],
    ['a string', 'abc', false],
  ])('can be told: %s', (_, value, expected) => {
    expect(isStream(value)).toBe(expected);
  });

  test('is not what throws when it is looked at', () => {
    const fail = (): never => {
      throw new Error('do not look');
    };
    expect(isStream(new Proxy({}, { has: fail, get: fail }))).toBe(false);
    expect(() => {
      discard(new Proxy({}, { has: fail, get: fail }));
    }).not.toThrow();
  });

  test('is closed when it is discarded', () => {
    const cancel = vi.fn();
    discard(new ReadableStream({ cancel }));
    expect(cancel).toHaveBeenCalledOnce();
  });

  test('is left alone when somebody else reads it', () => {
    const stream = streamOf();
    stream.getReader();
    expect(() => {
      discard(stream);
    }).not.toThrow();
  });

  test('and nothing else is discarded', () => {
    expect(() => {
      discard('abc');
    }).not.toThrow();
  });
});
