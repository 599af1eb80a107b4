/** Streams in both directions, between a client and a fake server with HTTP. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Channel } from '../../src/channels/channel.js';
import { connectFrom } from '../../src/connection/client.js';
import { ClosedError, ConnectionLostError, KernelError, StateError } from '../../src/errors.js';
import type { Message } from '../../src/protocol/messages.js';
import { MAX_RUNNING } from '../../src/requests/dispatcher.js';
import { BROKEN_TIMEOUT } from '../../src/streams/incoming.js';
import { INLINE_TIME, POST_LIMIT } from '../../src/streams/outgoing.js';
import type { MetaGenerator } from '../../src/streams/reader.js';
import { INLINE_LIMIT } from '../../src/streams/sources.js';
import {
  FakeEnvironment,
  FakeServer,
  makeConnected,
  openChannel,
  reconnect,
  type FakeExchange,
  type Fixture,
} from '../fakes.js';
import { Tap } from '../tap.js';

const TICKET = 'AAAAAAAAAAAAAAAAAAAAAA';
const URL = `http://localhost:8889/streams/${TICKET}`;

let fixture: Fixture;
let server: FakeServer;
let channel: Channel;

beforeEach(async () => {
  vi.useFakeTimers();
  fixture = makeConnected();
  ({ server } = fixture);
  channel = await open();
});

afterEach(() => {
  vi.useRealTimers();
});

function open(id = 1): Promise<Channel> {
  return openChannel(fixture.client, server, id);
}

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const toText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

async function* generate(...chunks: string[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (const chunk of chunks) {
    await Promise.resolve();
    yield encode(chunk);
  }
}

/** A response body that fails when it is cancelled. */
function makeStubborn(): ReadableStream {
  return new ReadableStream({ cancel: () => Promise.reject(new Error('no')) });
}

/** Return a promise whose rejection a test handles later. */
function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Return the path, the query and the body of a POST request. */
async function describePost({ url, method, body }: FakeExchange): Promise<unknown> {
  return [method, url.replace(URL, ''), await body?.text()];
}

describe('a stream of the page that is short and ready travels inside its message', () => {
  test.each<[string, () => Parameters<Channel['pipe']>[0]]>([
    ['bytes', () => encode('abc')],
    ['an async generator', () => generate('a', 'bc')],
    ['an array of chunks', () => [encode('a'), new Uint8Array(), encode('bc')]],
    ['a ReadableStream', () => new Blob(['abc']).stream()],
    ['a Response', () => new Response('abc')],
  ])('as %s', async (_, make) => {
    void channel.callWithStream('take', make(), 1, encode('x'));
    expect(await server.settle()).toStrictEqual([
      {
        type: 'call',
        id: 1,
        channel: 1,
        name: 'take',
        args: [1, encode('x')],
        stream: { id: 1, total: 3, data: encode('abc') },
      },
    ]);
    expect(fixture.environment.exchanges).toStrictEqual([]);
  });

  test('as a Blob', async () => {
    vi.spyOn(Blob.prototype, 'arrayBuffer').mockResolvedValue(encode('abc').buffer);
    void channel.pipe(new Blob(['abc']));
    expect(await server.settle()).toMatchObject([{ type: 'pipe', stream: { id: 1, total: 3, data: encode('abc') } }]);
  });

  test('as nothing at all', async () => {
    void channel.pipe(generate());
    expect(await server.settle()).toMatchObject([{ stream: { total: 0, data: new Uint8Array() } }]);
  });

  test('in the message that leaves at once, when it is bytes', () => {
    void channel.pipe(new Uint8Array(INLINE_LIMIT));
    void channel.call('f');
    return Promise.resolve().then(async () => {
      expect(await server.settle()).toMatchObject([{ type: 'pipe', id: 1 }, { type: 'call', id: 2 }]);
    });
  });

  test('with the arguments as they were', async () => {
    const args = [1];
    void channel.callWithStream('take', generate('a'), args);
    args.push(2);
    expect(await server.settle()).toMatchObject([{ args: [[1]] }]);
  });

  test('when its end comes before the time is over', async () => {
    const tap = new Tap();
    void channel.pipe(tap);
    await vi.advanceTimersByTimeAsync(INLINE_TIME - 1);
    await tap.give('abc');
    await tap.finish();
    expect(await server.settle()).toMatchObject([{ stream: { data: encode('abc') } }]);
    expect([tap.isClosed, vi.getTimerCount()]).toStrictEqual([false, 1]);
  });
});

describe('another stream of the page is announced', () => {
  test('at once when it is known to be long', async () => {
    void channel.pipe(new Uint8Array(INLINE_LIMIT + 1));
    expect(await server.settle()).toStrictEqual([
      { type: 'pipe', id: 1, channel: 1, stream: { id: 1, total: INLINE_LIMIT + 1 } },
    ]);
  });

  test('when more than the limit has come', async () => {
    const tap = new Tap();
    void channel.pipe(tap);
    await tap.give(new Uint8Array(INLINE_LIMIT));
    expect(await server.settle()).toStrictEqual([]);
    await tap.give('x');
    expect(await server.settle()).toStrictEqual([{ type: 'pipe', id: 1, channel: 1, stream: { id: 1 } }]);
    expect(tap.pulls).toBe(2);
  });

  test('when the time is over', async () => {
    void channel.pipe(new Tap());
    await vi.advanceTimersByTimeAsync(INLINE_TIME - 1);
    expect(server.receive()).toStrictEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(server.receive()).toMatchObject([{ stream: { id: 1 } }]);
  });

  test('with a number that is greater than that of the one before', async () => {
    void channel.pipe(encode('a'));
    void channel.pipe(encode('b'));
    expect(await server.settle()).toMatchObject([{ stream: { id: 1 } }, { stream: { id: 2 } }]);
  });

  test('and read no further before somebody reads it', async () => {
    const tap = new Tap();
    await announce(tap);
    await tap.give('a');
    expect([tap.pulls, fixture.environment.exchanges]).toStrictEqual([1, []]);
  });
});

