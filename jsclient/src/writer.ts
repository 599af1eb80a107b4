/** Deciding when the messages that wait leave: together where they are made together, and never later than needed. */

import type { Connection } from './protocol/connection.js';
import type { Frame } from './protocol/frames.js';

/** The most microtasks that messages wait for others. */
export const MAX_HOPS = 100;

/**
 * Sends what waits in a connection.
 *
 * Messages leave in a microtask of the task that made them. While more of them are made from one microtask to the next,
 * as by many handlers that go on at the same time, they wait for each other.
 */
export class Writer {
  readonly #connection: Connection;
  readonly #transmit: (frame: Frame) => void;
  #isScheduled = false;

  constructor(connection: Connection, transmit: (frame: Frame) => void) {
    this.#connection = connection;
    this.#transmit = transmit;
  }

  /** Sees to it that what waits leaves soon. */
  wake(): void {
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      this.#hop(0, MAX_HOPS);
    }
  }

  /** Sends what waits now. */
  flush(): void {
    this.#isScheduled = false;
    for (let frame = this.#connection.nextFrame(); frame !== null; frame = this.#connection.nextFrame()) {
      this.#transmit(frame);
    }
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
