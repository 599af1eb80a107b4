/** What can be sent as a stream: every kind of source that users have, made into one that is read in parts. */

import { MetaGenerator } from './meta-generator.js';

/** The largest part, in bytes, that a source of known length gives at once. */
export const PART_SIZE = 4 * 1024 * 1024;

/** The longest stream, in bytes, that may travel inside its message. */
export const INLINE_LIMIT = 32 * 1024;

/** What holds bytes. */
export type Bytes = ArrayBuffer | ArrayBufferView;

/** What can be sent as a stream. */
export type StreamSource =
  AsyncIterable<Bytes> | Iterable<Bytes> | ReadableStream<Bytes> | Blob | Response | ArrayBuffer | ArrayBufferView;

/** A piece of a stream. Nobody else changes it. */
export type Part = Uint8Array<ArrayBuffer> | Blob;

/** A stream that is read in parts. */
export interface Source {
  /** The length in bytes, where it is known. */
  readonly total: number | undefined;
  /** The whole stream, where it is in memory already. */
  readonly data?: Uint8Array<ArrayBuffer>;
  /** The next part, or `null` at the end. It rejects when the source fails. It is called again only after that. */
  read(): Promise<Part | null>;
  /** Ends the source before its end: what it does then, it does by itself. */
  close(): void;
}

const TAKEN =
  'an async iterable or an iterable of Uint8Arrays, a ReadableStream, a Blob, a Response, a typed array or an ' +
  'ArrayBuffer';

/**
 * Whether what a handler method has returned is a stream. A typed array or an ArrayBuffer is not: as a result it is a
 * value.
 */
export function isStream(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    (isAsyncIterable(value) || ['ReadableStream', 'Blob', 'File', 'Response'].includes(tagOf(value)))
  );
}

/**
 * Makes a source of what was given to be sent as a stream. Nothing of it is read yet, except that bytes are copied.
 *
 * @throws TypeError when it is nothing that can be sent as a stream, or cannot be read any more.
 */
export function makeSource(given: unknown): Source {
  if (typeof given !== 'object' || given === null) {
    throw new TypeError(`A stream must be ${TAKEN}. This is ${describe(given)}.`);
  }
  switch (tagOf(given)) {
    case 'Blob':
    case 'File':
      return new BlobSource(given as Blob);
    case 'Response':
      return makeResponseSource(given as Response);
    case 'ReadableStream':
      return makeReadableSource(given as ReadableStream<unknown>, undefined);
  }
  if (isBytes(given)) {
    return new BytesSource(copyBytes(given));
  }
  if (isAsyncIterable(given)) {
    return new IteratorSource(given[Symbol.asyncIterator](), totalOf(given));
  }
  if (Symbol.iterator in given) {
    if (Array.isArray(given)) {
      given.forEach(checkChunk);
    }
    return new IteratorSource((given as Iterable<unknown>)[Symbol.iterator](), undefined);
  }
  throw new TypeError(`A stream must be ${TAKEN}. This is ${describe(given)}.`);
}

/** Closes what would have been sent as a stream and will not be. What is no stream is left alone. */
export function discard(given: unknown): void {
  if (isStream(given)) {
    try {
      makeSource(given).close();
    } catch {
      // It is somebody else's, or has been read.
    }
  }
}

/** Bytes in memory. */
class BytesSource implements Source {
  readonly total: number;
  readonly data: Uint8Array<ArrayBuffer>;
  #offset = 0;

  constructor(data: Uint8Array<ArrayBuffer>) {
    this.data = data;
    this.total = data.length;
  }

  read(): Promise<Part | null> {
    const part = this.data.subarray(this.#offset, this.#offset + PART_SIZE);
    this.#offset += part.length;
    return Promise.resolve(part.length === 0 ? null : part);
  }

  close(): void {
    // Nothing is open.
  }
}

/** A Blob or a File, which is sliced and not read. */
class BlobSource implements Source {
  readonly total: number;
  readonly #blob: Blob;
  #offset = 0;

  constructor(blob: Blob) {
    this.#blob = blob;
    this.total = blob.size;
  }

