/** Sockets that connect only to who has proved to be the server. */

import type { SocketClass, SocketLike } from '../environment.js';

type Listener = (event: { readonly data: unknown }) => void;

/**
 * A class of sockets, for `connect`.
 *
 * @param prove - Tells whether the other side is the server. It is asked before each connection.
 * @param Socket - The class of what then connects.
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

    addEventListener(type: string, listener: Listener): void {
      this.#listeners.push([type, listener]);
    }

    send(data: string | ArrayBuffer | Blob): void {
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
