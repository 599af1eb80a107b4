/** Ways to read a stream: in chunks as they come, in pieces of one size, in records that end with a separator. */

import type { Cursor } from './cursor.js';

/** Gives the chunks as they come. */
export async function* readChunks(cursor: Cursor): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  while (await cursor.fill()) {
    yield cursor.take();
  }
}

/** Gives pieces of a size in bytes. The last one may be shorter. */
export async function* readPieces(cursor: Cursor, size: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const gathered = new Gathered();
  while (cursor.hasBytes || (await cursor.fill())) {
    const { chunk, offset } = cursor;
    const end = Math.min(offset + size - gathered.size, chunk.length);
    cursor.offset = end;
    gathered.add(chunk, offset, end);
    if (gathered.size === size) {
      yield gathered.join();
    }
  }
  if (gathered.size > 0) {
    yield gathered.join();
  }
}

/**
 * Gives records, each with the separator at its end. The last one may be without.
 *
 * @param separator - The separator, not empty.
 * @param limit - The most bytes of a record. A longer one ends the stream with a RangeError.
 */
export function readRecords(
  cursor: Cursor,
  separator: Uint8Array,
  limit: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  // A copy: a view would keep its whole chunk, and lose its bytes with those of others when it is transferred.
  return convertRecords(cursor, separator, limit, (record) => record.slice());
}

/** Gives lines of text without their ends, `\n` or `\r\n`. Text that is not UTF-8 ends the stream with a TypeError. */
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

/** Gives what is made of each record. One generator does it all, for each that another one goes through costs time. */
async function* convertRecords<T>(
  cursor: Cursor,
  separator: Uint8Array,
  limit: number,
  convert: (record: Uint8Array<ArrayBuffer>) => T,
): AsyncGenerator<T> {
  const gathered = new Gathered();
  while (cursor.hasBytes || (await cursor.fill())) {
    const { chunk, offset } = cursor;
    const found = gathered.findAcross(separator, chunk, offset) ?? findEnd(chunk, separator, offset);
    const end = found ?? chunk.length;
    if (gathered.size + end - offset > limit) {
      throw cursor.abandon(
        new RangeError(
          `A record of the stream is longer than ${String(limit)} bytes. If that is right, give a greater limit.`,
        ),
      );
    }
    cursor.offset = end;
    if (found !== undefined && gathered.size === 0) {
      yield convert(chunk.subarray(offset, end));
    } else {
      gathered.add(chunk, offset, end);
      if (found !== undefined) {
        yield convert(gathered.join());
      }
    }
  }
  if (gathered.size > 0) {
    yield convert(gathered.join());
  }
}

/** The end of the first separator in a chunk that begins at an offset or behind it. */
function findEnd(chunk: Uint8Array, separator: Uint8Array, offset: number): number | undefined {
  // By its last byte, which is the rarer one of most separators, such as a line end of two.
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

/** Parts of chunks that will be given out as one. */
class Gathered {
  /** The number of bytes. */
  size = 0;
  #parts: Uint8Array<ArrayBuffer>[] = [];

  /** Adds a copy, for a chunk must neither be kept for a short part of it nor be shared with its reader. */
  add(chunk: Uint8Array<ArrayBuffer>, start: number, end: number): void {
    this.#parts.push(chunk.slice(start, end));
    this.size += end - start;
  }

  /** Takes what was added, as one. */
  join(): Uint8Array<ArrayBuffer> {
    const joined = joinBytes(this.#parts, this.size);
    this.#parts = [];
    this.size = 0;
    return joined;
  }

  /** The end in the chunk of a separator that begins in what was added. */
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

  /** The last bytes of what was added, at most this many. */
  #tail(length: number): Uint8Array<ArrayBuffer> {
    // No part is empty, so there is enough in as many of them.
    const parts = this.#parts.slice(-length).map((part) => part.subarray(-length));
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    return joinBytes(parts, size).subarray(-length);
  }
}

/** One array of the bytes of several. */
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