describe('what is no stream is refused, and nothing is sent', () => {
  test.each<[string, unknown, string]>([
    ['a string', 'abc', 'This is a string.'],
    ['undefined', undefined, 'This is undefined.'],
  ])('such as %s', async (_, given, message) => {
    await expect(channel.callWithStream('take', given as Blob)).rejects.toThrow(message);
    await expect(channel.pipe(given as Blob)).rejects.toThrow(TypeError);
    expect(await server.settle()).toStrictEqual([]);
  });

  test('and neither is a stream begun beside arguments that cannot be sent', async () => {
    const tap = new Tap();
    await expect(channel.callWithStream('take', tap, NaN)).rejects.toThrow(RangeError);
    expect(tap.pulls).toBe(0);
  });

  test('and neither with a name that is no string', async () => {
    await expect(channel.callWithStream(1 as unknown as string, new Tap())).rejects.toThrow(TypeError);
  });

  test('and a stream is closed whose message is too large', async () => {
    fixture = makeConnected({ frameLimit: 5000 });
    ({ server } = fixture);
    channel = await open();
    const tap = new Tap();
    const result = later(channel.callWithStream('take', tap, 'x'.repeat(5000)));
    await vi.advanceTimersByTimeAsync(INLINE_TIME);
    await expect(result).rejects.toThrow(RangeError);
    expect(tap.isClosed).toBe(true);
  });
});

/** Send a source that is not short. */
async function announce(source: Parameters<Channel['pipe']>[0]): Promise<void> {
  void later(channel.callWithStream('take', source));
  await vi.advanceTimersByTimeAsync(INLINE_TIME);
  server.receive();
}

async function begin(source: Parameters<Channel['pipe']>[0]): Promise<void> {
  await announce(source);
  server.send({ type: 'ticket', stream: 1, ticket: TICKET });
  await settle();
}

describe('a stream of the page is posted', () => {
  test('with what was read before, and in the end its end', async () => {
    const tap = new Tap();
    const { environment } = fixture;
    const announced = announce(tap);
    await tap.give('ab');
    await announced;
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    await settle();
    expect(await describePost(environment.exchange)).toStrictEqual(['POST', '?offset=0', 'ab']);
    environment.exchange.answer(204);
    await tap.give('cde');
    expect(await describePost(environment.exchange)).toStrictEqual(['POST', '?offset=2', 'cde']);
    environment.exchange.answer(204);
    await tap.finish();
    expect(await describePost(environment.exchange)).toStrictEqual(['POST', '?offset=5&end=1', '']);
    environment.exchange.answer(204);
    await settle();
    expect([environment.exchanges.length, await server.settle()]).toStrictEqual([3, []]);
  });

  test('as Blobs without a type', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('ab');
    expect(fixture.environment.exchange.body).toBeInstanceOf(Blob);
    expect(fixture.environment.exchange.body?.type).toBe('');
  });

  test('with what came while a post was under way as the next', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    await tap.give('b');
    await tap.give('c');
    await tap.finish();
    expect(fixture.environment.exchanges).toHaveLength(1);
    fixture.environment.exchange.answer(204);
    await settle();
    expect(await describePost(fixture.environment.exchange)).toStrictEqual(['POST', '?offset=1&end=1', 'bc']);
  });

  test('at once as a whole, when the source never waits', async () => {
    await begin(generate(...Array.from({ length: 40 }, () => 'x'.repeat(1024))));
    expect(fixture.environment.exchange.body?.size).toBe(40 * 1024);
    expect(fixture.environment.exchange.url).toBe(`${URL}?offset=0&end=1`);
  });

  test('in slices of the limit', async () => {
    await begin(new Blob([new Uint8Array(2 * POST_LIMIT + 1)]));
    const sizes = [];
    for (let count = 0; count < 3; count++) {
      const { exchange } = fixture.environment;
      sizes.push([exchange.url.replace(URL, ''), exchange.body?.size]);
      exchange.answer(204);
      await settle();
    }
    expect(sizes).toStrictEqual([
      ['?offset=0', POST_LIMIT],
      [`?offset=${String(POST_LIMIT)}`, POST_LIMIT],
      [`?offset=${String(2 * POST_LIMIT)}&end=1`, 1],
    ]);
    expect(fixture.environment.exchanges).toHaveLength(3);
  });

  test('in slices of a chunk that is larger than the limit', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give(new Uint8Array(POST_LIMIT + 2).fill(1));
    expect(fixture.environment.exchange.body?.size).toBe(POST_LIMIT);
    fixture.environment.exchange.answer(204);
    await tap.finish();
    expect(await fixture.environment.exchange.body?.text()).toBe('\x01\x01');
  });

  test('while the source is read no further than the limit', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    await tap.give(new Uint8Array(POST_LIMIT - 1));
    await tap.give('b');
    expect(tap.pulls).toBe(3);
    fixture.environment.exchange.answer(204);
    await settle();
    expect(tap.pulls).toBe(4);
  });

  test('while no more than so many short chunks wait', async () => {
    let pulls = 0;
    await begin(
      (function* () {
        for (;;) {
          pulls++;
          yield encode('x');
        }
      })(),
    );
    expect(pulls).toBeLessThan(100_000);
    server.send({ type: 'stop', stream: 1 });
  });

  test('once, however often the ticket comes', async () => {
    const tap = new Tap();
    await begin(tap);
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    await tap.give('a');
    expect(fixture.environment.exchanges).toHaveLength(1);
  });
});

