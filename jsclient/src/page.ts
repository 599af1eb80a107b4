/** Connecting a page to the server that served it: finding the server, the token, and the client id before a reload. */

import { Client, makeClient, type StopReason } from './connection/client.js';
import { findEnvironment, type Environment } from './connection/environment.js';
import { DEFAULT_RETRY_POLICY } from './connection/retry.js';
import { checkNames } from './options.js';

/**
 * The time in seconds between two loads within which the second one has the name of the first. Where the tab shows other
 * pages for longer, their popups may have copied the name.
 */
const LOAD_TIME = 10;

const TOKEN_PART = 'jchannel=';
const TOKEN = /^[\w-]+$/u;

/** How a page connects itself. */
export interface PageOptions {
  /** The server's base URL. Default: that of the server which served the client's script. */
  readonly url?: string;
  /** Whether this window connects also if it is a frame within a page of the server. */
  readonly frame?: boolean;
}

/** The part of a window that is needed. */
export interface PageWindow extends Framed {
  readonly location: Pick<Location, 'href' | 'hash' | 'reload'>;
  readonly history: Pick<History, 'state' | 'replaceState'>;
  readonly sessionStorage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;
  readonly document: Pick<Document, 'readyState'> & Listens<'DOMContentLoaded'>;
  readonly performance: Pick<Performance, 'getEntriesByType'>;
  /** The clients of the page, by the base URLs of their servers. All scripts of the page share them. */
  [CLIENTS]?: Map<string, Client> | undefined;
  addEventListener(type: 'hashchange' | 'pagehide' | 'pageshow', listener: () => void): void;
}

/** What can be listened to. */
interface Listens<Type extends string> {
  addEventListener(type: Type, listener: () => void): void;
}

/** A window, which may be in a frame. */
interface Framed {
  readonly location: Pick<Location, 'href'>;
  readonly parent: Framed;
}

const CLIENTS = Symbol.for('jchannel.clients');

/**
 * Return the base URL of the server that has served one of the client's scripts.
 *
 * @param script - The script's URL, `<base>/jchannel/<name>.js`.
 * @throws TypeError if the URL does not have this form.
 */
