/** The requests of Python, between a client and a fake server. */

import { createContext, runInContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Channel } from '../../src/channels/channel.js';
import { ClosedError, StateError } from '../../src/errors.js';
import type { ErrorKind, Message } from '../../src/protocol/messages.js';
import { pack } from '../../src/protocol/values.js';
import { MAX_CHANNELS, MAX_ERROR_LENGTH, MAX_RUNNING } from '../../src/requests/dispatcher.js';
import { makeConnected, openChannel, reconnect, type FakeServer, type Fixture } from '../fakes.js';

let fixture: Fixture;
let server: FakeServer;

beforeEach(() => {
  vi.useFakeTimers();
  fixture = makeConnected();
  ({ server } = fixture);
});

afterEach(() => {
  vi.useRealTimers();
});

/** Open a channel with this handler. */
async function open(handler: object | null = null, id = 1): Promise<Channel> {
  const channel = await openChannel(fixture.client, server, id);
  channel.handler = handler;
  return channel;
}

function call(name: string, ...args: unknown[]): Promise<Message> {
  return server.ask({ type: 'call', channel: 1, name, args });
}

/** Return a promise that a test settles. */
function makePromise<T = void>(): PromiseWithResolvers<T> {
  let resolve!: (value: T | PromiseLike<T>) => void;
  let reject!: (reason?: unknown) => void;
  const promise = new Promise<T>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  return { promise, resolve, reject };
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T | PromiseLike<T>) => void;
  readonly reject: (reason?: unknown) => void;
}

test('a method that is answered in the step of a goodbye does not hide why the server has gone', async () => {
  await open({ f: () => 5 });
  const call = { type: 'call', channel: 1, name: 'f', args: pack([], 'args'), id: 2 } as unknown as Message;
  server.send(call, { type: 'goodbye', reason: 'taken', message: 'Another page.' });
  await vi.advanceTimersByTimeAsync(0);
  expect(fixture.client.stopReason).toStrictEqual({ reason: 'taken', message: 'Another page.' });
});

test('what a page has to say in the step of a goodbye does not hide why the server has gone', async () => {
  const channel = await open();
  channel.handler = { wait: () => channel.call('ask') };
  const id = server.request({ type: 'call', channel: 1, name: 'wait', args: [] });
  await server.settle();
  const stream = { id: 1, ticket: 'A'.repeat(22) };
  const call = { type: 'call', channel: 1, name: 'missing', args: pack([], 'args'), id: id + 1, stream } as unknown as Message;
  server.send({ type: 'cancel', id }, call, { type: 'goodbye', reason: 'taken', message: 'Another page.' });
  await vi.advanceTimersByTimeAsync(0);
  expect(fixture.client.stopReason).toStrictEqual({ reason: 'taken', message: 'Another page.' });
});

test('a transport that cannot send ends its session, and the page says so', async () => {
  await open({ f: () => 5 });
  server.socket.send = () => {
    throw new RangeError('cannot send');
  };
  server.request({ type: 'call', channel: 1, name: 'f', args: [] });
  await vi.advanceTimersByTimeAsync(0);
  expect(fixture.client.stopReason?.message).toContain('cannot send');
});

