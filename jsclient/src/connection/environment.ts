/** What the client needs of its surroundings: sockets, HTTP, time and randomness. Tests replace it. */

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

/** The surroundings of the client. Times are in milliseconds. */
export interface Environment {
  readonly WebSocket: SocketClass;
  /** The class for large frames, which browsers send faster as Blobs; `null` if that does not help here. */
  readonly Blob: typeof Blob | null;
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
   * Call a listener whenever the page becomes visible or goes online.
   *
   * @returns A function that removes the listener.
   */
  onAwake(listener: () => void): () => void;
  /**
   * Call a listener when the page's Content Security Policy has blocked a connection, with its URL.
   *
   * @returns A function that removes the listener.
   */
  onBlocked(listener: (url: string) => void): () => void;
}

/**
 * Return the environment that this JavaScript runs in.
 *
 * @param WebSocketClass - The WebSocket class. Default: the global one.
 * @throws TypeError if there is neither.
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
    // Outside of pages Blobs are not faster, and with some libraries later messages overtake them.
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
    onBlocked: (listener) => watchBlocked(scope.document, listener),
  };
}

function toHex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
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
