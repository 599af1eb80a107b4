/** Channels whose initialization function is the default export of a module. */

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test, vi } from 'vitest';
import { importModule } from '../../src/channels/modules.js';
import { ChannelRegistry } from '../../src/channels/registry.js';
import { ClosedError } from '../../src/errors.js';
import type { Initialize } from '../../src/index.js';

/** Return the URL of a module with this text. */
function makeModule(text: string): string {
  return `data:text/javascript,${encodeURIComponent(text)}`;
}

describe('the module of a channel', () => {
  test('gives its default export', async () => {
    const { initialize } = await importModule(makeModule('export default (channel) => channel + 1;'));
    expect(initialize(1 as never)).toBe(2);
  });

  test.each([
    ['', 'It is undefined.'],
    ['export default null;', 'It is null.'],
    ['export default { handler: {} };', 'It is object.'],
  ])('must export a function: %s', async (text, words) => {
    const module = makeModule(text);
    await expect(importModule(module)).rejects.toThrow(TypeError);
    await expect(importModule(module)).rejects.toThrow(`The default export of the module ${module} must be a function`);
    await expect(importModule(module)).rejects.toThrow(words);
  });

  test('may throw what it likes', async () => {
    await expect(importModule(makeModule('throw new RangeError("no");'))).rejects.toThrow(new RangeError('no'));
  });

  test('may not be relative where there is no page, but may be a file or a package', async () => {
    const words =
      'The module ./channel.js is relative to a page, and there is none here. Open the channel with the URL of a file, ' +
      'such as file:///home/me/channel.js, or with the name of a package.';
    await expect(importModule('./channel.js')).rejects.toThrow(words);
    const file = join(mkdtempSync(join(tmpdir(), 'jchannel-')), 'channel.mjs');
    writeFileSync(file, 'export default () => 5;');
    expect((await importModule(pathToFileURL(file).href)).initialize({} as never)).toBe(5);
    expect((await importModule('assert')).initialize).toBeTypeOf('function');
  });

  test.each(['./channel.js', '../lib/channel.js', '/app/channel.js'])('is relative to the page: %s', async (module) => {
    const baseURI = new URL('missing/page.html', import.meta.url).href;
    vi.stubGlobal('document', { baseURI });
    await expect(importModule(module)).rejects.toThrow(new URL(module, baseURI).pathname);
  });
});

test('the type of a module’s function fits those that return nothing, a value and a promise', () => {
  const functions: Initialize[] = [
    (channel) => {
      channel.handler = {};
    },
    (channel) => channel.id,
    async (channel) => {
      await channel.call('ready');
    },
  ];
  expect(functions).toHaveLength(3);
});

describe('opening a channel of a module', () => {
  const refuse = (): Promise<unknown> => Promise.reject(new Error('no session'));

  test('runs its function with the channel, and gives what it returns', async () => {
    const registry = new ChannelRegistry(refuse, () => false);
    const module = makeModule('export default (c) => { c.handler = {}; return c.id; };');
    expect(await registry.open(5, { module })).toStrictEqual({ value: 5 });
    expect(registry.get(5)?.handler).toStrictEqual({});
  });

  test('fails when the module does', async () => {
    const registry = new ChannelRegistry(refuse, () => false);
    await expect(registry.open(1, { module: makeModule('export default 5;') })).rejects.toThrow(TypeError);
    expect(registry.get(1)).toBeUndefined();
  });

  test('does not run the function of a channel that was closed while its module was loaded', async () => {
    const registry = new ChannelRegistry(refuse, () => false);
    vi.stubGlobal('ran', false);
    const opened = registry.open(1, { module: makeModule('export default () => { globalThis.ran = true; };') });
    registry.forget(1, 'It was closed.');
    await expect(opened).rejects.toThrow(ClosedError);
    expect((globalThis as { ran?: boolean }).ran).toBe(false);
  });
});