describe('a source that fails', () => {
  test('is told of with its name and message', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.fail(new RangeError('too far'));
    const broken = { type: 'broken', stream: 1, name: 'RangeError', message: 'too far' };
    expect(await server.settle()).toStrictEqual([broken]);
    expect(fixture.environment.exchanges).toHaveLength(0);
  });

  test('is told of after what it had given', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    await tap.give('b');
    await tap.fail(new Error('gone'));
    fixture.environment.exchange.answer(204);
    await settle();
    expect(await describePost(fixture.environment.exchange)).toStrictEqual(['POST', '?offset=1', 'b']);
    expect(await server.settle()).toStrictEqual([]);
    fixture.environment.exchange.answer(204);
    expect(await server.settle()).toMatchObject([{ type: 'broken' }]);
  });

  test('is announced like any other when it fails at once', async () => {
    const tap = new Tap();
    void channel.pipe(tap);
    await tap.fail('no error');
    expect(await server.settle()).toStrictEqual([{ type: 'pipe', id: 1, channel: 1, stream: { id: 1 } }]);
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    expect(await server.settle()).toStrictEqual([{ type: 'broken', stream: 1, name: 'string', message: 'no error' }]);
  });

  test('by giving what is no bytes is closed', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give(1 as unknown as Uint8Array<ArrayBuffer>);
    expect(await server.settle()).toMatchObject([{ type: 'broken', name: 'TypeError' }]);
    expect(tap.isClosed).toBe(true);
  });
});

describe('a stream of the page ends early', () => {
  test('when its reader stops, even while a post is under way', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    server.send({ type: 'stop', stream: 1 });
    expect([tap.isClosed, fixture.environment.exchange.signal.aborted]).toStrictEqual([true, true]);
    expect(await server.settle()).toStrictEqual([]);
  });

  test('when its reader stops while it waits for its source', async () => {
    const tap = new Tap();
    await begin(tap);
    server.send({ type: 'stop', stream: 1 });
    await tap.give('a');
    expect([tap.isClosed, tap.pulls, fixture.environment.exchanges]).toStrictEqual([true, 1, []]);
  });

  test('when its reader stops before it has begun', async () => {
    const tap = new Tap();
    await announce(tap);
    server.send({ type: 'stop', stream: 1 });
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    await settle();
    expect([tap.isClosed, fixture.environment.exchanges]).toStrictEqual([true, []]);
  });

  test('when its reader stops while the last answer arrives', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.finish();
    fixture.environment.exchange.answer(204);
    server.send({ type: 'stop', stream: 1 });
    expect(await server.settle()).toStrictEqual([]);
  });

  test('when the source has ended and its bytes wait', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    await tap.finish();
    server.send({ type: 'stop', stream: 1 });
    expect(await server.settle()).toStrictEqual([]);
    expect(tap.isClosed).toBe(false);
  });

  test.each([202, 410])('without a word when the answer to a post is %d', async (status) => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    fixture.environment.exchange.answer(status);
    expect(await server.settle()).toStrictEqual([]);
    expect([tap.isClosed, fixture.environment.exchanges.length]).toStrictEqual([true, 1]);
  });

  test.each([409, 200, 500])('when the answer to a post is %d', async (status) => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    fixture.environment.exchange.answer(status, 'a page for people');
    expect(await server.settle()).toStrictEqual([
      {
        type: 'broken',
        stream: 1,
        name: 'StateError',
        message: `The page could not post a part of the stream: the server answered with the status ${String(status)}.`,
      },
    ]);
    expect(tap.isClosed).toBe(true);
  });

  test('when the answer to a post is an error whose text cannot be let go', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    fixture.environment.exchange.answer(500, makeStubborn());
    expect(await server.settle()).toMatchObject([{ type: 'broken' }]);
  });

  test('when a post fails', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    fixture.environment.exchange.fail(new TypeError('Failed to fetch'));
    const message = 'The page could not post a part of the stream: Failed to fetch';
    expect(await server.settle()).toMatchObject([{ type: 'broken', name: 'StateError', message }]);
    expect(tap.isClosed).toBe(true);
  });

  test('when its channel is closed', async () => {
    const tap = new Tap();
    await announce(tap);
    await server.ask({ type: 'close', channel: 1 });
    expect(tap.isClosed).toBe(true);
  });

  test('but not when another channel is closed', async () => {
    await open(2);
    const tap = new Tap();
    await announce(tap);
    await server.ask({ type: 'close', channel: 2 });
    expect(tap.isClosed).toBe(false);
  });

  test('when the connection is lost', async () => {
    const tap = new Tap();
    await begin(tap);
    await tap.give('a');
    fixture.environment.socket.lose();
    await settle();
    expect([tap.isClosed, fixture.environment.exchange.signal.aborted]).toStrictEqual([true, true]);
  });

  test('when the connection is lost before it could leave', async () => {
    const tap = new Tap();
    const result = later(channel.pipe(tap));
    fixture.environment.socket.lose();
    await expect(result).rejects.toStrictEqual(
      new ConnectionLostError('The connection to the server was lost before the stream had ended.'),
    );
    expect(tap.isClosed).toBe(true);
  });

  test('when the client is closed', async () => {
    const tap = new Tap();
    await announce(tap);
    fixture.client.close();
    expect(tap.isClosed).toBe(true);
  });
});

/** Answer a call of the page with a stream of the server. */
async function receive(options: { total?: number; data?: Uint8Array<ArrayBuffer> } = {}): Promise<MetaGenerator> {
  const result = channel.call('give');
  await settle();
  const [message] = server.receive();
  const stream = { id: 1, ...options, ...(options.data === undefined ? { ticket: TICKET } : {}) };
  server.send({ type: 'result', id: (message as Message & { id: number }).id, value: null, stream });
  return (await result) as MetaGenerator;
}

