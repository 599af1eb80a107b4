/** How a page finds its server and its token, what the scripts export, and the environment. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect } from '../src/connection/client.js';
import { findEnvironment } from '../src/connection/environment.js';
import * as names from '../src/index.js';
import { connectWindow, findBase, findClient, type PageWindow } from '../src/page.js';
import { FakeEnvironment, FakeSocket } from './fakes.js';

const TRANSPORT = {
  socket: (url: string, protocols: string[]) => new FakeSocket(url, protocols),
  fetch: (url: string, options: RequestInit) => fetch(url, options),
};

const BASE = 'http://localhost:8889';
const TOKEN = `jchannel.token ${BASE}`;
const NAME = `jchannel.client ${BASE}`;

afterEach(() => {
  vi.resetModules();
});

type Framed = PageWindow['parent'];

/** A window of another origin. */
const foreign: Framed = {
  get location(): never {
    throw new DOMException('not allowed', 'SecurityError');
  },
  get parent() {
    return foreign;
  },
};

/** The state of a document that has been read. */
const READ: { readonly readyState: DocumentReadyState } = { readyState: 'complete' };

/** The parts of a window that the client uses. */
class FakePage implements PageWindow {
  readonly location: { readonly href: string; hash: string; reload: () => void };
  readonly document = Object.assign(new EventTarget(), READ);
  readonly performance = { getEntriesByType: (): PerformanceEntry[] => this.navigations };
  navigations: PerformanceEntry[] = [];
  readonly history;
  readonly stored = new Map<string, string>();
  readonly listeners = new Map<string, (() => void)[]>();
  parent: Framed = this;
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

  get sessionStorage(): PageWindow['sessionStorage'] {
    if (!this.mayStore) {
      throw new DOMException('not allowed', 'SecurityError');
    }
    return {
      getItem: (key) => this.stored.get(key) ?? null,
      setItem: (key, value) => {
        this.stored.set(key, value);
      },
      removeItem: (key) => {
        this.stored.delete(key);
      },
    };
  }

  addEventListener(type: string, listener: () => void): void {
    this.listeners.set(type, [...(this.listeners.get(type) ?? []), listener]);
  }

  changeHash(hash: string): void {
    this.location.hash = hash;
    this.dispatch('hashchange');
  }

  dispatch(type: string): void {
    for (const listener of this.listeners.get(type) ?? []) {
      listener();
    }
  }

