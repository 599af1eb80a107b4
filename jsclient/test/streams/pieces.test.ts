/** Streams that travel as pieces, because as many as can travel over HTTP do so already. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Channel } from '../../src/channels/channel.js';
import { ConnectionLostError, KernelError } from '../../src/errors.js';
import type { Message } from '../../src/protocol/messages.js';
import { PIECE_LIMIT, PIECES_BESIDE_MESSAGES } from '../../src/protocol/connection.js';
import { INLINE_TIME } from '../../src/streams/outgoing.js';
import type { MetaGenerator } from '../../src/streams/reader.js';
import { makeConnected, openChannel, type FakeServer, type Fixture } from '../fakes.js';
import { Tap } from '../tap.js';

const TICKET = 'AAAAAAAAAAAAAAAAAAAAAA';
const PLENTY = 2 ** 40;

let fixture: Fixture;
let server: FakeServer;
let channel: Channel;

beforeEach(async () => {
  vi.useFakeTimers();
  await connect(0);
});

afterEach(() => {
  fixture.client.close();
  vi.useRealTimers();
});

/** Connect to a server that lets this many streams travel over HTTP. */
async function connect(httpStreams: number, segmented = false): Promise<void> {
  fixture = makeConnected({ httpStreams }, { segmented });
  ({ server } = fixture);
  channel = await openChannel(fixture.client, server);
}

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const toText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Describe what the page has sent: pieces by their stream and size, other messages as they are. */
async function sent(): Promise<unknown[]> {
  return (await server.settle()).map((message) =>
    message.type === 'piece' ? [message.stream, message.data.length] : message,
  );
}

function send(...messages: (string | Message)[]): void {
  server.send(
    ...messages.map((message) =>
      typeof message === 'string' ? ({ type: 'piece', stream: 1, data: encode(message) } as const) : message,
    ),
  );
}

const END = { type: 'end', stream: 1 } as const;

test('a stream that is stopped in the line, and whose source yields once more, does not hold up the others', async () => {
  let yieldMore: (() => void) | undefined;
  const sizes = Array<number>(PIECES_BESIDE_MESSAGES / PIECE_LIMIT + 1).fill(PIECE_LIMIT);
  channel.handler = {
    async *give() {
      yield* sizes.map((size) => new Uint8Array(size));
      await new Promise<void>((resolve) => {
        yieldMore = resolve;
      });
      yield new Uint8Array(PIECE_LIMIT);
    },
  };
  server.request({ type: 'call', channel: 1, name: 'give', args: [] });
  await vi.advanceTimersByTimeAsync(INLINE_TIME);
  await sent();
  send({ type: 'ticket', stream: 1, ticket: TICKET, credit: PLENTY, near: true });
  const pieces = await sent();
  expect(pieces).toHaveLength(sizes.length - 1);
  send({ type: 'stop', stream: 1 });
  yieldMore?.();
  await settle();
  send({ type: 'ack', bytes: pieces.length * PIECE_LIMIT }); // Here the page went on for ever.
  expect(await sent()).toStrictEqual([]);
});
const PIECE = { type: 'piece', stream: 1, data: new Uint8Array(PIECE_LIMIT) } as const;

