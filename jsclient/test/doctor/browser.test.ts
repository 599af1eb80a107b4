import { describe, expect, test } from 'vitest';
import { examineBrowser, type BrowserPage } from '../../src/doctor/browser.js';

const GOOD: BrowserPage = {
  location: { href: 'http://localhost:8889/' },
  navigator: {
    userAgent: 'A browser',
    locks: {} as LockManager,
    permissions: { query: () => Promise.resolve({ state: 'granted' } as PermissionStatus) },
  },
  WebSocket: Object,
  sessionStorage: { setItem: () => undefined, removeItem: () => undefined },
  eval: (code) => Number(code),
};

async function statesOf(page: BrowserPage): Promise<string[]> {
  return (await examineBrowser(page)).map(({ state }) => state);
}

describe('a browser', () => {
  test('may have all that the client uses', async () => {
    const found = await examineBrowser(GOOD);
    expect(found.map(({ state }) => state)).toEqual(Array(6).fill('ok'));
    expect(found[0]?.text).toBe('A browser');
    expect(found[5]?.text).toContain('granted');
  });

  test('may have no permission of that name', async () => {
    expect((await examineBrowser({ ...GOOD, navigator: {} })).at(-1)?.text).toContain('no permission of its own');
  });

  test('may have nothing', async () => {
    const found = await examineBrowser({ location: GOOD.location, navigator: {} });
    expect(found.map(({ state }) => state)).toEqual(['ok', 'problem', 'note', 'note', 'note', 'ok']);
    expect(found[1]?.cause).toBe('websocket');
  });

  test('may forbid what it has', async () => {
    const forbid = (): never => {
      throw new DOMException('no', 'SecurityError');
    };
    const storage = { setItem: forbid, removeItem: forbid };
    expect((await statesOf({ ...GOOD, sessionStorage: storage, eval: forbid })).slice(2, 4)).toEqual(['note', 'note']);
    const sandboxed = Object.defineProperty({ ...GOOD }, 'sessionStorage', { get: forbid });
    expect((await statesOf(sandboxed))[2]).toBe('note');
    const permissions = { query: () => Promise.resolve({ state: 'denied' } as PermissionStatus) };
    expect((await statesOf({ ...GOOD, navigator: { permissions } }))[5]).toBe('note');
  });
});
