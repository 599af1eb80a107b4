/** The module of a widget: one connection for each server, for any number of views. */

import { afterEach, expect, test, vi } from 'vitest';
import { findRegistry } from '../../src/notebook/registry.js';
import widget from '../../src/notebook/widget.js';
import { FakeSocket } from '../fakes.js';
import { FakeModel } from './fake-comm.js';
import { FakePage, makeConfig, type FakeElement } from './fakes.js';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('connects its page by one connection for all views of its server', () => {
  new FakePage();
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('fetch', () => new Promise(() => undefined));
  const lines: FakeElement[] = [];
  const render = (server: string): void => {
    const el = { append: (line: FakeElement) => lines.push(line) } as unknown as HTMLElement;
    widget.render({ model: new FakeModel({ config: makeConfig({ server }) }), el });
  };
  render('one');
  const { servers } = findRegistry();
  const first = servers.get('one');
  render('one');
  render('two');

  expect(first?.state).toBe('connecting');
  expect(servers.get('one')).toBe(first);
  expect([...servers.keys()]).toStrictEqual(['one', 'two']);
  expect(lines.map(({ textContent }) => textContent)).toStrictEqual(Array(3).fill('● jchannel: connecting.'));
});

test('uses no comm where the front end takes messages between cells only', async () => {
  new FakePage();
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('fetch', () => Promise.reject(new Error('refused')));
  const lines: FakeElement[] = [];
  const el = { append: (line: FakeElement) => lines.push(line) } as unknown as HTMLElement;
  const model = new FakeModel({ config: makeConfig({ server: 'three', portOnly: 'over the port only.' }) });
  widget.render({ model, el });

  await vi.waitFor(() => {
    expect(lines[0]?.textContent).toBe('● jchannel: over the port only.');
  });
});
