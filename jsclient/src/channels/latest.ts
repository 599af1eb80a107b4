/** The newest value wins: of the values that a page sets, faster than Python takes them, Python gets the newest. */

import { ClosedError, ConnectionLostError } from '../errors.js';
import { checkNames } from '../options.js';
import { pack, type Nan, type Packed } from '../protocol/values.js';
import { checkCallOptions, type CallOptions } from '../requests/call-options.js';
import { discard } from '../streams/sources.js';

/** The options of `channel.latest`. */
export interface LatestOptions {
  /** The time in **seconds** for each call, from when it is sent. Default, and with `null`: no limit. */
  readonly timeout?: number | null;

  /**
   * Called with the error of each call that fails, because the method has raised or its time has passed. Default: the
   * first one after a call that has succeeded is an unhandled rejection, which the browser shows in its console, and
   * those that follow it are only counted.
   */
  readonly onFailure?: (error: unknown) => void;
}

/** What has become of the values that were set so far. */
export interface LatestStatistics {
  /** The number of values that were set. */
  readonly values: number;
  /** The number of them that were sent. One that was sent again after a lost connection counts once. */
  readonly sent: number;
  /** The number of them that were never sent, because a newer one was set first. */
  readonly skipped: number;
  /** The number of calls that have failed. */
  readonly failed: number;
}

/**
 * Check the options of `channel.latest`, and return a copy.
 *
 * @throws TypeError if they are not an object, or if one of them is unknown or has the wrong type.
 * @throws RangeError if the timeout is negative or NaN.
 */
export function checkLatestOptions(options: LatestOptions): LatestOptions {
  checkNames('latest', options, ['timeout', 'onFailure']);
  const { timeout = null, onFailure } = options;
  checkCallOptions({ timeout });
  // JavaScript callers can pass anything.
  if (onFailure !== undefined && typeof (onFailure as unknown) !== 'function') {
    throw new TypeError(`The option onFailure must be a function. It is a ${typeof onFailure}.`);
  }
  return { ...options };
}

/** What a newest value needs of its channel. */
export interface LatestHost {
  /** What becomes of NaN and the infinities; `undefined` where they are refused. */
  readonly nan: Nan | undefined;
  /** Call a method with arguments that are encoded already. */
  call(name: string, args: Packed, options: CallOptions): Promise<unknown>;
  /** Whether the page is connected. */
  isConnected(): boolean;
}

/**
 * The newest value for a method in Python. `channel.latest` creates it.
 *
 * However often a value is set, one call is under way at a time, and the next one has the value that is the newest then.
 * So Python is never behind by more than one call, and nothing waits in line.
 */
export class Latest {
  /** The name of the method. */
  readonly name: string;
  readonly #host: LatestHost;
  readonly #closing: (() => void)[] = [];
  #options: LatestOptions = {};
  #newest: Packed | undefined;
  #values = 0;
  #lastSent = 0;
  #sent = 0;
  #failed = 0;
  /** The number of the last value that Python has got, or has refused. */
  #settled = 0;
  #isUnderWay = false;
  #hasFailed = false;
  /** Why no more can be set. */
  #problem: string | undefined;
  /** Whether nothing more is sent. */
  #isOver = false;

  /** @internal */
  constructor(name: string, host: LatestHost) {
    this.name = name;
    this.#host = host;
  }

  /** @internal Use these options from the next call on. */
  use(options: LatestOptions): void {
    this.#options = options;
  }

  /**
   * Set the newest value, which replaces every one that has not been sent. It does not wait.
   *
   * While the page is not connected, the newest value waits. It is sent again after a lost connection, whether Python
   * has got it before or not. Values have no order with calls.
   *
   * @param args - The value: the arguments of the method, like those of `call`. They may be changed afterwards.
   * @throws TypeError, RangeError if an argument cannot be sent. The value before is still the newest.
   * @throws ClosedError if it is closed, or the channel is.
   */
  set(...args: unknown[]): void {
    if (this.#problem !== undefined) {
      throw new ClosedError(this.#problem);
    }
    this.#newest = pack(args, 'args', this.#host.nan);
    this.#values++;
    this.#goOn();
  }

  /** Return what has become of the values so far. */
  statistics(): LatestStatistics {
    const waiting = this.#values > this.#lastSent ? 1 : 0;
    return {
      values: this.#values,
      sent: this.#sent,
      skipped: this.#values - this.#sent - waiting,
      failed: this.#failed,
    };
  }

  /**
   * Close it: no more can be set. `channel.latest` creates another one for the same method.
   *
   * @returns A promise that is fulfilled when the last value has arrived, when its call has failed, or when the channel
   *   is closed. It does not reject.
   */
  close(): Promise<void> {
    this.#problem ??= `The newest value of '${this.name}' is closed.`;
    return new Promise((resolve) => {
      this.#closing.push(resolve);
      this.#finish();
    });
  }

  /** @internal Whether it is closed, or the channel is. */
  get isClosed(): boolean {
    return this.#problem !== undefined;
  }

  /** @internal Send nothing more, because the channel is closed. */
  end(message: string): void {
    this.#problem ??= message;
    this.#isOver = true;
    this.#finish();
  }

  /** @internal Send the newest value, because the page is connected again. */
  sendAgain(): void {
    if (this.#newest !== undefined && !this.#isUnderWay) {
      this.#send(this.#newest);
    }
  }

  #goOn(): void {
    const isDue = !this.#isOver && !this.#isUnderWay && this.#values > this.#settled;
    if (this.#newest !== undefined && isDue && this.#host.isConnected()) {
      this.#send(this.#newest);
    }
    this.#finish();
  }

  #send(args: Packed): void {
    const number = this.#values;
    this.#sent += number > this.#lastSent ? 1 : 0;
    this.#lastSent = number;
    this.#isUnderWay = true;
    this.#host.call(this.name, args, { timeout: this.#options.timeout ?? null, signal: null }).then(
      (value) => {
        discard(value);
        this.#hasFailed = false;
        this.#settle(number);
      },
      (error: unknown) => {
        if (this.#isOver || error instanceof ConnectionLostError) {
          this.#settle(this.#settled); // The next connection gets the newest value.
        } else {
          this.#failed++;
          this.#tell(error as Error);
          this.#settle(number);
        }
      },
    );
  }

  #settle(number: number): void {
    this.#isUnderWay = false;
    this.#settled = number;
    this.#goOn();
  }

  #tell(error: Error): void {
    const { onFailure } = this.#options;
    const isFirst = !this.#hasFailed;
    this.#hasFailed = true;
    if (onFailure !== undefined) {
      // What it throws is an unhandled rejection, too, and ends nothing.
      void Promise.resolve(error).then(onFailure);
    } else if (isFirst) {
      void Promise.reject(error);
    }
  }

  /** Tell those who have closed it when nothing more is to be done. */
  #finish(): void {
    const isDone = !this.#isUnderWay && this.#values <= this.#settled;
    if (this.#problem !== undefined && (this.#isOver || isDone)) {
      this.#isOver = true;
      for (const resolve of this.#closing.splice(0)) {
        resolve();
      }
    }
  }
}
