/** How a page finds its server and its token, what the scripts export, and the environment. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect } from '../src/connection/client.js';
import { findEnvironment } from '../src/connection/environment.js';
import * as names from '../src/index.js';
import { connectWindow, findBase, type PageWindow } from '../src/page.js';
import { FakeEnvironment, FakeSocket } from './fakes.js';

const BASE = 'http://localhost:8889';

afterEach(() => {
  vi.resetModules();
});

/** The parts of a window that the client uses. */
class FakePage implements PageWindow {
  readonly location: { readonly href: string; hash: string; reload: () => void };
  readonly history;
  readonly stored = new Map<string, string>();
  readonly hashListeners: (() => void)[] = [];
  readonly addresses: string[] = [];
  reloads = 0;
  mayStore = true;

  constructor(hash = '', stored: Record<string, string> = {}, path = '/page.html') {
    this.location = {
      get href() {
        return `${BASE}${path}?q=1${this.hash}`;
      },
      hash,
      reload: () => {
        this.reloads++;
      },
    };
    this.history = {
      state: { kept: true },
      replaceState: (state: unknown, _: string, address: string) => {
        expect(state).toStrictEqual({ kept: true });
        this.addresses.push(address);
        this.location.hash = new URL(address).hash;
      },
    };
    this.stored = new Map(Object.entries(stored));
  }

  get sessionStorage(): Pick<Storage, 'getItem' | 'setItem'> {
    if (!this.mayStore) {
      throw new DOMException('not allowed', 'SecurityError');
    }
    return {
      getItem: (key) => this.stored.get(key) ?? null,
      setItem: (key, value) => {
        this.stored.set(key, value);
      },
    };
  }

  addEventListener(_: 'hashchange', listener: () => void): void {
    this.hashListeners.push(listener);
  }

  changeHash(hash: string): void {
    this.location.hash = hash;
    for (const listener of this.hashListeners) {
      listener();
    }
  }
}

describe('the base URL', () => {
  test.each([
    ['http://localhost:8889/jchannel/inject.js', 'http://localhost:8889'],
    ['https://hub.example/user/me/proxy/8889/jchannel/jchannel.js?v=1#x', 'https://hub.example/user/me/proxy/8889'],
    ['http://localhost/jchannel/jchannel/inject.js', 'http://localhost/jchannel'],
  ])('is found from the URL of a script: %s', (script, base) => {
    expect(findBase(script)).toBe(base);
  });

  test.each([
    ['', 'is not known'],
    ['http://localhost/inject.js', 'is http://localhost/inject.js'],
    ['http://localhost/?x=/jchannel/inject.js', 'is http://localhost/'],
    ['file:///tmp/jchannel/inject.js', 'is file:///tmp'],
  ])('is not found from others: %s', (script, message) => {
    expect(() => findBase(script)).toThrow(message);
  });
});

