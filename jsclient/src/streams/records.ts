/** Splitting a stream: into chunks as they come, pieces of one size, or records that end with a separator. */

import type { Cursor } from './cursors.js';

/** Yield the chunks as they come. */
export async function* readChunks(cursor: Cursor): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  while (await cursor.fill()) {
    yield cursor.take();
  }
}

/** Yield pieces of this size in bytes. The last one may be shorter. */
export async function* readPieces(cursor: Cursor, size: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const buffer = new RecordBuffer();
  while (cursor.hasBytes || (await cursor.fill())) {
    const { chunk, offset } = cursor;
    const end = Math.min(offset + size - buffer.size, chunk.length);
    cursor.offset = end;
    buffer.add(chunk, offset, end);
    if (buffer.size === size) {
      yield buffer.join();
    }
  }
  if (buffer.size > 0) {
    yield buffer.join();
  }
}

/**
 * Yield records, each with the separator at its end. The last one may have none.
 *
 * @param separator - The separator, not empty.
 * @param limit - The most bytes of a record. A longer record ends the stream with a RangeError.
 */
export function readRecords(
  cursor: Cursor,
  separator: Uint8Array,
  limit: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  // A copy: a view would keep its whole chunk alive, and transferring it would transfer the whole chunk.
  return convertRecords(cursor, separator, limit, (record) => record.slice());
}

/**
 * Yield lines of text without the `\n` or `\r\n` at their ends. A line that is not UTF-8 ends the stream with a
 * TypeError.
 */
export function readLines(cursor: Cursor, limit: number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return convertRecords(cursor, Uint8Array.of(LINE_FEED), limit, (record) => {
    let end = record.length;
    if (record[end - 1] === LINE_FEED) {
      end -= record[end - 2] === CARRIAGE_RETURN ? 2 : 1;
    }
    try {
      return decoder.decode(record.subarray(0, end));
    } catch {
      throw cursor.abandon(
        new TypeError('A line of the stream is not UTF-8. Read its bytes with bySeparator instead.'),
      );
    }
  });
}

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/** Yield each record as `convert` returns it. Everything is in one generator, because nested ones cost time. */
async function* convertRecords<T>(
  cursor: Cursor,
  separator: Uint8Array,
  limit: number,
  convert: (record: Uint8Array<ArrayBuffer>) => T,
): AsyncGenerator<T> {
  const buffer = new RecordBuffer();
  while (cursor.hasBytes || (await cursor.fill())) {
    const { chunk, offset } = cursor;
    const found = buffer.findAcross(separator, chunk, offset) ?? findEnd(chunk, separator, offset);
    const end = found ?? chunk.length;
    if (buffer.size + end - offset > limit) {
      throw cursor.abandon(
        new RangeError(
          `A record of the stream is longer than ${String(limit)} bytes. If that is right, give a greater limit.`,
        ),
      );
    }
    cursor.offset = end;
    if (found !== undefined && buffer.size === 0) {
      yield convert(chunk.subarray(offset, end));
    } else {
      buffer.add(chunk, offset, end);
      if (found !== undefined) {
        yield convert(buffer.join());
      }
    }
  }
  if (buffer.size > 0) {
    yield convert(buffer.join());
  }
}

/** Return the end of the first separator in a chunk that starts at this offset or after it. */
function findEnd(chunk: Uint8Array, separator: Uint8Array, offset: number): number | undefined {
  // Search for the last byte, which is the rarest one of most separators, such as a line end of two bytes.
  const last = separator.length - 1;
  const [byte = 0] = separator.subarray(last);
  for (let at = chunk.indexOf(byte, offset + last); at !== -1; at = chunk.indexOf(byte, at + 1)) {
    let left = last;
    while (left > 0 && chunk[at - last + left - 1] === separator[left - 1]) {
      left--;
    }
    if (left === 0) {
      return at + 1;
    }
  }
  return undefined;
}

/** The first parts of a record whose end has not come yet. */
class RecordBuffer {
  /** The number of bytes. */
  size = 0;
  #parts: Uint8Array<ArrayBuffer>[] = [];

  /** Add a copy of a part of a chunk: a short part must not keep the whole chunk alive. */
  add(chunk: Uint8Array<ArrayBuffer>, start: number, end: number): void {
    this.#parts.push(chunk.slice(start, end));
    this.size += end - start;
  }

  /** Remove everything, and return it as one array. */
  join(): Uint8Array<ArrayBuffer> {
    const joined = joinBytes(this.#parts, this.size);
    this.#parts = [];
    this.size = 0;
    return joined;
  }

  /** Return the end in this chunk of a separator that starts in the buffer. */
  findAcross(separator: Uint8Array, chunk: Uint8Array<ArrayBuffer>, offset: number): number | undefined {
    const reach = separator.length - 1;
    if (this.size === 0 || reach === 0) {
      return undefined;
    }
    const before = this.#tail(reach);
    const behind = chunk.subarray(offset, offset + reach);
    const end = findEnd(joinBytes([before, behind], before.length + behind.length), separator, 0);
    return end === undefined ? undefined : offset + end - before.length;
  }

  /** Return the last bytes of the buffer, at most this many. */
  #tail(length: number): Uint8Array<ArrayBuffer> {
    // No part is empty, so this many parts have enough bytes.
    const parts = this.#parts.slice(-length).map((part) => part.subarray(-length));
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    return joinBytes(parts, size).subarray(-length);
  }
}

/** Join arrays of bytes. A single array is returned as it is. */
export function joinBytes(parts: readonly Uint8Array<ArrayBuffer>[], size: number): Uint8Array<ArrayBuffer> {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) {
    return first;
  }
  const joined = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
