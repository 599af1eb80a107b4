/** Detecting a dead connection whose socket does not report it. */

import { MAX_DELAY } from '../requests/alarm.js';
import type { Environment } from './environment.js';

/** The number of beats for which the server may be silent. */
export const BEATS = 3;

/** Calls a function when nothing has come from the server for too long. */
export class Watchdog {
  readonly #environment: Environment;
  readonly #beat: number;
  readonly #onSilence: () => void;
  #timer: unknown;
  #lastSign: number;
  #wasExtended = false;

  /**
   * @param beat - The time between two beats of the server, in seconds.
   * @param onSilence - Called once, when nothing has come for `BEATS` beats.
   */
  constructor(environment: Environment, beat: number, onSilence: () => void) {
    this.#environment = environment;
    this.#beat = beat * 1000;
    this.#onSilence = onSilence;
    this.#lastSign = environment.now();
    this.#arm(this.#limit);
  }

  get #limit(): number {
    return BEATS * this.#beat;
  }

  /** Start again, because something has come. */
  reset(): void {
    this.#lastSign = this.#environment.now();
    this.#wasExtended = false;
  }

  /** Stop the watchdog. */
  stop(): void {
    this.#environment.clearTimeout(this.#timer);
  }

  #arm(time: number): void {
    const delay = Math.min(time, MAX_DELAY);
    const due = this.#environment.now() + delay;
    this.#timer = this.#environment.setTimeout(() => {
      this.#check(due);
    }, delay);
  }

  #check(due: number): void {
    const now = this.#environment.now();
    const silence = now - this.#lastSign;
    if (silence < this.#limit) {
      this.#arm(this.#limit - Math.max(silence, 0));
    } else if (now - due > this.#beat && !this.#wasExtended) {
      // The machine was asleep, and what has come meanwhile may not have been read yet.
      this.#wasExtended = true;
      this.#arm(this.#limit);
    } else {
      this.#onSilence();
    }
  }
}
