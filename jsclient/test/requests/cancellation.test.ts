/** Cancellation and time in both directions, between a client and a fake server. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Channel } from '../../src/channels/channel.js';
import { ClosedError, ConnectionLostError, StateError } from '../../src/errors.js';
import type { RequestBody } from '../../src/protocol/connection.js';
import type { Call, Message } from '../../src/protocol/messages.js';
import type { CallOptions } from '../../src/requests/call-options.js';
import { makeConnected, openChannel, type FakeServer, type Fixture } from '../fakes.js';

const CANCEL_WAIT = 5;
const TICKET = 'AAAAAAAAAAAAAAAAAAAAAA';

let fixture: Fixture;
let server: FakeServer;
let channel: Channel;
/** The number of timers of an idle client. */
let idleTimers: number;

beforeEach(async () => {
  vi.useFakeTimers();
  fixture = makeConnected({ cancelWait: CANCEL_WAIT, beat: 1e5 });
  ({ server } = fixture);
  channel = await open();
  idleTimers = vi.getTimerCount();
});

afterEach(() => {
  vi.useRealTimers();
});

function open(id = 1): Promise<Channel> {
  return openChannel(fixture.client, server, id);
}

/** Return the request of a call of Python. */
function call(name: string, terms: Pick<Call, 'timeout' | 'parent'> = {}): RequestBody {
  return { type: 'call', channel: 1, name, args: [], ...terms };
}

/** Return a promise whose rejection a test handles later. */
function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Return the state of a promise. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  await server.settle();
  const pending = Symbol('pending');
  const first = await Promise.race([promise.catch((error: unknown) => error), Promise.resolve(pending)]);
  return first === pending ? 'pending' : 'settled';
}

/** Advance the time by seconds, and return what the page has sent. */
async function pass(seconds: number): Promise<Message[]> {
  await vi.advanceTimersByTimeAsync(seconds * 1000);
  return server.receive();
}

/** A handler method that reads the signal, and ends when a test ends it. */
class Listener {
  signal!: AbortSignal;
  end!: (value?: unknown) => void;
  fail!: (error: unknown) => void;

  listen(): Promise<unknown> {
    ({ signal: this.signal } = channel);
    return new Promise((resolve, reject) => {
      this.end = resolve;
      this.fail = reject;
    });
  }
}

