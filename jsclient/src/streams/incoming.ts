/** A stream that the server sends to this page: inside its message, over HTTP, or as pieces. */

import type { Environment } from '../connection/environment.js';
import { KernelError, ProtocolError, StateError } from '../errors.js';
import type { Broken, StreamInfo } from '../protocol/messages.js';
import { describeThrown } from '../thrown.js';
import type { ChunkReader } from './cursors.js';
import type { StreamFetch } from './fetching.js';
import { PieceFetch } from './pieces.js';

/** The time in seconds that a stream that has broken off waits for the server to say why. */
export const BROKEN_TIMEOUT = 1;

const MAX_REASON_LENGTH = 500;
const CLOSED = 'The stream was closed by its reader.';

/** The callbacks of an incoming stream. */
export interface IncomingEvents {
  /** Called at the first read, to begin to fetch the stream until the signal aborts. */
  readonly onBegin: (signal: AbortSignal) => StreamFetch;
  /** Called when the server is to stop the stream. */
  readonly onStop: () => void;
  /** Called when the stream has ended. */
  readonly onEnd: () => void;
}

/** A stream that the server sends. */
export class IncomingStream implements ChunkReader {
  readonly channel: number;
  readonly total: number | undefined;
  readonly #environment: Environment;
  readonly #events: IncomingEvents;
  readonly #controller = new AbortController();
  #fetch: StreamFetch | undefined;
  #data: Uint8Array<ArrayBuffer> | undefined;
  #hasEnded = false;
  /** What reading rejects with, if the stream has not ended by itself. */
  #error: Error | undefined;
  /** What the server has said of a stream that breaks off. */
  #broken: KernelError | undefined;
  #wake: (() => void) | undefined;

  /** @param info - The announcement of the stream. */
  constructor(channel: number, info: StreamInfo, events: IncomingEvents, environment: Environment) {
    this.channel = channel;
    // A copy: the data may be a part of its frame, and the reader may transfer its buffer.
    this.#data = info.data?.slice();
    this.total = info.data?.length ?? info.total;
    this.#events = events;
    this.#environment = environment;
  }

  /** Return the next chunk. The first call starts the fetch. */
  async read(): Promise<Uint8Array<ArrayBuffer> | null> {
    if (this.#error !== undefined) {
      throw this.#error;
    }
    if (this.#data !== undefined) {
      const data = this.#data;
      this.#data = new Uint8Array();
      this.#hasEnded = true;
      return data.length === 0 ? null : data;
    }
    if (this.#hasEnded) {
      return null;
    }
    const fetch = this.#begin();
    let chunk: Uint8Array<ArrayBuffer> | undefined;
    try {
      chunk = await fetch.read();
    } catch (error) {
      throw await this.#explain(fetch, `The stream broke off: ${describeThrown(error, MAX_REASON_LENGTH).message}`);
    }
    return this.#take(chunk);
  }

  /**
   * Take a piece that has arrived.
   *
   * @throws ProtocolError if nobody has asked for it.
   */
  push(data: Uint8Array<ArrayBuffer>): void {
    this.#pieces().push(data);
  }

  /**
   * Take note that all pieces have arrived.
   *
   * @throws ProtocolError if nobody has asked for pieces.
   */
  markSent(): void {
    this.#pieces().end();
  }

  /** End the stream because its reader wants no more. */
  stop(error: Error = new StateError(CLOSED)): void {
    if (!this.#hasEnded) {
      this.fail(error);
      this.#events.onStop();
    }
  }

  /** End the stream with an error. */
  fail(error: Error): void {
    if (!this.#hasEnded) {
      this.#hasEnded = true;
      this.#error = error;
      this.#data = undefined;
      this.#controller.abort();
      this.#wake?.();
      this.#events.onEnd();
    }
  }

  /** Record why the stream is about to break off. What was sent before can still be read. */
  markBroken({ name, message }: Broken): void {
    this.#broken = new KernelError('exception', name, message);
    this.#wake?.();
    this.#endPieces();
  }

  #begin(): StreamFetch {
    if (this.#fetch === undefined) {
      this.#fetch = this.#events.onBegin(this.#controller.signal);
      if (this.#broken !== undefined) {
        this.#endPieces();
      }
    }
    return this.#fetch;
  }

  #pieces(): PieceFetch {
    if (this.#fetch instanceof PieceFetch) {
      return this.#fetch;
    }
    throw new ProtocolError('a stream has come in pieces that nobody has asked for');
  }

  /** End the pieces of a stream that is broken: nothing follows. */
  #endPieces(): void {
    if (this.#fetch instanceof PieceFetch) {
      this.#fetch.end();
    }
  }

  #take(chunk: Uint8Array<ArrayBuffer> | undefined): Uint8Array<ArrayBuffer> | null {
    if (this.#error !== undefined) {
      throw this.#error;
    }
    if (chunk !== undefined) {
      return chunk;
    }
    if (this.#broken !== undefined) {
      throw this.#end(this.#broken);
    }
    // Its source has declared its end, which is what makes it whole. The total was measured before: a file may grow.
    this.#hasEnded = true;
    this.#events.onEnd();
    return null;
  }

  /** Return the error of a stream that has broken off. The server's message about it may come a little later. */
  async #explain(fetch: StreamFetch, message: string): Promise<Error> {
    if (this.#error === undefined && this.#broken === undefined) {
      await new Promise<void>((resolve) => {
        const timer = this.#environment.setTimeout(resolve, BROKEN_TIMEOUT * 1000);
        this.#wake = () => {
          this.#environment.clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.#error !== undefined) {
      return this.#error;
    }
    if (this.#broken === undefined || fetch.isKept) {
      // The server may not have noticed yet.
      this.#events.onStop();
    }
    return this.#end(this.#broken ?? new StateError(message));
  }

  #end(error: Error): Error {
    this.fail(error);
    return error;
  }
}
