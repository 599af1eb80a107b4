/** Sockets that connect only when the other side has proved that it is the server. */

import type { SocketClass, SocketLike } from '../connection/environment.js';

type Listener = (event: { readonly data: unknown }) => void;

/**
 * Return a WebSocket class for `connect`.
 *
 * @param prove - Returns whether the other side is the server. It is called before each connection.
 * @param Socket - The WebSocket class that makes the connection.
 */
export function makeProvenSocket(prove: () => Promise<boolean>, Socket: SocketClass): SocketClass {
  return class implements SocketLike {
    binaryType = '';
    readonly #listeners: (readonly [string, Listener])[] = [];
    #socket: SocketLike | undefined;
    #isClosed = false;

    constructor(url: string, protocols: string[]) {
      void prove().then((isServer) => {
        if (this.#isClosed) {
          return;
        }
        if (!isServer) {
          this.#fail();
          return;
        }
        this.#socket = new Socket(url, protocols);
        this.#socket.binaryType = this.binaryType;
        for (const [type, listener] of this.#listeners) {
          this.#socket.addEventListener(type as 'message', listener);
        }
      });
    }

    get readyState(): number {
      return this.#socket?.readyState ?? (this.#isClosed ? 3 : 0);
    }

    get bufferedAmount(): number {
      return this.#socket?.bufferedAmount ?? 0;
    }

    addEventListener(type: string, listener: Listener): void {
      this.#listeners.push([type, listener]);
    }

    send(data: string | Uint8Array<ArrayBuffer>): void {
      this.#socket?.send(data);
    }

    close(): void {
      this.#isClosed = true;
      this.#socket?.close();
    }

    #fail(): void {
      this.#isClosed = true;
      for (const [type, listener] of this.#listeners) {
        if (type === 'close') {
          listener({ data: undefined });
        }
      }
    }
  };
}