describe('a stream of the server', () => {
  async function receive(options: { total?: number } = {}, id = 1): Promise<MetaGenerator> {
    const result = later(channel.call('give'));
    await settle();
    const [message] = server.receive();
    const stream = { id, ...options, ticket: TICKET };
    server.send({ type: 'result', id: (message as Message & { id: number }).id, value: null, stream });
    return (await result) as MetaGenerator;
  }

  test('is asked for with credit when it is first read, and given as it comes', async () => {
    const stream = await receive({ total: 5 });
    expect(await sent()).toStrictEqual([]);
    const chunks = stream[Symbol.asyncIterator]();
    const first = chunks.next();
    expect(await sent()).toStrictEqual([{ type: 'credit', stream: 1, bytes: PIECES_BESIDE_MESSAGES }]);
    send('ab');
    expect(toText((await first).value as Uint8Array)).toBe('ab');
    const second = chunks.next();
    await settle();
    send('cde', END);
    expect(toText((await second).value as Uint8Array)).toBe('cde');
    expect(await chunks.next()).toStrictEqual({ done: true, value: undefined });
    expect(await sent()).toStrictEqual([]);
    expect(fixture.environment.exchanges).toStrictEqual([]);
  });

  test('has chunks with buffers of their own', async () => {
    const chunk = (await receive())[Symbol.asyncIterator]().next();
    await settle();
    server.send(PIECE);
    const { value } = (await chunk) as { value: Uint8Array };
    expect([value.length, value.buffer.byteLength]).toStrictEqual([PIECE_LIMIT, PIECE_LIMIT]);
  });

  test('has its short pieces joined', async () => {
    const chunks = (await receive())[Symbol.asyncIterator]();
    const first = chunks.next();
    await settle();
    send('a', 'b', 'c', { ...PIECE, data: new Uint8Array(4094) }, 'd', END);
    expect(((await first).value as Uint8Array).length).toBe(3);
    expect(((await chunks.next()).value as Uint8Array).length).toBe(4095);
    expect((await chunks.next()).done).toBe(true);
  });

  test('gets new credit when half of it has been used and read', async () => {
    const chunks = (await receive())[Symbol.asyncIterator]();
    const first = chunks.next();
    await server.settle();
    server.send(PIECE, PIECE, PIECE);
    await first;
    expect(await sent()).toStrictEqual([{ type: 'ack', bytes: 3 * PIECE_LIMIT }]);
    await chunks.next();
    expect(await sent()).toStrictEqual([]);
    await chunks.next();
    expect(await sent()).toStrictEqual([{ type: 'credit', stream: 1, bytes: PIECES_BESIDE_MESSAGES / 2 }]);
  });

  test('that is broken gives what has come, and then the error', async () => {
    const chunks = (await receive())[Symbol.asyncIterator]();
    const first = chunks.next();
    await settle();
    send('ab', { type: 'broken', stream: 1, name: 'ValueError', message: 'no' });
    expect(toText((await first).value as Uint8Array)).toBe('ab');
    await expect(chunks.next()).rejects.toThrow(new KernelError('exception', 'ValueError', 'no'));
  });

  test('that was broken before it was read is asked for no more', async () => {
    const stream = await receive();
    send({ type: 'broken', stream: 1, name: 'ValueError', message: 'no' });
    await expect(stream.join()).rejects.toThrow(KernelError);
    expect(await sent()).toStrictEqual([]);
  });

  test('is whole at its end, whatever length was measured before', async () => {
    const joined = later((await receive({ total: 5 })).join());
    await settle();
    send('ab', END);
    expect(toText(await joined)).toBe('ab');
  });

  test('that its reader stops is stopped, and what still comes is dropped and acknowledged', async () => {
    const chunks = (await receive())[Symbol.asyncIterator]();
    const first = chunks.next();
    await server.settle();
    send('ab');
    await first;
    await chunks.return?.(undefined);
    expect(await sent()).toStrictEqual([{ type: 'stop', stream: 1 }]);
    send(PIECE, PIECE, END);
    expect(await sent()).toStrictEqual([{ type: 'ack', bytes: 2 * PIECE_LIMIT + 2 }]);
  });

  test('ends with the connection', async () => {
    const joined = later((await receive()).join());
    await settle();
    server.socket.lose();
    await expect(joined).rejects.toThrow(ConnectionLostError);
  });

  test('may not come with more than its credit', async () => {
    void later((await receive())[Symbol.asyncIterator]().next());
    await settle();
    for (let left = PIECES_BESIDE_MESSAGES; left > 0; left -= PIECE_LIMIT) {
      server.send(PIECE);
    }
    expect(fixture.client.state).toBe('connected');
    send('x');
    expect(fixture.client.stopReason?.message).toMatch(
      /a stream has sent too much: 1 bytes of it came, with credit for 0/,
    );
  });

  test('may not come before somebody reads it', async () => {
    await receive();
    send('ab');
    expect(fixture.client.stopReason?.reason).toBe('protocol');
  });

  test('may not end as pieces when it is fetched', async () => {
    fixture.client.close();
    await connect(1);
    void later((await receive()).join());
    await settle();
    send(END);
    expect(fixture.client.stopReason?.reason).toBe('protocol');
    expect(fixture.client.stopReason?.message).toMatch('a stream has come in pieces that nobody has asked for');
  });
});

