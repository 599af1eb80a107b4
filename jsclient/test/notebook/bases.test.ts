/** The URLs at which the page of a notebook tries to reach a server. */

import { afterEach, describe, expect, test, vi } from 'vitest';
import { findBases, isLoopback } from '../../src/notebook/bases.js';
import { FakePage, makeConfig } from './fakes.js';

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('the bases', () => {
  test.each([
    ['http://localhost:8888', 'localhost', ['http://localhost:8889', 'http://localhost:8888/user/me/proxy/8889']],
    ['http://127.0.0.1:8888', 'localhost', ['http://127.0.0.1:8889', 'http://127.0.0.1:8888/user/me/proxy/8889']],
    ['http://[::1]:8888', 'localhost', ['http://[::1]:8889', 'http://[::1]:8888/user/me/proxy/8889']],
    ['https://lab.localhost', '', ['http://lab.localhost:8889', 'https://lab.localhost/user/me/proxy/8889']],
    ['http://machine:8888', 'localhost', ['http://machine:8888/user/me/proxy/8889']],
    ['https://hub.example', 'localhost', ['https://hub.example/user/me/proxy/8889']],
    ['http://machine:8888', '', ['http://machine:8889', 'http://machine:8888/user/me/proxy/8889']],
    ['https://hub.example', '', ['https://hub.example/user/me/proxy/8889']],
    ['http://localhost:8888', '10.0.0.1', ['http://10.0.0.1:8889', 'http://localhost:8888/user/me/proxy/8889']],
    ['https://hub.example', '10.0.0.1', ['https://hub.example/user/me/proxy/8889']],
  ])('of a page of %s and a server on "%s" are %s', (url, host, bases) => {
    new FakePage(url);
    expect(findBases(makeConfig({ host }), globalThis)).toStrictEqual(bases);
  });

  test('are the URL alone that the user has given', () => {
    new FakePage();
    expect(findBases(makeConfig({ url: 'https://x/y' }), globalThis)).toStrictEqual(['https://x/y']);
  });

  test.each([
    ['port', null, ['http://localhost:8889']],
    ['proxy', null, ['http://localhost:8888/user/me/proxy/8889']],
    ['comm', null, []],
    ['proxy', 'https://x/y', ['https://x/y']],
    ['port', 'https://x/', ['https://x/']],
    ['port', 'https://x/y', []],
  ] as const)('are those of the door %s alone, with the URL %s', (door, url, bases) => {
    new FakePage();
    expect(findBases(makeConfig({ door, url }), globalThis)).toStrictEqual(bases);
  });

  test('are known in NbClassic, too', () => {
    const page = new FakePage();
    page.labConfig = null;
    page.body.dataset['baseUrl'] = '/';
    expect(findBases(makeConfig(), globalThis)).toContain('http://localhost:8888/proxy/8889');
  });

  test.each(['/', '/user/me/'])('are those of code-server in the frames in which it shows outputs, below %s', (root) => {
    const frame = 'stable-53c2f325/static/out/vs/workbench/contrib/webview/browser/pre/fake.html?id=1';
    const page = new FakePage(`https://code.example${root}${frame}`);
    page.labConfig = null;
    expect(findBases(makeConfig(), globalThis)).toStrictEqual([`https://code.example${root}proxy/8889`]);
  });

  test('have no proxy where no Jupyter server has served the page', () => {
    const page = new FakePage();
    page.labConfig = null;
    expect(findBases(makeConfig(), globalThis)).toStrictEqual(['http://localhost:8889']);
    page.labConfig = '{}';
    expect(findBases(makeConfig(), globalThis)).toStrictEqual(['http://localhost:8889']);
  });
});

test.each([
  ['http://localhost:1', true],
  ['http://127.3.2.1', true],
  ['http://[::1]:1/x', true],
  ['http://hub.example', false],
  ['http://localhost.example', false],
])('%s is loopback: %s', (url, expected) => {
  expect(isLoopback(url)).toBe(expected);
});