describe('a stream of the server', () => {
  test('is fetched when it is first read, and given as it comes', async () => {
    const stream = await receive({ total: 5 });
    expect([fixture.environment.exchanges, stream.total, stream.received]).toStrictEqual([[], 5, 0]);
    const chunks = stream[Symbol.asyncIterator]();
    const first = chunks.next();
    expect(fixture.environment.exchange).toMatchObject({ url: URL, method: 'GET', body: undefined });
    fixture.environment.exchange.begin('ab', '');
    expect(await first).toStrictEqual({ done: false, value: encode('ab') });
    fixture.environment.exchange.give(new Uint8Array(), 'cde');
    expect(await chunks.next()).toStrictEqual({ done: false, value: encode('cde') });
    fixture.environment.exchange.finish();
    expect(await chunks.next()).toMatchObject({ done: true });
    expect([stream.received, await server.settle(), fixture.environment.exchanges.length]).toStrictEqual([5, [], 1]);
  });

  test('is over when it has ended', async () => {
    const stream = await receive();
    const chunks = stream[Symbol.asyncIterator]();
    const first = chunks.next();
    fixture.environment.exchange.begin('ab');
    fixture.environment.exchange.finish();
    await first;
    expect(await chunks.next()).toMatchObject({ done: true });
    await stream.aclose();
    fixture.environment.socket.lose();
    expect(await stream.join()).toStrictEqual(new Uint8Array());
  });

  test('can be piped', async () => {
    const result = channel.pipe(encode('abc'));
    await server.settle();
    server.send({ type: 'result', id: 1, value: null, stream: { id: 1, data: encode('abc') } });
    expect(toText(await (await result).join())).toBe('abc');
  });

  test('rejects with what its source has raised, after what it had given', async () => {
    const stream = await receive();
    const chunks = stream[Symbol.asyncIterator]();
    const first = chunks.next();
    server.send({ type: 'broken', stream: 1, name: 'ValueError', message: 'no more' });
    fixture.environment.exchange.begin('ab');
    expect(await first).toMatchObject({ value: encode('ab') });
    const second = later(chunks.next());
    fixture.environment.exchange.breakOff(new TypeError('network error'));
    const error = new KernelError('exception', 'ValueError', 'no more');
    await expect(second).rejects.toStrictEqual(error);
    await expect(stream.join()).rejects.toBe(await second.catch((reason: unknown) => reason));
    expect(await server.settle()).toStrictEqual([]);
  });

  test('waits for what its source has raised', async () => {
    const stream = await receive();
    const all = later(stream.join());
    fixture.environment.exchange.begin('ab');
    fixture.environment.exchange.breakOff(new TypeError('network error'));
    await vi.advanceTimersByTimeAsync(BROKEN_TIMEOUT * 1000 - 1);
    server.send({ type: 'broken', stream: 1, name: 'ValueError', message: 'no more' });
    await expect(all).rejects.toStrictEqual(new KernelError('exception', 'ValueError', 'no more'));
  });

  test('rejects with what its source has raised even if its end looks whole', async () => {
    const all = later((await receive()).join());
    fixture.environment.exchange.begin('ab');
    server.send({ type: 'broken', stream: 1, name: 'ValueError', message: 'no more' });
    fixture.environment.exchange.finish();
    await expect(all).rejects.toThrow(KernelError);
  });

  test('rejects when it breaks off for no known reason, and stops its source', async () => {
    const stream = await receive();
    const all = later(stream.join());
    fixture.environment.exchange.begin('ab');
    fixture.environment.exchange.breakOff(new TypeError('network error'));
    await vi.advanceTimersByTimeAsync(BROKEN_TIMEOUT * 1000);
    await expect(all).rejects.toStrictEqual(new StateError('The stream broke off: network error'));
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
  });

  test.each([404, 410, 502])('rejects when the answer is %d', async (status) => {
    const all = later((await receive()).join());
    fixture.environment.exchange.answer(status, 'a page for people');
    await vi.advanceTimersByTimeAsync(BROKEN_TIMEOUT * 1000);
    await expect(all).rejects.toStrictEqual(
      new StateError(`The stream broke off: the server answered with the status ${String(status)}.`),
    );
  });

  test('rejects when the answer is an error whose text cannot be let go', async () => {
    const all = later((await receive()).join());
    fixture.environment.exchange.answer(404, makeStubborn());
    await vi.advanceTimersByTimeAsync(BROKEN_TIMEOUT * 1000);
    await expect(all).rejects.toThrow('the status 404');
  });

  test('rejects when the answer has no body', async () => {
    const all = later((await receive()).join());
    fixture.environment.exchange.answer(204);
    await vi.advanceTimersByTimeAsync(BROKEN_TIMEOUT * 1000);
    await expect(all).rejects.toThrow('the status 204');
  });

  test.each(['a', 'ab', 'abc'])('is whole at its end, whatever length was measured before: %s', async (text) => {
    const stream = await receive({ total: 2 });
    const all = stream.join();
    fixture.environment.exchange.begin(text);
    fixture.environment.exchange.finish();
    expect(new TextDecoder().decode(await all)).toBe(text);
    expect(stream.total).toBe(2);
    expect(await server.settle()).toStrictEqual([]);
  });

  test('is stopped when its reader leaves', async () => {
    const stream = await receive();
    const chunks = stream[Symbol.asyncIterator]();
    void chunks.next();
    fixture.environment.exchange.begin('ab');
    await settle();
    await chunks.return?.();
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
    expect(fixture.environment.exchange.signal.aborted).toBe(true);
    await expect(stream.join()).rejects.toStrictEqual(new StateError('The stream was closed by its reader.'));
  });

  test('is stopped while its reader waits', async () => {
    const stream = await receive();
    const first = later(stream.join());
    fixture.environment.exchange.begin();
    await settle();
    await stream.aclose();
    await expect(first).rejects.toStrictEqual(new StateError('The stream was closed by its reader.'));
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
  });

  test('is stopped before anything came', async () => {
    const stream = await receive();
    await stream.aclose();
    await stream.aclose();
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
    expect(fixture.environment.exchanges).toStrictEqual([]);
  });

  test('is closed by its reader even if a chunk came first', async () => {
    const stream = await receive();
    const first = later(stream.join());
    fixture.environment.exchange.begin();
    await settle();
    fixture.environment.exchange.give('ab');
    void stream.aclose();
    await expect(first).rejects.toThrow('closed by its reader');
  });

  test.each<[string, () => unknown, string, typeof StateError?]>([
    ['channel', () => server.request({ type: 'close', channel: 1 }), 'The channel 1 was closed.'],
    [
      'connection',
      () => {
        fixture.environment.socket.lose();
      },
      'The connection to the server was lost before the stream had ended.',
      ConnectionLostError,
    ],
    [
      'client',
      () => {
        fixture.client.close();
      },
      'The page has closed its connection.',
    ],
    [
      'server',
      () => {
        server.send({ type: 'goodbye', reason: 'closed', message: 'The server is closing.' });
      },
      'The server is closing.',
    ],
  ])('ends with its %s', async (_, end, message, Reason = ClosedError) => {
    const stream = await receive();
    const all = later(stream.join());
    fixture.environment.exchange.begin('ab');
    await settle();
    end();
    await expect(all).rejects.toStrictEqual(new Reason(message));
    await expect(stream.join()).rejects.toStrictEqual(new Reason(message));
    expect(fixture.environment.exchange.signal.aborted).toBe(true);
  });

  test('ends with its channel while it waits for a reason', async () => {
    const all = later((await receive()).join());
    fixture.environment.exchange.fail(new TypeError('network error'));
    await settle();
    await server.ask({ type: 'close', channel: 1 });
    await expect(all).rejects.toStrictEqual(new ClosedError('The channel 1 was closed.'));
  });

  test('is stopped when nobody waits for it any more', async () => {
    void later(channel.call('give'));
    void later(channel.call('give'));
    await server.settle();
    await server.ask({ type: 'close', channel: 1 });
    server.send({ type: 'result', id: 1, value: null, stream: { id: 1, ticket: TICKET } });
    server.send({ type: 'result', id: 2, value: null, stream: { id: 2, data: encode('a') } });
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
  });

  test('is not heard of any more after its end', async () => {
    const stream = await receive({ data: encode('abc') });
    server.send({ type: 'broken', stream: 1, name: 'E', message: 'm' });
    expect(toText(await stream.join())).toBe('abc');
  });

  test('of the connection before is nothing to the next one', async () => {
    const stream = await receive();
    fixture.environment.socket.lose();
    server = reconnect(fixture, [1]);
    await stream.aclose();
    expect(await server.settle()).toStrictEqual([]);
  });
});

