/** A byte stream as its reader gets it. */

import { Cursor, type ChunkReader } from './cursor.js';
import { joinBytes, readChunks, readLines, readPieces, readRecords } from './split.js';

/** The size in bytes of the pieces that `byLimit` gives, unless told otherwise. */
const DEFAULT_PIECE = 8192;

/** The most bytes of a record, unless told otherwise. */
const DEFAULT_RECORD_LIMIT = 64 * 1024 * 1024;

/** How records are read. */
export interface RecordOptions {
  /** The most bytes of one record, its separator included; `Infinity` for no limit. Default 64 MiB. */
  readonly limit?: number;
}

/**
 * A byte stream from Python, which can be read once, in one of several ways or in one after the other.
 *
 * Nothing is fetched before it is read, and no faster than it is read. Whoever stops reading early, by leaving a loop
 * over it, by `aclose` or by cancelling `stream`, stops its source in Python.
 *
 * All ways to read it reject with
 * - `KernelError` when its source in Python has raised, after what it had given before;
 * - `ClosedError` when the channel or the client that it belongs to was closed, and `ConnectionLostError` when the
 *   connection was lost;
 * - `StateError`, of which those are kinds, when it broke off, when the request that it belongs to was cancelled, when
 *   it was closed by its reader, and while something else reads it.
 */
export class MetaGenerator implements AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly #reader: ChunkReader;
  readonly #cursor: Cursor;
  #stream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #isTaken = false;

  /** @internal */
  constructor(reader: ChunkReader) {
    this.#reader = reader;
    this.#cursor = new Cursor(reader);
  }

  /** The number of bytes that have been received so far. */
  get received(): number {
    return this.#cursor.received;
  }

  /** The length of the whole stream in bytes, where its source knows it. */
  get total(): number | undefined {
    return this.#reader.total;
  }

  /** @internal Whether somebody reads it or is about to. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** The chunks as they come. None is empty. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
    return this.#iterate(readChunks(this.#cursor));
  }

  /** Everything that is left, as one array. */
  async join(): Promise<Uint8Array<ArrayBuffer>> {
    this.#isTaken = true;
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    while (await this.#cursor.fill()) {
      const part = this.#cursor.take();
      parts.push(part);
      size += part.length;
    }
    return joinBytes(parts, size);
  }

  /**
   * Pieces of one size.
   *
   * @param limit - The size in bytes. Default 8192. The last piece may be shorter.
   * @throws RangeError when it is not an integer from 1 on.
   */
  byLimit(limit = DEFAULT_PIECE): AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
    checkLimit(limit);
    return this.#iterate(readPieces(this.#cursor, limit));
  }

  /**
   * Records that end with a separator, which is a part of them. The last one may be without.
   *
   * @param separator - The separator: bytes, or a text that stands for its UTF-8. Default: a line feed.
   * @param options - `limit` is the most bytes of one record, by default 64 MiB. A longer one stops the stream, and
   *   reading it rejects with a RangeError.
   * @throws TypeError, RangeError when the separator is neither or is empty, or the limit is not an integer from 1 on.
   */
  bySeparator(
    separator: string | Uint8Array = '\n',
    options: RecordOptions = {},
  ): AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
    const bytes = toSeparator(separator);
    const { limit = DEFAULT_RECORD_LIMIT } = options;
    checkRecordLimit(limit);
    return this.#iterate(readRecords(this.#cursor, bytes, limit));
  }

  /**
   * Lines of text, without the `\n` or `\r\n` at their ends.
   *
   * @param options - `limit` is the most bytes of one line, as for `bySeparator`.
   * @returns The lines. Reading them rejects with a TypeError, and stops the stream, when one is not UTF-8.
   * @throws RangeError when the limit is not an integer from 1 on.
   */
  lines(options: RecordOptions = {}): AsyncIterableIterator<string> {
    const { limit = DEFAULT_RECORD_LIMIT } = options;
    checkRecordLimit(limit);
    return this.#iterate(readLines(this.#cursor, limit));
  }

  /** What is left, as a plain ReadableStream: always the same one, and a byte stream where the browser has them. */
  get stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#isTaken = true;
    this.#stream ??= makeReadableStream(this.#cursor);
    return this.#stream;
  }

  /**
   * Ends the stream: its source in Python is stopped. Reading rejects from then on with a StateError. A stream that has
   * ended stays as it is.
   */
  aclose(): Promise<void> {
    this.#cursor.stop();
    return Promise.resolve();
  }

  #iterate<T>(inner: AsyncGenerator<T>): AsyncIterableIterator<T> {
    this.#isTaken = true;
    const cursor = this.#cursor;
    return {
      next: () => inner.next(),
      return: () => {
        // At once, while a generator would wait for its pending read.
        cursor.stop();
        return inner.return(undefined);
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }
}

function checkLimit(limit: unknown): void {
  if (!Number.isSafeInteger(limit) || (limit as number) < 1) {
    throw new RangeError(`The limit must be a number of bytes, an integer from 1 on. It is ${String(limit)}.`);
  }
}

function checkRecordLimit(limit: unknown): void {
  if (limit !== Infinity) {
    checkLimit(limit);
  }
}

function toSeparator(separator: unknown): Uint8Array {
  const bytes = typeof separator === 'string' ? new TextEncoder().encode(separator) : separator;
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError('The separator must be a string or a Uint8Array.');
  }
  if (bytes.length === 0) {
    throw new RangeError('The separator must not be empty.');
  }
  return bytes;
}

function makeReadableStream(cursor: Cursor): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pull = async (controller: ReadableByteStreamController | ReadableStreamDefaultController): Promise<void> => {
    if (await cursor.fill()) {
      controller.enqueue(cursor.take());
    } else {
      controller.close();
      // A reader with a buffer of its own waits for it.
      (controller as Partial<ReadableByteStreamController>).byobRequest?.respond(0);
    }
  };
  const cancel = (): void => {
    cursor.stop();
  };
  try {
    return new ReadableStream({ type: 'bytes', pull, cancel });
  } catch {
    // Not every browser has byte streams. Without a queue, nothing is read before somebody asks.
    return new ReadableStream<Uint8Array<ArrayBuffer>>({ pull, cancel }, { highWaterMark: 0 });
  }
}
