/** The script inside an output. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { storageKeyOf, type OutputConfig } from '../../src/notebook/config.js';
import { findRegistry } from '../../src/notebook/registry.js';
import { FakePage, FakeScript, type FakeElement } from './fakes.js';

let page: FakePage;

beforeEach(() => {
  vi.useFakeTimers();
  page = new FakePage();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Run the script, like each output. */
async function load(): Promise<void> {
  vi.resetModules();
  await import('../../src/notebook/loader.js');
}

function registerClient(): [FakeElement, OutputConfig][] {
  const taken: [FakeElement, OutputConfig][] = [];
  findRegistry().scripts.set('sha256-x', (element, config) => {
    taken.push([element as unknown as FakeElement, config]);
  });
  return taken;
}

/** The script that was loaded last. */
const script = (): FakeScript => page.scripts.at(-1) ?? new FakeScript();

test('loads the client from its server, by its hash, and gives it the output', async () => {
  const output = page.addOutput();
  await load();

  expect(script().src).toBe('http://localhost:8889/jchannel/notebook/server/client.js');
  expect(script().integrity).toBe('sha256-x');
  expect(script().crossOrigin).toBe('anonymous');
  expect(script().isRemoved).toBe(false);
  const taken = registerClient();
  script().onload();
  await vi.advanceTimersByTimeAsync(0);
  expect(script().isRemoved).toBe(true);
  expect(taken.map(([element]) => element)).toStrictEqual([output]);
  expect(taken[0]?.[1].ticket).toBe('1.the-ticket');
});

test('loads it once, however many outputs there are, and gives each output once', async () => {
  const outputs = [page.addOutput(), page.addOutput()];
  await load();
  outputs.push(page.addOutput());
  await load();

  expect(page.scripts).toHaveLength(1);
  const taken = registerClient();
  script().onload();
  await vi.advanceTimersByTimeAsync(0);
  await load();
  expect(taken.map(([element]) => element)).toStrictEqual(outputs);
});

test('loads nothing where the page has the client', async () => {
  const taken = registerClient();
  page.addOutput();
  await load();

  expect(page.scripts).toHaveLength(0);
  expect(taken).toHaveLength(1);
});

test('tries the other addresses, and says so when none is good', async () => {
  const output = page.addOutput();
  await load();
  script().onerror();

  expect(script().src).toBe('http://localhost:8888/user/me/proxy/8889/jchannel/notebook/server/client.js');
  expect(output.textContent).toBe('');
  script().onerror();
  await vi.advanceTimersByTimeAsync(0);
  expect(output.textContent).toContain('not running any more');
  expect(page.scripts).toHaveLength(2);

  page.addOutput();
  await load();
  expect(page.scripts).toHaveLength(3);
});

test('takes no notice of a script that is not the client', async () => {
  page.addOutput();
  await load();
  script().onload();
  await vi.advanceTimersByTimeAsync(0);
  expect(findRegistry().scripts.size).toBe(0);
});

test('asks nobody for an output of long ago that this tab knows nothing of', async () => {
  const output = page.addOutput({ issued: Date.now() / 1000 - 601 });
  await load();
  expect(page.scripts).toHaveLength(0);
  expect(output.textContent).toBe('');
});

test('asks for an output of long ago that this tab was connected by', async () => {
  page.stored.set(storageKeyOf('server'), '{}');
  page.addOutput({ issued: Date.now() / 1000 - 601 });
  await load();
  expect(page.scripts).toHaveLength(1);
});

test('leaves an old output alone where the page may not store anything', async () => {
  page.mayStore = false;
  page.addOutput({ issued: 0 });
  await load();
  expect(page.scripts).toHaveLength(0);
});

test('takes no harm from an element that only looks like an output', async () => {
  const other = page.addOutput();
  delete other.dataset['jchannel'];
  await expect(load()).rejects.toThrow('JSON');
});

test('names the policy that blocks the client', async () => {
  const output = page.addOutput();
  await load();
  page.block('http://localhost:8889/elsewhere.js', 'report');
  page.block(script().src);
  script().onerror();
  script().onerror();
  await vi.advanceTimersByTimeAsync(0);
  expect(output.textContent).toContain('not connected. The page\'s Content Security Policy');
});

test('says that nothing answers so far, and takes the client that comes all the same', async () => {
  const output = page.addOutput();
  await load();
  await vi.advanceTimersByTimeAsync(3000);
  expect(output.textContent).toContain('does not answer so far');
  const taken = registerClient();
  script().onload();
  await vi.advanceTimersByTimeAsync(0);
  expect(taken).toHaveLength(1);
});

test('says nothing of a client that comes while it looks for what stands in its way', async () => {
  const output = page.addOutput();
  await load();
  vi.advanceTimersByTime(3000);
  registerClient();
  script().onload();
  await vi.advanceTimersByTimeAsync(0);
  expect(output.textContent).toBe('');
});
