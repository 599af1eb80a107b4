/** The calls of the page, between a client and a fake server. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Channel } from '../../src/channels/channel.js';
import { ClosedError, ConnectionLostError, KernelError, RemoteCancelledError, StateError } from '../../src/errors.js';
import type { ErrorKind } from '../../src/protocol/messages.js';
import { makeConnected, openChannel, type FakeServer, type Fixture } from '../fakes.js';

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

describe('a call of the page', () => {
  test('sends the arguments as they are then, and gets the result', async () => {
    const channel = await open();
    const list = [1];
    const answer = channel.call('sum', list, { x: new Float32Array([2]) });
    list.push(2);
    const [message] = await server.settle();
    expect(message).toStrictEqual({
      type: 'call',
      id: 1,
      channel: 1,
      name: 'sum',
      args: [[1], { x: new Float32Array([2]) }],
    });
    server.send({ type: 'result', id: 1, value: [3] });
    await expect(answer).resolves.toStrictEqual([3]);
  });

  test('is an echo where that is asked for', async () => {
    const channel = await open();
    const answer = channel.echo(1, 'a');
    expect(await server.settle()).toMatchObject([{ type: 'echo', channel: 1, args: [1, 'a'] }]);
    server.send({ type: 'result', id: 1, value: [1, 'a'] });
    await expect(answer).resolves.toStrictEqual([1, 'a']);
  });

  test('rejects with what Python raised', async () => {
    const channel = await open();
    const answer = channel.call('f');
    await server.settle();
    server.send({ type: 'error', id: 1, kind: 'exception', name: 'ValueError', message: 'bad', stack: 'Traceback' });
    const error: unknown = await answer.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(KernelError);
    expect(error).toMatchObject({
      name: 'KernelError',
      message: 'ValueError: bad',
      kind: 'exception',
      type: 'ValueError',
      detail: 'bad',
      traceback: 'Traceback',
    });
  });

  test.each<ErrorKind>(['handler', 'method', 'callable', 'private', 'value'])(
    'rejects with a KernelError of the kind %s',
    async (kind) => {
      const channel = await open();
      const answer = channel.call('f');
      await server.settle();
      server.send({ type: 'error', id: 1, kind, name: '', message: 'm' });
      await expect(answer).rejects.toMatchObject({ kind, type: '', message: 'm', traceback: undefined });
    },
  );

  test.each<[string, ErrorKind, Error]>([
    ['ClosedError', 'channel', new ClosedError('m')],
    ['ClosedError', 'ended', new ClosedError('m')],
    ['StateError', 'busy', new StateError('m')],
    ['RemoteCancelledError', 'aborted', new RemoteCancelledError('m')],
    ['RemoteCancelledError', 'cancelled', new RemoteCancelledError('m')],
  ])('rejects with a %s for the kind %s', async (name, kind, error) => {
    const channel = await open();
    const answer = channel.call('f');
    await server.settle();
    server.send({ type: 'error', id: 1, kind, name: 'Whatever', message: 'm' });
    await expect(answer).rejects.toStrictEqual(error);
    expect(error).toMatchObject({ name });
    expect(error).toBeInstanceOf(StateError);
  });

  test('rejects when an argument cannot be sent, and nothing is sent', async () => {
    const channel = await open();
    await expect(channel.call('f', 1, { when: new Map() })).rejects.toThrow('args[1].when is an object of the class');
    await expect(channel.call('f', NaN)).rejects.toThrow(RangeError);
    expect(await server.settle()).toStrictEqual([]);
  });

  test('rejects when the name is not a string', async () => {
    const channel = await open();
    await expect(channel.call(5 as never)).rejects.toStrictEqual(
      new TypeError('The name of the method must be a string of at most 1000 characters.'),
    );
  });

  test('has a name as long as may be, and no longer', async () => {
    const channel = await open();
    void channel.call('😀'.repeat(1000));
    expect(await server.settle()).toMatchObject([{ type: 'call' }]);
    await expect(channel.call('😀'.repeat(1001))).rejects.toThrow('a string of at most 1000 characters');
    await expect(channel.call('x'.repeat(2001))).rejects.toThrow('a string of at most 1000 characters');
  });

  test('rejects when the connection is lost, and says that it may have run', async () => {
    const channel = await open();
    const answer = channel.call('f');
    fixture.environment.socket.lose();
    await expect(answer).rejects.toStrictEqual(
      new ConnectionLostError(
        'The connection to the server was lost before the answer came. The call may have run; it is not sent again ' +
          'by itself.',
      ),
    );
  });
});
