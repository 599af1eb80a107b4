/** The socket to the server. */

import { VERSION } from '../protocol/connection.js';
import type { Frame } from '../protocol/frames.js';
import type { Environment, SocketLike } from './environment.js';

/** The `readyState` of an open WebSocket. */
const OPEN = 1;

/** The callbacks of a socket. */
export interface FrameSocketEvents {
  readonly onOpen: () => void;
  readonly onFrame: (frame: string | ArrayBuffer) => void;
  /** Called also after `close`. */
  readonly onSign: () => void;
  readonly onClose: () => void;
}

/** A socket that carries frames. After `close`, no callback is called. */
export class FrameSocket {
  readonly #socket: SocketLike;
  readonly #copies: boolean;
  #isClosed = false;

  /** @throws Whatever opening the socket throws, such as a SecurityError if the page may not connect to the URL. */
  constructor(url: string, token: string | undefined, events: FrameSocketEvents, environment: Environment) {
    this.#copies = environment.copiesSent;
    this.#socket = environment.openSocket(url, token === undefined ? [VERSION] : [VERSION, `jchannel.token.${token}`]);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onSign = events.onSign;
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
    // It may be a view of the program's own array, which a socket of somebody else may keep, or transfer.
    this.#socket.send(typeof frame === 'string' || this.#copies ? frame : frame.slice());
  }

  /** Close the socket. Frames that were sent before still leave. */
  close(): void {
    this.#isClosed = true;
    this.#socket.close();
  }
}
