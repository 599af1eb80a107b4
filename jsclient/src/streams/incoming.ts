/** A stream that the server sends to this page: inside its message, or fetched over HTTP. */

import type { Environment } from '../connection/environment.js';
import { KernelError, StateError } from '../errors.js';
import type { Broken, StreamInfo } from '../protocol/messages.js';
import { describeThrown } from '../thrown.js';
import type { ChunkReader } from './cursors.js';
import { PartFetch, WholeFetch, type StreamFetch } from './fetching.js';

/** The time in seconds that a stream that has broken off waits for the server to say why. */
export const BROKEN_TIMEOUT = 1;

const MAX_REASON_LENGTH = 500;
const CLOSED = 'The stream was closed by its reader.';

/** Where a stream is fetched from. */
export interface Origin {
  readonly url: string;
  /** Whether it is fetched in parts. */
  readonly inParts: boolean;
}

/** The callbacks of an incoming stream. */
export interface IncomingEvents {
  /** Called when the server is to stop the stream. */
  readonly onStop: () => void;
  /** Called when the stream has ended. */
  readonly onEnd: () => void;
}

/** A stream that the server sends. */
export class IncomingStream implements ChunkReader {
  readonly channel: number;
  readonly total: number | undefined;
  readonly #fetch: StreamFetch;
  readonly #environment: Environment;
  readonly #events: IncomingEvents;
  readonly #controller = new AbortController();
  #data: Uint8Array<ArrayBuffer> | undefined;
  #hasEnded = false;
  /** What reading rejects with, if the stream has not ended by itself. */
  #error: Error | undefined;
  /** What the server has said of a stream that breaks off. */
  #broken: KernelError | undefined;
  #wake: (() => void) | undefined;

  /**
   * @param info - The announcement of the stream.
   * @param origin - Where to fetch it from, if its data is not in the announcement.
   */
  constructor(channel: number, info: StreamInfo, origin: Origin, events: IncomingEvents, environment: Environment) {
    this.channel = channel;
    // A copy: the data may be a part of its frame, and the reader may transfer its buffer.
    this.#data = info.data?.slice();
    this.total = info.data?.length ?? info.total;
    const Fetch = origin.inParts ? PartFetch : WholeFetch;
    this.#fetch = new Fetch(origin.url, this.#controller.signal, environment);
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
    let chunk: Uint8Array<ArrayBuffer> | undefined;
    try {
      chunk = await this.#fetch.read();
    } catch (error) {
      throw await this.#explain(`The stream broke off: ${describeThrown(error, MAX_REASON_LENGTH).message}`);
    }
    return this.#take(chunk);
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
  async #explain(message: string): Promise<Error> {
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
    if (this.#broken === undefined || this.#fetch.isKept) {
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