export function findBase(script: string): string {
  const base = /^(https?:\/\/[^?#]*)\/jchannel\/[^/?#]+\.js(?:[?#].*)?$/su.exec(script)?.[1];
  if (base === undefined) {
    throw new TypeError(
      'The URL of the jchannel server cannot be told from the URL of its script, which should end with ' +
        `/jchannel/inject.js and is ${script === '' ? 'not known' : script}.`,
    );
  }
  return base;
}

/**
 * Connect the page to the server that served it. The token is taken from the page's address and removed there; after a
 * reload it is in the tab's session storage.
 *
 * It connects when the page's own modules have run, so that the code of channels finds what they define.
 *
 * A page has one client, whichever script asks for it: if it has one that has not stopped, that is returned. A frame
 * within a page of the same server is a part of that page, and connects only if its own address has the token or
 * `isPage` is true.
 *
 * @param base - The server's base URL.
 * @param page - The page's window.
 * @param isPage - Whether the window is a page of its own also where it is a frame.
 * @returns The client. If the page cannot connect it is stopped, and its stop reason says what to do.
 */
export function connectWindow(base: string, page: PageWindow, isPage = false, environment = findEnvironment()): Client {
  const client = prepareWindow(base, page, isPage, environment);
  whenRead(page, () => {
    client.begin();
  });
  return client;
}

/**
 * Connect this page, as its own code asks for it.
 *
 * @param findDefault - Returns the base URL for a page that names none.
 */
export function connectOwnPage(options: PageOptions, findDefault: () => string): Client {
  checkNames('connectPage', options, ['url', 'frame']);
  return connectWindow(options.url ?? findDefault(), globalThis, options.frame);
}

/** Do as `connectWindow`, but do not connect yet. */
export function prepareWindow(
  base: string,
  page: PageWindow,
  isPage = false,
  environment = findEnvironment(),
): Client {
  const url = withoutSlash(base);
  const before = findClient(url, page);
  if (before !== undefined && before.state !== 'stopped') {
    return before;
  }
  const client = makePageClient(url, page, isPage, environment);
  (page[CLIENTS] ??= new Map()).set(url, client);
  return client;
}

/**
 * Call a function when the page has been read and its own modules have run: what they define is there then.
 * Those that wait for something, and async ones, may still be under way.
 */
export function whenRead({ document, performance }: PageWindow, run: () => void): void {
  const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
  if (document.readyState === 'complete' || (navigation !== undefined && navigation.domContentLoadedEventStart > 0)) {
    run();
  } else {
    document.addEventListener('DOMContentLoaded', run);
  }
}

/** Return the page's client of a server, if there is one. */
export function findClient(base: string, page: PageWindow): Client | undefined {
  return page[CLIENTS]?.get(withoutSlash(base));
}

function withoutSlash(url: unknown): string {
  // JavaScript callers can pass anything.
  return String(url).replace(/\/+$/u, '');
}

function makePageClient(base: string, page: PageWindow, isPage: boolean, environment: Environment): Client {
  const storage = new TabStorage(page, base);
  const wasGiven = takeToken(page, storage);
  // The page URL of a restarted server may differ only in its fragment. Browsers do not reload the page then.
  page.addEventListener('hashchange', () => {
    if (takeToken(page, storage)) {
      page.location.reload();
    }
  });
  if (!isPage && !wasGiven && isPartOfPage(page, base)) {
    return makeStopped(environment, {
      reason: 'frame',
      message:
        `This is a frame within a page of the server at ${base}, and that page connects. ` +
        'For a frame that connects itself, call connectPage({frame: true}) in it.',
    });
  }
  const token = storage.get('token');
  if (token === null || !TOKEN.test(token)) {
    return makeStopped(environment, {
      reason: 'token',
      message: `The page has no token of the server at ${base}. Open the address that server.page_url gives in Python.`,
    });
  }
  return makeClient(environment, { url: base, token, clientId: holdName(page, storage, environment) });
}

/**
 * Return the page's name, which it had before a reload, or a new one.
 *
 * A name is in the storage only while no page has it: between two loads of the page. Frames share the storage, and a popup
 * or the duplicate of a tab begins with a copy of it: they find no name there, and take one of their own. (Web Locks would
 * say so as well, but only later, not in a page that came over plain HTTP from another machine, and a page that holds one
 * is not kept in the browser's cache.)
 */
function holdName(page: PageWindow, storage: TabStorage, environment: Environment): string {
  const [left = '', kept] = storage.get('client')?.split(' ') ?? [];
  const age = (environment.now() - Number(left)) / 1000;
  const name = kept === undefined || age < 0 || age > LOAD_TIME ? environment.newName() : kept;
  const take = (): void => {
    storage.remove('client');
  };
  take();
  page.addEventListener('pagehide', () => {
    storage.set('client', `${String(environment.now())} ${name}`);
  });
  // The browser may have kept the page.
  page.addEventListener('pageshow', take);
  return name;
}

/** Return whether a window is a frame, directly or not, within a page of a server. */
function isPartOfPage(page: Framed, base: string): boolean {
  for (let frame = page; frame.parent !== frame; ) {
    frame = frame.parent;
    try {
      if (frame.location.href.startsWith(`${base}/`)) {
        return true;
      }
    } catch {
      // It is of another origin.
    }
  }
  return false;
}

function makeStopped(environment: Environment, reason: StopReason): Client {
  const nowhere = { socketUrl: '', streamsUrl: '', segmented: false, posts: false, frameLimit: undefined, token: '' };
  const client = new Client({ ...nowhere, clientId: environment.newName(), retry: DEFAULT_RETRY_POLICY }, environment);
  client.stop(reason);
  return client;
}

/** Move the token from the page's address into the storage, and return whether there was one. */
function takeToken({ location, history }: PageWindow, storage: TabStorage): boolean {
  const parts = location.hash.slice(1).split('&');
  const part = parts.find((other) => other.startsWith(TOKEN_PART));
  if (part === undefined) {
    return false;
  }
  storage.set('token', part.slice(TOKEN_PART.length));
  const rest = parts.filter((other) => !other.startsWith(TOKEN_PART)).join('&');
  // The whole address: a path that begins with // would be another host's, and one alone is relative to a <base>.
  const address = location.href.slice(0, location.href.indexOf('#'));
  history.replaceState(history.state, '', address + (rest === '' ? '' : `#${rest}`));
  return true;
}

/**
 * What a tab stores about one server. If the browser does not allow a page to store anything, it is kept only until a
 * reload.
 */
class TabStorage {
  readonly #page: PageWindow;
  readonly #base: string;
  readonly #values = new Map<string, string>();

  constructor(page: PageWindow, base: string) {
    this.#page = page;
    this.#base = base;
  }

  get(name: string): string | null {
    try {
      return this.#values.get(name) ?? this.#page.sessionStorage.getItem(this.#keyOf(name));
    } catch {
      return null;
    }
  }

  set(name: string, value: string): void {
    this.#values.set(name, value);
    try {
      this.#page.sessionStorage.setItem(this.#keyOf(name), value);
    } catch {
      // The browser's settings or the frame's sandbox forbid it. The page uses the values above.
    }
  }

  remove(name: string): void {
    this.#values.delete(name);
    try {
      this.#page.sessionStorage.removeItem(this.#keyOf(name));
    } catch {
      // As above.
    }
  }

  #keyOf(name: string): string {
    return `jchannel.${name} ${this.#base}`;
  }
}
