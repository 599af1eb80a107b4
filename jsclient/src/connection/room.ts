/** Whether there is room to send: answers wait while the server does not take what was sent to it. */

import type { Environment } from './environment.js';

/** The most bytes that wait to be sent before calls of the server, and answers to them, wait too. */
export const SEND_BUFFER = 4 * 1024 * 1024;

/**
 * The most bytes of messages that do not wait for room (errors, and what streams need) that may be sent while there is
 * none. A server that does not even take those is lost: a browser's WebSocket cannot be told to stop receiving.
 */
export const UNASKED_LIMIT = 4 * SEND_BUFFER;

/** The time in milliseconds between two looks at what waits. A WebSocket has no event for it. */
export const LOOK_TIME = 20;

/** What waits to be sent in one session, and what waits for it. */
export class Room {
  readonly #environment: Environment;
  readonly #countWaiting: () => number;
  readonly #waiting: (() => void)[] = [];
  #timer: unknown;

  /** @param countWaiting - Returns the number of bytes that wait to be sent. */
  constructor(environment: Environment, countWaiting: () => number) {
    this.#environment = environment;
    this.#countWaiting = countWaiting;
  }

  /** Whether there is no room to send. */
  get isFull(): boolean {
    return this.#countWaiting() > SEND_BUFFER;
  }

  /** Call a function as soon as there is room, and behind those that have waited before: at once, if there is. */
  enter(run: () => void): void {
    if (this.#waiting.length === 0 && !this.isFull) {
      run();
    } else {
      this.#waiting.push(run);
      this.#look();
    }
  }

  /** Forget what waits, because the session has ended. */
  end(): void {
    this.#waiting.length = 0;
    this.#environment.clearTimeout(this.#timer);
  }

  #look(): void {
    this.#timer ??= this.#environment.setTimeout(() => {
      this.#timer = undefined;
      let count = 0;
      while (count < this.#waiting.length && !this.isFull) {
        this.#waiting[count]?.();
        count++;
      }
      this.#waiting.splice(0, count);
      if (this.#waiting.length > 0) {
        this.#look();
      }
    }, LOOK_TIME);
  }
}
