/** The sources of streams: whatever users can send as a stream, made readable in parts. */

import { MetaGenerator } from './reader.js';

/** The largest part, in bytes, of a source of known length. */
export const PART_SIZE = 4 * 1024 * 1024;

/** The longest stream, in bytes, that is sent inside its message. */
export const INLINE_LIMIT = 32 * 1024;

/** An object that holds bytes. */
export type Bytes = ArrayBuffer | ArrayBufferView;

/** What can be sent as a stream. */
export type StreamSource =
  AsyncIterable<Bytes> | Iterable<Bytes> | ReadableStream<Bytes> | Blob | Response | ArrayBuffer | ArrayBufferView;

/** A part of a stream. Nobody else changes it. */
export type Part = Uint8Array<ArrayBuffer> | Blob;

/** Copies bytes that somebody else may change. */
export type Copy = (bytes: Uint8Array) => Uint8Array<ArrayBuffer>;

/** The source of a stream. */
export interface Source {
  /** Whether its parts are Blobs, which the browser posts without reading them into the page's memory. */
  readonly isBlob?: true;
  /** The length in bytes, if it is known. */
  readonly total: number | undefined;
  /** The whole stream, if it is in memory already. */
  readonly data?: Uint8Array<ArrayBuffer>;
  /**
   * Return the next part; `null` at the end. It rejects if the source fails. It must not be called concurrently.
   *
   * @param copy - Copies what is not the source's own.
   */
  read(copy?: Copy): Promise<Part | null>;
  /** Close the source early. It is not waited for. */
  close(): void;
}

const ACCEPTED =
  'an async iterable or an iterable of Uint8Arrays, a ReadableStream, a Blob, a Response, a typed array or an ' +
  'ArrayBuffer';

/**
 * Return whether a handler method has returned a stream. A typed array or an ArrayBuffer is none: as a result it is a
 * value.
 */
export function isStream(value: unknown): boolean {
  try {
    return (
      typeof value === 'object' &&
      value !== null &&
      (isAsyncIterable(value) || ['ReadableStream', 'Blob', 'File', 'Response'].includes(tagOf(value)))
    );
  } catch {
    // A proxy, or a property that throws. It is none of ours, and sending it says what is wrong with it.
    return false;
  }
}

/**
 * Return the source of a stream. Nothing of it is read yet, but bytes are copied.
 *
 * @throws TypeError if the value cannot be sent as a stream, or cannot be read any more.
 */
export function makeSource(value: unknown): Source {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`A stream must be ${ACCEPTED}. This is ${describe(value)}.`);
  }
  switch (tagOf(value)) {
    case 'Blob':
    case 'File':
      return new BlobSource(value as Blob);
    case 'Response':
      return makeResponseSource(value as Response);
    case 'ReadableStream':
      return makeReadableSource(value as ReadableStream<unknown>, undefined);
  }
  if (isBytes(value)) {
    return new BytesSource(copyBytes(value, slice));
  }
  if (isAsyncIterable(value)) {
    return new AsyncIteratorSource(value[Symbol.asyncIterator](), totalOf(value));
  }
  if (Symbol.iterator in value) {
    if (Array.isArray(value)) {
      value.forEach(checkChunk);
    }
    return new IteratorSource((value as Iterable<unknown>)[Symbol.iterator]());
  }
  throw new TypeError(`A stream must be ${ACCEPTED}. This is ${describe(value)}.`);
}

/** Close a stream that will not be sent. Anything that is not a stream is ignored. */
export function discard(value: unknown): void {
  if (isStream(value)) {
    try {
      makeSource(value).close();
    } catch {
      // Something else reads it, or has read it.
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

/** A Blob or a File, which is sliced instead of read. */
class BlobSource implements Source {
  readonly isBlob = true;
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
    // A short one may be sent inside its message, which needs bytes.
    return this.total <= INLINE_LIMIT ? new Uint8Array(await part.arrayBuffer()) : part;
  }

  close(): void {
    // Nothing is open.
  }
}

/** An async iterator. */
class AsyncIteratorSource implements Source {
  readonly total: number | undefined;
  readonly #iterator: AsyncIterator<unknown>;

  constructor(iterator: AsyncIterator<unknown>, total: number | undefined) {
    this.#iterator = iterator;
    this.total = total;
  }

  async read(copy?: Copy): Promise<Part | null> {
    return partOf(await this.#iterator.next(), copy);
  }

  close(): void {
    leave(async () => this.#iterator.return?.());
  }
}

/** An iterator. What it gives is not awaited. */
class IteratorSource implements Source {
  readonly total = undefined;
  readonly #iterator: Iterator<unknown>;

  constructor(iterator: Iterator<unknown>) {
    this.#iterator = iterator;
  }

  /** It copies at once, when the memory of the part before may still be waiting for its frame: so not into that. */
  read(): Promise<Part | null> {
    return new Promise((resolve) => {
      resolve(partOf(this.#iterator.next()));
    });
  }

  close(): void {
    try {
      this.#iterator.return?.();
    } catch {
      // The stream has ended already.
    }
  }
}

/** A ReadableStream. */
class ReadableSource implements Source {
  readonly total: number | undefined;
  readonly #reader: ReadableStreamDefaultReader<unknown>;

  constructor(reader: ReadableStreamDefaultReader<unknown>, total: number | undefined) {
    this.#reader = reader;
    this.total = total;
  }

  async read(copy?: Copy): Promise<Part | null> {
    return partOf(await this.#reader.read(), copy);
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

/** Return the length of a response's body from its headers, if they have the length of the body as it is read. */
function lengthOf({ type, headers }: Response): number | undefined {
  const length = headers.get('content-length');
  // A page cannot see whether a response from another origin was encoded.
  return type !== 'cors' && !headers.has('content-encoding') && length !== null && /^\d{1,15}$/.test(length)
    ? Number(length)
    : undefined;
}

function totalOf(value: AsyncIterable<unknown>): number | undefined {
  return value instanceof MetaGenerator && value.received === 0 ? value.total : undefined;
}

function partOf(
  result: IteratorResult<unknown> | ReadableStreamReadResult<unknown>,
  copy: Copy = slice,
): Part | null {
  // A copy: generators may reuse their buffer.
  return result.done === true ? null : copyBytes(checkChunk(result.value), copy);
}

function checkChunk(chunk: unknown): Bytes {
  if (!isBytes(chunk)) {
    throw new TypeError(`A stream is made of Uint8Arrays or other bytes, and this chunk is ${describe(chunk)}.`);
  }
  return chunk;
}

function copyBytes(bytes: Bytes, copy: Copy): Uint8Array<ArrayBuffer> {
  try {
    return copy(
      ArrayBuffer.isView(bytes)
        ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        : new Uint8Array(bytes),
    );
  } catch {
    throw new TypeError('What was given has no bytes any more: its buffer was transferred to somewhere else.');
  }
}

function slice(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.slice();
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

// It works for objects of other windows, too.
function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1);
}

/** Close something without waiting for it. Its errors are ignored, because the stream has ended already. */
function leave(close: () => Promise<unknown>): void {
  close().catch(() => undefined);
}