  /** Return a frame in this page, which shares its storage. */
  frame(hash = ''): FakePage {
    const frame = new FakePage(hash);
    frame.parent = this;
    Object.defineProperty(frame, 'stored', { value: this.stored });
    return frame;
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

describe('a page that is being read', () => {
  const read = { domContentLoadedEventStart: 5 } as unknown as PerformanceEntry;
  const unread = { domContentLoadedEventStart: 0 } as unknown as PerformanceEntry;

  test.each([
    ['loading', [unread], false],
    ['interactive', [unread], false],
    ['interactive', [], false],
    ['interactive', [read], true],
    ['complete', [unread], true],
  ] as const)('connects when its modules have run: %s, %s', (readyState, navigations, connects) => {
    const page = new FakePage('#jchannel=secret');
    Object.assign(page.document, { readyState });
    page.navigations = [...navigations];
    const environment = new FakeEnvironment();
    const client = connectWindow(BASE, page, false, environment);
    expect(environment.sockets).toHaveLength(connects ? 1 : 0);
    expect(client.state).toBe('connecting');
    page.document.dispatchEvent(new Event('DOMContentLoaded'));
    expect(environment.sockets).toHaveLength(1);
  });

  test('does not connect when its client was closed meanwhile', () => {
    const page = new FakePage('#jchannel=secret');
    Object.assign(page.document, { readyState: 'loading' });
    const environment = new FakeEnvironment();
    connectWindow(BASE, page, false, environment).close();
    page.document.dispatchEvent(new Event('DOMContentLoaded'));
    expect(environment.sockets).toHaveLength(0);
  });
});

describe('a page', () => {
  test('takes its token from its address, which keeps it no longer', () => {
    const page = new FakePage('#jchannel=secret');
    const environment = new FakeEnvironment();
    connectWindow(BASE, page, false, environment);
    expect(environment.socket.url).toBe('ws://localhost:8889/socket');
    expect(environment.socket.protocols).toContain('jchannel.token.secret');
    expect(page.addresses).toStrictEqual(['http://localhost:8889/page.html?q=1']);
    expect(page.stored.get('jchannel.token http://localhost:8889')).toBe('secret');
  });

  test('keeps the other parts of its fragment', () => {
    const page = new FakePage('#/route&jchannel=secret&x=1');
    connectWindow(BASE, page, false, new FakeEnvironment());
    expect(page.addresses).toStrictEqual(['http://localhost:8889/page.html?q=1#/route&x=1']);
  });

  test('whose path begins with two slashes keeps its host and loses its token', () => {
    const page = new FakePage('#jchannel=secret', {}, '//docs/page.html');
    connectWindow(BASE, page, false, new FakeEnvironment());
    expect(page.addresses).toStrictEqual(['http://localhost:8889//docs/page.html?q=1']);
  });

  test('takes its token and its name from the storage after a reload', () => {
    const page = new FakePage('#section', {
      'jchannel.token http://localhost:8889': 'kept',
      [NAME]: `${String(Date.now())} tab`,
    });
    const environment = new FakeEnvironment();
    const client = connectWindow(BASE, page, false, environment);
    expect(environment.socket.protocols).toContain('jchannel.token.kept');
    expect(client.clientId).toBe('tab');
    expect(page.stored.has(NAME)).toBe(false);
    expect(page.addresses).toStrictEqual([]);
  });

  test('leaves its name to the next load, and takes it back when it was kept', () => {
    const page = new FakePage('#jchannel=secret');
    connectWindow(BASE, page, false, new FakeEnvironment());
    expect(page.stored.has(NAME)).toBe(false);
    page.dispatch('pagehide');
    expect(page.stored.get(NAME)).toMatch(/^\d+ random-name$/u);
    page.dispatch('pageshow');
    expect(page.stored.has(NAME)).toBe(false);
  });

  test.each([
    ['from 0 s before', 0, 'tab'],
    ['from 10 s before', 10, 'tab'],
    ['from 11 s before', 11, 'random-name'],
    ['from a time that has not come', -1, 'random-name'],
  ])('has the name of the load %s: after %d s it is %s', (_, age, name) => {
    vi.spyOn(Date, 'now').mockReturnValue(100_000);
    const page = new FakePage('', { [TOKEN]: 'kept', [NAME]: `${String(100_000 - age * 1000)} tab` });
    expect(connectWindow(BASE, page, false, new FakeEnvironment()).clientId).toBe(name);
  });

  test('that was opened with a copy of the storage of another one has a name of its own', () => {
    const page = new FakePage('', { [TOKEN]: 'kept', [NAME]: `${String(Date.now())} tab` });
    expect(connectWindow(BASE, page, false, new FakeEnvironment()).clientId).toBe('tab');
    const popup = new FakePage('', Object.fromEntries(page.stored));
    const environment = new FakeEnvironment();
    expect(connectWindow(BASE, popup, false, environment).clientId).toBe('random-name');
    expect(environment.socket.protocols).toContain('jchannel.token.kept');
  });

  test('connects also where it may not store anything', () => {
    const page = new FakePage('#jchannel=secret');
    page.mayStore = false;
    const environment = new FakeEnvironment();
    connectWindow(BASE, page, false, environment);
    expect(environment.socket.protocols).toContain('jchannel.token.secret');
    page.dispatch('pagehide');
  });

  test('has one client, whoever asks for it', () => {
    const page = new FakePage('#jchannel=secret');
    const environment = new FakeEnvironment();
    const client = connectWindow(BASE, page, false, environment);
    expect(connectWindow(`${BASE}/`, page, false, environment)).toBe(client);
    expect(findClient(`${BASE}/`, page)).toBe(client);
    expect(environment.sockets).toHaveLength(1);
  });

  test('has a client for each server', () => {
    const page = new FakePage('', { [TOKEN]: 'one', 'jchannel.token http://localhost:1': 'two' });
    const client = connectWindow(BASE, page, false, new FakeEnvironment());
    expect(connectWindow('http://localhost:1', page, false, new FakeEnvironment())).not.toBe(client);
  });

  test('connects anew when its client has stopped', () => {
    const page = new FakePage('#jchannel=secret');
    const client = connectWindow(BASE, page, false, new FakeEnvironment());
    client.close();
    const next = connectWindow(BASE, page, false, new FakeEnvironment());
    expect(next.state).toBe('connecting');
    expect(findClient(BASE, page)).toBe(next);
  });

  test('with a URL that is none says what it must be', () => {
    const page = new FakePage('', { 'jchannel.token 8889': 'secret' });
    expect(() => connectWindow(8889 as never, page, false, new FakeEnvironment())).toThrow('it is 8889.');
  });

  test.each(['', '#jchannel=', '#jchannel=not%20a%20token'])('without a token does not connect: %s', (hash) => {
    const environment = new FakeEnvironment();
    const client = connectWindow(BASE, new FakePage(hash), false, environment);
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
    connectWindow(BASE, page, false, new FakeEnvironment());
    page.changeHash('#jchannel=new');
    expect(page.reloads).toBe(1);
    expect(page.stored.get('jchannel.token http://localhost:8889')).toBe('new');
  });

  test('is not loaded again for other changes of its fragment', () => {
    const page = new FakePage('#jchannel=secret');
    connectWindow(BASE, page, false, new FakeEnvironment());
    page.changeHash('#section');
    expect(page.reloads).toBe(0);
  });
});

describe('a frame', () => {
  test.each([
    ['in a page', (page: FakePage) => page.frame()],
    ['in a frame of a page', (page: FakePage) => page.frame().frame()],
    ['in a foreign frame of a page', (page: FakePage) => {
      const between: Framed = Object.create(foreign, { parent: { value: page } }) as Framed;
      return Object.assign(page.frame(), { parent: between });
    }],
  ])('of the server is a part of the page, and does not connect: %s', (_, makeFrame) => {
    const page = new FakePage('', { [TOKEN]: 'kept', [NAME]: `${String(Date.now())} tab` });
    const environment = new FakeEnvironment();
    const client = connectWindow(BASE, makeFrame(page), false, environment);
    expect(environment.sockets).toHaveLength(0);
    expect(client.stopReason).toStrictEqual({
      reason: 'frame',
      message:
        'This is a frame within a page of the server at http://localhost:8889, and that page connects. ' +
        'For a frame that connects itself, call connectPage({frame: true}) in it.',
    });
    expect(page.stored.get(NAME)).toContain(' tab');
  });

  test('connects if the application says so, under a name of its own', () => {
    const page = new FakePage('', { [TOKEN]: 'kept', [NAME]: `${String(Date.now())} tab` });
    connectWindow(BASE, page, false, new FakeEnvironment());
    const frame = page.frame();
    connectWindow(BASE, frame, false, new FakeEnvironment());
    const environment = new FakeEnvironment();
    expect(connectWindow(BASE, frame, true, environment).clientId).toBe('random-name');
    expect(environment.socket.protocols).toContain('jchannel.token.kept');
  });

  test('connects if its own address has the token', () => {
    const environment = new FakeEnvironment();
    connectWindow(BASE, new FakePage().frame('#jchannel=secret'), false, environment);
    expect(environment.sockets).toHaveLength(1);
  });

  test.each([
    ['another origin', foreign],
    ['another server', new FakePage()],
  ])('in a page of %s is a page of its own', (_, parent) => {
    const base = parent === foreign ? BASE : `${BASE}/proxy/1`;
    const page = new FakePage('', { [`jchannel.token ${base}`]: 'kept' });
    page.parent = parent;
    const environment = new FakeEnvironment();
    connectWindow(base, page, false, environment);
    expect(environment.sockets).toHaveLength(1);
  });
});

describe('in a browser', () => {
  let page: FakePage;
  let sockets: FakeSocket[];
  let events: EventTarget;
  let pageDocument: EventTarget & {
    visibilityState: string;
    readyState: string;
    currentScript: { src: string } | null;
    querySelector: (selector: string) => unknown;
  };

  beforeEach(() => {
    vi.useFakeTimers();
    sockets = [];
    page = new FakePage('#jchannel=secret');
    events = new EventTarget();
    pageDocument = Object.assign(new EventTarget(), {
      visibilityState: 'visible',
      readyState: 'complete',
      currentScript: null,
      querySelector: () => null,
    });
    vi.stubGlobal('document', pageDocument);
    vi.stubGlobal('location', page.location);
    vi.stubGlobal('history', page.history);
    vi.stubGlobal('sessionStorage', page.sessionStorage);
    vi.stubGlobal('parent', globalThis);
    Reflect.deleteProperty(globalThis, Symbol.for('jchannel.clients'));
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
    expect(Object.keys(jchannel).sort()).toStrictEqual([...Object.keys(names), 'client'].sort());
    expect(jchannel.connectPage()).toBe(jchannel.client);
    expect(sockets).toHaveLength(1);
  });

  test('the injected script connects when the page’s own modules have run', async () => {
    pageDocument.currentScript = { src: `${BASE}/jchannel/inject.js` };
    pageDocument.readyState = 'loading';
    await import('../src/inject.js');
    const { jchannel } = globalThis as unknown as { jchannel: typeof names & { client: names.Client } };
    expect(jchannel.client.state).toBe('connecting');
    pageDocument.readyState = 'interactive';
    expect(names.connectPage({ url: BASE })).toBe(jchannel.client);
    expect(sockets).toHaveLength(0);
    expect(page.stored.get(TOKEN)).toBe('secret');
    pageDocument.dispatchEvent(new Event('DOMContentLoaded'));
    expect(sockets).toHaveLength(1);
  });

  test('the injected script lets a page connect itself that wants to', async () => {
    pageDocument.currentScript = { src: `${BASE}/jchannel/inject.js` };
    pageDocument.querySelector = (selector) => (selector === 'meta[name="jchannel"][content="manual"]' ? {} : null);
    await import('../src/inject.js');
    const { jchannel } = globalThis as unknown as { jchannel: typeof names & { client: names.Client } };
    const { client } = jchannel;
    events.dispatchEvent(new Event('pagehide'));
    events.dispatchEvent(new Event('pageshow'));
    expect(sockets).toHaveLength(0);
    expect(jchannel.connectPage()).toBe(client);
    expect(sockets).toHaveLength(1);
    expect(client.state).toBe('connecting');
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
      'connectPage has no option token. Its options are url, frame.',
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

  test.each([
    ['pagehide', 'pageshow'],
    ['freeze', 'resume'],
  ])('a client leaves the server with %s, and comes back with %s', (away, back) => {
    const client = connect({ url: BASE, token: 't' });
    const dispatch = (type: string): void => {
      (type.startsWith('page') ? events : pageDocument).dispatchEvent(new Event(type));
    };
    dispatch(away);
    expect(sockets[0]?.isClosed).toBe(true);
    expect(client.state).toBe('waiting');
    dispatch(back);
    expect(sockets).toHaveLength(2);
  });

  test('the module and the injected script have one client, and know the classes of each other', async () => {
    pageDocument.currentScript = { src: `${BASE}/jchannel/inject.js` };
    vi.resetModules();
    await import('../src/inject.js');
    const { jchannel } = globalThis as unknown as { jchannel: typeof names & { client: names.Client } };
    const client = names.connectPage({ url: BASE });
    expect(sockets).toHaveLength(1);
    expect(client).toBe(jchannel.client);
    expect(jchannel.Client).not.toBe(names.Client);
    expect(client).toBeInstanceOf(names.Client);
    const error = new jchannel.ClosedError('It is closed.');
    expect(error).toBeInstanceOf(names.ClosedError);
    expect(error).toBeInstanceOf(names.StateError);
    expect(error).not.toBeInstanceOf(names.ConnectionLostError);
    expect(null).not.toBeInstanceOf(names.StateError);
    expect('a text').not.toBeInstanceOf(names.StateError);
    class Own extends names.StateError {}
    expect(error).not.toBeInstanceOf(Own);
    expect(new Own()).toBeInstanceOf(Own);
    expect(new Own()).toBeInstanceOf(jchannel.StateError);
  });

  test('the injected script has the client that has replaced one that had stopped', async () => {
    pageDocument.currentScript = { src: `${BASE}/jchannel/inject.js` };
    await import('../src/inject.js');
    const { jchannel } = globalThis as unknown as { jchannel: { client: names.Client } };
    jchannel.client.close();
    const client = names.connectPage({ url: BASE });
    expect(client.state).toBe('connecting');
    expect(jchannel.client).toBe(client);
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

  test.each([
    ['Chromium', true, 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36'],
    ['Chromium without a head', true, 'Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0'],
    ['Firefox', false, 'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0'],
    ['WebKit', false, 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/60.5 Safari/605.1.15'],
    ['a browser that does not say', false, undefined],
  ])('responses that are not read stop their servers, or not: %s', (_, holdsBack, userAgent) => {
    vi.stubGlobal('navigator', userAgent === undefined ? undefined : { userAgent });
    expect(findEnvironment().holdsBack).toBe(holdsBack);
  });
});

describe('outside of a browser', () => {
  beforeEach(() => {
    vi.stubGlobal('WebSocket', undefined);
  });

  test('a WebSocket class is needed where there is no global one', () => {
    expect(() => connect({ url: BASE, token: 't' })).toThrow(
      'There is no global WebSocket class here. Give a transport',
    );
  });

  test('a transport that is given is used', () => {
    const opened: FakeSocket[] = [];
    const socket = (url: string, protocols: string[]): FakeSocket => {
      const fake = new FakeSocket(url, protocols);
      opened.push(fake);
      return fake;
    };
    connect({ url: BASE, token: 't', transport: { socket } }).close();
    connect({ transport: { socket } }).close();
    expect(opened.map(({ url, protocols }) => [url, ...protocols])).toStrictEqual([
      ['ws://localhost:8889/socket', 'jchannel.v1', 'jchannel.token.t'],
      ['', 'jchannel.v1'],
    ]);
  });

  test('a transport with HTTP needs to know where the server is', () => {
    const transport = { socket: () => new FakeSocket('', []), fetch: () => Promise.resolve(new Response()) };
    expect(() => connect({ transport })).toThrow('The option token must be');
    expect(() => connect({ transport, token: 't' })).toThrow('The option url must be');
  });

  test('a transport is called as the object that it is', () => {
    class Own {
      readonly made: string[] = [];
      socket(url: string): FakeSocket {
        this.made.push(url);
        return new FakeSocket('', []);
      }
    }
    const own = new Own();
    connect({ transport: own }).close();
    expect(own.made).toHaveLength(1);
  });

  test('a transport may throw anything', () => {
    for (const thrown of [null, { name: 'SecurityError' }]) {
      const socket = (): never => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- as programs may
        throw thrown;
      };
      expect(connect({ transport: { socket } }).stopReason?.message).toContain('The page cannot connect to the server: ');
    }
  });

  test('what is no transport is refused', () => {
    const socket = (): FakeSocket => new FakeSocket('', []);
    expect(() => connect({ transport: { socket, fetch: 5 as never } })).toThrow('The option transport must be');
    expect(() => connect({ transport: {} as never })).toThrow('The option transport must be');
    expect(() => connect({ transport: null as never })).toThrow('The option transport must be');
  });

  test('a transport without HTTP says so to who asks over HTTP', async () => {
    const environment = findEnvironment({ socket: () => new FakeSocket('', []) });
    expect(environment.hasHttp).toBe(false);
    await expect(environment.fetch('http://localhost/', {})).rejects.toThrow('has no HTTP');
  });

  test('a client of a transport without a URL says what it could not reach', () => {
    const socket = (): never => {
      throw new Error('no comm');
    };
    expect(connect({ transport: { socket } }).stopReason?.message).toBe('The page cannot connect to the server: no comm');
  });

  test('streams are fetched with the global fetch', () => {
    const response = Promise.resolve(new Response());
    const fetch = vi.fn(() => response);
    vi.stubGlobal('fetch', fetch);
    expect(findEnvironment(TRANSPORT).fetch('http://localhost/', { method: 'POST' })).toBe(response);
    expect(fetch).toHaveBeenCalledWith('http://localhost/', { method: 'POST' });
  });

  test('has a clock that goes on by itself', () => {
    vi.useFakeTimers();
    const environment = findEnvironment(TRANSPORT);
    const before = environment.clock();
    vi.setSystemTime(0);
    vi.advanceTimersByTime(5);
    expect(environment.clock() - before).toBe(5);
    vi.useRealTimers();
  });

  test('responses that are not read stop their servers', () => {
    expect(findEnvironment(TRANSPORT).holdsBack).toBe(true);
  });

  test('is not known to copy what it sends, as the global WebSocket does', () => {
    vi.stubGlobal('WebSocket', FakeSocket);
    expect([findEnvironment(TRANSPORT).copiesSent, findEnvironment().copiesSent]).toStrictEqual([false, true]);
  });
});
