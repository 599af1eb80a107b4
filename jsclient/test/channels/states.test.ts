/** The states of a channel in the page. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Channel } from '../../src/channels/channel.js';
import { makeConnected, openChannel, reconnect, type Fixture } from '../fakes.js';

let fixture: Fixture;
let channel: Channel;

beforeEach(async () => {
  vi.useFakeTimers();
  fixture = makeConnected();
  channel = await openChannel(fixture.client, fixture.server);
});

afterEach(() => {
  vi.useRealTimers();
});

function watch(options?: AddEventListenerOptions): string[] {
  const states: string[] = [];
  channel.addEventListener(
    'statechange',
    () => {
      states.push(channel.state);
    },
    options,
  );
  return states;
}

test('a channel waits while the connection is lost, and goes on', () => {
  const states = watch();
  expect(channel.state).toBe('open');
  fixture.environment.socket.lose();
  reconnect(fixture, [1]);
  expect(states).toStrictEqual(['waiting', 'open']);
});

test('a channel is closed by Python, and stays so', async () => {
  const states = watch();
  await fixture.server.ask({ type: 'close', channel: 1 });
  fixture.environment.socket.lose();
  expect(states).toStrictEqual(['closed']);
});

test('a channel is closed with its client, whose listeners may look at it', () => {
  const states = watch();
  fixture.client.addEventListener('statechange', () => states.push(`client ${fixture.client.state}, ${channel.state}`));
  fixture.client.close();
  expect(states).toStrictEqual(['closed', 'client stopped, closed']);
});

test('a channel that Python has closed meanwhile is closed when the page is back', () => {
  const states = watch();
  fixture.environment.socket.lose();
  reconnect(fixture, []);
  expect(states).toStrictEqual(['waiting', 'closed']);
});

test('a listener ends with its signal, or when it is removed', () => {
  const controller = new AbortController();
  const states = watch({ signal: controller.signal });
  controller.abort();
  const listener = vi.fn();
  channel.addEventListener('statechange', listener);
  channel.removeEventListener('statechange', listener);
  fixture.environment.socket.lose();
  expect(states).toStrictEqual([]);
  expect(listener).not.toHaveBeenCalled();
});
