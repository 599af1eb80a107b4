/** One WebSocket to the server: frames in and out, and its end told once. */

import type { Environment, SocketLike } from './environment.js';
import { VERSION } from './protocol/connection.js';
import type { Frame } from './protocol/frames.js';

/** Binary frames that are larger, in bytes, leave as Blobs, which Chromium sends two to three times as fast. */
export const BLOB_SIZE = 1024 * 1024;

/** The `readyState` of an open WebSocket. */
const OPEN = 1;

/** What happens to a socket. */
export interface SocketEvents {
  readonly onOpen: () => void;
  readonly onFrame: (frame: string | ArrayBuffer) => void;
  readonly onClose: () => void;
}

/** One WebSocket. After `close` it tells of nothing any more. */
export class Socket {
  readonly #socket: SocketLike;
  readonly #Blob: typeof Blob | null;
  #isClosed = false;

  /** @throws Whatever the WebSocket class throws, such as a SecurityError when a page may not connect to such a URL. */
  constructor(url: string, token: string, events: SocketEvents, environment: Environment) {
    this.#Blob = environment.Blob;
    this.#socket = new environment.WebSocket(url, [VERSION, `jchannel.token.${token}`]);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.addEventListener('open', () => {
      if (!this.#isClosed) {
        events.onOpen();
      }
    });
    this.#socket.addEventListener('message', ({ data }) => {
      if (!this.#isClosed) {
        events.onFrame(data as string | ArrayBuffer);
      }
    });
    this.#socket.addEventListener('close', () => {
      if (!this.#isClosed) {
        events.onClose();
      }
    });
    // Some classes throw an error that nobody listens to. What it means is told by the close that follows it.
    this.#socket.addEventListener('error', () => undefined);
  }

  /** Sends a frame. On a socket that is not open it is dropped: the close that comes or came tells of that. */
  send(frame: Frame): void {
    if (this.#isClosed || this.#socket.readyState !== OPEN) {
      return;
    }
    if (typeof frame === 'string') {
      this.#socket.send(frame);
    } else if (this.#Blob !== null && frame.size > BLOB_SIZE) {
      this.#socket.send(new this.#Blob([...frame.parts]));
    } else {
      const bytes = new Uint8Array(frame.size);
      let offset = 0;
      for (const part of frame.parts) {
        bytes.set(part, offset);
        offset += part.length;
      }
      this.#socket.send(bytes.buffer);
    }
  }

  /** Closes the socket, after what was sent. */
  close(): void {
    this.#isClosed = true;
    this.#socket.close();
  }
}