describe('opening a channel', () => {
  test('runs its code with the channel, and answers with what it returns', async () => {
    const code = '(channel) => { channel.handler = { id: () => channel.id }; return [channel.handler === null]; };';
    expect(await server.ask({ type: 'open', channel: 5, code })).toMatchObject({ value: [false] });
    expect(await server.ask({ type: 'call', channel: 5, name: 'id', args: [] })).toMatchObject({ value: 5 });
  });

  test('gives a channel without a handler', async () => {
    expect(await server.ask({ type: 'open', channel: 1, code: 'c => c.handler === null' })).toMatchObject({
      value: true,
    });
  });

  test('waits for an async function', async () => {
    const { promise, resolve } = makePromise<string>();
    vi.stubGlobal('gate', promise);
    const id = server.request({ type: 'open', channel: 1, code: 'async () => gate' });
    expect(await server.settle()).toStrictEqual([]);
    resolve('done');
    expect(await server.answerTo(id)).toMatchObject({ type: 'result', value: 'done' });
  });

  test('lets the function use the channel at once', async () => {
    server.request({ type: 'open', channel: 1, code: 'async (c) => c.call("ready")' });
    expect(await server.settle()).toMatchObject([{ type: 'call', id: 1, name: 'ready' }]);
    server.send({ type: 'result', id: 1, value: 'yes' });
    expect(await server.settle()).toMatchObject([{ type: 'result', value: 'yes' }]);
  });

  test('does not run the code of a channel that is there', async () => {
    const code = '() => { count = (globalThis.count ?? 0) + 1; return count; }';
    vi.stubGlobal('count', 0);
    await server.ask({ type: 'open', channel: 1, code });
    fixture.environment.socket.lose();
    server = reconnect(fixture, [1]);
    expect(await server.ask({ type: 'open', channel: 1, code })).toMatchObject({ value: 1 });
  });

  test.each([
    ['c => { throw new RangeError("no") }', 'RangeError', 'no'],
    ['async () => { throw new RangeError("no") }', 'RangeError', 'no'],
    ['42', 'TypeError', 'The code of a channel must be a function that takes the channel, such as (channel) => { … }.'],
    ['c => {', 'SyntaxError', ''],
  ])('fails with what its code throws: %s', async (code, name, message) => {
    const answer = await server.ask({ type: 'open', channel: 1, code });
    expect(answer).toMatchObject({ type: 'error', kind: 'exception', name });
    expect('message' in answer && answer.message).toContain(message);
    expect(fixture.client.channels.size).toBe(0);
  });

  test('can be tried again after it has failed', async () => {
    vi.stubGlobal('kept', null);
    await server.ask({ type: 'open', channel: 1, code: 'c => { kept = c; throw new Error("no") }' });
    const { kept } = globalThis as unknown as { kept: Channel };
    expect(await server.ask({ type: 'open', channel: 1, code: 'c => 2' })).toMatchObject({ value: 2 });
    await expect(kept.call('f')).rejects.toStrictEqual(
      new ClosedError('The channel 1 could not be opened: its code has failed.'),
    );
  });

  test('that fails late leaves alone the channel that was opened again meanwhile', async () => {
    const { promise, reject } = makePromise();
    vi.stubGlobal('gate', promise);
    server.request({ type: 'open', channel: 1, code: '() => gate' });
    await server.ask({ type: 'close', channel: 1 });
    await server.ask({ type: 'open', channel: 1, code: '() => null' });
    reject(new Error('late'));
    await server.settle();
    expect(fixture.client.channels.size).toBe(1);
  });

  test('answers null where the initialization function returns the handler, which stays in the page', async () => {
    const answer = await server.ask({ type: 'open', channel: 1, code: 'c => c.handler = { f: () => 1 }' });
    expect(answer).toMatchObject({ type: 'result', value: null });
    expect(await call('f')).toMatchObject({ value: 1 });
  });

  test.each([
    ['is the handler', 'c => c.handler = { then() { called = true; return 7; } }', null],
    ['says itself what it is', '() => ({ toJSON: () => 7, then() { called = true; } })', 7],
  ])('does not call a method then of what the initialization function returns: it %s', async (_, code, value) => {
    vi.stubGlobal('called', false);
    expect(await server.ask({ type: 'open', channel: 1, code })).toMatchObject({ type: 'result', value });
    expect((globalThis as unknown as { called: boolean }).called).toBe(false);
  });

  test('calls a method then of the handler when Python does', async () => {
    await server.ask({ type: 'open', channel: 1, code: 'c => c.handler = { then: () => 7 }' });
    expect(await call('then')).toMatchObject({ type: 'result', value: 7 });
  });

  test('fails where the result cannot be sent, and the channel is forgotten', async () => {
    const answer = await server.ask({ type: 'open', channel: 1, code: 'c => ({ f() {} })' });
    expect(answer).toMatchObject({
      type: 'error',
      kind: 'value',
      name: 'TypeError',
      message: 'result.f is a function, which cannot be sent.',
    });
    expect(fixture.client.channels.size).toBe(0);
  });
});

