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

test('stays connected over the comm when the view that has connected it is gone', async () => {
  new FakePage();
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('addEventListener', () => undefined);
  vi.stubGlobal('removeEventListener', () => undefined);
  const model = new FakeModel({ config: makeConfig({ server: 'four', door: 'comm' }) });
  widget.initialize({ model });
  const lines: FakeElement[] = [];
  const el = { append: (line: FakeElement) => lines.push(line) } as unknown as HTMLElement;
  const [view, dispose] = model.view();
  widget.render({ model: view, el });
  await vi.waitUntil(() => model.sockets.length === 1);
  const server = model.welcome();

  dispose();

  widget.render({ model: model.view()[0], el });
  const words = '● jchannel: connected by the kernel’s own messages.';
  expect(lines.map(({ textContent }) => textContent)).toStrictEqual([words, words]);
  server.send({ type: 'goodbye', reason: 'replaced', message: 'the page has heard it' });
  expect(findRegistry().servers.get('four')?.words).toContain('the page has heard it');
});
