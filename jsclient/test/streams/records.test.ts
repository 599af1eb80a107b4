/** The ways to read a stream, compared with slicing and splitting the same bytes. */

import { describe, expect, test, vi } from 'vitest';
import { StateError } from '../../src/errors.js';
import type { ChunkReader } from '../../src/streams/cursors.js';
import { MetaGenerator } from '../../src/streams/reader.js';

/** Chunks in memory. */
class MemoryReader implements ChunkReader {
  readonly total = undefined;
  stopped: Error | undefined;
  isStopped = false;
  readonly #chunks: Uint8Array<ArrayBuffer>[];

  constructor(chunks: readonly (string | Uint8Array<ArrayBuffer>)[]) {
    this.#chunks = chunks.map((chunk) => (typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk));
  }

  get left(): number {
    return this.#chunks.length;
  }

  read(): Promise<Uint8Array<ArrayBuffer> | null> {
    if (this.isStopped) {
      return Promise.reject(this.stopped ?? new StateError('closed'));
    }
    return Promise.resolve(this.#chunks.shift() ?? null);
  }

  stop(error?: Error): void {
    this.isStopped = true;
    this.stopped = error;
  }
}

function makeStream(...chunks: (string | Uint8Array<ArrayBuffer>)[]): { stream: MetaGenerator; reader: MemoryReader } {
  const reader = new MemoryReader(chunks);
  return { stream: new MetaGenerator(reader), reader };
}

function toText(bytes: Uint8Array): string {
  return new TextDecoder('latin1').decode(bytes);
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected = [];
  for await (const item of items) {
    collected.push(item);
  }
  return collected;
}

async function collectTexts(items: AsyncIterable<Uint8Array>): Promise<string[]> {
  return (await collect(items)).map(toText);
}

/** Return a generator of pseudo-random integers, the same in each run. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function chunkRandomly(text: string, random: (below: number) => number): string[] {
  const chunks = [];
  for (let rest = text; rest !== '';) {
    const size = 1 + random(Math.min(rest.length, 1 + random(12)));
    chunks.push(rest.slice(0, size));
    rest = rest.slice(size);
  }
  return chunks;
}

function splitText(text: string, separator: string): string[] {
  const records = [];
  let rest = text;
  for (let at = rest.indexOf(separator); at !== -1; at = rest.indexOf(separator)) {
    records.push(rest.slice(0, at + separator.length));
    rest = rest.slice(at + separator.length);
  }
  return rest === '' ? records : [...records, rest];
}

function sliceText(text: string, size: number): string[] {
  const count = Math.ceil(text.length / size);
  return Array.from({ length: count }, (_, index) => text.slice(index * size, (index + 1) * size));
}

function randomText(random: (below: number) => number, alphabet: string): string {
  return Array.from({ length: random(80) }, () => alphabet[random(alphabet.length)]).join('');
}

describe('however a stream is cut into chunks', () => {
  test.each(['\n', 'ab', 'aab', 'abab', 'aaaa', 'abcabd'])('it has its records, by %j', async (separator) => {
    const random = makeRandom(separator.length * 7919 + separator.charCodeAt(0));
    for (let round = 0; round < 400; round++) {
      const text = randomText(random, round % 2 === 0 ? 'ab' : 'abcd\n');
      const { stream } = makeStream(...chunkRandomly(text, random));
      expect(await collectTexts(stream.bySeparator(separator))).toStrictEqual(splitText(text, separator));
    }
  });

  test('it has the pieces of its bytes', async () => {
    const random = makeRandom(42);
    for (let round = 0; round < 400; round++) {
      const text = randomText(random, 'abcdefgh');
      const size = 1 + random(20);
      const { stream } = makeStream(...chunkRandomly(text, random));
      expect(await collectTexts(stream.byLimit(size))).toStrictEqual(sliceText(text, size));
    }
  });

  test('it has the lines of its text', async () => {
    const random = makeRandom(7);
    for (let round = 0; round < 400; round++) {
      const text = randomText(random, 'ab\r\n');
      const { stream } = makeStream(...chunkRandomly(text, random));
      const lines = splitText(text, '\n').map((line) => line.replace(/\r?\n$/, ''));
      expect(await collect(stream.lines())).toStrictEqual(lines);
    }
  });

  test('what is left after a part of it is the rest', async () => {
    const random = makeRandom(99);
    for (let round = 0; round < 200; round++) {
      const text = randomText(random, 'ab\n');
      const { stream } = makeStream(...chunkRandomly(text, random));
      const first = await stream.bySeparator().next();
      const head = first.done === true ? '' : toText(first.value);
      expect(head + toText(await stream.join())).toBe(text);
    }
  });
});

describe('chunks', () => {
  test('are given as they come', async () => {
    const { stream } = makeStream('ab', 'c');
    expect(await collectTexts(stream)).toStrictEqual(['ab', 'c']);
  });

  test('are counted as they come', async () => {
    const { stream } = makeStream('ab', 'c');
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    expect(stream.received).toBe(2);
    await chunks.next();
    expect(stream.received).toBe(3);
  });

  test('are not read before somebody asks', async () => {
    const { stream, reader } = makeStream('ab', 'c');
    await stream.byLimit(1).next();
    expect(reader.left).toBe(1);
  });
});

describe('join', () => {
  test('gives everything', async () => {
    expect(toText(await makeStream('ab', 'cd', 'e').stream.join())).toBe('abcde');
  });

  test('gives nothing of an empty stream', async () => {
    expect(await makeStream().stream.join()).toStrictEqual(new Uint8Array());
  });

  test('gives nothing of a stream that has been read in another way', async () => {
    const { stream } = makeStream('ab');
    for await (const chunk of stream) {
      expect(toText(chunk)).toBe('ab');
    }
    expect(await stream.join()).toStrictEqual(new Uint8Array());
  });

  test('fails the second time, as the first one has returned the bytes', async () => {
    const { stream } = makeStream('ab');
    await stream.join();
    await expect(stream.join()).rejects.toThrow(StateError);
  });
});

describe('pieces', () => {
  test('have 8192 bytes unless told otherwise', async () => {
    const { stream } = makeStream(new Uint8Array(20_000));
    const pieces = await collect(stream.byLimit());
    expect(pieces.map((piece) => piece.length)).toStrictEqual([8192, 8192, 3616]);
  });

  test.each([0, -1, 1.5, NaN, '8', Infinity])('cannot have %s bytes', (limit) => {
    expect(() => makeStream().stream.byLimit(limit as number)).toThrow(RangeError);
  });
});

describe('records', () => {
  test('end with a line feed unless told otherwise', async () => {
    expect(await collectTexts(makeStream('a\nb').stream.bySeparator())).toStrictEqual(['a\n', 'b']);
  });

  test('can end with bytes', async () => {
    const { stream } = makeStream(Uint8Array.of(1, 0, 255), Uint8Array.of(2));
    expect(await collect(stream.bySeparator(Uint8Array.of(0, 255)))).toStrictEqual([
      Uint8Array.of(1, 0, 255),
      Uint8Array.of(2),
    ]);
  });

  test('can end with a text beyond ASCII', async () => {
    const { stream } = makeStream('a\u20ac', 'b');
    expect((await collect(stream.bySeparator('\u20ac'))).map((record) => record.length)).toStrictEqual([4, 1]);
  });

  test('do not share memory with their chunk', async () => {
    const chunk = new TextEncoder().encode('a\nb\n');
    const [record] = await collect(makeStream(chunk).stream.bySeparator());
    expect(record?.buffer.byteLength).toBe(2);
  });

  test('may be as long as the limit', async () => {
    expect(await collectTexts(makeStream('ab', 'c\n', 'd').stream.bySeparator('\n', { limit: 4 }))).toStrictEqual([
      'abc\n',
      'd',
    ]);
  });

  test.each([
    ['that has not ended', ['ab', 'cde', 'f']],
    ['that has ended', ['abcd\n']],
    ['that ends in a later chunk', ['abcd', '\n']],
  ])('that are longer than the limit stop the stream: one %s', async (_, chunks) => {
    const { stream, reader } = makeStream(...chunks);
    const error = new RangeError(
      'A record of the stream is longer than 4 bytes. If that is right, give a greater limit.',
    );
    await expect(stream.bySeparator('\n', { limit: 4 }).next()).rejects.toStrictEqual(error);
    expect(reader.isStopped).toBe(true);
    await expect(stream.join()).rejects.toStrictEqual(error);
  });

  test('need no limit', async () => {
    expect(await collectTexts(makeStream('a\nb').stream.bySeparator('\n', { limit: Infinity }))).toStrictEqual([
      'a\n',
      'b',
    ]);
  });

  test('cannot have a limit of 0', () => {
    expect(() => makeStream().stream.bySeparator('\n', { limit: 0 })).toThrow(
      new RangeError('The limit must be a number of bytes, an integer from 1 on. It is 0.'),
    );
  });

  test('cannot end with nothing', () => {
    expect(() => makeStream().stream.bySeparator('')).toThrow(RangeError);
  });

  test('cannot end with what is no bytes', () => {
    expect(() => makeStream().stream.bySeparator(10 as unknown as string)).toThrow(TypeError);
  });
});

describe('lines', () => {
  test('are read as UTF-8, whole', async () => {
    const bytes = new TextEncoder().encode('gr\u00f6\u00df\u20ac\n\ufeffb');
    const { stream } = makeStream(bytes.slice(0, 3), bytes.slice(3, 7), bytes.slice(7));
    expect(await collect(stream.lines())).toStrictEqual(['gr\u00f6\u00df\u20ac', '\ufeffb']);
  });

  test('keep a carriage return that is not at their end', async () => {
    expect(await collect(makeStream('a\rb\r\r\n\r').stream.lines())).toStrictEqual(['a\rb\r', '\r']);
  });

  test('that are not UTF-8 stop the stream', async () => {
    const { stream, reader } = makeStream(Uint8Array.of(97, 10, 255, 10));
    await expect(collect(stream.lines())).rejects.toThrow(
      new TypeError('A line of the stream is not UTF-8. Read its bytes with bySeparator instead.'),
    );
    expect(reader.isStopped).toBe(true);
  });

  test('that are longer than the limit stop the stream', async () => {
    await expect(collect(makeStream('abc').stream.lines({ limit: 2 }))).rejects.toThrow(RangeError);
  });
});

describe('a reader that ends early stops the source', () => {
  test('by leaving a loop', async () => {
    const { stream, reader } = makeStream('a', 'b');
    for await (const chunk of stream) {
      expect(toText(chunk)).toBe('a');
      break;
    }
    expect(reader.isStopped).toBe(true);
  });

  test('by return before the first next', async () => {
    const { stream, reader } = makeStream('a\n');
    expect(await stream.lines().return?.()).toStrictEqual({ value: undefined, done: true });
    expect(reader.isStopped).toBe(true);
  });

  test('by aclose, and reading rejects from then on', async () => {
    const { stream } = makeStream('a\nb');
    await stream.bySeparator().next();
    await stream.aclose();
    await expect(stream.join()).rejects.toThrow(StateError);
  });

  test('by cancelling the ReadableStream', async () => {
    const { stream, reader } = makeStream('a');
    await stream.stream.cancel();
    expect(reader.isStopped).toBe(true);
  });
});

test('two readers at the same time are refused', async () => {
  const { stream } = makeStream('a');
  const first = stream.join();
  await expect(stream.join()).rejects.toStrictEqual(
    new StateError('The stream is already being read by something else.'),
  );
  expect(toText(await first)).toBe('a');
});

describe('the ReadableStream', () => {
  test('is always the same', () => {
    const { stream } = makeStream('a');
    expect(stream.stream).toBe(stream.stream);
  });

  test('gives what is left', async () => {
    const { stream } = makeStream('ab\ncd', 'e');
    await stream.bySeparator().next();
    expect(await new Response(stream.stream).text()).toBe('cde');
  });

  test('reads nothing before somebody asks', async () => {
    const { stream, reader } = makeStream('a');
    const { stream: plain } = stream;
    await Promise.resolve();
    expect([reader.left, plain.locked]).toStrictEqual([1, false]);
  });

  test('fills buffers of its reader', async () => {
    const reader = makeStream('abc').stream.stream.getReader({ mode: 'byob' });
    expect(toText((await reader.read(new Uint8Array(2))).value as Uint8Array)).toBe('ab');
    expect(toText((await reader.read(new Uint8Array(2))).value as Uint8Array)).toBe('c');
    expect((await reader.read(new Uint8Array(2))).done).toBe(true);
  });

  test('is a plain one where there are no byte streams', async () => {
    const { ReadableStream: Real } = globalThis;
    vi.stubGlobal('ReadableStream', function makeOld(source: UnderlyingDefaultSource, strategy?: QueuingStrategy) {
      if ('type' in source) {
        throw new TypeError('There are no byte streams.');
      }
      return new Real(source, strategy);
    });
    const { stream, reader } = makeStream('a', 'b');
    const { stream: plain } = stream;
    await Promise.resolve();
    expect(reader.left).toBe(2);
    expect(await collectTexts(plain as unknown as AsyncIterable<Uint8Array>)).toStrictEqual(['a', 'b']);
  });
});
