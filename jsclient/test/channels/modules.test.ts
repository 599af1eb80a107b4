/** Channels whose initialization function is the default export of a module. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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

  test.each([
    ['', 'http://localhost/x.js', 'http://localhost/x.js'],
    ['the browser has no name for', '', undefined],
  ])('that cannot be parsed has its place in the stack, as the browser tells %s', async (_, filename, expected) => {
    const target = new EventTarget();
    vi.stubGlobal('addEventListener', target.addEventListener.bind(target));
    vi.stubGlobal('removeEventListener', target.removeEventListener.bind(target));
    vi.stubGlobal('reportError', () => {
      target.dispatchEvent(Object.assign(new Event('error'), { lineno: 2, colno: 9, filename }));
    });
    // As Chromium's, which lead nowhere.
    const error = Object.assign(new SyntaxError('bad'), { stack: 'SyntaxError: bad' });
    vi.stubGlobal('parseError', error);
    const module = makeModule(`throw globalThis.parseError; // ${filename}`);
    await expect(importModule(module)).rejects.toThrow(error);
    expect(error.stack).toBe(`SyntaxError: bad\n    at ${expected ?? module}:2:9`);
  });

  test('that cannot be parsed has no place in the stack where the browser knows another one, as JavaScriptCore does', async () => {
    vi.stubGlobal('reportError', () => {
      throw new Error('not to be asked');
    });
    const error = Object.assign(new SyntaxError('bad'), { stack: 'eval@[native code]', line: 2 });
    vi.stubGlobal('parseError', error);
    await expect(importModule(makeModule('throw globalThis.parseError; // JavaScriptCore'))).rejects.toThrow(error);
    expect(error.stack).toBe('eval@[native code]');
  });

  test('that cannot be loaded is named, where the browser does not', async () => {
    // As WebKit's.
    vi.stubGlobal('loadError', new TypeError('Importing a module script failed.'));
    const module = makeModule('throw globalThis.loadError;');
    await expect(importModule(module)).rejects.toThrow(
      new TypeError(`Importing a module script failed. It is ${module}.`),
    );
  });

  test('that throws has the stack that leads to where', async () => {
    vi.stubGlobal('reportError', () => {
      throw new Error('not to be asked');
    });
    const module = makeModule('JSON.parse("{");');
    await expect(importModule(module)).rejects.toThrow(SyntaxError);
    await expect(importModule(makeModule('throw undefined;'))).rejects.toBe(undefined);
  });

  test('may not be relative where there is no page, but may be a file or a package', async () => {
    const words =
      'The module ./channel.js is relative to a page, and there is none here. Open the channel with the URL of a file, ' +
      'such as file:///home/me/channel.js, or with the name of a package.';
    await expect(importModule('./channel.js')).rejects.toThrow(words);
    const folder = mkdtempSync(join(tmpdir(), 'jchannel-'));
    const file = join(folder, 'channel.mjs');
    writeFileSync(file, 'export default () => 5;');
    expect((await importModule(pathToFileURL(file).href)).initialize({} as never)).toBe(5);
    rmSync(folder, { recursive: true });
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
  const noElement = (): never => {
    throw new Error('no page');
  };

  test('runs its function with the channel, and gives what it returns', async () => {
    const registry = new ChannelRegistry(refuse, () => false, noElement);
    const module = makeModule('export default (c) => { c.handler = {}; return c.id; };');
    expect(await registry.open(5, { module })).toStrictEqual({ value: 5 });
    expect(registry.get(5)?.handler).toStrictEqual({});
  });

  test('fails when the module does', async () => {
    const registry = new ChannelRegistry(refuse, () => false, noElement);
    await expect(registry.open(1, { module: makeModule('export default 5;') })).rejects.toThrow(TypeError);
    expect(registry.get(1)).toBeUndefined();
  });

  test('does not run the function of a channel that was closed while its module was loaded', async () => {
    const registry = new ChannelRegistry(refuse, () => false, noElement);
    vi.stubGlobal('ran', false);
    const opened = registry.open(1, { module: makeModule('export default () => { globalThis.ran = true; };') });
    registry.forget(1, 'It was closed.');
    await expect(opened).rejects.toThrow(ClosedError);
    expect((globalThis as { ran?: boolean }).ran).toBe(false);
  });
});
