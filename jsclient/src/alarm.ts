/** Waking up at a time that may be put off meanwhile. */

import type { Environment } from './environment.js';

// Timers with a longer delay go off at once.
const MAX_DELAY = 2 ** 31 - 1;

/** Calls a function once, when its time has come. */
export class Alarm {
  readonly #environment: Environment;
  readonly #due: () => number;
  readonly #onDue: () => void;
  #timer: unknown;

  /**
   * @param due - When it is to go off, by the environment's clock. It is asked again when that time has come.
   * @param onDue - Called when the time has come and was not put off.
   */
  constructor(environment: Environment, due: () => number, onDue: () => void) {
    this.#environment = environment;
    this.#due = due;
    this.#onDue = onDue;
    this.#arm(due() - environment.clock());
  }

  /** Sees to it that it does not go off any more. */
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