/** A source that never yields anything. */
class Silence {
  isClosed = false;

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array<ArrayBuffer>> {
    return {
      next: () => new Promise(() => undefined),
      return: () => {
        this.isClosed = true;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}

describe('the time of a call of Python', () => {
  test('aborts the signal with a TimeoutError, and the answer says so when the method has ended', async () => {
    const listener = new Listener();
    channel.handler = listener;
    const id = server.request(call('listen', { timeout: 2 }));
    expect(await pass(1.999)).toStrictEqual([]);
    expect(listener.signal.aborted).toBe(false);
    expect(await pass(0.001)).toStrictEqual([]);
    expect(listener.signal.reason).toBeInstanceOf(DOMException);
    expect(listener.signal.reason).toMatchObject({ name: 'TimeoutError' });
    listener.end('late');
    expect(await server.settle()).toStrictEqual([
      { type: 'error', id, kind: 'timeout', name: 'TimeoutError', message: 'The time of the request has passed.' },
    ]);
  });

  test('stays the reason when Python cancels the call as well', async () => {
    const listener = new Listener();
    channel.handler = listener;
    const id = server.request(call('listen', { timeout: 2 }));
    await pass(2);
    server.send({ type: 'cancel', id });
    listener.fail(listener.signal.reason);
    expect(await server.answerTo(id)).toMatchObject({ kind: 'timeout' });
  });

  test('is nothing to a call that was cancelled before', async () => {
    const listener = new Listener();
    channel.handler = listener;
    const id = server.request(call('listen', { timeout: 2 }));
    server.send({ type: 'cancel', id });
    expect(vi.getTimerCount()).toBe(idleTimers);
    await pass(3);
    listener.end();
    expect(await server.answerTo(id)).toMatchObject({ kind: 'cancelled' });
  });

  test('needs no timer as long as nobody asks for the signal', async () => {
    channel.handler = { wait: () => new Promise(() => undefined) };
    for (let count = 0; count < 2000; count++) {
      server.request(call('wait', { timeout: 2 }));
    }
    await server.settle();
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test('leaves no timer behind an answer', async () => {
    const listener = new Listener();
    channel.handler = listener;
    const id = server.request(call('listen', { timeout: 2 }));
    expect(vi.getTimerCount()).toBe(idleTimers + 1);
    listener.end(1);
    expect(await server.answerTo(id)).toMatchObject({ value: 1 });
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test('that is left can be read by its method', async () => {
    channel.handler = {
      read: () => {
        const before = channel.timeLeft;
        vi.setSystemTime(0);
        vi.advanceTimersByTime(500);
        const after = channel.timeLeft;
        vi.advanceTimersByTime(5000);
        return [before, after, channel.timeLeft];
      },
    };
    expect(await server.ask(call('read', { timeout: 2 }))).toMatchObject({ value: [2, 1.5, 0] });
  });

  test('is without end where Python has set none', async () => {
    channel.handler = { read: () => channel.timeLeft === Infinity };
    expect(await server.ask(call('read'))).toMatchObject({ value: true });
  });

  test('cannot be read when nothing runs', () => {
    expect(() => channel.timeLeft).toThrow(StateError);
  });

  test('ends no later than that of the call of the page on whose behalf it is made', async () => {
    const listener = new Listener();
    channel.handler = listener;
    void later(channel.with({ timeout: 2 }).call('outer'));
    const [outer] = (await server.settle()) as [Call];
    const id = server.request(call('listen', { timeout: 10, parent: outer.id }));
    await pass(2);
    expect(listener.signal.reason).toMatchObject({ name: 'TimeoutError' });
    listener.end();
    expect(await server.answerTo(id)).toMatchObject({ kind: 'timeout' });
  });

  test('is its own where that of the call of the page is not limited, or has been answered', async () => {
    const left: number[] = [];
    channel.handler = { read: () => left.push(channel.timeLeft) };
    void later(channel.call('outer'));
    void later(channel.with({ timeout: 1 }).call('outer'));
    await server.settle();
    server.send({ type: 'result', id: 2, value: null });
    await server.ask(call('read', { timeout: 10, parent: 1 }));
    await server.ask(call('read', { timeout: 10, parent: 2 }));
    expect(left).toStrictEqual([10, 10]);
  });

  test('and its parent may come with a pipe', async () => {
    void later(channel.call('outer'));
    await server.settle();
    const stream = { id: 1, data: new Uint8Array([1]) };
    const answer = await server.ask({ type: 'pipe', channel: 1, stream, timeout: 2, parent: 1 });
    expect(answer).toMatchObject({ type: 'result', stream: { data: new Uint8Array([1]) } });
  });
});

test('a method that does not listen gives its value after its time, too', async () => {
  let end!: (value: unknown) => void;
  channel.handler = {
    wait: () =>
      new Promise((resolve) => {
        end = resolve;
      }),
  };
  const id = server.request(call('wait', { timeout: 2 }));
  expect(await pass(3)).toStrictEqual([]);
  end('late');
  expect(await server.answerTo(id)).toMatchObject({ value: 'late' });
});

describe('what a method throws by itself', () => {
  const abortError = new DOMException('I have stopped.', 'AbortError');
  const timeoutError = new DOMException('Too slow.', 'TimeoutError');

  test.each<[string, Error, object]>([
    ['an AbortError is a cancellation by its own program', abortError, { kind: 'aborted', name: 'AbortError' }],
    ['a TimeoutError is an exception', timeoutError, { kind: 'exception', name: 'TimeoutError' }],
    [
      'an Error that is only called so is an exception',
      Object.assign(new Error('m'), { name: 'AbortError' }),
      { kind: 'exception', name: 'AbortError' },
    ],
  ])('%s', async (_, error, answer) => {
    channel.handler = { fail: () => Promise.reject(error) };
    expect(await server.ask(call('fail'))).toMatchObject(answer);
  });

  test('is its timeout when it is a TimeoutError and its time has passed', async () => {
    channel.handler = {
      fail: () => {
        vi.advanceTimersByTime(2000);
        throw timeoutError;
      },
    };
    expect(await server.ask(call('fail', { timeout: 2 }))).toMatchObject({ kind: 'timeout', message: 'Too slow.' });
  });

  test('is no cancellation of its own when Python has cancelled it', async () => {
    const listener = new Listener();
    channel.handler = listener;
    const id = server.request(call('listen'));
    server.send({ type: 'cancel', id });
    listener.fail(listener.signal.reason);
    expect(await server.answerTo(id)).toMatchObject({ kind: 'cancelled' });
  });
});

test('the signal that a method reads after it has closed the client is aborted', async () => {
  let reason: unknown;
  channel.handler = {
    quit: () => {
      fixture.client.close();
      reason = channel.signal.reason;
    },
  };
  server.request(call('quit', { timeout: 2 }));
  await server.settle();
  expect(reason).toMatchObject({ name: 'AbortError', message: 'The page has closed its connection.' });
});

describe('the options of a call', () => {
  test.each<[string, unknown, typeof TypeError]>([
    ['nothing', undefined, TypeError],
    ['null', null, TypeError],
    ['a number', 2, TypeError],
    ['an unknown name', { timeOut: 2 }, TypeError],
    ['a signal that is none', { signal: {} }, TypeError],
    ['a controller in place of its signal', { signal: new AbortController() }, TypeError],
    ['a signal that is only half one', { signal: { aborted: false } }, TypeError],
    ['a text as timeout', { timeout: '2' }, TypeError],
    ['a negative timeout', { timeout: -1 }, RangeError],
    ['NaN as timeout', { timeout: NaN }, RangeError],
  ])('cannot be %s', (_, options, Reason) => {
    expect(() => channel.with(options as CallOptions)).toThrow(Reason);
  });

  test.each<[string, CallOptions]>([
    ['empty', {}],
    ['undefined', { signal: undefined as never, timeout: undefined as never }],
    ['null', { signal: null, timeout: null }],
    ['without end', { timeout: Infinity }],
  ])('can be %s, which adds nothing to a call', async (_, options) => {
    const answer = channel.with(options).call('f', 1);
    expect(await server.settle()).toStrictEqual([{ type: 'call', id: 1, channel: 1, name: 'f', args: [1] }]);
    server.send({ type: 'result', id: 1, value: 2 });
    await expect(answer).resolves.toBe(2);
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test('are as they were given, and hold for any number of calls', async () => {
    const options = { timeout: 1.2345 };
    const calls = channel.with(options);
    options.timeout = 5;
    void later(calls.call('f'));
    void later(calls.echo(1));
    void later(calls.call('g'));
    expect(await server.settle()).toMatchObject([
      { type: 'call', name: 'f', timeout: 1.234 },
      { type: 'echo', args: [1] },
      { type: 'call', name: 'g', timeout: 1.234 },
    ]);
  });
});

describe('a signal', () => {
  test('cancels a call in one message, and the caller gets the reason when Python has answered', async () => {
    const controller = new AbortController();
    const answer = later(channel.with({ signal: controller.signal }).call('f'));
    await server.settle();
    controller.abort();
    expect(await server.settle()).toStrictEqual([{ type: 'cancel', id: 1 }]);
    expect(await stateOf(answer)).toBe('pending');
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    await expect(answer).rejects.toBe(controller.signal.reason);
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test('has the last word about a result that crosses the cancel', async () => {
    const controller = new AbortController();
    const answer = later(channel.with({ signal: controller.signal }).call('f'));
    await server.settle();
    controller.abort('enough');
    server.send({ type: 'result', id: 1, value: 'done' });
    await expect(answer).rejects.toBe('enough');
  });

  test('and a stream that crosses the cancel is refused', async () => {
    const controller = new AbortController();
    const answer = later(channel.with({ signal: controller.signal }).call('f'));
    await server.settle();
    controller.abort();
    await server.settle();
    server.send({ type: 'result', id: 1, value: null, stream: { id: 1, ticket: TICKET } });
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('ends the wait after the cancel_wait of the server at the latest, and the late answer is dropped', async () => {
    const controller = new AbortController();
    const answer = later(channel.with({ signal: controller.signal }).call('f'));
    await server.settle();
    controller.abort();
    await pass(CANCEL_WAIT - 0.001);
    expect(await stateOf(answer)).toBe('pending');
    await pass(0.001);
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
    server.send({ type: 'result', id: 1, value: null, stream: { id: 1, ticket: TICKET } });
    expect(await server.settle()).toStrictEqual([{ type: 'stop', stream: 1 }]);
    expect(fixture.client.state).toBe('connected');
  });

  test.each<[string, Message]>([
    ['result', { type: 'result', id: 1, value: 1 }],
    ['error', { type: 'error', id: 1, kind: 'exception', name: 'E', message: 'm' }],
  ])('that aborts after the %s does nothing', async (_, message) => {
    const controller = new AbortController();
    const answer = later(channel.with({ signal: controller.signal }).call('f'));
    await server.settle();
    server.send(message);
    controller.abort();
    expect(await server.settle()).toStrictEqual([]);
    await answer.catch((error: unknown) => {
      expect(error).toMatchObject({ type: 'E' });
    });
  });

  test('that has aborted lets nothing be sent, and closes the source of a stream', async () => {
    const calls = channel.with({ signal: AbortSignal.abort('before') });
    const source = new Silence();
    await expect(calls.call('f')).rejects.toBe('before');
    await expect(calls.echo()).rejects.toBe('before');
    await expect(calls.callWithStream('f', source)).rejects.toBe('before');
    expect(await server.settle()).toStrictEqual([]);
    expect(source.isClosed).toBe(true);
  });

  test('cancels echoes and pipes too', async () => {
    const controller = new AbortController();
    const calls = channel.with({ signal: controller.signal });
    const answers = [later(calls.echo(1)), later(calls.pipe([new Uint8Array([1])]))];
    await server.settle();
    controller.abort();
    expect(await server.settle()).toMatchObject([
      { type: 'cancel', id: 1 },
      { type: 'cancel', id: 2 },
    ]);
    for (const id of [1, 2]) {
      server.send({ type: 'error', id, kind: 'cancelled', name: '', message: 'm' });
    }
    for (const answer of answers) {
      await expect(answer).rejects.toBe(controller.signal.reason);
    }
  });

  test('closes the stream of the call that it cancels', async () => {
    const controller = new AbortController();
    const source = new Silence();
    const answer = later(channel.with({ signal: controller.signal }).callWithStream('f', source));
    expect(await pass(1)).toMatchObject([{ type: 'call', stream: { id: 1 } }]);
    controller.abort();
    expect(await server.settle()).toStrictEqual([{ type: 'cancel', id: 1 }]);
    expect(source.isClosed).toBe(true);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('takes back a call whose stream has not shown yet whether it is short', async () => {
    const controller = new AbortController();
    const source = new Silence();
    const answer = later(channel.with({ signal: controller.signal }).callWithStream('f', source));
    controller.abort();
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
    expect(source.isClosed).toBe(true);
    expect(await pass(1)).toStrictEqual([]);
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test.each<[string, () => void]>([
    ['the connection is lost', () => { fixture.environment.socket.lose(); }],
    ['the client is closed', () => { fixture.client.close(); }],
    ['the channel is closed', () => { server.request({ type: 'close', channel: 1 }); }],
  ])('has the last word when %s while the call is being cancelled', async (_, end) => {
    const controller = new AbortController();
    const answer = later(channel.with({ signal: controller.signal }).call('f'));
    await server.settle();
    controller.abort();
    await server.settle();
    end();
    await expect(answer).rejects.toBe(controller.signal.reason);
  });

  test('has one listener for 10,000 calls, and none when they have ended', async () => {
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, 'addEventListener');
    const removed = vi.spyOn(signal, 'removeEventListener');
    const calls = channel.with({ signal });
    const answers = Array.from({ length: 10_000 }, () => later(calls.call('f')));
    await server.settle();
    for (let id = 1; id < 10_000; id++) {
      server.connection.send(
        id % 2 === 0
          ? { type: 'result', id, value: id }
          : { type: 'error', id, kind: 'exception', name: 'E', message: 'm' },
      );
    }
    server.send({ type: 'beat' });
    expect(removed).not.toHaveBeenCalled();
    server.send({ type: 'result', id: 10_000, value: 1 });
    await Promise.allSettled(answers);
    expect(added).toHaveBeenCalledTimes(1);
    expect(removed.mock.calls).toStrictEqual(added.mock.calls);
  });

  test.each<[string, (controller: AbortController) => unknown]>([
    ['the cancellation', (controller) => { controller.abort(); }],
    ['the timeout', () => pass(2)],
    ['the loss of the connection', () => { fixture.environment.socket.lose(); }],
    ['the end of the channel', () => server.ask({ type: 'close', channel: 1 })],
  ])('has no listener left after %s', async (_, end) => {
    const controller = new AbortController();
    const added = vi.spyOn(controller.signal, 'addEventListener');
    const removed = vi.spyOn(controller.signal, 'removeEventListener');
    void later(channel.with({ signal: controller.signal, timeout: 2 }).call('f'));
    await server.settle();
    await end(controller);
    expect(added).toHaveBeenCalledTimes(1);
    expect(removed.mock.calls).toStrictEqual(added.mock.calls);
  });
});

describe('a timeout', () => {
  test('travels, and cancels the call when it has passed', async () => {
    const answer = later(channel.with({ timeout: 2 }).call('f'));
    expect(await server.settle()).toMatchObject([{ type: 'call', timeout: 2 }]);
    expect(await pass(2)).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    await expect(answer).rejects.toBeInstanceOf(DOMException);
    await expect(answer).rejects.toMatchObject({
      name: 'TimeoutError',
      message: "The call of 'f' was not answered within 2 s, and has been cancelled.",
    });
  });

  test('is what Python says too, when its clock is first', async () => {
    const answer = later(channel.with({ timeout: 2 }).call('f'));
    await server.settle();
    server.send({ type: 'error', id: 1, kind: 'timeout', name: '', message: 'too slow' });
    await expect(answer).rejects.toMatchObject({ name: 'TimeoutError', message: 'too slow' });
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test('of an echo is this side’s alone', async () => {
    const answer = later(channel.with({ timeout: 0.5 }).echo(1));
    await server.settle();
    await pass(0.5);
    server.send({ type: 'result', id: 1, value: [1] });
    await expect(answer).rejects.toMatchObject({ message: 'The echo was not answered within 0.5 s, and has been cancelled.' });
  });

  test('of nothing lets nothing be sent, and closes the source of a stream', async () => {
    const calls = channel.with({ timeout: 0 });
    const source = new Silence();
    await expect(calls.call('f')).rejects.toMatchObject({
      name: 'TimeoutError',
      message: "The call of 'f' was not sent: no time was left for it.",
    });
    await expect(calls.pipe(source)).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(source.isClosed).toBe(true);
    expect(await server.settle()).toStrictEqual([]);
  });

  test('of a call with a stream begins anew whenever a part of the stream is taken', async () => {
    const parts = new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull: async (controller) => {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        controller.enqueue(new Uint8Array([1]));
      },
    });
    const answer = later(channel.with({ timeout: 2 }).callWithStream('f', parts));
    const messages = await pass(1);
    expect(messages).toMatchObject([{ type: 'call', stream: { id: 1 } }]);
    expect(messages[0]).not.toHaveProperty('timeout');
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    await pass(0.7);
    fixture.environment.exchange.answer(204);
    expect(await pass(1.9)).toStrictEqual([]);
    expect(await pass(0.2)).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    await expect(answer).rejects.toMatchObject({
      name: 'TimeoutError',
      message: "The call of 'f' made no progress for 2 s, and has been cancelled.",
    });
  });

  test('that passes while the call waits to be sent leaves nothing behind', async () => {
    const source = new Silence();
    const answer = later(channel.with({ timeout: 0.001 }).callWithStream('f', source));
    expect(await pass(1)).toStrictEqual([]);
    await expect(answer).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(source.isClosed).toBe(true);
  });
});

describe('the connection’s end', () => {
  test('is a loss to the calls that wait, with or without options', async () => {
    const answers = [later(channel.call('f')), later(channel.with({ timeout: 9 }).call('f'))];
    await server.settle();
    fixture.environment.socket.lose();
    for (const answer of answers) {
      await expect(answer).rejects.toBeInstanceOf(ConnectionLostError);
    }
  });

  test('is a closing when somebody says goodbye', async () => {
    const answers = [later(channel.call('f')), later(channel.with({ timeout: 9 }).call('f'))];
    await server.settle();
    server.send({ type: 'goodbye', reason: 'closed', message: 'The server is closing.' });
    for (const answer of answers) {
      await expect(answer).rejects.toStrictEqual(new ClosedError('The server is closing.'));
    }
    await expect(channel.call('f')).rejects.toBeInstanceOf(ClosedError);
  });

  test('leaves a StateError for what is called before the next one', async () => {
    fixture.environment.socket.lose();
    await expect(channel.call('f')).rejects.toMatchObject({ name: 'StateError' });
  });
});

describe('a call that a method makes at once', () => {
  test('is a child: it tells its parent, and the time that is left', async () => {
    channel.handler = {
      ask: async () => {
        vi.advanceTimersByTime(500);
        await Promise.all([channel.call('f'), channel.with({ timeout: 1 }).call('g'), channel.with({ timeout: 9 }).pipe([])]);
      },
    };
    const parent = server.request(call('ask', { timeout: 2 }));
    expect(await server.settle()).toMatchObject([
      { type: 'call', name: 'f', timeout: 1.5, parent },
      { type: 'call', name: 'g', timeout: 1, parent },
      { type: 'pipe', timeout: 1.5, parent },
    ]);
  });

  test('has no time where its parent has none', async () => {
    channel.handler = { ask: () => channel.call('f') };
    const parent = server.request(call('ask'));
    expect(await server.settle()).toStrictEqual([
      { type: 'call', id: 1, channel: 1, name: 'f', args: [], parent },
    ]);
  });

  test('may be in another channel', async () => {
    const other = await open(2);
    channel.handler = { ask: () => other.call('f') };
    const parent = server.request(call('ask'));
    expect(await server.settle()).toMatchObject([{ channel: 2, parent }]);
  });

  test('is no child in another client', async () => {
    const other = makeConnected();
    await other.server.ask({ type: 'open', channel: 1, code: 'c => null' });
    channel.handler = { ask: () => other.client.channels.get(1)?.call('f') };
    server.request(call('ask', { timeout: 2 }));
    const [message] = await other.server.settle();
    expect(message).toStrictEqual({ type: 'call', id: 1, channel: 1, name: 'f', args: [] });
  });

  test('is no child after the first await', async () => {
    channel.handler = {
      ask: async () => {
        await Promise.resolve();
        return channel.call('f');
      },
    };
    server.request(call('ask', { timeout: 2 }));
    const [message] = await server.settle();
    expect(message).toStrictEqual({ type: 'call', id: 1, channel: 1, name: 'f', args: [] });
  });

  test('is cancelled with its parent, which is answered when the child has ended', async () => {
    let outcome: unknown;
    channel.handler = {
      ask: () =>
        channel.call('f').catch((error: unknown) => {
          outcome = error;
          throw error;
        }),
    };
    const parent = server.request(call('ask'));
    await server.settle();
    server.send({ type: 'cancel', id: parent });
    expect(await server.settle()).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    expect(await server.settle()).toMatchObject([{ type: 'error', id: parent, kind: 'cancelled' }]);
    expect(outcome).toMatchObject({ name: 'AbortError', message: 'Python has cancelled the request.' });
  });

  test('is waited for no longer than the server says', async () => {
    channel.handler = { ask: () => channel.call('f') };
    const parent = server.request(call('ask'));
    await server.settle();
    server.send({ type: 'cancel', id: parent });
    await server.settle();
    expect(await pass(CANCEL_WAIT)).toMatchObject([{ type: 'error', id: parent, kind: 'cancelled' }]);
  });

  test('ends with the time of its parent, and one timer serves them all', async () => {
    channel.handler = { ask: () => Promise.all(Array.from({ length: 2000 }, () => channel.call('f'))) };
    const parent = server.request(call('ask', { timeout: 2 }));
    await server.settle();
    expect(vi.getTimerCount()).toBe(idleTimers + 1);
    const cancels = await pass(2);
    expect(cancels).toHaveLength(2000);
    expect(cancels[0]).toStrictEqual({ type: 'cancel', id: 1 });
    for (let id = 1; id <= 2000; id++) {
      server.connection.send({ type: 'error', id, kind: 'timeout', name: '', message: 'm' });
    }
    server.send({ type: 'beat' });
    expect(await server.settle()).toMatchObject([{ type: 'error', id: parent, kind: 'timeout' }, { type: 'beat' }]);
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test('that Python finds too slow ends its parent, whose time it had', async () => {
    const listener = new Listener();
    let error: unknown;
    channel.handler = {
      ask: () => {
        const ended = listener.listen();
        channel.call('f').catch((reason: unknown) => {
          error = reason;
        });
        return ended;
      },
    };
    const parent = server.request(call('ask', { timeout: 2 }));
    await server.settle();
    server.send({ type: 'error', id: 1, kind: 'timeout', name: '', message: 'm' });
    await server.settle();
    expect(listener.signal.reason).toMatchObject({ name: 'TimeoutError' });
    expect(error).toBe(listener.signal.reason);
    listener.end();
    expect(await server.answerTo(parent)).toMatchObject({ kind: 'timeout' });
  });

  test('that Python finds too slow leaves its parent alone when it had less time', async () => {
    channel.handler = { ask: () => channel.with({ timeout: 1 }).call('f').catch(() => 'went on') };
    const parent = server.request(call('ask', { timeout: 2 }));
    await server.settle();
    server.send({ type: 'error', id: 1, kind: 'timeout', name: '', message: 'm' });
    expect(await server.answerTo(parent)).toMatchObject({ value: 'went on' });
  });

  test('is not sent when no time is left, and its parent was too slow', async () => {
    channel.handler = {
      ask: () => {
        vi.advanceTimersByTime(2000);
        return channel.call('f');
      },
    };
    expect(await server.ask(call('ask', { timeout: 2 }))).toMatchObject({ kind: 'timeout' });
  });

  test('goes on after the answer of its parent, and has no more than its time', async () => {
    let answer = Promise.resolve<unknown>(null);
    channel.handler = {
      ask: () => {
        answer = later(channel.call('f'));
      },
    };
    const parent = server.request(call('ask', { timeout: 2 }));
    expect(await server.settle()).toMatchObject([
      { type: 'result', id: parent },
      { type: 'call', parent },
    ].reverse());
    expect(await pass(2)).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    await expect(answer).rejects.toMatchObject({
      name: 'TimeoutError',
      message: 'The time of the request on whose behalf the call was made has passed.',
    });
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test('leaves no timer when both have been answered', async () => {
    channel.handler = { ask: () => void later(channel.call('f')) };
    server.request(call('ask', { timeout: 2 }));
    await server.settle();
    expect(vi.getTimerCount()).toBe(idleTimers + 1);
    server.send({ type: 'result', id: 1, value: 1 });
    expect(vi.getTimerCount()).toBe(idleTimers);
  });

  test('is cancelled in another channel when that of its parent is closed', async () => {
    const other = await open(2);
    let answer = Promise.resolve<unknown>(null);
    let inside = Promise.resolve<unknown>(null);
    channel.handler = {
      ask: () => {
        inside = later(channel.call('g'));
        answer = later(other.call('f'));
        return answer;
      },
    };
    server.request(call('ask'));
    await server.settle();
    server.request({ type: 'close', channel: 1 });
    expect(await server.settle()).toMatchObject([
      { type: 'cancel', id: 2 },
      { type: 'error', kind: 'ended' },
      { type: 'result' },
    ]);
    server.send({ type: 'error', id: 2, kind: 'cancelled', name: '', message: 'm' });
    await expect(answer).rejects.toMatchObject({ name: 'AbortError', message: 'The channel 1 was closed.' });
    await expect(inside).rejects.toBeInstanceOf(ClosedError);
  });

  test('is cancelled by a signal of its own, too', async () => {
    const controller = new AbortController();
    channel.handler = { ask: () => channel.with({ signal: controller.signal }).call('f').catch(() => 'went on') };
    const parent = server.request(call('ask'));
    expect(await server.settle()).toMatchObject([{ parent }]);
    controller.abort();
    expect(await server.settle()).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    expect(await server.answerTo(parent)).toMatchObject({ value: 'went on' });
  });

  test('is cancelled once, by its own signal and then with its parent', async () => {
    const controller = new AbortController();
    channel.handler = { ask: () => channel.with({ signal: controller.signal }).call('f') };
    const parent = server.request(call('ask'));
    await server.settle();
    controller.abort();
    server.send({ type: 'cancel', id: parent });
    expect(await server.settle()).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    expect(await server.answerTo(parent)).toMatchObject({ kind: 'cancelled' });
  });

  test('that has not left yet is taken back with its parent, which is answered at once', async () => {
    const source = new Silence();
    channel.handler = { ask: () => channel.callWithStream('f', source) };
    const parent = server.request(call('ask'));
    server.send({ type: 'cancel', id: parent });
    expect(await pass(1)).toMatchObject([{ type: 'error', id: parent, kind: 'cancelled' }]);
    expect(source.isClosed).toBe(true);
  });

  test('is no child with the signal null, but has its time', async () => {
    channel.handler = { ask: () => channel.with({ signal: null }).call('f') };
    const parent = server.request(call('ask', { timeout: 2 }));
    const messages = await server.settle();
    expect(messages).toStrictEqual([{ type: 'call', id: 1, channel: 1, name: 'f', args: [], timeout: 2 }]);
    server.send({ type: 'cancel', id: parent });
    expect(await server.settle()).toMatchObject([{ type: 'error', id: parent, kind: 'cancelled' }]);
    expect(await pass(2)).toStrictEqual([{ type: 'cancel', id: 1 }]);
  });

  test('with a stream and without progress for less than that keeps to the time, too', async () => {
    channel.handler = {
      ask: () => channel.with({ signal: null, timeout: 9 }).callWithStream('f', new Silence()).catch(String),
    };
    const parent = server.request(call('ask', { timeout: 2 }));
    expect(await pass(1)).toMatchObject([{ type: 'call', timeout: 1.998 }]);
    expect(await pass(1)).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    expect(await server.answerTo(parent)).toMatchObject({
      value: "TimeoutError: The call of 'f' was not answered within 2 s, and has been cancelled.",
    });
  });

  test('has nothing of the one that is being handled with the signal and the timeout null', async () => {
    channel.handler = { ask: () => channel.with({ signal: null, timeout: null }).call('f') };
    server.request(call('ask', { timeout: 2 }));
    const [message] = await server.settle();
    expect(message).toStrictEqual({ type: 'call', id: 1, channel: 1, name: 'f', args: [] });
    expect(await pass(9)).toStrictEqual([]);
  });

  test('is a child without a time of its own with the timeout null', async () => {
    channel.handler = {
      ask: () => {
        void later(channel.call('f'));
        void later(channel.with({ timeout: null }).call('g'));
      },
    };
    const parent = server.request(call('ask', { timeout: 2 }));
    const [, second] = await server.settle();
    expect(second).toStrictEqual({ type: 'call', id: 2, channel: 1, name: 'g', args: [], parent });
    expect(await pass(2)).toStrictEqual([{ type: 'cancel', id: 1 }]);
  });
});

describe('the signal of a method, given to a later call', () => {
  /** Make the call after the first await, with the signal that was read before it. */
  function askLater(gate: Promise<unknown>, options: CallOptions = {}): void {
    channel.handler = {
      ask: async () => {
        const { signal } = channel;
        await gate;
        return channel.with({ signal, ...options }).call('f');
      },
    };
  }

  test('makes it a child', async () => {
    askLater(Promise.resolve());
    const parent = server.request(call('ask', { timeout: 2 }));
    expect(await server.settle()).toMatchObject([{ type: 'call', name: 'f', timeout: 2, parent }]);
    server.send({ type: 'cancel', id: parent });
    expect(await server.settle()).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'error', id: 1, kind: 'cancelled', name: '', message: 'm' });
    expect(await server.answerTo(parent)).toMatchObject({ kind: 'cancelled' });
  });

  test('is the parent, and not the call that is being handled', async () => {
    const listener = new Listener();
    channel.handler = {
      listen: () => listener.listen(),
      ask: () => channel.with({ signal: listener.signal }).call('f'),
    };
    const parent = server.request(call('listen'));
    server.request(call('ask', { timeout: 2 }));
    const [message] = await server.settle();
    expect(message).toStrictEqual({ type: 'call', id: 1, channel: 1, name: 'f', args: [], parent });
  });

  test('lets nothing be sent when it has aborted', async () => {
    let open!: () => void;
    askLater(
      new Promise<void>((resolve) => {
        open = resolve;
      }),
    );
    const parent = server.request(call('ask'));
    server.send({ type: 'cancel', id: parent });
    open();
    expect(await server.settle()).toMatchObject([{ type: 'error', id: parent, kind: 'cancelled' }]);
  });

  test('brings nothing but the time along after the answer', async () => {
    const listener = new Listener();
    channel.handler = listener;
    const parent = server.request(call('listen', { timeout: 2 }));
    listener.end();
    await server.answerTo(parent);
    expect(vi.getTimerCount()).toBe(idleTimers);
    const answer = later(channel.with({ signal: listener.signal }).call('f'));
    const [message] = await server.settle();
    expect(message).toStrictEqual({ type: 'call', id: 1, channel: 1, name: 'f', args: [], timeout: 2 });
    expect(await pass(2)).toStrictEqual([{ type: 'cancel', id: 1 }]);
    server.send({ type: 'result', id: 1, value: 1 });
    await expect(answer).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(listener.signal.aborted).toBe(false);
  });

  test('is a plain signal in another client', async () => {
    const listener = new Listener();
    channel.handler = listener;
    const parent = server.request(call('listen', { timeout: 2 }));
    const other = makeConnected();
    await other.server.ask({ type: 'open', channel: 1, code: 'c => null' });
    void other.client.channels.get(1)?.with({ signal: listener.signal }).call('f').catch(() => undefined);
    const [message] = await other.server.settle();
    expect(message).toStrictEqual({ type: 'call', id: 1, channel: 1, name: 'f', args: [] });
    server.send({ type: 'cancel', id: parent });
    expect(await other.server.settle()).toStrictEqual([{ type: 'cancel', id: 1 }]);
  });
});

test('an argument that cannot be sent leaves no watch behind', async () => {
  const { signal } = new AbortController();
  const added = vi.spyOn(signal, 'addEventListener');
  const calls = channel.with({ signal, timeout: 2 });
  await expect(calls.call('f', NaN)).rejects.toThrow(RangeError);
  await expect(calls.callWithStream('f', [], NaN)).rejects.toThrow(RangeError);
  await expect(calls.callWithStream('f', 1 as never)).rejects.toThrow(TypeError);
  expect(added).not.toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(idleTimers);
});
