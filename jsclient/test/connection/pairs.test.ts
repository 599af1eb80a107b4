/** Every pair of the server's messages in one frame: the client goes on, or has ended and another one works. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { encodeMessage, type Message } from '../../src/protocol/messages.js';
import { Connection } from '../../src/protocol/connection.js';
import { makeConnected, openChannel, type FakeSocket, type Fixture } from '../fakes.js';
import { encodeFrame, joinFrame } from '../frames.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const TICKET = 'A'.repeat(22);

/** The messages. The number says which of the pair it is; the id is that of a request of the page that waits. */
const MESSAGES: Readonly<Record<string, (n: number) => Message>> = {
  hello: () => ({ type: 'hello', client: 'page' }),
  welcome: () => ({ type: 'welcome', beat: 1, frame_limit: 4096, cancel_wait: 1, channels: [] }),
  goodbye: () => ({ type: 'goodbye', reason: 'closed', message: 'it goes' }),
  beat: () => ({ type: 'beat' }),
  open: (n) => ({ type: 'open', id: 10 + n, channel: 100 + n, code: 'c => null' }),
  'open of the same channel': (n) => ({ type: 'open', id: 10 + n, channel: 1, code: 'c => null' }),
  close: (n) => ({ type: 'close', id: 10 + n, channel: 1 }),
  echo: (n) => ({ type: 'echo', id: 10 + n, channel: 1, args: [] }),
  call: (n) => ({ type: 'call', id: 10 + n, channel: 1, name: 'hang', args: [] }),
  'call of no channel': (n) => ({ type: 'call', id: 10 + n, channel: 999, name: 'hang', args: [] }),
  'call with a stream': (n) => {
    const stream = { id: 1 + n, ticket: TICKET };
    return { type: 'call', id: 10 + n, channel: 1, name: 'hang', args: [], stream };
  },
  'call with a used id': () => ({ type: 'call', id: 2, channel: 1, name: 'hang', args: [] }),
  pipe: (n) => ({ type: 'pipe', id: 10 + n, channel: 1, stream: { id: 1 + n, ticket: TICKET } }),
  result: () => ({ type: 'result', id: 1, value: null }),
  'result of nothing': () => ({ type: 'result', id: 1000, value: null }),
  error: () => ({ type: 'error', id: 1, kind: 'exception', name: 'Name', message: 'message' }),
  cancel: () => ({ type: 'cancel', id: 2 }),
  ticket: () => ({ type: 'ticket', stream: 1, ticket: TICKET, credit: 10 }),
  stop: () => ({ type: 'stop', stream: 1 }),
  broken: () => ({ type: 'broken', stream: 1, name: 'Name', message: 'message' }),
  credit: () => ({ type: 'credit', stream: 1, bytes: 10 }),
  piece: () => ({ type: 'piece', stream: 1, data: new Uint8Array(1) }),
  end: () => ({ type: 'end', stream: 1 }),
  ack: () => ({ type: 'ack', bytes: 1 }),
};

function arrive(socket: FakeSocket, ...messages: Message[]): void {
  socket.arrive(joinFrame(encodeFrame(messages.map((message) => encodeMessage(message)))));
}

/** A client with a channel, a call of each side and a stream of its own under way. */
async function makeBusy(): Promise<Fixture & { readonly outcome: Promise<string> }> {
  const fixture = makeConnected();
  const channel = await openChannel(fixture.client, fixture.server);
  channel.handler = { hang: () => new Promise(() => undefined) };
  const outcome = channel.call('ask', []).then(
    () => 'value',
    () => 'error',
  );
  await vi.advanceTimersByTimeAsync(0);
  fixture.server.request({ type: 'call', channel: 1, name: 'hang', args: [] });
  void channel.callWithStream('take', new Blob(['x'.repeat(40_000)])).catch(() => undefined);
  await vi.advanceTimersByTimeAsync(10);
  return { ...fixture, outcome };
}

describe.each(Object.keys(MESSAGES))('%s', (first) => {
  test.each(Object.keys(MESSAGES))('and %s', async (second) => {
    const { client, environment, outcome } = await makeBusy();
    arrive(environment.socket, ...[first, second].map((name, n) => (MESSAGES[name] as (n: number) => Message)(n)));
    await vi.advanceTimersByTimeAsync(0);
    if (client.state === 'connected') {
      const before = environment.socket.sent.length;
      arrive(environment.socket, { type: 'echo', id: 2000, channel: 1, args: [7] });
      await vi.advanceTimersByTimeAsync(0);
      const frames = environment.socket.sent.slice(before);
      expect(frames.some((frame) => typeof frame === 'string' && frame.includes('"id":2000'))).toBe(true);
    } else {
      expect(client.state).toBe('stopped');
      expect(environment.socket.isClosed).toBe(true);
      expect(client.channels.size).toBe(0);
    }
    client.close();
    expect(['value', 'error']).toContain(await outcome);
    const { client: next, server } = makeConnected();
    await openChannel(next, server);
    next.close();
  });
});

describe('an error of the client itself', () => {
  test('in handling a message ends the session with a goodbye', async () => {
    const { client, server, outcome } = await makeBusy();
    vi.spyOn(Connection.prototype, 'receive').mockImplementationOnce(() => {
      throw new RangeError('planted');
    });
    server.socket.arrive('[{"type":"beat"}]');
    const message = 'An error of jchannel in the page has ended the session: planted';
    expect(client.stopReason).toStrictEqual({ reason: 'closed', message });
    expect(server.receive().at(-1)).toStrictEqual({ type: 'goodbye', reason: 'closed', message });
    expect(await outcome).toBe('error');
  });

  test('that keeps the goodbye back, too, ends the session', async () => {
    const { client, environment, server, outcome } = await makeBusy();
    const fail = (): never => {
      throw new RangeError('planted');
    };
    vi.spyOn(Connection.prototype, 'receive').mockImplementationOnce(fail);
    vi.spyOn(Connection.prototype, 'send').mockImplementationOnce(fail);
    server.socket.arrive('[{"type":"beat"}]');
    expect(client.state).toBe('stopped');
    expect(environment.socket.isClosed).toBe(true);
    expect(await outcome).toBe('error');
  });
});
