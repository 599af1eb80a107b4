/** A client whose transport has no HTTP: nothing but a socket is needed, for streams too. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connectFrom, type Client } from '../../src/connection/client.js';
import type { Channel } from '../../src/channels/channel.js';
import type { MetaGenerator } from '../../src/streams/reader.js';
import { PIECES_BESIDE_MESSAGES } from '../../src/protocol/connection.js';
import { FakeEnvironment, FakeServer, openChannel } from '../fakes.js';

const TICKET = 'AAAAAAAAAAAAAAAAAAAAAA';

let environment: FakeEnvironment;
let client: Client;

beforeEach(() => {
  vi.useFakeTimers();
  environment = Object.assign(new FakeEnvironment(), { hasHttp: false });
  client = connectFrom(environment, { reconnect: { giveUpAfter: 0 } });
});

afterEach(() => {
  client.close();
  vi.useRealTimers();
});

describe('what a socket is given to send', () => {
  const array = new Uint8Array(600_000);

  async function send(copiesSent: boolean): Promise<unknown> {
    environment.copiesSent = copiesSent;
    client.close();
    client = connectFrom(environment, { reconnect: { giveUpAfter: 0 } });
    const server = new FakeServer(environment.socket);
    server.welcome();
    const channel = await openChannel(client, server);
    channel.call('take', array).catch(() => undefined);
    return environment.socket.sent.at(-1);
  }

  test('is the own memory of the program where it copies that at once', async () => {
    expect((await send(true)) as Uint8Array).toHaveProperty('buffer', array.buffer);
  });

  test('is a copy where it may keep it', async () => {
    const sent = (await send(false)) as Uint8Array;
    expect([sent.length, sent.buffer === array.buffer]).toStrictEqual([array.length, false]);
  });
});

describe('a client without HTTP', () => {
  let server: FakeServer;
  let channel: Channel;

  beforeEach(async () => {
    server = new FakeServer(environment.socket);
    server.welcome([], { httpStreams: 3 });
    channel = await openChannel(client, server);
  });

  test('offers no token that it does not have', () => {
    expect(environment.socket.protocols).toStrictEqual(['jchannel.v1']);
    expect(environment.socket.url).toBe('');
  });

  test('takes streams in pieces, however many may travel over HTTP', async () => {
    const result = channel.call('give');
    const [call] = await server.settle();
    server.send({ type: 'result', id: (call as { id: number }).id, value: null, stream: { id: 1, ticket: TICKET } });
    const joined = ((await result) as MetaGenerator).join();
    expect(await server.settle()).toStrictEqual([{ type: 'credit', stream: 1, bytes: PIECES_BESIDE_MESSAGES }]);
    server.send({ type: 'piece', stream: 1, data: new Uint8Array(3) }, { type: 'end', stream: 1 });
    expect((await joined).length).toBe(3);
  });

  test('sends streams in pieces', async () => {
    const call = channel.callWithStream('take', new Uint8Array(100_000));
    call.catch(() => undefined);
    await vi.advanceTimersByTimeAsync(10);
    await server.settle();
    server.send({ type: 'ticket', stream: 1, ticket: TICKET, credit: PIECES_BESIDE_MESSAGES });
    await vi.advanceTimersByTimeAsync(10);
    expect((await server.settle()).map(({ type }) => type)).toContain('piece');
    expect(environment.exchanges).toStrictEqual([]);
  });

  test('ends the session with a server that takes streams over HTTP only', async () => {
    const call = channel.callWithStream('take', new Uint8Array(100_000));
    call.catch(() => undefined);
    await vi.advanceTimersByTimeAsync(10);
    await server.settle();
    server.send({ type: 'ticket', stream: 1, ticket: TICKET });
    expect(client.stopReason?.message).toContain('this client has no HTTP');
  });
});

test('a client that reaches nobody says so, without an address that it does not have', () => {
  environment.socket.lose();
  expect(client.stopReason?.message).toContain('could not be reached at the other side of its transport for 0 seconds');
});