describe('closing a channel', () => {
  test('forgets it', async () => {
    const channel = await open({ f: () => 1 });
    expect(await server.ask({ type: 'close', channel: 1 })).toMatchObject({ type: 'result', value: null });
    expect(fixture.client.channels.size).toBe(0);
    await expect(channel.call('f')).rejects.toStrictEqual(new ClosedError('The channel 1 was closed.'));
    expect(await call('f')).toMatchObject({ kind: 'channel', message: 'The channel 1 is not open in the page.' });
  });

  test('ends what runs in it, and nothing else', async () => {
    const signals: AbortSignal[] = [];
    const forever = new Promise(() => undefined);
    const channel = await open();
    channel.handler = {
      listen: () => {
        signals.push(channel.signal);
        return forever;
      },
      ignore: () => forever,
    };
    const other = await open({ wait: () => forever }, 2);
    const [first, second] = ['listen', 'ignore'].map((name) =>
      server.request({ type: 'call', channel: 1, name, args: [] }),
    );
    server.request({ type: 'call', channel: other.id, name: 'wait', args: [] });
    const id = server.request({ type: 'close', channel: 1 });
    const message = 'The channel 1 was closed.';
    expect(await server.settle()).toStrictEqual([
      { type: 'error', id: first, kind: 'ended', name: 'StateError', message },
      { type: 'error', id: second, kind: 'ended', name: 'StateError', message },
      { type: 'result', id, value: null },
    ]);
    expect(signals.map(({ reason }) => (reason as Error).message)).toStrictEqual([message]);
    expect(server.connection.unanswered).toBe(1);
  });

  test('rejects the calls that wait in it, and ignores their answers', async () => {
    const channel = await open();
    const other = await open(null, 2);
    const call1 = expect(channel.call('f')).rejects.toStrictEqual(new ClosedError('The channel 1 was closed.'));
    const call2 = other.call('g');
    await server.settle();
    await server.ask({ type: 'close', channel: 1 });
    await call1;
    server.send(
      { type: 'result', id: 1, value: 'late' },
      { type: 'result', id: 2, value: 'g' },
    );
    await expect(call2).resolves.toBe('g');
  });

  test('that is not open is refused', async () => {
    expect(await server.ask({ type: 'close', channel: 9 })).toMatchObject({ kind: 'channel' });
  });
});

describe('a method that returns no promise', () => {
  test('is answered in the step in which its call comes', async () => {
    await open({ add: (a: number, b: number) => a + b });
    const id = server.request({ type: 'call', channel: 1, name: 'add', args: [2, 3] });
    expect(server.receive()).toStrictEqual([{ type: 'result', id, value: 5 }]);
  });

  test('is answered a little later while others run, whose answers may leave with its own', async () => {
    const { promise, resolve } = makePromise();
    await open({ add: (a: number, b: number) => a + b, wait: () => promise });
    server.request({ type: 'call', channel: 1, name: 'wait', args: [] });
    server.request({ type: 'call', channel: 1, name: 'add', args: [2, 3] });
    expect(server.receive()).toHaveLength(0);
    expect(await server.settle()).toMatchObject([{ type: 'result', value: 5 }]);
    resolve();
    expect(await server.settle()).toHaveLength(1);
  });

  test('has been answered when a cancel follows in the same frame', async () => {
    await open({ add: (a: number, b: number) => a + b });
    const id = server.connection.request({ type: 'call', channel: 1, name: 'add', args: [2, 3] });
    server.send({ type: 'cancel', id });
    expect(await server.settle()).toStrictEqual([{ type: 'result', id, value: 5 }]);
  });

  test('is answered before what it has left to do, and behind what it has called', async () => {
    const channel = await open();
    channel.handler = {
      work: () => {
        channel.call('first').catch(() => undefined);
        void Promise.resolve().then(() => channel.call('last'));
        return 'done';
      },
    };
    server.request({ type: 'call', channel: 1, name: 'work', args: [] });
    const sent = (await server.settle()).map((message) => ('name' in message ? message.name : message.type));
    expect(sent).toStrictEqual(['first', 'result', 'last']);
  });

  test('is answered with what asking the value has thrown', async () => {
    const tag = {
      get: () => {
        throw new RangeError('no tag');
      },
    };
    await open({ give: () => Object.defineProperty({}, Symbol.toStringTag, tag) });
    expect(await call('give')).toMatchObject({ type: 'error', kind: 'exception', name: 'RangeError', message: 'no tag' });
  });
});

