/** Reading a byte stream from Python. */

import { StateError } from '../errors.js';
import { Cursor, type ChunkReader } from './cursors.js';
import { joinBytes, readChunks, readLines, readPieces, readRecords } from './records.js';

/** The default size in bytes of the pieces of `byLimit`. */
const DEFAULT_PIECE = 8192;

/** The default for the most bytes of a record. */
const DEFAULT_RECORD_LIMIT = 64 * 1024 * 1024;

/** Options for reading records. */
export interface RecordOptions {
  /** The most bytes of one record, its separator included; `Infinity` for no limit. Default 64 MiB. */
  readonly limit?: number;
}

/**
 * A byte stream from Python. It can be read once, in one way or in several ways after each other.
 *
 * Nothing is fetched before it is read, and no faster than it is read. Leaving a loop over the stream early, calling
 * `aclose` and cancelling `stream` stop its source in Python.
 *
 * All ways to read it reject with
 * - `KernelError` if its source in Python has raised, after everything it yielded before that;
 * - `ClosedError` if its channel or its client was closed;
 * - `ConnectionLostError` if the connection was lost;
 * - `StateError`, their base class, if the stream broke off, if its request was cancelled, if its reader has closed it,
 *   and while something else reads it; and where `join` has returned its bytes before.
 */
export class MetaGenerator implements AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly #reader: ChunkReader;
  readonly #cursor: Cursor;
  #stream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #isInUse = false;
  #isJoined = false;

  /** @internal */
  constructor(reader: ChunkReader) {
    this.#reader = reader;
    this.#cursor = new Cursor(reader);
  }

  /** The number of bytes received so far. */
  get received(): number {
    return this.#cursor.received;
  }

  /**
   * The length of the whole stream in bytes as its source has measured it before, if it could. It is meant for showing
   * progress: a file that is being written to may have more or fewer.
   */
  get total(): number | undefined {
    return this.#reader.total;
  }

  /** @internal Whether somebody reads the stream or is about to. */
  get isInUse(): boolean {
    return this.#isInUse;
  }

  /** Iterate over the chunks as they come. None is empty. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
    return this.#iterate(readChunks(this.#cursor));
  }

  /** Read everything that is left into one array. */
  async join(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#isJoined) {
      throw new StateError('join() has returned the rest of this stream before, and there is no more: keep what it gave.');
    }
    this.#isInUse = true;
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    while (await this.#cursor.fill()) {
      const part = this.#cursor.take();
      parts.push(part);
      size += part.length;
    }
    this.#isJoined = true;
    return joinBytes(parts, size);
  }

  /**
   * Iterate over pieces of one size.
   *
   * @param limit - The size in bytes. Default 8192. The last piece may be shorter.
   * @throws RangeError if the size is not a positive integer.
   */
  byLimit(limit = DEFAULT_PIECE): AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
    checkLimit(limit);
    return this.#iterate(readPieces(this.#cursor, limit));
  }

  /**
   * Iterate over records. Each ends with the separator, but the last one may have none.
   *
   * @param separator - The separator: bytes, or a string, which is encoded as UTF-8. Default: a line feed.
   * @param options - `limit` is the most bytes of one record, by default 64 MiB. A longer record stops the stream, and
   *   reading it rejects with a RangeError.
   * @throws TypeError if the separator is neither bytes nor a string.
   * @throws RangeError if the separator is empty or the limit is not a positive integer.
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
   * Iterate over lines of text, without the `\n` or `\r\n` at their ends.
   *
   * @param options - `limit` is the most bytes of one line, as for `bySeparator`.
   * @returns The lines. A line that is not UTF-8 stops the stream, and reading it rejects with a TypeError.
   * @throws RangeError if the limit is not a positive integer.
   */
  lines(options: RecordOptions = {}): AsyncIterableIterator<string> {
    const { limit = DEFAULT_RECORD_LIMIT } = options;
    checkRecordLimit(limit);
    return this.#iterate(readLines(this.#cursor, limit));
  }

  /** The rest as a ReadableStream, always the same one. It is a byte stream if the browser supports those. */
  get stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#isInUse = true;
    this.#stream ??= makeReadableStream(this.#cursor);
    return this.#stream;
  }

  /**
   * Close the stream, which stops its source in Python. Reading it rejects with a StateError from then on. A stream
   * that has ended is left as it is.
   */
  aclose(): Promise<void> {
    this.#cursor.stop();
    return Promise.resolve();
  }

  #iterate<T>(inner: AsyncGenerator<T>): AsyncIterableIterator<T> {
    this.#isInUse = true;
    const cursor = this.#cursor;
    return {
      next: () => inner.next(),
      return: () => {
        // A generator would wait for its pending read first.
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
      // A reader with its own buffer waits for this.
      (controller as Partial<ReadableByteStreamController>).byobRequest?.respond(0);
    }
  };
  const cancel = (): void => {
    cursor.stop();
  };
  try {
    return new ReadableStream({ type: 'bytes', pull, cancel });
  } catch {
    // Not every browser has byte streams. Without a queue nothing is read ahead.
    return new ReadableStream<Uint8Array<ArrayBuffer>>({ pull, cancel }, { highWaterMark: 0 });
  }
}
