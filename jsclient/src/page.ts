/** Connecting a page to the server that served it: finding the server, the token, and the client id before a reload. */

import { Client, connectFrom, type StopReason } from './connection/client.js';
import { findEnvironment, type Environment } from './connection/environment.js';
import { DEFAULT_RETRY_POLICY } from './connection/retry.js';

const TOKEN_PART = 'jchannel=';
const TOKEN = /^[\w-]+$/u;

/** The part of a window that is needed. */
export interface PageWindow {
  readonly location: Pick<Location, 'href' | 'hash' | 'reload'>;
  readonly history: Pick<History, 'state' | 'replaceState'>;
  readonly sessionStorage: Pick<Storage, 'getItem' | 'setItem'>;
  addEventListener(type: 'hashchange', listener: () => void): void;
}

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
 * @param base - The server's base URL.
 * @param page - The page's window.
 * @returns The client. If there is no token it is stopped, and its stop reason says what to do.
 */
export function connectWindow(base: string, page: PageWindow, environment = findEnvironment()): Client {
  const storage = new TabStorage(page, base);
  takeToken(page, storage);
  // The page URL of a restarted server may differ only in its fragment. Browsers do not reload the page then.
  page.addEventListener('hashchange', () => {
    if (takeToken(page, storage)) {
      page.location.reload();
    }
  });
  const clientId = storage.get('client') ?? environment.newName();
  storage.set('client', clientId);
  const token = storage.get('token');
  if (token !== null && TOKEN.test(token)) {
    return connectFrom(environment, { url: base, token, clientId });
  }
  return makeStopped(clientId, environment, {
    reason: 'token',
    message: `The page has no token of the server at ${base}. Open the address that server.page_url gives in Python.`,
  });
}

function makeStopped(clientId: string, environment: Environment, reason: StopReason): Client {
  const nowhere = { socketUrl: '', streamsUrl: '', segmented: false, frameLimit: undefined, token: '' };
  const client = new Client({ ...nowhere, clientId, retry: DEFAULT_RETRY_POLICY }, environment);
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

  #keyOf(name: string): string {
    return `jchannel.${name} ${this.#base}`;
  }
}