describe('a stream of the server through a proxy', () => {
  const PROXY = 'http://localhost:8888/proxy/8889';

  /** Return the requests so far, without the start of the stream's URL. */
  function asked(): string[] {
    return fixture.environment.exchanges.map(({ url }) => url.replace(`${PROXY}/streams/${TICKET}`, ''));
  }

  beforeEach(async () => {
    fixture = makeConnected({}, { url: PROXY });
    ({ server } = fixture);
    channel = await open();
  });

  test('is fetched in parts, each when the one before has been read', async () => {
    const stream = await receive({ total: 5 });
    const chunks = stream[Symbol.asyncIterator]();
    const first = chunks.next();
    fixture.environment.exchange.answerPart('ab', 'more');
    expect(await first).toStrictEqual({ done: false, value: encode('ab') });
    await settle();
    expect(asked()).toStrictEqual(['?offset=0']);
    const second = chunks.next();
    fixture.environment.exchange.answerPart('cde', 'last');
    expect(await second).toStrictEqual({ done: false, value: encode('cde') });
    expect(await chunks.next()).toMatchObject({ done: true });
    expect([asked(), await server.settle()]).toStrictEqual([['?offset=0', '?offset=2'], []]);
  });

  test('is asked for again where nothing of it was ready, and may end so', async () => {
    const all = (await receive()).join();
    fixture.environment.exchange.answerPart('', 'more');
    await settle();
    fixture.environment.exchange.answerPart('', 'last');
    expect(toText(await all)).toBe('');
    expect(asked()).toStrictEqual(['?offset=0', '?offset=0']);
  });

  test('gives chunks whose buffers are their own', async () => {
    const chunks = (await receive())[Symbol.asyncIterator]();
    const first = chunks.next();
    fixture.environment.exchange.answerPart('ab', 'more');
    expect((await first).value).toMatchObject({ byteOffset: 0, buffer: { byteLength: 2 } });
  });

  test('rejects with what its source has raised, after what it had given', async () => {
    const stream = await receive();
    const chunks = stream[Symbol.asyncIterator]();
    const first = chunks.next();
    server.send({ type: 'broken', stream: 1, name: 'ValueError', message: 'no more' });
    fixture.environment.exchange.answerPart('ab', 'fail');
    expect(await first).toMatchObject({ value: encode('ab') });
    await expect(chunks.next()).rejects.toStrictEqual(new KernelError('exception', 'ValueError', 'no more'));
    expect(asked()).toStrictEqual(['?offset=0']);
  });

  test('rejects when its source has failed for no known reason', async () => {
    const all = later((await receive()).join());
    fixture.environment.exchange.answerPart('', 'fail');
    await vi.advanceTimersByTimeAsync(BROKEN_TIMEOUT * 1000);
    await expect(all).rejects.toStrictEqual(new StateError('The stream broke off: its source has failed.'));
  });

  test('rejects when a part is not whole, gives nothing of it, and stops its source', async () => {
    const chunks = (await receive())[Symbol.asyncIterator]();
    const first = later(chunks.next());
    fixture.environment.exchange.answer(200, new Uint8Array([3, 0, 0, 0, ...encode('more'), ...encode('ab')]));
    await vi.advanceTimersByTimeAsync(BROKEN_TIMEOUT * 1000);
    await expect(first).rejects.toStrictEqual(
      new StateError('The stream broke off: a part of it has 2 bytes of data instead of 3'),
    );
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
  });

  test('is stopped when what was left of it before its source failed does not come', async () => {
    const all = later((await receive()).join());
    server.send({ type: 'broken', stream: 1, name: 'ValueError', message: 'no more' });
    fixture.environment.exchange.answer(599, 'a page for people');
    await expect(all).rejects.toStrictEqual(new KernelError('exception', 'ValueError', 'no more'));
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
  });

  test.each([409, 410, 599])('rejects when the answer is %d', async (status) => {
    const all = later((await receive()).join());
    fixture.environment.exchange.answerPart('ab', 'more');
    await settle();
    fixture.environment.exchange.answer(status, 'a page for people');
    await vi.advanceTimersByTimeAsync(BROKEN_TIMEOUT * 1000);
    await expect(all).rejects.toThrow(`The stream broke off: the server answered with the status ${String(status)}.`);
  });

  test('is stopped when its reader leaves, and the request for the next part is broken off', async () => {
    const stream = await receive();
    const all = later(stream.join());
    fixture.environment.exchange.answerPart('ab', 'more');
    await settle();
    await stream.aclose();
    await expect(all).rejects.toStrictEqual(new StateError('The stream was closed by its reader.'));
    expect(fixture.environment.exchange.signal.aborted).toBe(true);
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
  });

  test('is fetched as one response where that is asked for', async () => {
    fixture = makeConnected({}, { url: PROXY, segmented: false });
    ({ server } = fixture);
    channel = await open();
    const all = (await receive()).join();
    fixture.environment.exchange.begin('ab');
    fixture.environment.exchange.finish();
    expect([toText(await all), asked()]).toStrictEqual(['ab', ['']]);
  });

  test.each([0, 1])('comes in parts as long as may be, and no longer: %d more', async (extra) => {
    fixture = makeConnected({}, { segmented: true });
    ({ server } = fixture);
    channel = await open();
    const all = (await receive()).join();
    fixture.environment.exchange.answerPart('x'.repeat(4 * 1024 * 1024 + extra), 'last');
    if (extra === 0) {
      expect(await all).toHaveLength(4 * 1024 * 1024);
    } else {
      all.catch(() => undefined);
      await vi.advanceTimersByTimeAsync(2000);
      await expect(all).rejects.toThrow('the server answered with more than 4194312 bytes.');
    }
  });

  test('is fetched in parts also on a direct way where that is asked for', async () => {
    fixture = makeConnected({}, { segmented: true });
    ({ server } = fixture);
    channel = await open();
    const all = (await receive()).join();
    expect(fixture.environment.exchange.url).toBe(`${URL}?offset=0`);
    fixture.environment.exchange.answerPart('ab', 'last');
    expect(toText(await all)).toBe('ab');
  });
});

