/**
 * The streams of a session that travel as pieces on its socket, behind the messages and never before them.
 *
 * Each stream can send as many bytes as its reader has given it credit for, so none waits for another's reader. Those
 * that have something to send take turns, a piece each. The connection limits what is under way of all of them together.
 */

import { ProtocolError } from '../errors.js';
import { PIECE_LIMIT, type Connection } from '../protocol/connection.js';
import type { Frame } from '../protocol/frames.js';
import type { StreamFetch } from './fetching.js';

// Shorter pieces are joined up to this number of bytes, as each takes memory besides its bytes.
const SHORT = 4096;

/** A stream that sends pieces. */
export interface PieceSender {
  /** Whether it can send another piece at once. */
  readonly hasPiece: boolean;
  /**
   * Send the next piece, if there is one.
   *
   * @param limit - The most bytes.
   * @returns The number of bytes.
   */
  sendPiece(limit: number): number;
}

/** The pieces that a session sends. */
export class Pieces {
  readonly #connection: Connection;
  readonly #wake: () => void;
  readonly #clock: () => number;
  readonly #line = new Set<PieceSender>();

  /**
   * @param wake - Called when `nextFrame` may have a frame.
   * @param clock - Returns the time in milliseconds.
   */
  constructor(connection: Connection, wake: () => void, clock: () => number) {
    this.#connection = connection;
    this.#wake = wake;
    this.#clock = clock;
  }

  /** Let a stream have its turn. */
  enter(stream: PieceSender): void {
    this.#line.add(stream);
    this.#wake();
  }

  /** Go on with the streams that wait, because pieces have arrived at the other side. */
  goOn(): void {
    this.#connection.noteTime(this.#clock());
    if (this.#line.size > 0) {
      this.#wake();
    }
  }

  /** Return a frame with the next pieces; `null` if none can be sent now. No message must be queued. */
  nextFrame(): Frame | null {
    if (this.#line.size === 0) {
      return null;
    }
    let size = 0;
    for (const stream of this.#line) {
      const room = this.#connection.pieceRoom;
      if (room === 0 || size >= 2 * PIECE_LIMIT) {
        break;
      }
      this.#line.delete(stream);
      size += stream.sendPiece(room);
      if (stream.hasPiece) {
        this.#line.add(stream);
      }
    }
    return this.#connection.nextFrame();
  }
}

/** Receives a stream as pieces. */
export class PieceFetch implements StreamFetch {
  readonly isKept = false;
  readonly #most: number;
  readonly #giveCredit: (bytes: number) => void;
  #chunks: Uint8Array<ArrayBuffer>[] = [];
  #buffered = 0;
  /** The bytes that may still come. */
  #credit = 0;
  #hasEnded = false;
  #wake: (() => void) | undefined;

  /**
   * @param most - The bytes that the server can send before any of them has been read.
   * @param giveCredit - Lets the server send so many more bytes.
   * @param signal - Ends it.
   */
  constructor(most: number, giveCredit: (bytes: number) => void, signal: AbortSignal) {
    this.#most = most;
    this.#giveCredit = giveCredit;
    signal.addEventListener('abort', () => {
      this.end();
    });
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    // New credit is given when half of it has been used and read.
    const used = this.#most - this.#credit - this.#buffered;
    if (!this.#hasEnded && used >= this.#most / 2) {
      this.#credit += used;
      this.#giveCredit(used);
    }
    while (this.#chunks.length === 0 && !this.#hasEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const chunk = this.#chunks.shift();
    this.#buffered -= chunk?.length ?? 0;
    return chunk;
  }

  /**
   * Take a piece that has arrived.
   *
   * @throws ProtocolError if it is larger than the credit.
   */
  push(data: Uint8Array<ArrayBuffer>): void {
    if (data.length > this.#credit) {
      const sizes = `${String(data.length)} bytes of it came, with credit for ${String(this.#credit)}`;
      throw new ProtocolError(`a stream has sent too much: ${sizes}`);
    }
    this.#credit -= data.length;
    this.#buffered += data.length;
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.length + data.length <= SHORT) {
      const joined = new Uint8Array(last.length + data.length);
      joined.set(last);
      joined.set(data, last.length);
      this.#chunks[this.#chunks.length - 1] = joined;
    } else {
      // A copy: the data may be a part of its frame, and the reader may transfer its buffer.
      this.#chunks.push(data.slice());
    }
    this.#wake?.();
  }

  /** Take note that nothing more comes. */
  end(): void {
    this.#hasEnded = true;
    this.#wake?.();
  }
}