describe('an echo', () => {
  test('gives the arguments back', async () => {
    await open();
    const args = [1, 'two', { three: [null] }, new Uint8Array([4])];
    expect(await server.ask({ type: 'echo', channel: 1, args })).toMatchObject({ type: 'result', value: args });
  });

  test('of a channel that is not open is refused', async () => {
    expect(await server.ask({ type: 'echo', channel: 9, args: [] })).toMatchObject({ kind: 'channel' });
  });

  test('that cannot be sent back says so', async () => {
    fixture = makeConnected({ frameLimit: 5000 });
    ({ server } = fixture);
    await open();
    expect(await server.ask({ type: 'echo', channel: 1, args: ['x'.repeat(5000)] })).toMatchObject({
      kind: 'value',
      name: 'RangeError',
    });
  });
});

describe('NaN in a channel', () => {
  const code = '(c) => { c.handler = { give: () => [NaN, { a: -Infinity }] }; return Infinity; }';

  test('is kept where Python has asked for that', async () => {
    expect(await server.ask({ type: 'open', channel: 1, code, nan: 'keep' })).toMatchObject({ value: Infinity });
    expect(await call('give')).toMatchObject({ value: [NaN, { a: -Infinity }] });
    const args = pack([NaN], 'args', 'keep') as unknown as unknown[];
    expect(await server.ask({ type: 'echo', channel: 1, args })).toMatchObject({ value: [NaN] });
  });

  test('is null where Python has asked for that', async () => {
    expect(await server.ask({ type: 'open', channel: 1, code, nan: 'null' })).toMatchObject({ value: null });
    expect(await call('give')).toMatchObject({ value: [null, { a: null }] });
  });

  test('is refused in any other', async () => {
    expect(await server.ask({ type: 'open', channel: 1, code })).toMatchObject({ kind: 'value' });
  });

  test.each([
    ['keep', NaN],
    ['null', null],
  ] as const)('is %s in the calls of the page, too', async (nan, sent) => {
    await server.ask({ type: 'open', channel: 1, code: '(c) => null', nan });
    const channel = fixture.client.channels.get(1);
    const data = new Uint8Array(3);
    void channel?.call('f', NaN);
    void channel?.echo(NaN);
    void channel?.callWithStream('g', data, NaN);
    expect(await server.settle()).toMatchObject([
      { type: 'call', name: 'f', args: [sent] },
      { type: 'echo', args: [sent] },
      { type: 'call', name: 'g', args: [sent], stream: { data } },
    ]);
  });
});