describe('a page', () => {
  test('takes its token from its address, which keeps it no longer', () => {
    const page = new FakePage('#jchannel=secret');
    const environment = new FakeEnvironment();
    connectWindow(BASE, page, environment);
    expect(environment.socket.url).toBe('ws://localhost:8889/socket');
    expect(environment.socket.protocols).toContain('jchannel.token.secret');
    expect(page.addresses).toStrictEqual(['http://localhost:8889/page.html?q=1']);
    expect(page.stored.get('jchannel.token http://localhost:8889')).toBe('secret');
  });

  test('keeps the other parts of its fragment', () => {
    const page = new FakePage('#/route&jchannel=secret&x=1');
    connectWindow(BASE, page, new FakeEnvironment());
    expect(page.addresses).toStrictEqual(['http://localhost:8889/page.html?q=1#/route&x=1']);
  });

  test('whose path begins with two slashes keeps its host and loses its token', () => {
    const page = new FakePage('#jchannel=secret', {}, '//docs/page.html');
    connectWindow(BASE, page, new FakeEnvironment());
    expect(page.addresses).toStrictEqual(['http://localhost:8889//docs/page.html?q=1']);
  });

  test('takes its token and its name from the storage after a reload', () => {
    const page = new FakePage('#section', {
      'jchannel.token http://localhost:8889': 'kept',
      'jchannel.client http://localhost:8889': 'tab',
    });
    const environment = new FakeEnvironment();
    const client = connectWindow(BASE, page, environment);
    expect(environment.socket.protocols).toContain('jchannel.token.kept');
    expect(client.clientId).toBe('tab');
    expect(page.addresses).toStrictEqual([]);
  });

  test('remembers its name for a reload', () => {
    const page = new FakePage('#jchannel=secret');
    connectWindow(BASE, page, new FakeEnvironment());
    expect(page.stored.get('jchannel.client http://localhost:8889')).toBe('random-name');
  });

  test('connects also where it may not store anything', () => {
    const page = new FakePage('#jchannel=secret');
    page.mayStore = false;
    const environment = new FakeEnvironment();
    connectWindow(BASE, page, environment);
    expect(environment.socket.protocols).toContain('jchannel.token.secret');
  });

  test.each(['', '#jchannel=', '#jchannel=not%20a%20token'])('without a token does not connect: %s', (hash) => {
    const environment = new FakeEnvironment();
    const client = connectWindow(BASE, new FakePage(hash), environment);
    expect(environment.sockets).toHaveLength(0);
    expect(client.state).toBe('stopped');
    expect(client.stopReason).toStrictEqual({
      reason: 'token',
      message:
        'The page has no token of the server at http://localhost:8889. ' +
        'Open the address that server.page_url gives in Python.',
    });
  });

  test('is loaded again when a new token is put into its address', () => {
    const page = new FakePage('#jchannel=old');
    connectWindow(BASE, page, new FakeEnvironment());
    page.changeHash('#jchannel=new');
    expect(page.reloads).toBe(1);
    expect(page.stored.get('jchannel.token http://localhost:8889')).toBe('new');
  });

  test('is not loaded again for other changes of its fragment', () => {
    const page = new FakePage('#jchannel=secret');
    connectWindow(BASE, page, new FakeEnvironment());
    page.changeHash('#section');
    expect(page.reloads).toBe(0);
  });
});

