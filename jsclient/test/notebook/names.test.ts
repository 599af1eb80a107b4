/** The unique names of pages. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { holdName, LOCK_WAIT } from '../../src/notebook/names.js';
import { FakeEnvironment } from '../fakes.js';
import { FakeLocks } from './fakes.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test('a page keeps the name that its tab remembers, and holds it', async () => {
  const locks = new FakeLocks();
  const { name, release } = await holdName('mine', locks as never, new FakeEnvironment());
  expect(name).toBe('mine');
  expect(locks.held).toStrictEqual(new Set(['jchannel mine']));
  release();
  await vi.advanceTimersByTimeAsync(0);
  expect(locks.held.size).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test('a page whose name another page holds gets a new one', async () => {
  const locks = new FakeLocks();
  locks.held.add('jchannel mine');
  const held = holdName('mine', locks as never, new FakeEnvironment());
  await vi.advanceTimersByTimeAsync(LOCK_WAIT * 1000);
  expect((await held).name).toBe('random-name');
});

test('a page whose browser refuses locks takes the name unlocked, once', async () => {
  const request = vi.fn(() => Promise.reject(new DOMException('Access to the Locks API is denied.', 'SecurityError')));
  const { name, release } = await holdName(null, { request }, new FakeEnvironment());
  expect(name).toBe('random-name');
  expect(request).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
  release();
});

test('without locks the remembered name is taken', async () => {
  const { name, release } = await holdName('mine', undefined, new FakeEnvironment());
  expect(name).toBe('mine');
  release();
});

test('a page that remembers no name gets a new one', async () => {
  expect((await holdName(null, undefined, new FakeEnvironment())).name).toBe('random-name');
});
