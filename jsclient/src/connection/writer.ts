/** Sending queued messages: in one frame if they are made at about the same time, and without needless delay. */

import type { Connection } from '../protocol/connection.js';
import type { Frame } from '../protocol/frames.js';
import type { Message } from '../protocol/messages.js';

/** The most microtasks that messages wait for others to join their frame. */
export const MAX_HOPS = 100;

/**
 * Sends the messages that are queued in a connection.
 *
 * Messages are sent in a microtask of the task that made them. While each microtask makes more of them, as many
 * handlers that continue at the same time do, they wait for each other. None waits that has borrowed bytes. What is made
 * while a frame is handled leaves at the end of that step, if nothing that runs is going to add to it.
 */
export class Writer {
  readonly #connection: Connection;
  readonly #transmit: (frame: Frame) => void;
  readonly #nextPieces: () => Frame | null;
  #isScheduled = false;
  #isHeld = false;
  #isWoken = false;

  /** @param nextPieces - Returns a frame with pieces of streams, when no message is queued. */
  constructor(connection: Connection, transmit: (frame: Frame) => void, nextPieces: () => Frame | null = () => null) {
    this.#connection = connection;
    this.#transmit = transmit;
    this.#nextPieces = nextPieces;
  }

  /** Queue a message and send it soon, unless the connection has ended: a goodbye may stand in the same frame. */
  send(message: Message): void {
    if (this.#connection.state === 'ready') {
      this.#connection.send(message);
      this.wake();
    }
  }

  /** Send the queued messages soon. */
  wake(): void {
    if (this.#connection.isUrgent) {
      this.flush();
    } else if (this.#isHeld) {
      this.#isWoken = true;
    } else if (!this.#isScheduled) {
      this.#isScheduled = true;
      this.#hop(0, MAX_HOPS);
    }
  }

  /** Keep what is queued until `release`, in the same step. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Send what was queued since `hold`: now, if it is all there is, or else soon, with what follows. */
  release(isAll: boolean): void {
    this.#isHeld = false;
    if (this.#isWoken) {
      this.#isWoken = false;
      if (isAll) {
        this.flush();
      } else {
        this.wake();
      }
    }
  }

  /** Send the queued messages now. */
  flush(): void {
    this.#isScheduled = false;
    for (let frame = this.#nextFrame(); frame !== null; frame = this.#nextFrame()) {
      this.#transmit(frame);
    }
  }

  #nextFrame(): Frame | null {
    return this.#connection.nextFrame() ?? this.#nextPieces();
  }

  #hop(before: number, left: number): void {
    queueMicrotask(() => {
      const { waiting } = this.#connection;
      if (waiting > before && left > 0) {
        this.#hop(waiting, left - 1);
      } else {
        this.flush();
      }
    });
  }
}