describe('a call of Python', () => {
  class Handler {
    factor = 2;
    multiply(value: number): number {
      return value * this.factor;
    }
    async later(value: number): Promise<number> {
      await Promise.resolve();
      return value * this.factor;
    }
    fail(): never {
      throw new RangeError('out of range');
    }
    async failLater(): Promise<never> {
      await Promise.resolve();
      throw new TypeError('wrong type');
    }
    throwText(): never {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- that is what is tested
      throw 'a text';
    }
    unsendable(): unknown {
      return { a: [new Map()] };
    }
    nothing(): void {
      this.factor = 3;
    }
    then(): number {
      return 1;
    }
  }

  test.each([
    ['sync', 'multiply', 42],
    ['async', 'later', 42],
  ])('gets what a method returns, which has its this: %s', async (_, name, value) => {
    await open(new Handler());
    expect(await call(name, 21)).toMatchObject({ type: 'result', value });
  });

  test('gets what a method has promised in another window', async () => {
    const context = createContext();
    await open({ later: () => runInContext('Promise.resolve(42)', context) as unknown });
    expect(await call('later')).toMatchObject({ type: 'result', value: 42 });
  });

  test('gets what a promise of a library is fulfilled with', async () => {
    class Deferred extends Promise<number> {
      override readonly [Symbol.toStringTag] = 'Deferred';
    }
    await open({ later: () => new Deferred((resolve) => { resolve(42); }) });
    expect(await call('later')).toMatchObject({ type: 'result', value: 42 });
  });

  test('gets what a promise is fulfilled with that is a function, too', async () => {
    const promise = Promise.resolve(5);
    const callable = Object.setPrototypeOf(() => 1, Promise.prototype) as { then: unknown };
    Object.defineProperty(callable, 'then', { value: promise.then.bind(promise) });
    await open({ give: () => callable });
    expect(await call('give')).toMatchObject({ type: 'result', value: 5 });
  });

  test('gets an object with a method then, which is not called, as what it says it is', async () => {
    const then = vi.fn();
    await open({ value: () => ({ toJSON: () => 42, then }) });
    expect(await call('value')).toMatchObject({ type: 'result', value: 42 });
    expect(then).not.toHaveBeenCalled();
  });

  test('is told to await what only resembles a promise', async () => {
    class Query {
      then(): never {
        throw new Error('it was called');
      }
    }
    await open({ rows: () => new Query() });
    expect(await call('rows')).toMatchObject({
      kind: 'value',
      message: 'result is an object of the class Query, which cannot be sent. Await it first.',
    });
  });

  test('gets a stream that has a method then, which is not called', async () => {
    const then = vi.fn();
    await open({ stream: () => Object.assign(new Blob(['abc']).stream(), { then }) });
    expect(await call('stream')).toMatchObject({ type: 'result', stream: { total: 3 } });
    expect(then).not.toHaveBeenCalled();
  });

  test('gets null from a method that returns nothing', async () => {
    await open(new Handler());
    expect(await call('nothing')).toMatchObject({ type: 'result', value: null });
  });

  test.each([
    ['fail', 'RangeError', 'out of range'],
    ['failLater', 'TypeError', 'wrong type'],
  ])('gets what a method throws: %s', async (name, type, message) => {
    await open(new Handler());
    const answer = await call(name);
    expect(answer).toMatchObject({ type: 'error', kind: 'exception', name: type, message });
    expect('stack' in answer && answer.stack).toContain('dispatcher.test');
  });

  test('gets also what is thrown and no Error', async () => {
    await open(new Handler());
    expect(await call('throwText')).toStrictEqual({
      type: 'error',
      id: 2,
      kind: 'exception',
      name: 'string',
      message: 'a text',
    });
  });

  test('gets errors that are cut where they are too long', async () => {
    await open({
      fail: () => {
        throw Object.assign(new Error('m'.repeat(100_000)), { stack: '' });
      },
    });
    expect(await call('fail')).toMatchObject({ message: 'm'.repeat(MAX_ERROR_LENGTH) });
  });

  test('gets errors that are cut further where the server takes little at once', async () => {
    fixture = makeConnected({ frameLimit: 4096 });
    ({ server } = fixture);
    await open({
      fail: () => {
        throw Object.assign(new Error('\u0001'.repeat(1000)), { name: '\u0001'.repeat(1000) });
      },
    });
    expect(await call('fail')).toMatchObject({ kind: 'exception', message: '\u0001'.repeat(170) });
  });

  test('is told when what the method returned cannot be sent', async () => {
    await open(new Handler());
    expect(await call('unsendable')).toStrictEqual({
      type: 'error',
      id: 2,
      kind: 'value',
      name: 'TypeError',
      message:
        'result.a[0] is an object of the class Map, which cannot be sent. ' +
        'Send what it holds, as plain objects, arrays, numbers and strings.',
    });
  });

  test.each<[ErrorKind, string, string]>([
    ['method', 'TypeError', 'multipl'],
    ['private', 'TypeError', '_x'],
    ['callable', 'TypeError', 'factor'],
  ])('is told when there is nothing to call: %s', async (kind, name, method) => {
    await open(new Handler());
    expect(await call(method)).toMatchObject({ type: 'error', kind, name });
  });

  test('is told when there is no handler', async () => {
    await open(null);
    expect(await call('add')).toStrictEqual({
      type: 'error',
      id: 2,
      kind: 'handler',
      name: 'StateError',
      message: 'Cannot call add: the channel has no handler. Set channel.handler to an object with methods.',
    });
  });

  test('is told when what the method returned throws when it is looked at', async () => {
    const fail = (): never => {
      throw new RangeError('do not look');
    };
    await open({ give: () => Object.defineProperty({}, Symbol.asyncIterator, { get: fail, enumerable: true }) });
    expect(await call('give')).toMatchObject({ kind: 'value' });
    await open({ give: () => new Proxy({}, { has: fail, ownKeys: fail }) }, 2);
    expect(await server.ask({ type: 'call', channel: 2, name: 'give', args: [] })).toMatchObject({
      kind: 'value',
      message: 'do not look',
    });
  });

  test('is told what a property of the handler throws', async () => {
    await open({
      get broken(): never {
        throw new RangeError('no');
      },
    });
    expect(await call('broken')).toMatchObject({ kind: 'exception', name: 'RangeError' });
  });

  test('runs with others at the same time, and they are answered as they end', async () => {
    const gates = [makePromise<number>(), makePromise<number>()] as const;
    await open({ wait: (index: 0 | 1) => gates[index].promise });
    const ids = [0, 1].map((index) => server.request({ type: 'call', channel: 1, name: 'wait', args: [index] }));
    gates[1].resolve(1);
    expect(await server.settle()).toMatchObject([{ id: ids[1], value: 1 }]);
    gates[0].resolve(0);
    expect(await server.settle()).toMatchObject([{ id: ids[0], value: 0 }]);
  });

  test('is answered with many others in few frames', async () => {
    await open({
      add: async (a: number, b: number) => {
        await Promise.resolve();
        return a + b;
      },
    });
    const before = fixture.environment.socket.sent.length;
    for (let count = 1; count < 2000; count++) {
      server.connection.request({ type: 'call', channel: 1, name: 'add', args: [count, 1] });
    }
    server.request({ type: 'call', channel: 1, name: 'add', args: [2000, 1] });
    expect((await server.settle()).map((message) => 'value' in message && message.value)).toStrictEqual(
      Array.from({ length: 2000 }, (_, index) => index + 2),
    );
    expect(fixture.environment.socket.sent.length - before).toBe(1);
  });

  test('is refused while as many run as may', async () => {
    await open({ wait: () => new Promise(() => undefined), get: () => 1 });
    for (let count = 0; count < MAX_RUNNING; count++) {
      server.connection.request({ type: 'call', channel: 1, name: 'wait', args: [] });
    }
    server.request({ type: 'call', channel: 1, name: 'wait', args: [] });
    expect(await server.settle()).toMatchObject([{ id: MAX_RUNNING + 2, kind: 'busy' }]);
    expect(await server.ask({ type: 'open', channel: 2, code: 'c => 1' })).toMatchObject({ kind: 'busy' });
    expect(await server.ask({ type: 'echo', channel: 1, args: [] })).toMatchObject({ kind: 'busy' });
  });
});