describe('a stream of the server where a browser keeps what is not read', () => {
  test.each([
    [{}, `${URL}?offset=0`],
    [{ segmented: false }, URL],
  ])('is fetched in parts, unless something else is asked for: %o', async (options, url) => {
    const environment = Object.assign(new FakeEnvironment(), { holdsBack: false });
    const client = connectFrom(environment, { url: 'http://localhost:8889', token: 't', ...options });
    server = new FakeServer(environment.socket);
    server.welcome();
    fixture = { environment, client, server };
    channel = await open();
    (await receive()).join().catch(() => undefined);
    expect(environment.exchange.url).toBe(url);
  });
});

describe('a stream inside its message', () => {
  test('is read like any other', async () => {
    const stream = await receive({ data: encode('ab\nc') });
    expect([stream.total, stream.received]).toStrictEqual([4, 0]);
    expect(await stream.bySeparator().next()).toMatchObject({ value: encode('ab\n') });
    expect([toText(await stream.join()), stream.received]).toStrictEqual(['c', 4]);
    expect(fixture.environment.exchanges).toStrictEqual([]);
  });

  test('may be empty', async () => {
    const stream = await receive({ data: new Uint8Array() });
    expect(await stream.join()).toStrictEqual(new Uint8Array());
  });

  test('is closed like any other, and nobody has to be told', async () => {
    const stream = await receive({ data: encode('abc') });
    await stream.aclose();
    await expect(stream.join()).rejects.toStrictEqual(new StateError('The stream was closed by its reader.'));
    expect(await server.settle()).toStrictEqual([]);
  });

  test('has a buffer of its own', async () => {
    const chunk = await (await receive({ data: encode('abc') })).join();
    expect(chunk.buffer.byteLength).toBe(3);
  });
});

/** Call a handler method of the page with a stream. */
function callWithStream(data?: Uint8Array<ArrayBuffer>): number {
  const stream = data === undefined ? { id: 1, ticket: TICKET } : { id: 1, data };
  return server.request({ type: 'call', channel: 1, name: 'take', args: [7], stream });
}

