/** The client's script for notebooks: one connection for each server, for any number of outputs. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { findRegistry } from '../../src/notebook/registry.js';
import { FakeSocket } from '../fakes.js';
import { FakeElement, FakePage, makeConfig } from './fakes.js';

beforeEach(() => {
  vi.resetModules();
});

afterEach(() => {
  vi.unstubAllGlobals();
});

test('takes the outputs of its version, with one connection for each server', async () => {
  const page = new FakePage();
  page.currentScript.integrity = 'sha256-mine';
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('fetch', () => new Promise(() => undefined));
  await import('../../src/notebook/client.js');
  const { scripts, servers } = findRegistry();
  const take = (server: string): void => {
    scripts.get('sha256-mine')?.(new FakeElement() as unknown as HTMLElement, makeConfig({ server }));
  };

  take('one');
  const first = servers.get('one');
  take('one');
  take('two');

  expect(first?.state).toBe('connecting');
  expect(servers.get('one')).toBe(first);
  expect([...servers.keys()]).toStrictEqual(['one', 'two']);
});
