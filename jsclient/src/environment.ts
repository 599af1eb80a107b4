/** The outside world that the client uses: sockets, HTTP, time and randomness. Tests put their own in its place. */

/** The part of a WebSocket that the client uses. */
export interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  send(data: string | ArrayBuffer | Blob): void;
  close(): void;
  addEventListener(type: 'open' | 'close' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
}

/** A WebSocket class: the browser's, Node's (from version 22 on), or one of a package such as `ws`. */
export type SocketClass = new (url: string, protocols: string[]) => SocketLike;

/** What the client takes from outside. Times are in milliseconds. */
export interface Environment {
  readonly WebSocket: SocketClass;
  /** Wraps large frames, which browsers send faster so; `null` where that does not help. */
  readonly Blob: typeof Blob | null;
  fetch(url: string, options: RequestInit): Promise<Response>;
  setTimeout(callback: () => void, delay: number): unknown;
  clearTimeout(timer: unknown): void;
  /** The wall clock, which goes on while the machine sleeps. */
  now(): number;
  /** A clock that nobody sets, for what takes time while the page runs. */
  clock(): number;
  /** A number from 0 up to but not including 1. */
  random(): number;
  /** A name that nobody else has. */
  newName(): string;
  /** Tells the listener whenever the page becomes visible or goes online, until the function it returns is called. */
  onAwake(listener: () => void): () => void;
}

/**
 * The environment that this JavaScript runs in.
 *
 * @param WebSocketClass - The WebSocket class to use instead of the global one.
 * @throws TypeError when there is no global WebSocket class and none was given.
 */
export function findEnvironment(WebSocketClass?: SocketClass): Environment {
  const scope = globalThis as Partial<Pick<typeof globalThis, 'WebSocket' | 'document' | 'addEventListener'>>;
  const Socket = WebSocketClass ?? scope.WebSocket;
  if (Socket === undefined) {
    throw new TypeError(
      'There is no global WebSocket class here. Give one as the option WebSocket, for example that of the package ws.',
    );
  }
  return {
    WebSocket: Socket,
    // Outside of pages Blobs gain nothing, and some libraries let later messages overtake them.
    Blob: scope.document === undefined ? null : Blob,
    fetch: (url, options) => fetch(url, options),
    setTimeout: (callback, delay) => setTimeout(callback, delay),
    clearTimeout: (timer) => {
      clearTimeout(timer as number);
    },
    now: () => Date.now(),
    clock: () => performance.now(),
    random: () => Math.random(),
    newName: () => Array.from(crypto.getRandomValues(new Uint8Array(16)), toHex).join(''),
    onAwake: (listener) => watchAwake(scope.document, listener),
  };
}

function toHex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function watchAwake(page: Document | undefined, listener: () => void): () => void {
  if (page === undefined) {
    return () => undefined;
  }
  const becomeVisible = (): void => {
    if (page.visibilityState === 'visible') {
      listener();
    }
  };
  page.addEventListener('visibilitychange', becomeVisible);
  globalThis.addEventListener('online', listener);
  return () => {
    page.removeEventListener('visibilitychange', becomeVisible);
    globalThis.removeEventListener('online', listener);
  };
}