describe('a stream of the page', () => {
  async function announce(source: Parameters<Channel['pipe']>[0]): Promise<void> {
    void later(channel.callWithStream('take', source));
    await vi.advanceTimersByTimeAsync(INLINE_TIME);
    server.receive();
  }

  /** Let a stream be announced and read. */
  async function begin(source: Parameters<Channel['pipe']>[0], credit = PLENTY, stream = 1): Promise<void> {
    await announce(source);
    send({ type: 'ticket', stream, ticket: TICKET, credit });
  }

  test('is sent as pieces, and in the end its end', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('ab');
    expect(await sent()).toStrictEqual([[1, 2]]);
    await tap.give('cde');
    expect(await sent()).toStrictEqual([[1, 3]]);
    await tap.finish();
    expect(await sent()).toStrictEqual([END]);
    expect(fixture.environment.exchanges).toStrictEqual([]);
  });

  test('comes whole', async () => {
    const data = Uint8Array.from({ length: 150_000 }, (_, i) => i % 251);
    await begin([data.subarray(0, 10), data.subarray(10, 100_000), data.subarray(100_000)]);
    const pieces = (await server.settle()).map((message) => (message.type === 'piece' ? [...message.data] : message));
    expect(pieces.at(-1)).toStrictEqual(END);
    expect(pieces.slice(0, -1).flat()).toStrictEqual([...data]);
    expect(pieces.slice(0, -1).map((piece) => (piece as number[]).length)).toStrictEqual([65_536, 65_536, 18_928]);
  });

  test('goes as far as there is credit', async () => {
    await begin(new Uint8Array(100_000), 70_000);
    expect(await sent()).toStrictEqual([
      [1, PIECE_LIMIT],
      [1, 70_000 - PIECE_LIMIT],
    ]);
    send({ type: 'credit', stream: 1, bytes: 20_000 });
    expect(await sent()).toStrictEqual([[1, 20_000]]);
    send({ type: 'credit', stream: 1, bytes: 10_000 });
    expect(await sent()).toStrictEqual([[1, 10_000], END]);
  });

  test('waits for the arrival of what is under way, and no message waits behind more', async () => {
    await begin(new Uint8Array(2 * PIECES_BESIDE_MESSAGES));
    const all = Array.from({ length: PIECES_BESIDE_MESSAGES / PIECE_LIMIT }, () => [1, PIECE_LIMIT]);
    expect(await sent()).toStrictEqual(all);
    void later(channel.call('f'));
    expect(await sent()).toMatchObject([{ type: 'call' }]);
    send({ type: 'ack', bytes: PIECES_BESIDE_MESSAGES });
    expect(await sent()).toStrictEqual(all);
    send({ type: 'ack', bytes: PIECES_BESIDE_MESSAGES });
    expect(await sent()).toStrictEqual([END]);
    send({ type: 'ack', bytes: 1 });
    expect(fixture.client.stopReason?.reason).toBe('protocol');
  });

  test('lets a message leave before its pieces', async () => {
    await announce(new Uint8Array(100_000));
    void later(channel.call('f'));
    send({ type: 'ticket', stream: 1, ticket: TICKET, credit: PLENTY });
    expect(await sent()).toMatchObject([{ type: 'call' }, [1, PIECE_LIMIT], [1, 100_000 - PIECE_LIMIT], END]);
  });

  test('takes turns with others', async () => {
    for (const stream of [1, 2, 3]) {
      await begin(new Uint8Array(10 * PIECE_LIMIT), 1, stream);
      await server.settle();
    }
    send(...[1, 2, 3].map((stream) => ({ type: 'credit', stream, bytes: PLENTY }) as const));
    const turns = await sent();
    send({ type: 'ack', bytes: 3 * PIECE_LIMIT });
    turns.push(...(await sent()));
    expect(turns.map((turn) => (turn as number[])[0])).toStrictEqual([1, 2, 3, 1, 2, 3]);
  });

  test('is gathered from chunks that come without delay', async () => {
    async function* generate(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
      for (let i = 0; i < 1000; i++) {
        await Promise.resolve();
        yield new Uint8Array(100);
      }
    }
    await begin(generate());
    expect(await sent()).toStrictEqual([[1, PIECE_LIMIT], [1, 100_000 - PIECE_LIMIT], END]);
  });

  test('has two pieces behind a frame, where they are there', async () => {
    const { sent: frames } = server.socket;
    const before = frames.length;
    await begin(new Uint8Array(PIECES_BESIDE_MESSAGES));
    await settle();
    const kinds = frames.slice(before).map((frame) => (typeof frame === 'string' ? 'head' : 'bytes'));
    const [head, bytes] = ['head', 'bytes'] as const;
    expect(kinds.slice(kinds.indexOf(bytes) - 1)).toStrictEqual([head, bytes, bytes, head, bytes, bytes]);
  });

  test('may have chunks that the source changes when they are taken', async () => {
    const chunk = new Uint8Array(PIECE_LIMIT);
    function* generate(): Generator<Uint8Array<ArrayBuffer>> {
      for (let i = 1; i <= 40; i++) {
        yield chunk.fill(i).subarray(i % 3 === 0 ? 1000 : 0);
      }
    }
    await begin(generate());
    const seen: number[] = [];
    let size = 0;
    for (let isOver = false; !isOver;) {
      for (const message of await server.settle()) {
        isOver ||= message.type === 'end';
        for (const byte of message.type === 'piece' ? message.data : []) {
          size++;
          if (seen.at(-1) !== byte) {
            seen.push(byte);
          }
        }
        if (message.type === 'piece') {
          send({ type: 'ack', bytes: message.data.length });
        }
      }
    }
    expect(seen).toStrictEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    expect(size).toBe(40 * PIECE_LIMIT - 13 * 1000);
  });

  describe('of a server that is near', () => {
    beforeEach(async () => {
      fixture.client.close();
      await connect(3);
    });

    async function beginNear(source: Parameters<Channel['pipe']>[0], near: boolean): Promise<void> {
      await announce(source);
      send({ type: 'ticket', stream: 1, ticket: TICKET, credit: PLENTY, near });
      await settle();
    }

    test('is sent as pieces even if it could be posted', async () => {
      await beginNear(new Uint8Array(40_000), true);
      expect(await sent()).toStrictEqual([[1, 40_000], END]);
      expect(fixture.environment.exchanges).toStrictEqual([]);
    });

    test.each([32, 64, 100, 128])('and comes from a generator arrives as it was: chunks of %d KiB', async (kib) => {
      function* generate(): Generator<Uint8Array> {
        for (let number = 1; number <= 40; number++) {
          yield new Uint8Array(kib * 1024).fill(number);
        }
      }
      await announce(generate());
      send({ type: 'ticket', stream: 1, ticket: TICKET, credit: 2 ** 30, near: true });
      const counts = new Array<number>(41).fill(0);
      for (let isOver = false; !isOver;) {
        for (const message of await server.settle()) {
          isOver ||= message.type === 'end';
          if (message.type === 'piece') {
            for (const byte of message.data) {
              counts[byte] = (counts[byte] ?? 0) + 1;
            }
            send({ type: 'ack', bytes: message.data.length });
          }
        }
      }
      expect(counts).toStrictEqual([0, ...new Array<number>(40).fill(kib * 1024)]);
    });

    test('is posted if it is a Blob', async () => {
      await beginNear(new Blob([new Uint8Array(40_000)]), true);
      expect(fixture.environment.exchanges).toHaveLength(1);
    });

    test('is posted where a proxy takes streams in parts', async () => {
      fixture.client.close();
      await connect(3, true);
      await beginNear(new Uint8Array(40_000), true);
      expect(fixture.environment.exchanges).toHaveLength(1);
    });

    test('which is not, is posted', async () => {
      await beginNear(new Uint8Array(40_000), false);
      expect(fixture.environment.exchanges).toHaveLength(1);
    });
  });

  test('may be a Blob', async () => {
    vi.useRealTimers();
    const text = 'abcdefghij'.repeat(150_000);
    void later(channel.callWithStream('take', new Blob([text])));
    await new Promise(setImmediate);
    server.receive();
    send({ type: 'ticket', stream: 1, ticket: TICKET, credit: PLENTY });
    let received = '';
    for (let hasEnded = false; !hasEnded;) {
      await new Promise(setImmediate);
      for (const message of server.receive()) {
        hasEnded ||= message.type === 'end';
        if (message.type === 'piece') {
          received += toText(message.data);
          server.send({ type: 'ack', bytes: message.data.length });
        }
      }
    }
    expect(received).toBe(text);
  });

  test('that is a Blob which cannot be read is broken', async () => {
    const blob = new Blob([new Uint8Array(100_000)]);
    vi.spyOn(Blob.prototype, 'arrayBuffer').mockRejectedValueOnce(new TypeError('The file is gone.'));
    await begin(blob);
    expect(await sent()).toMatchObject([{ type: 'broken', stream: 1, message: 'The file is gone.' }]);
  });

  test('that is a Blob and is stopped while it is being read sends nothing', async () => {
    let finish: (data: ArrayBuffer) => void = () => undefined;
    vi.spyOn(Blob.prototype, 'arrayBuffer').mockReturnValueOnce(
      new Promise((resolve) => {
        finish = resolve;
      }),
    );
    await begin(new Blob([new Uint8Array(100_000)]));
    await settle();
    send({ type: 'stop', stream: 1 });
    finish(new ArrayBuffer(100_000));
    expect(await sent()).toStrictEqual([]);
  });

  test('whose source fails is broken behind its last piece', async () => {
    const tap = new Tap();
    await begin(tap, 3);
    await tap.give('abcd');
    await tap.fail(new RangeError('no'));
    expect(await sent()).toStrictEqual([[1, 3]]);
    send({ type: 'credit', stream: 1, bytes: PLENTY });
    expect(await sent()).toStrictEqual([
      [1, 1],
      { type: 'broken', stream: 1, name: 'RangeError', message: 'no' },
    ]);
  });

  test('that is stopped closes its source and sends nothing more, though its turn would come', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give(new Uint8Array(PIECES_BESIDE_MESSAGES));
    await server.settle();
    await tap.give('more');
    send({ type: 'stop', stream: 1 }, { type: 'ack', bytes: PIECES_BESIDE_MESSAGES });
    send({ type: 'credit', stream: 1, bytes: 1 });
    expect([await sent(), tap.isClosed]).toStrictEqual([[], true]);
  });

  test('that waits for its turn when the session ends sends nothing behind the goodbye', async () => {
    await begin(new Uint8Array(10 * PIECE_LIMIT));
    server.socket.arrive('[]');
    expect(await sent()).toMatchObject([{ type: 'goodbye' }]);
  });

  test('takes no credit before its ticket', async () => {
    await announce(new Uint8Array(100_000));
    send({ type: 'credit', stream: 1, bytes: 1 });
    expect(fixture.client.stopReason?.message).toMatch('credit was given to a stream that does not travel as pieces');
  });

  test('is posted if there is no place but no credit either', async () => {
    await announce(new Uint8Array(100_000));
    send({ type: 'ticket', stream: 1, ticket: TICKET });
    await settle();
    expect(fixture.environment.exchange.method).toBe('POST');
  });

  test('takes a second ticket for nothing', async () => {
    await begin(new Uint8Array(100_000), 5);
    send({ type: 'ticket', stream: 1, ticket: TICKET, credit: 5 });
    expect(await sent()).toStrictEqual([[1, 5]]);
  });
});

