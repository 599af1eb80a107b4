/** One channel of the page. Its initialization function is called with it. */

import { checkCallOptions, type CallOptions } from '../requests/call-options.js';
import { getCurrent } from '../requests/invocation.js';
import { Calls, type Requester } from './calls.js';

/** A channel between this page and Python. The client creates it when Python opens it. */
export class Channel extends Calls {
  /** The number of the channel, the same on both sides. */
  readonly id: number;

  /**
   * The object whose methods Python can call; `null` at first. Methods that begin with an underscore are private.
   *
   * A large typed array among their arguments is a view of the message that it came in: use the array itself, or
   * `array.slice().buffer`, but not `array.buffer`. So is one that a call returns.
   * If a method returns a promise, Python receives what that is fulfilled with. No other object is awaited, even if it
   * has a method `then`. JavaScript itself calls the `then` of what an `async` function returns.
   */
  handler: object | null = null;

  readonly #requester: Requester;
  readonly #findElement: () => HTMLElement;

  /** @internal */
  constructor(id: number, requester: Requester, findElement: () => HTMLElement) {
    super(requester);
    this.id = id;
    this.#requester = requester;
    this.#findElement = findElement;
  }

  /**
   * The element in which the channel's code draws, an empty `<div>` at first, always the same one.
   *
   * In a notebook it is in the output of the cell that has opened the channel, or of the one in which Python has called
   * `channel.show()` last; the output may appear a moment later. In a page of the server's it is in the page's element
   * with the attribute `data-jchannel-elements`, or at the end of its body. It can be moved anywhere else. It stays when
   * the channel is closed.
   *
   * @throws StateError where there is no page, as in Node.
   */
  get element(): HTMLElement {
    return this.#findElement();
  }

  /**
   * Return the channel's calls with options:
   *
   * ```js
   * await channel.with({ signal, timeout: 2 }).call('add', 2, 3);
   * ```
   *
   * @param options - `signal` cancels the calls when it aborts. `timeout` is in **seconds**, not milliseconds. See
   *   `CallOptions` for the defaults and the meaning of `null`.
   * @returns An object with `call`, `callWithStream`, `pipe` and `echo`. It can be used any number of times, and each
   *   call has the whole timeout.
   * @throws TypeError if an option is unknown or has the wrong type.
   * @throws RangeError if the timeout is negative or NaN.
   */
  with(options: CallOptions): Calls {
    return new Calls(this.#requester, checkCallOptions(options));
  }

  /**
   * The signal of the call that is being handled. It aborts
   * - with an `AbortError` when Python cancels the call, when the channel is closed, or when the connection is lost;
   * - with a `TimeoutError` when the call's time has passed.
   *
   * If the method has read the signal, Python waits until the method has ended after that; else it does not. Passed to
   * `channel.with`, the signal makes further calls children of the one that is being handled.
   *
   * It can be read only while a handler method of this channel is being called, before the method's first `await`.
   *
   * @throws StateError at any other time.
   */
  get signal(): AbortSignal {
    return getCurrent(this.id).signal;
  }

  /**
   * The time in seconds that is left for the call that is being handled; `Infinity` if Python has set no timeout. It
   * can be read only when `signal` can.
   *
   * @throws StateError at any other time.
   */
  get timeLeft(): number {
    return getCurrent(this.id).timeLeft;
  }
}
