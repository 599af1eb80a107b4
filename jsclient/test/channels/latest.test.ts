/** The newest values of a page, between a client and a fake server. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Channel } from '../../src/channels/channel.js';
import { ClosedError, KernelError } from '../../src/errors.js';
import { Latest } from '../../src/exports.js';
import type { Message } from '../../src/protocol/messages.js';
import { makeConnected, openChannel, reconnect, type FakeServer, type Fixture } from '../fakes.js';

const TICKET = 'A'.repeat(22);
const setImmediate = globalThis.setImmediate;

let fixture: Fixture;
let server: FakeServer;
let channel: Channel;

beforeEach(async () => {
  vi.useFakeTimers();
  fixture = makeConnected();
  ({ server } = fixture);
  channel = await openChannel(fixture.client, server);
  got = [];
});

afterEach(() => {
  vi.useRealTimers();
});

let got: Message[];

/** Return the arguments of the calls that the server has got since it was asked last. */
async function received(from = server): Promise<unknown[]> {
  got.push(...(await from.settle()));
  return got
    .splice(0)
    .filter(({ type }) => type === 'call')
    .map((message) => (message as { args: unknown }).args);
}

async function answer(id: number, value: unknown = null, from = server): Promise<void> {
  got.push(...(await from.settle()));
  from.send({ type: 'result', id, value });
  await vi.advanceTimersByTimeAsync(0);
}

async function refuse(id: number, from = server): Promise<void> {
  got.push(...(await from.settle()));
  from.send({ type: 'error', id, kind: 'exception', name: 'ValueError', message: `bad ${String(id)}` });
  await vi.advanceTimersByTimeAsync(0);
}

describe('the newest value', () => {
  test('is sent when the call before it is answered, and those between are skipped', async () => {
    const latest = channel.latest('draw');
    expect(latest).toBeInstanceOf(Latest);
    expect(latest.name).toBe('draw');
    const point = [0];
    latest.set(point);
    point[0] = 5;
    for (let number = 1; number < 60; number++) {
      channel.latest('draw').set([number]);
    }
    expect(latest.statistics()).toStrictEqual({ values: 60, sent: 1, skipped: 58, failed: 0 });
    expect(await received()).toStrictEqual([[[0]]]);
    await answer(1);
    expect(await received()).toStrictEqual([[[59]]]);
    await answer(2);
    expect(await received()).toStrictEqual([]);
    expect(latest.statistics()).toStrictEqual({ values: 60, sent: 2, skipped: 58, failed: 0 });
  });

  test('takes what is sent by `call`, and leaves the value before where that cannot be sent', async () => {
    const latest = channel.latest('draw');
    latest.set(1, new Uint8Array([2]));
    expect(await received()).toStrictEqual([[1, new Uint8Array([2])]]);
    latest.set('second');
    expect(() => {
      latest.set(new Map());
    }).toThrow('args[0] is an object of the class');
    await answer(1);
    expect(await received()).toStrictEqual([['second']]);
  });

  test('has a time of its own for each call', async () => {
    const failures: unknown[] = [];
    channel.latest('draw', { timeout: 2, onFailure: (error) => failures.push(error) }).set(1);
    expect(await server.settle()).toMatchObject([{ type: 'call', timeout: 2 }]);
    await vi.advanceTimersByTimeAsync(2000);
    server.send({ type: 'error', id: 1, kind: 'timeout', name: '', message: 'late' });
    await vi.advanceTimersByTimeAsync(0);
    expect(failures).toMatchObject([{ name: 'TimeoutError' }]);
  });

  test('waits for the connection, and is sent again after one that was lost', async () => {
    const latest = channel.latest('draw');
    fixture.environment.socket.lose();
    latest.set(1);
    latest.set(2);
    const second = reconnect(fixture, [1]);
    expect(await received(second)).toStrictEqual([[2]]);
    await answer(1, null, second);
    fixture.environment.socket.lose();
    const third = reconnect(fixture, [1]);
    expect(await received(third)).toStrictEqual([[2]]);
    fixture.environment.socket.lose();
    await vi.advanceTimersByTimeAsync(0);
    expect(await received(reconnect(fixture, [1]))).toStrictEqual([[2]]);
    expect(latest.statistics()).toStrictEqual({ values: 2, sent: 1, skipped: 1, failed: 0 });
  });

  test('of which there is none is not sent', async () => {
    channel.latest('draw');
    fixture.environment.socket.lose();
    expect(await received(reconnect(fixture, [1]))).toStrictEqual([]);
  });

  test('drops a stream in the answer', async () => {
    channel.latest('draw').set(1);
    await server.settle();
    server.send({ type: 'result', id: 1, value: null, stream: { id: 1, ticket: TICKET } });
    await vi.advanceTimersByTimeAsync(0);
    expect(await server.settle()).toContainEqual({ type: 'stop', stream: 1 });
  });
});

