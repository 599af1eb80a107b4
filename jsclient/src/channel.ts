/** The page's end of a channel, as its initialization function gets it. */

import { checkCallOptions, type CallOptions } from './call-options.js';
import { Calls, type Requester } from './calls.js';
import { getCurrent } from './invocation.js';

/** A communication channel between this page and Python. It is made by the client when Python opens it. */
export class Channel extends Calls {
  /** The number of the channel, the same on both sides. */
  readonly id: number;

  /** The object whose methods Python calls; `null` at first. Methods that begin with an underscore are private. */
  handler: object | null = null;

  readonly #requester: Requester;

  /** @internal */
  constructor(id: number, requester: Requester) {
    super(requester);
    this.id = id;
    this.#requester = requester;
  }

  /**
   * The channel's calls with options:
   *
   * ```js
   * await channel.with({ signal, timeout: 2 }).call('add', 2, 3);
   * ```
   *
   * @param options - `signal` cancels the calls when it aborts; `timeout` is their time in **seconds**, not milliseconds.
   *   See `CallOptions` for what they default to and what `null` means.
   * @returns An object with `call`, `callWithStream`, `pipe` and `echo`, which can be used any number of times. The
   *   timeout begins anew with each call.
   * @throws TypeError when an option is unknown or of a wrong type, RangeError when the timeout is negative or NaN.
   */
  with(options: CallOptions): Calls {
    return new Calls(this.#requester, checkCallOptions(options));
  }

  /**
   * The signal of the call that is being handled. It aborts
   * - with an `AbortError` when Python cancels the call, when the channel is closed, or when the connection is lost;
   * - with a `TimeoutError` when the call's time has passed.
   *
   * A method that has read it is waited for after that; one that has not is left to itself. Given to `channel.with`, it
   * makes further calls children of the one that is being handled.
   *
   * It can be read only while a handler method of this channel is being called, before its first `await`.
   *
   * @throws StateError at any other time.
   */
  get signal(): AbortSignal {
    return getCurrent(this.id).signal;
  }

  /**
   * The time in seconds that is left for the call that is being handled; `Infinity` where Python has set no timeout. It
   * can be read when `signal` can.
   *
   * @throws StateError at any other time.
   */
  get timeLeft(): number {
    return getCurrent(this.id).timeLeft;
  }
}
