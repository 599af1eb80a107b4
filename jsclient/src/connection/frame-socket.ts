/** The socket to the server. */

import { VERSION } from '../protocol/connection.js';
import type { Frame } from '../protocol/frames.js';
import type { Environment, SocketLike } from './environment.js';

/** Larger binary frames, in bytes, are sent as Blobs: Chromium sends those two to three times as fast. */
export const BLOB_SIZE = 1024 * 1024;

/** The `readyState` of an open WebSocket. */
const OPEN = 1;

/** The callbacks of a socket. */
export interface FrameSocketEvents {
  readonly onOpen: () => void;
  readonly onFrame: (frame: string | ArrayBuffer) => void;
  readonly onClose: () => void;
}

/** A socket that carries frames. After `close`, no callback is called. */
export class FrameSocket {
  readonly #socket: SocketLike;
  readonly #Blob: typeof Blob | null;
  #isClosed = false;

  /** @throws Whatever opening the socket throws, such as a SecurityError if the page may not connect to the URL. */
  constructor(url: string, token: string | undefined, events: FrameSocketEvents, environment: Environment) {
    this.#Blob = environment.Blob;
    this.#socket = environment.openSocket(url, token === undefined ? [VERSION] : [VERSION, `jchannel.token.${token}`]);
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
    // Some classes throw an error if there is no listener. A close event always follows.
    this.#socket.addEventListener('error', () => undefined);
  }

  /** The bytes that were sent and have not left yet. */
  get buffered(): number {
    return this.#socket.bufferedAmount;
  }

  /** Send a frame. If the socket is not open, the frame is dropped: `onClose` has been or will be called. */
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

  /** Close the socket. Frames that were sent before still leave. */
  close(): void {
    this.#isClosed = true;
    this.#socket.close();
  }
}
