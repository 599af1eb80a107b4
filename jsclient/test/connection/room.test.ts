/** Room to send: what a server that does not take what it is sent can make a page hold. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LOOK_TIME, SEND_BUFFER, UNASKED_LIMIT } from '../../src/connection/room.js';
import { MAX_ERROR_LENGTH } from '../../src/requests/dispatcher.js';
import { MAX_STREAMS } from '../../src/streams/registry.js';
import { makeConnected, openChannel, type FakeServer, type FakeSocket, type Fixture } from '../fakes.js';

let fixture: Fixture;
let server: FakeServer;
let socket: FakeSocket;
let begun: number;

const large = 'x'.repeat(1_000_000);

beforeEach(async () => {
  vi.useFakeTimers();
  fixture = makeConnected();
  ({ server } = fixture);
  const last = fixture.environment.sockets.at(-1);
  if (last === undefined) {
    throw new Error('there is no socket');
  }
  socket = last;
  begun = 0;
  const channel = await openChannel(fixture.client, server);
  channel.handler = {
    large: () => {
      begun++;
      return large;
    },
    later: async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      return large;
    },
    give: () => new ReadableStream({ pull: () => new Promise(() => undefined) }),
    fail: async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      throw new Error('x'.repeat(MAX_ERROR_LENGTH));
    },
    keep: () => new Promise(() => undefined),
  };
});

afterEach(() => {
  vi.useRealTimers();
});

function call(name: string): number {
  return server.request({ type: 'call', channel: 1, name, args: [] });
}

/** What was sent counts as waiting from now on. */
function holdAll(): void {
  let held = 0;
  const send = socket.send.bind(socket);
  socket.send = (data) => {
    held += typeof data === 'string' ? data.length : 0;
    socket.bufferedAmount = held;
    send(data);
  };
}

describe('a page whose server takes nothing', () => {
  test('begins a call while as many bytes wait as may, and not when it is one more', async () => {
    socket.bufferedAmount = SEND_BUFFER;
    await server.answerTo(call('large'));
    expect(begun).toBe(1);
    socket.bufferedAmount = SEND_BUFFER + 1;
    const id = call('large');
    await vi.advanceTimersByTimeAsync(10 * LOOK_TIME);
    expect(begun).toBe(1);
    socket.bufferedAmount = 0;
    await vi.advanceTimersByTimeAsync(LOOK_TIME);
    expect(await server.answerTo(id)).toMatchObject({ value: large });
  });

  test.each(['large', 'later', 'echo'])('holds the answers of %s back', async (name) => {
    holdAll();
    for (let count = 0; count < 20; count++) {
      if (name === 'echo') {
        server.request({ type: 'echo', channel: 1, args: [large] });
      } else {
        call(name);
      }
    }
    await vi.advanceTimersByTimeAsync(10 * LOOK_TIME);
    expect(socket.bufferedAmount).toBeGreaterThan(SEND_BUFFER);
    expect(socket.bufferedAmount).toBeLessThan(SEND_BUFFER + 1_100_000);
  });

  test('does not run a call that was cancelled while it waited', async () => {
    socket.bufferedAmount = SEND_BUFFER + 1;
    const id = call('large');
    server.send({ type: 'cancel', id });
    expect(await server.answerTo(id)).toMatchObject({ type: 'error', kind: 'cancelled' });
    socket.bufferedAmount = 0;
    await vi.advanceTimersByTimeAsync(LOOK_TIME);
    expect(begun).toBe(0);
  });

  test('forgets what waits when it closes', async () => {
    socket.bufferedAmount = SEND_BUFFER + 1;
    call('large');
    fixture.client.close();
    socket.bufferedAmount = 0;
    await vi.advanceTimersByTimeAsync(10 * LOOK_TIME);
    expect(begun).toBe(0);
  });

  test('loses a server that does not even take short messages, when they are more than may be', async () => {
    const count = Math.ceil(UNASKED_LIMIT / MAX_ERROR_LENGTH);
    for (let number = 0; number < count; number++) {
      call('fail');
    }
    await vi.advanceTimersByTimeAsync(0);
    socket.bufferedAmount = SEND_BUFFER + 1;
    await vi.advanceTimersByTimeAsync(20);
    server.send({ type: 'beat' });
    expect(fixture.client.state).toBe('waiting');
  });
});

describe('streams of the calls of the server', () => {
  test('are as many as may be, and one more is refused', async () => {
    for (let count = 0; count < MAX_STREAMS; count++) {
      call('give');
    }
    await vi.advanceTimersByTimeAsync(10);
    await server.settle();
    const refused = call('give');
    await vi.advanceTimersByTimeAsync(10);
    expect(await server.answerTo(refused)).toMatchObject({ type: 'error', kind: 'busy' });
    server.send({ type: 'stop', stream: 1 });
    const next = call('give');
    await vi.advanceTimersByTimeAsync(10);
    expect(await server.answerTo(next)).toMatchObject({ type: 'result', value: null });
  });

  test('that come with calls are as many as may be, and one more is refused', async () => {
    const ask = (id: number): number =>
      server.request({
        type: 'call',
        channel: 1,
        name: 'keep',
        args: [],
        stream: { id, ticket: 'x'.repeat(22) },
      });
    for (let id = 1; id <= MAX_STREAMS; id++) {
      ask(id);
    }
    expect(await server.settle()).toStrictEqual([]);
    const messages = (ask(MAX_STREAMS + 1), await server.settle());
    expect(messages).toMatchObject([
      { type: 'error', kind: 'busy' },
      { type: 'stop', stream: MAX_STREAMS + 1 },
    ]);
  });
});
