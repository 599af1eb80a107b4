/** A stream of the server that this page reads: from inside its message, or by fetching it. */

import type { ChunkReader } from './cursor.js';
import { PartDownload, WholeDownload, type Download } from './download.js';
import type { Environment } from './environment.js';
import { KernelError, StateError } from './errors.js';
import type { Broken, StreamInfo } from './protocol/messages.js';
import { describeThrown } from './thrown.js';

/** The time in seconds that a stream that has broken off waits to be told why. */
export const BROKEN_TIMEOUT = 1;

const MAX_REASON_LENGTH = 500;
const CLOSED = 'The stream was closed by its reader.';

/** Where a stream is fetched from. */
export interface Origin {
  readonly url: string;
  /** Whether it is fetched in parts. */
  readonly inParts: boolean;
}

/** What a stream tells to the session. */
export interface IncomingEvents {
  /** Its reader wants no more. */
  readonly onStop: () => void;
  /** Nothing more will come of it. */
  readonly onEnd: () => void;
}

/** A stream of the server. */
export class Incoming implements ChunkReader {
  readonly channel: number;
  readonly total: number | undefined;
  readonly #download: Download;
  readonly #environment: Environment;
  readonly #events: IncomingEvents;
  readonly #controller = new AbortController();
  #data: Uint8Array<ArrayBuffer> | undefined;
  #received = 0;
  #isOver = false;
  #error: Error | undefined;
  #broken: KernelError | undefined;
  #wake: (() => void) | undefined;

  /**
   * @param info - Its announcement.
   * @param from - Where to fetch it, if its data is not in the announcement, and whether in parts.
   */
  constructor(channel: number, info: StreamInfo, from: Origin, events: IncomingEvents, environment: Environment) {
    this.channel = channel;
    // A copy, for the data may be a part of its frame, and whoever reads it may transfer its buffer.
    this.#data = info.data?.slice();
    this.total = info.data?.length ?? info.total;
    const Download = from.inParts ? PartDownload : WholeDownload;
    this.#download = new Download(from.url, this.#controller.signal, environment);
    this.#events = events;
    this.#environment = environment;
  }

  /** The next chunk, as a `ChunkReader` gives it. The first one begins the fetch. */
  async read(): Promise<Uint8Array<ArrayBuffer> | null> {
    if (this.#error !== undefined) {
      throw this.#error;
    }
    if (this.#data !== undefined) {
      const data = this.#data;
      this.#data = new Uint8Array();
      this.#isOver = true;
      return data.length === 0 ? null : data;
    }
    if (this.#isOver) {
      return null;
    }
    let chunk: Uint8Array<ArrayBuffer> | undefined;
    try {
      chunk = await this.#download.read();
    } catch (error) {
      throw await this.#explain(`The stream broke off: ${describeThrown(error, MAX_REASON_LENGTH).message}`);
    }
    return this.#take(chunk);
  }

  /** Ends the stream because its reader wants no more. */
  stop(error: Error = new StateError(CLOSED)): void {
    if (!this.#isOver) {
      this.fail(error);
      this.#events.onStop();
    }
  }

  /** Ends the stream with an error. */
  fail(error: Error): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#error = error;
      this.#data = undefined;
      this.#controller.abort();
      this.#wake?.();
      this.#events.onEnd();
    }
  }

  /** Takes note of why the stream is going to break off. What came before it can still be read. */
  noteBroken({ name, message }: Broken): void {
    this.#broken = new KernelError('exception', name, message);
    this.#wake?.();
  }

  #take(chunk: Uint8Array<ArrayBuffer> | undefined): Uint8Array<ArrayBuffer> | null {
    if (this.#error !== undefined) {
      throw this.#error;
    }
    if (chunk !== undefined) {
      this.#received += chunk.length;
      return chunk;
    }
    if (this.#broken !== undefined) {
      throw this.#end(this.#broken);
    }
    if (this.total !== undefined && this.total !== this.#received) {
      const sizes = `it has ${String(this.#received)} bytes, and ${String(this.total)} were announced`;
      throw this.#end(new StateError(`The stream is not whole: ${sizes}.`));
    }
    this.#isOver = true;
    this.#events.onEnd();
    return null;
  }

  /** The error of a stream that has broken off. The server's word on it may come a little later. */
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
    if (this.#broken === undefined || this.#download.isKept) {
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