describe('a handler method that gets a stream', () => {
  test('gets it as its first argument', async () => {
    channel.handler = { take: async (stream: MetaGenerator, other: number) => [toText(await stream.join()), other] };
    const id = callWithStream(encode('abc'));
    expect(await server.answerTo(id)).toMatchObject({ value: ['abc', 7] });
  });

  test('and does not read it has it stopped with its answer', async () => {
    channel.handler = { take: () => 1 };
    callWithStream();
    expect(await server.settle()).toMatchObject([
      { type: 'result', value: 1 },
      { type: 'stop', stream: 1 },
    ]);
  });

  test('may go on reading after its answer', async () => {
    let all: Promise<Uint8Array> = Promise.reject(new Error('it was not called'));
    all.catch(() => undefined);
    channel.handler = {
      take: (stream: MetaGenerator) => {
        all = stream.join();
      },
    };
    const id = callWithStream();
    expect(await server.answerTo(id)).toMatchObject({ type: 'result' });
    fixture.environment.exchange.begin('abc');
    fixture.environment.exchange.finish();
    expect(toText(await all)).toBe('abc');
  });

  test('gets an error from it when the call is cancelled', async () => {
    channel.handler = { take: (stream: MetaGenerator) => [channel.signal, stream.join()][1] };
    const id = callWithStream();
    fixture.environment.exchange.begin('a');
    await settle();
    server.send({ type: 'cancel', id });
    expect(fixture.environment.exchange.signal.aborted).toBe(true);
    expect(await server.settle()).toMatchObject([{ type: 'error', id, kind: 'cancelled' }]);
  });

  test('that has read it is cancelled like any other', async () => {
    let text = '';
    channel.handler = {
      take: async (stream: MetaGenerator) => {
        text = toText(await stream.join());
        await new Promise(() => undefined);
      },
    };
    const id = callWithStream(encode('abc'));
    await settle();
    server.send({ type: 'cancel', id });
    expect(await server.answerTo(id)).toMatchObject({ kind: 'cancelled' });
    expect(text).toBe('abc');
  });

  test.each<[string, () => void, string]>([
    [
      'there is no handler',
      () => {
        channel.handler = null;
      },
      'handler',
    ],
    [
      'it throws',
      () => {
        channel.handler = {
          take: () => {
            throw new Error('no');
          },
        };
      },
      'exception',
    ],
    [
      'its result cannot be sent',
      () => {
        channel.handler = { take: () => NaN };
      },
      'value',
    ],
  ])('is answered with an error and the stream is stopped when %s', async (_, prepare, kind) => {
    prepare();
    callWithStream();
    expect(await server.settle()).toMatchObject([
      { type: 'error', kind },
      { type: 'stop', stream: 1 },
    ]);
  });

  test('of a channel that is not open is answered with an error, and the stream is stopped', async () => {
    server.request({ type: 'call', channel: 9, name: 'f', args: [], stream: { id: 1, ticket: TICKET } });
    server.request({ type: 'pipe', channel: 9, stream: { id: 2, ticket: TICKET } });
    expect(await server.settle()).toMatchObject([
      { type: 'error', kind: 'channel' },
      { type: 'stop', stream: 1 },
      { type: 'error', kind: 'channel' },
      { type: 'stop', stream: 2 },
    ]);
  });

  test('of a page that is busy is answered with an error, and the stream is stopped', async () => {
    channel.handler = { take: () => new Promise(() => undefined) };
    for (let count = 0; count < MAX_RUNNING; count++) {
      server.request({ type: 'call', channel: 1, name: 'take', args: [] });
    }
    server.request({ type: 'pipe', channel: 1, stream: { id: 1, ticket: TICKET } });
    expect(await server.settle()).toMatchObject([
      { type: 'error', kind: 'busy' },
      { type: 'stop', stream: 1 },
    ]);
  });
});

describe('a handler method that returns a stream', () => {
  test('is answered with it', async () => {
    channel.handler = { take: () => generate('a', 'bc') };
    const id = callWithStream(encode(''));
    expect(await server.answerTo(id)).toStrictEqual({
      type: 'result',
      id,
      value: null,
      stream: { id: 1, total: 3, data: encode('abc') },
    });
  });

  test('may be an async generator, and is announced when it is not short', async () => {
    const tap = new Tap();
    channel.handler = { give: () => tap };
    const id = server.request({ type: 'call', channel: 1, name: 'give', args: [] });
    expect(await server.settle()).toStrictEqual([]);
    await vi.advanceTimersByTimeAsync(INLINE_TIME);
    expect(server.receive()).toStrictEqual([{ type: 'result', id, value: null, stream: { id: 1 } }]);
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    await tap.give('abc');
    await tap.finish();
    expect(await describePost(fixture.environment.exchange)).toStrictEqual(['POST', '?offset=0', 'abc']);
  });

  test('may return the stream that it got', async () => {
    channel.handler = { take: (stream: MetaGenerator) => stream };
    callWithStream();
    await vi.advanceTimersByTimeAsync(INLINE_TIME);
    expect(server.receive()).toMatchObject([{ type: 'result', stream: { id: 1 } }]);
    fixture.environment.exchange.begin('abc');
    fixture.environment.exchange.finish();
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    await settle();
    expect(await describePost(fixture.environment.exchange)).toStrictEqual(['POST', '?offset=0&end=1', 'abc']);
  });

  test('that does not read the stream it got has that stopped at its own end', async () => {
    const tap = new Tap();
    channel.handler = { take: () => tap };
    callWithStream();
    await vi.advanceTimersByTimeAsync(INLINE_TIME);
    expect(server.receive()).toMatchObject([{ type: 'result' }]);
    server.send({ type: 'stop', stream: 1 });
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
  });

  test('is answered with an error when it cannot be read', async () => {
    const locked = new ReadableStream();
    locked.getReader();
    channel.handler = { take: () => locked };
    expect(await server.answerTo(callWithStream(encode('')))).toMatchObject({ type: 'error', kind: 'value' });
  });

  test('travels beside its message when there is no room in it', async () => {
    fixture = makeConnected({ frameLimit: 5000 });
    ({ server } = fixture);
    channel = await open();
    channel.handler = { give: () => new Response('x'.repeat(5000)) };
    const id = server.request({ type: 'call', channel: 1, name: 'give', args: [] });
    await vi.advanceTimersByTimeAsync(10);
    const answer = await server.answerTo(id);
    expect(answer).toMatchObject({ type: 'result', value: null, stream: { id: 1 } });
    expect(answer).not.toHaveProperty('stream.data');
  });

  test('has it closed when the call was cancelled meanwhile', async () => {
    const tap = new Tap();
    channel.handler = { give: () => [channel.signal, tap][1] };
    const id = server.request({ type: 'call', channel: 1, name: 'give', args: [] });
    await settle();
    server.send({ type: 'cancel', id });
    expect(tap.isClosed).toBe(true);
    expect(await server.settle()).toMatchObject([{ type: 'error', id, kind: 'cancelled' }]);
  });

  test('has it closed when the call was cancelled before', async () => {
    const cancel = vi.fn();
    let resolve: (value: unknown) => void = () => undefined;
    channel.handler = {
      give: () =>
        new Promise((settled) => {
          resolve = settled;
        }),
    };
    const id = server.request({ type: 'call', channel: 1, name: 'give', args: [] });
    server.send({ type: 'cancel', id });
    expect(await server.answerTo(id)).toMatchObject({ kind: 'cancelled' });
    resolve(new ReadableStream({ cancel }));
    expect(await server.settle()).toStrictEqual([]);
    expect(cancel).toHaveBeenCalledOnce();
  });

  test('has it closed when the channel is closed', async () => {
    const tap = new Tap();
    channel.handler = { give: () => tap };
    const id = server.request({ type: 'call', channel: 1, name: 'give', args: [] });
    await settle();
    server.request({ type: 'close', channel: 1 });
    expect(await server.answerTo(id)).toMatchObject({ kind: 'ended' });
    expect(tap.isClosed).toBe(true);
  });

  test('is not meant by a typed array', async () => {
    channel.handler = { give: () => encode('abc') };
    expect(await server.ask({ type: 'call', channel: 1, name: 'give', args: [] })).toMatchObject({
      value: encode('abc'),
    });
  });
});

