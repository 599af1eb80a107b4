/** Where the reading of a stream stands: in which chunk, and how far in it. All ways to read a stream share it. */

import { StateError } from './errors.js';

/** Where chunks come from. */
export interface ChunkReader {
  /** The length of the stream in bytes, where it is known. */
  readonly total: number | undefined;
  /** The next chunk, which is never empty, or `null` at the end. It rejects with the error that ended the stream. */
  read(): Promise<Uint8Array<ArrayBuffer> | null>;
  /** Ends the stream before its end. Reading it rejects from then on: with this error, or one that says so. */
  stop(error?: Error): void;
}

/** The place in a stream up to which it has been given out. */
export class Cursor {
  /** The number of bytes that have come so far. */
  received = 0;
  /** The chunk that the place is in. */
  chunk = new Uint8Array();
  /** How far in the chunk the place is. A way to read moves it before it gives something out. */
  offset = 0;
  readonly #reader: ChunkReader;
  #isReading = false;

  constructor(reader: ChunkReader) {
    this.#reader = reader;
  }

  /** Whether bytes of the present chunk have not been given out. Asking first saves a wait for each record. */
  get hasBytes(): boolean {
    return this.offset < this.chunk.length;
  }

  /**
   * Goes on to the next chunk, if the present one has been given out.
   *
   * @returns Whether there are bytes; `false` at the end of the stream.
   * @throws StateError while something else waits for a chunk; and what ended the stream, if it was an error.
   */
  async fill(): Promise<boolean> {
    if (this.#isReading) {
      throw new StateError('The stream is already being read by something else.');
    }
    if (this.hasBytes) {
      return true;
    }
    this.#isReading = true;
    try {
      const chunk = await this.#reader.read();
      this.chunk = chunk ?? new Uint8Array();
      this.offset = 0;
      this.received += this.chunk.length;
      return chunk !== null;
    } finally {
      this.#isReading = false;
    }
  }

  /** Takes the rest of the present chunk. */
  take(): Uint8Array<ArrayBuffer> {
    const rest = this.offset === 0 ? this.chunk : this.chunk.slice(this.offset);
    this.offset = this.chunk.length;
    return rest;
  }

  /** Ends the stream before its end. */
  stop(): void {
    this.offset = this.chunk.length;
    this.#reader.stop();
  }

  /** Ends the stream with an error of its reader's own, and gives that. */
  abandon<E extends Error>(error: E): E {
    this.offset = this.chunk.length;
    this.#reader.stop(error);
    return error;
  }
}
