/** What the client needs of its surroundings: sockets, HTTP, time and randomness. Tests replace it. */

import { StateError } from '../errors.js';
import type { Door } from '../protocol/messages.js';

/** The part of a WebSocket that the client uses. */
export interface SocketLike {
  /** The client sets it to `arraybuffer`, and takes no other binary messages. */
  binaryType: string;
  /** 0 until it is open, 1 while it is, 2 or 3 afterwards. */
  readonly readyState: number;
  /** The bytes that were sent and have not left yet. While there are many, calls and streams wait. */
  readonly bufferedAmount: number;
  /** Set by the client: to be called if the server has shown that it lives by something else than a message. */
  onSign?: () => void;
  /** Send a message. Bytes may be a part of their buffer. */
  send(data: string | Uint8Array<ArrayBuffer>): void;
  /** Close it. What was sent before still leaves. */
  close(): void;
  addEventListener(type: 'open' | 'close' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
}

/** What carries a client's messages and, if it has HTTP, its streams. */
export interface Transport {
  /**
   * Open a socket. It is called for each attempt to connect, and may throw if it cannot even try.
   *
   * @param url - Where to; empty if `connect` was given no `url`.
   * @param protocols - The subprotocols to offer, one of which has the token.
   */
  readonly socket: (url: string, protocols: string[]) => SocketLike;
  /** Ask the server over HTTP, as the global `fetch`. Default: there is no HTTP, and all streams use the socket. */
  readonly fetch?: (url: string, options: RequestInit) => Promise<Response>;
}

/** The surroundings of the client. Times are in milliseconds. */
export interface Environment {
  /** Whether the server can be asked over HTTP. Otherwise streams travel as pieces only. */
  readonly hasHttp: boolean;
  /** Whether a response that is not read stops its server, so that not all of it is kept here. */
  readonly holdsBack: boolean;
  /** Whether what was sent is copied when a socket's `send` returns, as that of a browser's WebSocket is. */
  readonly copiesSent: boolean;
  /** Open a socket, or throw if the page may not even try. */
  openSocket(url: string, protocols: string[]): SocketLike;
  /** The door to the server, for its statistics, and why no better one could be used; if there is more than one. */
  readonly door?: { readonly door: Door; readonly why: string };
  fetch(url: string, options: RequestInit): Promise<Response>;
  setTimeout(callback: () => void, delay: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Return the wall-clock time, which goes on while the machine sleeps. */
  now(): number;
  /** Return the time of a monotonic clock. */
  clock(): number;
  /** Return a random number from 0 up to but not including 1. */
  random(): number;
  /** Return a unique name. */
  newName(): string;
  /**
   * Return a new element for a channel to draw in, in its place in the page.
   *
   * @throws StateError if there is no page here.
   */
  makeElement(channel: number): HTMLElement;
  /**
   * Watch what the browser does with the page.
   *
   * @returns A function that ends that.
   */
  watchLife(events: LifeEvents): () => void;
  /**
   * Call a listener when the page's Content Security Policy has blocked a connection, with its URL.
   *
   * @returns A function that removes the listener.
   */
  onBlocked(listener: (url: string) => void): () => void;
}

/** What the browser does with a page. */
export interface LifeEvents {
  /** Called when the page is left or frozen. If the browser keeps it, nothing in it runs until it is awake again. */
  readonly onAway: () => void;
  /** Called when the page is there again, becomes visible, or goes online. It may be called when it was not away. */
  readonly onAwake: () => void;
}

/**
 * Return the environment that this JavaScript runs in.
 *
 * @param transport - What carries the client's messages and streams. Default: the global WebSocket class and `fetch`.
 * @throws TypeError if it is no transport, or there is no such class.
 */
export function findEnvironment(transport?: Transport): Environment {
  const scope = globalThis as Partial<Pick<typeof globalThis, 'WebSocket' | 'document' | 'navigator'>>;
  const way = transport === undefined ? findTransport(scope.WebSocket) : checkTransport(transport);
  return {
    hasHttp: way.fetch !== undefined,
    // No feature tells: Firefox and WebKit fetch a response to its end, however much of it nobody has read.
    holdsBack: scope.document === undefined || (scope.navigator?.userAgent ?? '').includes('Chrome/'),
    copiesSent: transport === undefined,
    openSocket: (url, protocols) => way.socket(url, protocols),
    fetch: (url, options) => way.fetch?.(url, options) ?? Promise.reject(new StateError(NO_HTTP)),
    setTimeout: (callback, delay) => setTimeout(callback, delay),
    clearTimeout: (timer) => {
      clearTimeout(timer as number);
    },
    now: () => Date.now(),
    clock: () => performance.now(),
    random: () => Math.random(),
    newName: () => Array.from(crypto.getRandomValues(new Uint8Array(16)), toHex).join(''),
    makeElement: () => makeElement(scope.document),
    watchLife: (events) => watchLife(scope.document, events),
    onBlocked: (listener) => watchBlocked(scope.document, listener),
  };
}

const NO_HTTP = 'The transport of this client has no HTTP.';

function checkTransport(transport: Transport): Transport {
  // JavaScript callers can pass anything.
  const { socket, fetch: ask } = (transport as Partial<Transport> | null) ?? {};
  if (typeof socket !== 'function' || (ask !== undefined && typeof (ask as unknown) !== 'function')) {
    throw new TypeError(
      'The option transport must be an object with a function socket and, if it has HTTP, a function fetch.',
    );
  }
  return transport;
}

function findTransport(Socket: (new (url: string, protocols: string[]) => SocketLike) | undefined): Transport {
  if (Socket === undefined) {
    throw new TypeError(
      'There is no global WebSocket class here. Give a transport, for example with the class of the package ws: ' +
        '{socket: (url, protocols) => new WebSocket(url, protocols), fetch}.',
    );
  }
  return {
    socket: (url, protocols) => new Socket(url, protocols),
    fetch: (url, options) => fetch(url, options),
  };
}

function toHex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function makeElement(page: Document | undefined): HTMLElement {
  if (page === undefined) {
    throw new StateError('channel.element is a part of a page, and there is no page here.');
  }
  const element = page.createElement('div');
  // A page whose body is still to come has none.
  const body = page.body as HTMLElement | null;
  (page.querySelector('[data-jchannel-elements]') ?? body ?? page.documentElement).append(element);
  return element;
}

function watchBlocked(page: Document | undefined, listener: (url: string) => void): () => void {
  const report = ({ effectiveDirective, disposition, blockedURI }: SecurityPolicyViolationEvent): void => {
    if (effectiveDirective === 'connect-src' && disposition === 'enforce') {
      listener(blockedURI);
    }
  };
  page?.addEventListener('securitypolicyviolation', report);
  return () => {
    page?.removeEventListener('securitypolicyviolation', report);
  };
}

function watchLife(page: Document | undefined, { onAway, onAwake }: LifeEvents): () => void {
  if (page === undefined) {
    return () => undefined;
  }
  const becomeVisible = (): void => {
    if (page.visibilityState === 'visible') {
      onAwake();
    }
  };
  const listeners: readonly (readonly [EventTarget, string, () => void])[] = [
    [page, 'visibilitychange', becomeVisible],
    [globalThis, 'online', onAwake],
    // A page that is left may be kept in the browser's cache, and one in the background may be frozen.
    [globalThis, 'pagehide', onAway],
    [globalThis, 'pageshow', onAwake],
    [page, 'freeze', onAway],
    [page, 'resume', onAwake],
  ];
  for (const [target, type, listener] of listeners) {
    target.addEventListener(type, listener);
  }
  return () => {
    for (const [target, type, listener] of listeners) {
      target.removeEventListener(type, listener);
    }
  };
}
