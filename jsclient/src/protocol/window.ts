/** The window of a connection's pieces: how many bytes of streams can be under way on it, in each direction. */

import { ProtocolError } from '../errors.js';
import type { Message } from './messages.js';

/** The most bytes of one piece of a stream. */
export const PIECE_LIMIT = 64 * 1024;

/**
 * The most bytes of pieces that are under way to the other side, of all streams together: what a message may have to
 * wait for. It bounds the rate, too, to this many bytes in one round trip.
 */
export const PIECES_UNDER_WAY = 256 * 1024;

/** The same over a comm, whose messages are few and take a longer way: more of them share one. */
export const COMM_PIECES_UNDER_WAY = 1024 * 1024;

/** Counts the pieces of one side of a connection. */
export class Window {
  /** The most bytes that can be under way, in each direction. */
  limit = PIECES_UNDER_WAY;
  #underWay = 0;
  #unacknowledged = 0;

  /** Whether a piece can be sent now. If not, those under way must arrive first. */
  get isOpen(): boolean {
    return this.#underWay + PIECE_LIMIT <= this.limit;
  }

  /** The bytes to be acknowledged now; 0 for none yet. */
  get ackDue(): number {
    // From half of it on, so there is always room for a piece when all of them have arrived.
    return this.#unacknowledged >= this.limit / 2 ? this.#unacknowledged : 0;
  }

  /** Count a message of this side. */
  send(message: Message): void {
    if (message.type === 'piece') {
      this.#underWay += message.data.length;
    } else if (message.type === 'ack') {
      this.#unacknowledged -= message.bytes;
    }
  }

  /**
   * Count a message of the other side.
   *
   * @throws ProtocolError if more is under way than can be, or more is acknowledged than is under way.
   */
  receive(message: Message): void {
    if (message.type === 'piece') {
      this.#unacknowledged += message.data.length;
      if (this.#unacknowledged > this.limit) {
        throw new ProtocolError(`more than ${String(this.limit)} bytes of pieces are under way`);
      }
    } else if (message.type === 'ack') {
      if (message.bytes > this.#underWay) {
        const sizes = `${String(message.bytes)} bytes are acknowledged, and ${String(this.#underWay)} are under way`;
        throw new ProtocolError(sizes);
      }
      this.#underWay -= message.bytes;
    }
  }
}