  async read(): Promise<Part | null> {
    const part = this.#blob.slice(this.#offset, this.#offset + PART_SIZE);
    this.#offset += part.size;
    if (part.size === 0) {
      return null;
    }
    // A short one may travel inside its message, where bytes are needed.
    return this.total <= INLINE_LIMIT ? new Uint8Array(await part.arrayBuffer()) : part;
  }

  close(): void {
    // Nothing is open.
  }
}

/** What is read from an iterator. */
class IteratorSource implements Source {
  readonly total: number | undefined;
  readonly #iterator: AsyncIterator<unknown> | Iterator<unknown>;

  constructor(iterator: AsyncIterator<unknown> | Iterator<unknown>, total: number | undefined) {
    this.#iterator = iterator;
    this.total = total;
  }

  async read(): Promise<Part | null> {
    const result = await this.#iterator.next();
    // A copy, for generators may fill the same buffer again.
    return result.done === true ? null : copyBytes(checkChunk(result.value));
  }

  close(): void {
    leave(async () => this.#iterator.return?.());
  }
}

/** What is read from a ReadableStream. */
class ReadableSource implements Source {
  readonly total: number | undefined;
  readonly #reader: ReadableStreamDefaultReader<unknown>;

  constructor(reader: ReadableStreamDefaultReader<unknown>, total: number | undefined) {
    this.#reader = reader;
    this.total = total;
  }

  async read(): Promise<Part | null> {
    const result = await this.#reader.read();
    return result.done ? null : copyBytes(checkChunk(result.value));
  }

  close(): void {
    leave(() => this.#reader.cancel());
  }
}

function makeReadableSource(stream: ReadableStream<unknown>, total: number | undefined): Source {
  if (stream.locked) {
    throw new TypeError('A ReadableStream cannot be sent when something else reads it: it is locked.');
  }
  return new ReadableSource(stream.getReader(), total);
}

function makeResponseSource(response: Response): Source {
  if (response.bodyUsed) {
    throw new TypeError('A Response cannot be sent when its body has been read.');
  }
  if (response.type === 'opaque') {
    throw new TypeError('A Response of the mode no-cors cannot be sent: the browser does not show its body.');
  }
  return response.body === null
    ? new BytesSource(new Uint8Array())
    : makeReadableSource(response.body, lengthOf(response));
}

/** The length that a response's headers tell, where it is that of the body as it is read. */
function lengthOf({ type, headers }: Response): number | undefined {
  const length = headers.get('content-length');
  // Of a response from another origin, a page cannot see whether it was encoded.
  return type !== 'cors' && !headers.has('content-encoding') && length !== null && /^\d{1,15}$/.test(length)
    ? Number(length)
    : undefined;
}

function totalOf(given: AsyncIterable<unknown>): number | undefined {
  return given instanceof MetaGenerator && given.received === 0 ? given.total : undefined;
}

function checkChunk(chunk: unknown): Bytes {
  if (!isBytes(chunk)) {
    throw new TypeError(`A stream is made of Uint8Arrays or other bytes, and this chunk is ${describe(chunk)}.`);
  }
  return chunk;
}

function copyBytes(bytes: Bytes): Uint8Array<ArrayBuffer> {
  try {
    return ArrayBuffer.isView(bytes)
      ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).slice()
      : new Uint8Array(bytes).slice();
  } catch {
    throw new TypeError('What was given has no bytes any more: its buffer was transferred to somewhere else.');
  }
}

function isBytes(value: unknown): value is Bytes {
  return ArrayBuffer.isView(value) || (typeof value === 'object' && value !== null && tagOf(value) === 'ArrayBuffer');
}

function isAsyncIterable(value: object): value is AsyncIterable<unknown> {
  return Symbol.asyncIterator in value && typeof value[Symbol.asyncIterator] === 'function';
}

function describe(value: unknown): string {
  if (typeof value !== 'object' || value === null) {
    return value === null || value === undefined ? String(value) : `a ${typeof value}`;
  }
  const name = tagOf(value);
  return name === 'Object' ? 'an object that is none of these' : `an object of the class ${name}`;
}

// Also right for objects of other windows.
function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1);
}

/** Lets something end by itself. What it throws then concerns nobody: the stream has ended before. */
function leave(end: () => Promise<unknown>): void {
  end().catch(() => undefined);
}