describe('in a browser', () => {
  let page: FakePage;
  let sockets: FakeSocket[];
  let events: EventTarget;
  let pageDocument: EventTarget & { visibilityState: string; currentScript: { src: string } | null };

  beforeEach(() => {
    vi.useFakeTimers();
    sockets = [];
    page = new FakePage('#jchannel=secret');
    events = new EventTarget();
    pageDocument = Object.assign(new EventTarget(), { visibilityState: 'visible', currentScript: null });
    vi.stubGlobal('document', pageDocument);
    vi.stubGlobal('location', page.location);
    vi.stubGlobal('history', page.history);
    vi.stubGlobal('sessionStorage', page.sessionStorage);
    vi.stubGlobal('addEventListener', events.addEventListener.bind(events));
    vi.stubGlobal('removeEventListener', events.removeEventListener.bind(events));
    vi.stubGlobal('jchannel', undefined);
    vi.stubGlobal(
      'WebSocket',
      class extends FakeSocket {
        constructor(url: string, protocols: string[]) {
          super(url, protocols);
          sockets.push(this);
        }
      },
    );
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  test('the injected script connects to where it came from, and shows the names of the module', async () => {
    pageDocument.currentScript = { src: `${BASE}/jchannel/inject.js` };
    await import('../src/inject.js');
    const { jchannel } = globalThis as unknown as { jchannel: typeof names & { client: names.Client } };
    expect(sockets.map(({ url }) => url)).toStrictEqual(['ws://localhost:8889/socket']);
    expect(jchannel.client.state).toBe('connecting');
    const { connectPage, ...others } = names;
    expect(connectPage).toBeTypeOf('function');
    expect(Object.keys(jchannel).sort()).toStrictEqual([...Object.keys(others), 'client'].sort());
  });

  test('the injected script says what is wrong when it was not served by a server', async () => {
    await expect(import('../src/inject.js')).rejects.toThrow('which should end with /jchannel/inject.js and is not known');
  });

  test('the module connects only when it is asked to', () => {
    expect(sockets).toHaveLength(0);
    names.connectPage({ url: BASE });
    expect(sockets).toHaveLength(1);
  });

  test('the module that no server has served needs the URL', () => {
    expect(() => names.connectPage()).toThrow('The URL of the jchannel server cannot be told');
    expect(() => names.connectPage({ token: 'x' } as never)).toThrow(
      'connectPage has no option token. Its options are url.',
    );
  });

  test('a client names itself by a random name', () => {
    expect(connect({ url: BASE, token: 't' }).clientId).toMatch(/^[0-9a-f]{32}$/u);
  });

  test('a client connects again when the page becomes visible', () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    connect({ url: BASE, token: 't' });
    sockets[0]?.lose();
    pageDocument.visibilityState = 'hidden';
    pageDocument.dispatchEvent(new Event('visibilitychange'));
    expect(sockets).toHaveLength(1);
    pageDocument.visibilityState = 'visible';
    pageDocument.dispatchEvent(new Event('visibilitychange'));
    expect(sockets).toHaveLength(2);
  });

  test('a client connects again when the page goes online', () => {
    connect({ url: BASE, token: 't' });
    sockets[0]?.lose();
    events.dispatchEvent(new Event('online'));
    expect(sockets).toHaveLength(2);
  });

  test('a client connects again after a while', () => {
    connect({ url: BASE, token: 't' });
    sockets[0]?.lose();
    vi.advanceTimersByTime(250);
    expect(sockets).toHaveLength(2);
  });

  test('a client whose socket the policy of the page has blocked stops, and says what to add', () => {
    const report = (violation: object): void => {
      pageDocument.dispatchEvent(Object.assign(new Event('securitypolicyviolation'), violation));
    };
    const client = connect({ url: BASE, token: 't' });
    const blocked = { effectiveDirective: 'connect-src', disposition: 'enforce', blockedURI: 'ws://localhost:8889/socket' };
    report({ ...blocked, effectiveDirective: 'img-src' });
    report({ ...blocked, disposition: 'report' });
    report({ ...blocked, blockedURI: 'ws://localhost:8889/other' });
    expect(client.state).toBe('connecting');
    report(blocked);
    expect(client.stopReason).toStrictEqual({
      reason: 'unreachable',
      message:
        "The page's Content Security Policy does not let it connect to the server. Add http://localhost:8889 and " +
        "ws://localhost:8889 to the policy's connect-src.",
    });
    report(blocked);
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
  });

  test('a client that has stopped listens to nothing', () => {
    const client = connect({ url: BASE, token: 't' });
    sockets[0]?.lose();
    client.close();
    events.dispatchEvent(new Event('online'));
    pageDocument.dispatchEvent(new Event('visibilitychange'));
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
  });

  test('large frames are wrapped in Blobs', () => {
    expect(findEnvironment().Blob).toBe(Blob);
  });
});

describe('outside of a browser', () => {
  beforeEach(() => {
    vi.stubGlobal('WebSocket', undefined);
  });

  test('a WebSocket class is needed where there is no global one', () => {
    expect(() => connect({ url: BASE, token: 't' })).toThrow(
      'There is no global WebSocket class here. Give one as the option WebSocket',
    );
  });

  test('a WebSocket class that is given is used', () => {
    const client = connect({ url: BASE, token: 't', WebSocket: FakeSocket });
    expect(client.state).toBe('connecting');
    client.close();
  });

  test('streams are fetched with the global fetch', () => {
    const response = Promise.resolve(new Response());
    const fetch = vi.fn(() => response);
    vi.stubGlobal('fetch', fetch);
    expect(findEnvironment(FakeSocket).fetch('http://localhost/', { method: 'POST' })).toBe(response);
    expect(fetch).toHaveBeenCalledWith('http://localhost/', { method: 'POST' });
  });

  test('has a clock that goes on by itself', () => {
    vi.useFakeTimers();
    const environment = findEnvironment(FakeSocket);
    const before = environment.clock();
    vi.setSystemTime(0);
    vi.advanceTimersByTime(5);
    expect(environment.clock() - before).toBe(5);
    vi.useRealTimers();
  });

  test('frames are not wrapped in Blobs', () => {
    expect(findEnvironment(FakeSocket).Blob).toBeNull();
  });
});