describe('the places of streams that travel over HTTP', () => {
  /** Receive a stream, begin to read it, and return it and what the page sends. */
  async function begin(id: number): Promise<[MetaGenerator, unknown[]]> {
    const result = later(channel.call('give'));
    const messages = await server.settle();
    const request = messages.find(({ type }) => type === 'call') as Message & { id: number };
    server.send({ type: 'result', id: request.id, value: null, stream: { id, ticket: TICKET } });
    const stream = (await result) as MetaGenerator;
    void later(stream[Symbol.asyncIterator]().next());
    return [stream, await sent()];
  }

  test('are taken first, and free again when their streams have ended', async () => {
    fixture.client.close();
    await connect(2);
    const { exchanges } = fixture.environment;
    const [first] = await begin(1);
    expect(await begin(2)).toMatchObject([{}, []]);
    expect(await begin(3)).toMatchObject([{}, [{ type: 'credit', stream: 3 }]]);
    expect(exchanges).toHaveLength(2);
    await first.aclose();
    expect(await begin(4)).toMatchObject([{}, []]);
    expect(exchanges).toHaveLength(3);
    void later(channel.callWithStream('take', new Uint8Array(100_000)));
    await server.settle();
    send({ type: 'ticket', stream: 1, ticket: TICKET, credit: PLENTY });
    expect(await sent()).toStrictEqual([[1, PIECE_LIMIT], [1, 100_000 - PIECE_LIMIT], END]);
  });

  test('are shared by all sessions with the same host, as through a proxy', async () => {
    fixture.client.close();
    await connect(1);
    const other = fixture;
    await begin(1);
    await connect(1);
    expect(await begin(1)).toMatchObject([{}, [{ type: 'credit' }]]);
    other.client.close();
    expect(await begin(2)).toMatchObject([{}, []]);
    expect(fixture.environment.exchanges).toHaveLength(1);
  });
});
