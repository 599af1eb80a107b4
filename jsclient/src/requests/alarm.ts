/** A timer whose time can be put off while it runs. */

import type { Environment } from '../connection/environment.js';

/** The longest delay of a timer, in milliseconds. One with a longer delay goes off at once. */
export const MAX_DELAY = 2 ** 31 - 1;

/** A timer that calls a function once. */
export class Alarm {
  readonly #environment: Environment;
  readonly #due: () => number;
  readonly #onDue: () => void;
  #timer: unknown;

  /**
   * @param due - Returns when the alarm is due, by the environment's clock. It is called again at that time.
   * @param onDue - Called when that time has come and has not been put off.
   */
  constructor(environment: Environment, due: () => number, onDue: () => void) {
    this.#environment = environment;
    this.#due = due;
    this.#onDue = onDue;
    this.#arm(due() - environment.clock());
  }

  /** Stop the alarm. */
  stop(): void {
    this.#environment.clearTimeout(this.#timer);
  }

  #arm(delay: number): void {
    this.#timer = this.#environment.setTimeout(() => {
      // Some timers go off a little early, too.
      const left = this.#due() - this.#environment.clock();
      if (left > 0) {
        this.#arm(left);
      } else {
        this.#onDue();
      }
    }, Math.min(Math.ceil(delay), MAX_DELAY));
  }
}