describe('a pipe of the server', () => {
  test('comes back inside its message when it came so', async () => {
    const id = server.request({ type: 'pipe', channel: 1, stream: { id: 1, data: encode('0123456789') } });
    expect(await server.answerTo(id)).toMatchObject({ stream: { id: 1, total: 10, data: encode('0123456789') } });
  });

  test('is read only as fast as it is read back', async () => {
    const total = 1_000_000;
    server.request({ type: 'pipe', channel: 1, stream: { id: 1, total, ticket: TICKET } });
    expect(await server.settle()).toMatchObject([{ type: 'result', stream: { id: 1, total } }]);
    expect(fixture.environment.exchanges).toStrictEqual([]);
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    await settle();
    const [get] = fixture.environment.exchanges;
    get?.begin('abc');
    await settle();
    expect(await describePost(fixture.environment.exchange)).toStrictEqual(['POST', '?offset=0', 'abc']);
  });

  test('ends with its source', async () => {
    server.request({ type: 'pipe', channel: 1, stream: { id: 1, ticket: TICKET } });
    await vi.advanceTimersByTimeAsync(INLINE_TIME);
    server.receive();
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    server.send({ type: 'broken', stream: 1, name: 'ValueError', message: 'no more' });
    fixture.environment.exchange.fail(new TypeError('network error'));
    expect(await server.settle()).toStrictEqual([
      { type: 'broken', stream: 1, name: 'KernelError', message: 'ValueError: no more' },
    ]);
  });

  test('ends with its reader', async () => {
    server.request({ type: 'pipe', channel: 1, stream: { id: 1, ticket: TICKET } });
    await vi.advanceTimersByTimeAsync(INLINE_TIME);
    server.receive();
    server.send({ type: 'stop', stream: 1 });
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
    expect(fixture.environment.exchange.signal.aborted).toBe(true);
  });

  test('ends with its channel, and nobody has to be told', async () => {
    server.request({ type: 'pipe', channel: 1, stream: { id: 1, ticket: TICKET } });
    await vi.advanceTimersByTimeAsync(INLINE_TIME);
    server.receive();
    const id = server.request({ type: 'close', channel: 1 });
    expect(await server.settle()).toStrictEqual([{ type: 'result', id, value: null }]);
  });

  test('can be cancelled', async () => {
    const id = server.request({ type: 'pipe', channel: 1, stream: { id: 1, ticket: TICKET } });
    server.send({ type: 'cancel', id });
    expect(await server.settle()).toMatchObject([{ type: 'error', id, kind: 'cancelled' }]);
    expect(fixture.environment.exchange.signal.aborted).toBe(true);
  });
});

describe('an initialization function', () => {
  test('that fails leaves no stream behind', async () => {
    const tap = new Tap();
    vi.stubGlobal('tap', tap);
    server.request({ type: 'open', channel: 2, code: 'c => { c.pipe(tap).catch(() => 0); throw new Error("no"); }' });
    expect(await server.settle()).toMatchObject([{ type: 'error', name: 'Error' }]);
    expect(tap.isClosed).toBe(true);
  });

  test('whose result cannot be sent leaves no stream behind', async () => {
    const tap = new Tap();
    vi.stubGlobal('tap', tap);
    server.request({ type: 'open', channel: 2, code: 'c => { c.pipe(tap).catch(() => 0); return NaN; }' });
    expect(await server.settle()).toMatchObject([{ type: 'error', kind: 'value' }]);
    expect(tap.isClosed).toBe(true);
  });

  test('cannot return a stream', async () => {
    expect(await server.ask({ type: 'open', channel: 2, code: 'c => new Blob()' })).toMatchObject({ kind: 'value' });
  });
});
