/** Sockets that connect only when the other side has proved that it is the server. */

import { expect, test, vi } from 'vitest';
import type { SocketLike } from '../../src/connection/environment.js';
import { openProvenSocket } from '../../src/notebook/proven-socket.js';
import { FakeEnvironment } from '../fakes.js';

class Fixture {
  readonly environment = new FakeEnvironment();
  readonly socket: SocketLike;
  readonly events: string[] = [];
  prove!: (isServer: boolean) => Promise<void>;

  constructor() {
    const proof = new Promise<boolean>((resolve) => {
      this.prove = async (isServer) => {
        resolve(isServer);
        await proof;
      };
    });
    this.socket = openProvenSocket(
      () => proof,
      () => this.environment.openSocket('ws://x/socket', ['a', 'b']),
    );
    this.socket.binaryType = 'arraybuffer';
    for (const type of ['open', 'close', 'error'] as const) {
      this.socket.addEventListener(type, () => this.events.push(type));
    }
    this.socket.addEventListener('message', ({ data }) => this.events.push(String(data)));
  }
}

test('connects after the proof, and is then like the socket', async () => {
  const { environment, socket, events, prove } = new Fixture();
  expect(environment.sockets).toHaveLength(0);
  expect(socket.readyState).toBe(0);
  expect(socket.bufferedAmount).toBe(0);
  socket.send('lost');

  await prove(true);

  expect(environment.socket.url).toBe('ws://x/socket');
  expect(environment.socket.protocols).toStrictEqual(['a', 'b']);
  expect(environment.socket.binaryType).toBe('arraybuffer');
  environment.socket.open();
  environment.socket.arrive('hello');
  socket.send('frame');
  expect(environment.socket.sent).toStrictEqual(['frame']);
  expect(socket.readyState).toBe(1);
  expect(socket.bufferedAmount).toBe(0);
  socket.close();
  expect(environment.socket.isClosed).toBe(true);
  environment.socket.lose();
  expect(events).toStrictEqual(['open', 'hello', 'error', 'close']);
});

test('closes if the socket cannot be opened', async () => {
  const { environment, socket, events, prove } = new Fixture();
  environment.openSocket = () => {
    throw new Error('no');
  };
  await prove(true);
  expect(socket.readyState).toBe(3);
  expect(events).toStrictEqual(['close']);
});

test('closes without connecting where there is no proof', async () => {
  const { environment, socket, events, prove } = new Fixture();
  await prove(false);
  expect(environment.sockets).toHaveLength(0);
  expect(events).toStrictEqual(['close']);
  expect(socket.readyState).toBe(3);
});

test('does not connect when it was closed before the proof', async () => {
  const { environment, socket, events, prove } = new Fixture();
  socket.close();
  await prove(true);
  await vi.waitFor(() => {
    expect(environment.sockets).toHaveLength(0);
  });
  expect(events).toStrictEqual([]);
});
