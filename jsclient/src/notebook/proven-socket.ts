/** Sockets that connect only when the other side has proved that it is the server. */

import type { SocketLike } from '../connection/environment.js';

type Listener = (event: { readonly data: unknown }) => void;

/**
 * Return a socket that connects when the other side has proved that it is the server.
 *
 * @param prove - Returns whether the other side is the server.
 * @param open - Opens the socket that makes the connection.
 */
export function openProvenSocket(prove: () => Promise<boolean>, open: () => SocketLike): SocketLike {
  return new ProvenSocket(prove, open);
}

class ProvenSocket implements SocketLike {
  binaryType = '';
  readonly #listeners: (readonly [string, Listener])[] = [];
  #socket: SocketLike | undefined;
  #isClosed = false;

  constructor(prove: () => Promise<boolean>, open: () => SocketLike) {
    void prove().then((isServer) => {
      if (this.#isClosed) {
        return;
      }
      if (!isServer) {
        this.#fail();
        return;
      }
      try {
        this.#socket = open();
      } catch {
        this.#fail();
        return;
      }
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
}
