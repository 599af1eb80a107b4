/** The client against a fake server: the handshake, lost connections, and their end. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connectFrom, LASTING, type Client } from '../../src/connection/client.js';
import { HANDSHAKE_TIMEOUT } from '../../src/connection/session.js';
import { ClosedError, ConnectionLostError, StateError } from '../../src/errors.js';
import { FakeEnvironment, FakeServer, makeClient, makeConnected, openChannel, reconnect } from '../fakes.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function watch(client: Client): string[] {
  const states: string[] = [];
  client.addEventListener('statechange', () => states.push(client.state));
  return states;
}

describe('connecting', () => {
  test('goes to the socket below the base URL, with the version and the token as subprotocols', () => {
    const { environment } = makeClient({ url: 'https://hub.example/user/me/proxy/8889/', token: 'a-b_c' });
    expect(environment.socket.url).toBe('wss://hub.example/user/me/proxy/8889/socket');
    expect(environment.socket.protocols).toStrictEqual(['jchannel.v1', 'jchannel.token.a-b_c']);
    expect(environment.socket.binaryType).toBe('arraybuffer');
  });

  test('says hello with the name of the page', () => {
    const { environment } = makeClient({ clientId: 'tab' });
    environment.socket.open();
    expect(environment.socket.sent).toStrictEqual(['[{"type":"hello","client":"tab"}]']);
  });

  test.each([
    [{ url: 'http://localhost:8889/' }, ''],
    [{ url: 'http://localhost:8889//' }, ''],
    [{ url: 'http://localhost:8889/proxy/1' }, ',"frame_limit":10000000'],
    [{ url: 'http://localhost:8889/proxy/1', frameLimit: 4096 }, ',"frame_limit":4096'],
    [{ frameLimit: 5000 }, ',"frame_limit":5000'],
  ])('says the largest frame that its way carries, where it knows: %o', (options, limit) => {
    const { environment } = makeClient({ clientId: 'tab', ...options });
    environment.socket.open();
    expect(environment.socket.sent).toStrictEqual([`[{"type":"hello","client":"tab"${limit}}]`]);
  });

  test.each([4095, 5000.5, '5000', NaN, null])('refuses a frame limit that is none: %o', (frameLimit) => {
    expect(() => makeClient({ frameLimit } as never)).toThrow(
      new TypeError('The option frameLimit must be an integer of at least 4096.'),
    );
  });

  test('makes up a name where none is given', () => {
    expect(makeClient().client.clientId).toBe('random-name');
  });

  test('is done with the welcome', () => {
    const { environment, client } = makeClient();
    const states = watch(client);
    expect(client.state).toBe('connecting');
    new FakeServer(environment.socket).welcome();
    expect(states).toStrictEqual(['connected']);
    expect(client.stopReason).toBeNull();
  });

  test.each([
    [{ url: 'localhost:8889' }, 'The option url must be'],
    [{ url: 'ws://localhost:8889' }, 'The option url must be'],
    [{ url: 'http://localhost:8889/#jchannel=secret' }, 'without a query and a fragment'],
    [{ url: 'http://localhost:8889/?x=1' }, 'without a query and a fragment'],
    [{ url: 8889 }, 'it is 8889.'],
    [{ token: '' }, 'The option token'],
    [{ token: 'with spaces' }, 'The option token'],
    [{ token: 5 }, 'The option token'],
    [{ clientId: '' }, 'The option clientId'],
    [{ clientId: 'x'.repeat(65) }, 'The option clientId'],
    [{ clientId: 5 }, 'The option clientId'],
    [{ segmented: 1 }, 'The option segmented must be true or false.'],
    [{ reconnect: { cap: 'x' } }, 'The option reconnect.cap must be a number.'],
    [
      { giveUpAfter: 5 },
      'connect has no option giveUpAfter. Its options are url, token, clientId, transport, segmented, frameLimit, reconnect.',
    ],
  ])('refuses options that are not as they must be: %o', (options, message) => {
    expect(() => makeClient(options as never)).toThrow(TypeError);
    expect(() => makeClient(options as never)).toThrow(message);
  });

  test('stops where the WebSocket class refuses even to try', () => {
    const environment = new FakeEnvironment();
    const openSocket = (): never => {
      throw new DOMException('An insecure WebSocket.', 'SecurityError');
    };
    const client = connectFrom(Object.assign(environment, { openSocket }), {
      url: 'http://localhost:8889',
      token: 't',
    });
    expect(client.stopReason).toStrictEqual({
      reason: 'unreachable',
      message: 'The page cannot connect to ws://localhost:8889/socket: An insecure WebSocket.',
    });
  });

  test.each([
    ['NS_ERROR_CONTENT_BLOCKED', 'https:', 'http', true],
    ['NS_ERROR_CONTENT_BLOCKED', undefined, 'http', true],
    ['SecurityError', 'http:', 'http', true],
    ['SecurityError', 'https:', 'https', true],
    ['SecurityError', 'https:', 'http', false],
    ['OtherError', 'http:', 'http', false],
  ])('names the policy where the browser throws because of it: %s in a page of %s, to %s', (name, protocol, to, isNamed) => {
    vi.stubGlobal('location', protocol === undefined ? undefined : { protocol });
    const openSocket = (): never => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- Firefox's is none, either
      throw { name, message: 'no' };
    };
    const environment = Object.assign(new FakeEnvironment(), { openSocket });
    const client = connectFrom(environment, { url: `${to}://localhost:8889`, token: 't' });
    const socket = `${to.replace('http', 'ws')}://localhost:8889`;
    expect(client.stopReason?.message).toBe(
      isNamed
        ? "The page's Content Security Policy does not let it connect to the server. " +
            `Add ${to}://localhost:8889 and ${socket} to the policy's connect-src.`
        : `The page cannot connect to ${socket}/socket: [object Object]`,
    );
    vi.unstubAllGlobals();
  });

  test('that gets no welcome in time is tried again', () => {
    const { environment, client } = makeClient();
    environment.socket.open();
    vi.advanceTimersByTime(HANDSHAKE_TIMEOUT * 1000);
    expect(client.state).toBe('waiting');
    expect(environment.socket.isClosed).toBe(true);
  });

  test.each(['token', 'origin', 'version', 'taken'] as const)('stops when it is refused: %s', (reason) => {
    const { environment, client } = makeClient();
    const server = new FakeServer(environment.socket);
    environment.socket.open();
    server.receive();
    server.send({ type: 'goodbye', reason, message: 'A sentence.' });
    expect(client.state).toBe('stopped');
    expect(client.stopReason).toStrictEqual({ reason, message: 'A sentence.' });
    expect(environment.socket.isClosed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a lost connection', () => {
  test('is made again after a wait', () => {
    const fixture = makeConnected();
    const states = watch(fixture.client);
    fixture.environment.socket.lose();
    expect(fixture.environment.sockets).toHaveLength(1);
    vi.advanceTimersByTime(124);
    expect(fixture.environment.sockets).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(fixture.environment.sockets).toHaveLength(2);
    new FakeServer(fixture.environment.socket).welcome();
    expect(states).toStrictEqual(['waiting', 'connecting', 'connected']);
  });

  test('is waited for longer and longer', () => {
    const { environment } = makeClient();
    const times = [];
    for (let attempt = 0; attempt < 4; attempt++) {
      environment.socket.lose();
      const before = Date.now();
      vi.advanceTimersToNextTimer();
      times.push(Date.now() - before);
    }
    expect(times).toStrictEqual([125, 250, 500, 1000]);
  });

  test('is waited for longer also where connections are made and do not last', () => {
    const fixture = makeConnected();
    fixture.environment.socket.lose();
    const before = Date.now();
    vi.advanceTimersToNextTimer();
    new FakeServer(fixture.environment.socket).welcome();
    fixture.environment.socket.lose();
    vi.advanceTimersToNextTimer();
    expect(Date.now() - before).toBe(125 + 250);
  });

  test('is waited for briefly after one that has lasted', () => {
    const fixture = makeConnected();
    fixture.environment.socket.lose();
    vi.advanceTimersToNextTimer();
    new FakeServer(fixture.environment.socket).welcome();
    vi.advanceTimersByTime(LASTING * 1000);
    const before = Date.now();
    fixture.environment.socket.lose();
    vi.advanceTimersToNextTimer();
    expect(Date.now() - before).toBe(125);
  });

  test('is made again at once when the page becomes visible or goes online', () => {
    const { environment } = makeConnected();
    environment.socket.lose();
    environment.awake();
    expect(environment.sockets).toHaveLength(2);
    vi.advanceTimersByTime(1000);
    expect(environment.sockets).toHaveLength(2);
  });

  test('is not what a page that becomes visible has while it is connected', () => {
    const { environment } = makeConnected();
    environment.awake();
    expect(environment.sockets).toHaveLength(1);
  });

  test('is given up after a time', () => {
    const { environment, client } = makeClient({ reconnect: { giveUpAfter: 60 } });
    const begin = Date.now();
    while (client.state !== 'stopped') {
      environment.socket.lose();
      vi.runOnlyPendingTimers();
    }
    expect((Date.now() - begin) / 1000).toBeCloseTo(63, 0);
    expect(client.stopReason).toStrictEqual({
      reason: 'unreachable',
      message:
        'The server could not be reached at ws://localhost:8889/socket for 60 seconds. Reload the page to try again.',
    });
    expect(environment.watchers).toHaveLength(0);
  });

  test('is given up after attempts that hang, too', () => {
    const { client } = makeClient({ reconnect: { giveUpAfter: 25 } });
    vi.advanceTimersByTime(35_000);
    expect(client.stopReason?.reason).toBe('unreachable');
  });

  test('is not given up because the machine has slept', () => {
    const { environment, client } = makeClient();
    environment.socket.lose();
    vi.setSystemTime(Date.now() + 8 * 3_600_000);
    vi.runOnlyPendingTimers();
    environment.socket.lose();
    expect(client.state).toBe('waiting');
  });

  test('leaves nothing of its messages to later connections', () => {
    const { environment, client } = makeConnected();
    const [first] = environment.sockets;
    first?.lose();
    environment.awake();
    new FakeServer(environment.socket).welcome();
    first?.open();
    first?.arrive('[]');
    first?.lose();
    expect(client.state).toBe('connected');
  });

  test('is noticed by the silence of the server', () => {
    const { environment, client, server } = makeConnected({ beat: 10 });
    vi.advanceTimersByTime(20_000);
    server.send({ type: 'beat' });
    vi.advanceTimersByTime(29_999);
    expect(client.state).toBe('connected');
    vi.advanceTimersByTime(1);
    expect(client.state).toBe('waiting');
    expect(environment.socket.isClosed).toBe(true);
  });
});

describe('a beat of the server', () => {
  test('is answered by the page', async () => {
    const { server } = makeConnected();
    server.send({ type: 'beat' });
    expect(await server.settle()).toStrictEqual([{ type: 'beat' }]);
  });

  test('is not answered when a goodbye follows it in the same frame', async () => {
    const { client, server } = makeConnected();
    server.send({ type: 'beat' }, { type: 'goodbye', reason: 'closed', message: 'The server has closed.' });
    expect(await server.settle()).toStrictEqual([]);
    expect(client.stopReason).toMatchObject({ reason: 'closed' });
  });
});

describe('a page that is left or frozen', () => {
  test('says so, and its requests end as those of a lost connection', async () => {
    const { client, environment, server } = makeConnected();
    const channel = await openChannel(client, server);
    const outcome = channel.call('f').catch((error: unknown) => error);
    await server.settle();
    environment.goAway();
    expect(await outcome).toBeInstanceOf(ConnectionLostError);
    expect(await server.settle()).toStrictEqual([
      {
        type: 'goodbye',
        reason: 'away',
        message: 'The page was left, or the browser has frozen it. It connects again when it is shown.',
      },
    ]);
    expect(environment.socket.isClosed).toBe(true);
    expect(client.state).toBe('waiting');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('connects again by itself when it is shown, and has its channels', async () => {
    const fixture = makeConnected();
    const { client, environment } = fixture;
    const channel = await openChannel(client, fixture.server);
    const states = watch(client);
    environment.goAway();
    environment.goAway();
    vi.advanceTimersByTime(3_600_000);
    expect(environment.sockets).toHaveLength(1);
    environment.awake();
    environment.awake();
    expect(environment.sockets).toHaveLength(2);
    new FakeServer(environment.socket).welcome([1]);
    expect(client.channels.get(1)).toBe(channel);
    expect(states).toStrictEqual(['waiting', 'connecting', 'connected']);
  });

  test('that has not been welcomed yet closes its socket, and connects again', () => {
    const { client, environment } = makeClient();
    environment.goAway();
    expect(environment.socket.sent).toStrictEqual([]);
    expect(environment.socket.isClosed).toBe(true);
    environment.awake();
    expect(environment.sockets).toHaveLength(2);
    expect(client.state).toBe('connecting');
  });

  test('that waits for its next attempt makes none until it is shown', () => {
    const { environment } = makeConnected();
    environment.socket.lose();
    environment.goAway();
    vi.advanceTimersByTime(3_600_000);
    expect(environment.sockets).toHaveLength(1);
    environment.awake();
    expect(environment.sockets).toHaveLength(2);
  });
});

describe('the end', () => {
  test('comes with the goodbye of the server', async () => {
    const { client, server } = makeConnected();
    await server.ask({ type: 'open', channel: 1, code: 'c => { kept = c; }' });
    const channel = client.channels.get(1);
    const states = watch(client);
    server.send({ type: 'goodbye', reason: 'closed', message: 'The server has closed.' });
    expect(states).toStrictEqual(['stopped']);
    expect(client.stopReason).toMatchObject({ reason: 'closed', message: 'The server has closed.' });
    expect(client.channels.size).toBe(0);
    await expect(channel?.call('f')).rejects.toStrictEqual(
      new ClosedError('The channel is closed, for the client has stopped: The server has closed.'),
    );
    expect(vi.getTimerCount()).toBe(0);
  });

  test('can be made by the page, which says goodbye', () => {
    const { client, environment, server } = makeConnected();
    client.close();
    expect(server.receive()).toStrictEqual([
      { type: 'goodbye', reason: 'closed', message: 'The page has closed its connection.' },
    ]);
    expect(environment.socket.isClosed).toBe(true);
    expect(client.stopReason).toStrictEqual({ reason: 'closed', message: 'The page has closed its client.' });
    expect(environment.watchers).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('can be made before the connection is', () => {
    const { client, environment } = makeClient();
    client.close();
    expect(environment.socket.sent).toStrictEqual([]);
    expect(client.state).toBe('stopped');
  });

  test('can be made during a wait', () => {
    const { client, environment } = makeConnected();
    environment.socket.lose();
    client.close();
    expect(client.state).toBe('stopped');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('comes once', () => {
    const { client } = makeConnected();
    const states = watch(client);
    client.close();
    client.close();
    expect(states).toStrictEqual(['stopped']);
  });

  test('comes with a server that breaks the protocol, which is told so', () => {
    const { client, environment, server } = makeConnected();
    environment.socket.arrive('[{"type":"result","id":9,"value":1}]');
    const message =
      'The server has sent what the protocol does not allow: there is no request 9 that waits for an answer.';
    expect(client.stopReason).toStrictEqual({ reason: 'protocol', message });
    expect(server.receive()).toStrictEqual([{ type: 'goodbye', reason: 'protocol', message }]);
    expect(environment.socket.isClosed).toBe(true);
  });

  test('comes in the middle of a frame when a handler makes it', async () => {
    const { client, server } = makeConnected();
    vi.stubGlobal('client', client);
    await server.ask({ type: 'open', channel: 1, code: 'c => { c.handler = { stop: () => client.close() }; }' });
    const first = server.connection.request({ type: 'call', channel: 1, name: 'stop', args: [] });
    server.connection.request({ type: 'echo', channel: 1, args: [] });
    server.request({ type: 'echo', channel: 1, args: [] });
    expect(await server.settle()).toMatchObject([{ type: 'goodbye' }]);
    expect(first).toBe(2);
  });
});

describe('a call while there is no connection', () => {
  test.each([
    ['waiting', 'the connection was lost, and the page will try again soon.'],
    ['connecting', 'an attempt to connect is under way.'],
  ])('rejects at once: %s', async (state, message) => {
    const { client, environment, server } = makeConnected();
    await server.ask({ type: 'open', channel: 1, code: 'c => null' });
    const channel = client.channels.get(1);
    environment.socket.lose();
    if (state === 'connecting') {
      environment.awake();
    }
    expect(client.state).toBe(state);
    const error = new StateError(`The page is not connected to the server: ${message}`);
    await expect(channel?.call('f')).rejects.toStrictEqual(error);
    await expect(channel?.echo()).rejects.toStrictEqual(error);
  });
});

describe('after a connection that was lost', () => {
  test('the same channel works again', async () => {
    const fixture = makeConnected();
    await fixture.server.ask({ type: 'open', channel: 1, code: 'c => null' });
    const channel = fixture.client.channels.get(1);
    fixture.environment.socket.lose();
    const server = reconnect(fixture, [1]);
    expect(fixture.client.channels.get(1)).toBe(channel);
    const answer = channel?.call('f');
    const [call] = await server.settle();
    expect(call).toMatchObject({ type: 'call', channel: 1, name: 'f' });
    server.send({ type: 'result', id: 1, value: 5 });
    await expect(answer).resolves.toBe(5);
  });

  test('the channels that the welcome does not name are over', async () => {
    const fixture = makeConnected();
    await fixture.server.ask({ type: 'open', channel: 1, code: 'c => null' });
    await fixture.server.ask({ type: 'open', channel: 2, code: 'c => null' });
    const channel = fixture.client.channels.get(1);
    fixture.environment.socket.lose();
    reconnect(fixture, [2]);
    expect([...fixture.client.channels.keys()]).toStrictEqual([2]);
    await expect(channel?.call('f')).rejects.toStrictEqual(
      new ClosedError('The server closed the channel while the page was not connected.'),
    );
  });
});

test('what waits to be sent is dropped with the connection', async () => {
  const { client, environment, server } = makeConnected();
  await server.ask({ type: 'open', channel: 1, code: 'c => null' });
  const answer = client.channels.get(1)?.call('f');
  const { sent } = environment.socket;
  const { length } = sent;
  environment.socket.readyState = 3;
  await vi.advanceTimersByTimeAsync(0);
  expect(sent).toHaveLength(length);
  environment.socket.lose();
  await expect(answer).rejects.toThrow(StateError);
});