describe('a failed call', () => {
  test('is told to onFailure, each one, and ends nothing', async () => {
    const failures: unknown[] = [];
    const latest = channel.latest('draw', { onFailure: (error) => failures.push(error) });
    latest.set(1);
    latest.set(2);
    await refuse(1);
    await refuse(2);
    expect(failures).toStrictEqual([
      new KernelError('exception', 'ValueError', 'bad 1'),
      new KernelError('exception', 'ValueError', 'bad 2'),
    ]);
    expect(latest.statistics()).toStrictEqual({ values: 2, sent: 2, skipped: 0, failed: 2 });
  });

  test('is an unhandled rejection by default, the first one since a call has succeeded', async () => {
    const caught: unknown[] = [];
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (error) => caught.push(error));
    try {
      const latest = channel.latest('draw');
      const outcomes = [refuse, refuse, answer, refuse];
      for (const [index, settle] of outcomes.entries()) {
        latest.set(index);
        await settle(index + 1);
      }
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      process.removeAllListeners('unhandledRejection');
      for (const other of others) {
        process.on('unhandledRejection', other);
      }
    }
    expect(caught).toMatchObject([{ detail: 'bad 1' }, { detail: 'bad 4' }]);
  });
});

describe('the end', () => {
  test('comes when the last value has arrived', async () => {
    const latest = channel.latest('draw');
    latest.set(1);
    latest.set(2);
    let isClosed = false;
    const closed = latest.close().then(() => {
      isClosed = true;
    });
    expect(() => {
      latest.set(3);
    }).toThrow(new ClosedError("The newest value of 'draw' is closed."));
    await answer(1);
    expect(isClosed).toBe(false);
    expect(await received()).toStrictEqual([[1], [2]]);
    await answer(2);
    await closed;
    const next = channel.latest('draw');
    expect(next).not.toBe(latest);
    next.set(3);
    expect(await received()).toStrictEqual([[3]]);
  });

  test('comes at once where nothing is under way', async () => {
    await channel.latest('draw').close();
    expect(await received()).toStrictEqual([]);
  });

  test('comes with that of the channel, whatever was under way', async () => {
    const latest = channel.latest('draw');
    latest.set(1);
    latest.set(2);
    const closed = latest.close();
    await server.settle();
    await server.ask({ type: 'close', channel: 1 });
    await closed;
    await vi.advanceTimersByTimeAsync(0);
    expect(await received()).toStrictEqual([]);
    expect(latest.statistics().failed).toBe(0);
    expect(() => channel.latest('draw')).toThrow(ClosedError);
  });
});

describe('what cannot be', () => {
  test.each([
    [5, undefined, 'The name of the method must be a string'],
    ['draw', null, 'The options of latest must be an object'],
    ['draw', { signal: null }, 'latest has no option signal'],
    ['draw', { timeout: '2' }, 'The option timeout must be a number of seconds or null'],
    ['draw', { timeout: -1 }, 'The option timeout must be a number of seconds from 0 on'],
    ['draw', { onFailure: 5 }, 'The option onFailure must be a function. It is a number.'],
  ])('is refused: %o, %o', (name, options, message) => {
    expect(() => channel.latest(name as never, options as never)).toThrow(message);
  });
});
