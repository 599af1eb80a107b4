/** The WebSocket to the server. */

import { VERSION } from '../protocol/connection.js';
import type { BinaryFrame, Frame } from '../protocol/frames.js';
import type { Environment, SocketLike } from './environment.js';

/**
 * Binary frames up to this size in bytes are put together in the same memory, as `send` copies what it is given: to
 * allocate, clear and free memory for each piece of a stream takes as long as copying it.
 */
export const SCRATCH_SIZE = 256 * 1024;

/** The `readyState` of an open WebSocket. */
const OPEN = 1;

/** The callbacks of a transport. */
export interface TransportEvents {
  readonly onOpen: () => void;
  readonly onFrame: (frame: string | ArrayBuffer) => void;
  readonly onClose: () => void;
}

/** A WebSocket that carries frames. After `close`, no callback is called. */
export class Transport {
  readonly #socket: SocketLike;
  /** The memory of frames, if it can be used again. */
  readonly #scratch: Uint8Array<ArrayBuffer> | undefined;
  #isClosed = false;

  /** @throws Whatever the WebSocket class throws, such as a SecurityError if the page may not connect to the URL. */
  constructor(url: string, token: string, events: TransportEvents, environment: Environment) {
    this.#scratch = environment.sendCopies ? new Uint8Array(SCRATCH_SIZE) : undefined;
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
    } else {
      this.#socket.send(this.#join(frame));
    }
  }

  #join({ parts, size }: BinaryFrame): Uint8Array<ArrayBuffer> {
    const bytes = size > SCRATCH_SIZE ? new Uint8Array(size) : (this.#scratch?.subarray(0, size) ?? new Uint8Array(size));
    let offset = 0;
    for (const part of parts) {
      bytes.set(part, offset);
      offset += part.length;
    }
    return bytes;
  }

  /** Close the socket. Frames that were sent before still leave. */
  close(): void {
    this.#isClosed = true;
    this.#socket.close();
  }
}
