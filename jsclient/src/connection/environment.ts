/** What the client needs of its surroundings: sockets, HTTP, time and randomness. Tests replace it. */

import { StateError } from '../errors.js';

/** The part of a WebSocket that the client uses. */
export interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: string | ArrayBuffer | Blob): void;
  close(): void;
  addEventListener(type: 'open' | 'close' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
}

/** A WebSocket class: the browser's, Node's (from version 22 on), or one of a package such as `ws`. */
export type SocketClass = new (url: string, protocols: string[]) => SocketLike;

/** The surroundings of the client. Times are in milliseconds. */
export interface Environment {
  readonly WebSocket: SocketClass;
  /** The class for large frames, which browsers send faster as Blobs; `null` if that does not help here. */
  readonly Blob: typeof Blob | null;
  /** Whether a response that is not read stops its server, so that not all of it is kept here. */
  readonly holdsBack: boolean;
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
 * @param WebSocketClass - The WebSocket class. Default: the global one.
 * @throws TypeError if there is neither.
 */
export function findEnvironment(WebSocketClass?: SocketClass): Environment {
  const scope = globalThis as Partial<Pick<typeof globalThis, 'WebSocket' | 'document' | 'navigator'>>;
  const Socket = WebSocketClass ?? scope.WebSocket;
  if (Socket === undefined) {
    throw new TypeError(
      'There is no global WebSocket class here. Give one as the option WebSocket, for example that of the package ws.',
    );
  }
  return {
    WebSocket: Socket,
    // Outside of pages Blobs are not faster, and with some libraries later messages overtake them.
    Blob: scope.document === undefined ? null : Blob,
    // No feature tells: Firefox and WebKit fetch a response to its end, however much of it nobody has read.
    holdsBack: scope.document === undefined || scope.navigator?.userAgent.includes('Chrome/') === true,
    fetch: (url, options) => fetch(url, options),
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
