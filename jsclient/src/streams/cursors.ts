/** The position of the reader in a stream. All ways to read a stream share it. */

import { StateError } from '../errors.js';

/** Reads the chunks of a stream. */
export interface ChunkReader {
  /** The length of the stream in bytes, if it is known. */
  readonly total: number | undefined;
  /**
   * Return the next chunk, which is never empty; `null` at the end. It rejects with the error that ended the stream.
   */
  read(): Promise<Uint8Array<ArrayBuffer> | null>;
  /** End the stream early. Reading rejects from then on, with this error if one is passed. */
  stop(error?: Error): void;
}

/** A position in a stream. */
export class Cursor {
  /** The number of bytes that have been received so far. */
  received = 0;
  /** The current chunk. */
  chunk = new Uint8Array();
  /** The position in the current chunk. It must be moved before what it moves over is yielded. */
  offset = 0;
  readonly #reader: ChunkReader;
  #isReading = false;

  constructor(reader: ChunkReader) {
    this.#reader = reader;
  }

  /** Whether the current chunk has bytes left. Checking it first saves one `await` for each record. */
  get hasBytes(): boolean {
    return this.offset < this.chunk.length;
  }

  /**
   * Read the next chunk, unless the current one has bytes left.
   *
   * @returns Whether there are bytes; `false` at the end of the stream.
   * @throws StateError while another read waits for a chunk; and the error that ended the stream.
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

  /** Return the rest of the current chunk, and move behind it. */
  take(): Uint8Array<ArrayBuffer> {
    const rest = this.offset === 0 ? this.chunk : this.chunk.slice(this.offset);
    this.offset = this.chunk.length;
    return rest;
  }

  /** End the stream early. */
  stop(): void {
    this.offset = this.chunk.length;
    this.#reader.stop();
  }

  /** End the stream early with an error, and return the error. */
  abandon<E extends Error>(error: E): E {
    this.offset = this.chunk.length;
    this.#reader.stop(error);
    return error;
  }
}