describe('an opening', () => {
  test('is refused while as many channels are open as may be, and not when its channel is one of them', async () => {
    for (let channel = 1; channel <= MAX_CHANNELS; channel++) {
      server.connection.request({ type: 'open', channel, code: 'c => 1' });
    }
    server.request({ type: 'open', channel: MAX_CHANNELS + 1, code: 'c => 1' });
    const answers = await server.settle();
    expect(answers).toHaveLength(MAX_CHANNELS + 1);
    expect(answers.at(0)).toMatchObject({ id: MAX_CHANNELS + 1, kind: 'busy' });
    expect(answers.at(-1)).toMatchObject({ id: MAX_CHANNELS, value: 1 });
    expect(await server.ask({ type: 'open', channel: 1, code: 'c => 1' })).toMatchObject({ value: 1 });
  });
});

describe('a call that Python cancels', () => {
  test('is answered at once when its method never asked for the signal, and its late value is dropped', async () => {
    const { promise, resolve } = makePromise<number>();
    await open({ wait: () => promise });
    const id = server.request({ type: 'call', channel: 1, name: 'wait', args: [] });
    server.send({ type: 'cancel', id });
    expect(await server.settle()).toStrictEqual([
      { type: 'error', id, kind: 'cancelled', name: 'AbortError', message: 'Python has cancelled the request.' },
    ]);
    resolve(1);
    expect(await server.settle()).toStrictEqual([]);
  });

  test.each([
    ['returns', (gate: PromiseWithResolvers<number>) => { gate.resolve(1); }],
    ['throws', (gate: PromiseWithResolvers<number>) => { gate.reject(new Error('stopped')); }],
  ])('aborts the signal, and is answered when its method %s', async (_, settle) => {
    const gate = makePromise<number>();
    const signals: AbortSignal[] = [];
    const channel = await open();
    channel.handler = {
      wait: () => {
        signals.push(channel.signal);
        return gate.promise;
      },
    };
    const id = server.request({ type: 'call', channel: 1, name: 'wait', args: [] });
    server.send({ type: 'cancel', id });
    expect(signals[0]?.reason).toMatchObject({ name: 'AbortError', message: 'Python has cancelled the request.' });
    expect(await server.settle()).toStrictEqual([]);
    settle(gate);
    expect(await server.settle()).toMatchObject([{ type: 'error', id, kind: 'cancelled' }]);
  });

  test('has no effect when it has been answered', async () => {
    await open({ add: () => 1 });
    const id = server.request({ type: 'call', channel: 1, name: 'add', args: [] });
    await vi.advanceTimersByTimeAsync(0);
    server.send({ type: 'cancel', id });
    expect(await server.settle()).toMatchObject([{ type: 'result', id, value: 1 }]);
  });

  test('has no effect when it was refused in the same frame', async () => {
    await open({ add: () => 1 });
    const id = server.connection.request({ type: 'call', channel: 1, name: 'missing', args: [] });
    server.send({ type: 'cancel', id });
    expect(await server.settle()).toMatchObject([{ type: 'error', id, kind: 'method' }]);
  });
});

describe('the signal of a channel', () => {
  test('cannot be read after the first await of a method', async () => {
    const channel = await open();
    channel.handler = {
      late: async () => {
        await Promise.resolve();
        return channel.signal.aborted;
      },
    };
    expect(await call('late')).toMatchObject({ kind: 'exception', name: 'StateError' });
  });

  test('cannot be read when nothing runs', async () => {
    const channel = await open();
    expect(() => channel.signal).toThrow(StateError);
  });

  test('is the same during one call', async () => {
    const channel = await open();
    channel.handler = { same: () => channel.signal === channel.signal };
    expect(await call('same')).toMatchObject({ value: true });
  });
});

test('what runs when the connection is lost has its signal aborted, and is not answered', async () => {
  const { promise, resolve } = makePromise<number>();
  const signals: AbortSignal[] = [];
  const channel = await open();
  channel.handler = {
    wait: () => {
      signals.push(channel.signal);
      return promise;
    },
  };
  server.request({ type: 'call', channel: 1, name: 'wait', args: [] });
  fixture.environment.socket.lose();
  expect(signals[0]?.aborted).toBe(true);
  resolve(1);
  expect(await server.settle()).toStrictEqual([]);
});
