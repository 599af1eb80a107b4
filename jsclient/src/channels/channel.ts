/** One channel of the page. Its initialization function is called with it. */

import { checkCallOptions, type CallOptions } from '../requests/call-options.js';
import { getCurrent } from '../requests/invocation.js';
import type { ChannelApi, HandlerOf, PythonOf } from './api.js';
import { Calls, type Requester } from './calls.js';
import type { Latest, LatestOptions } from './latest.js';

/**
 * The state of a channel.
 *
 * - `open`: the page is connected;
 * - `waiting`: the connection was lost, or the page is left or frozen. The channel goes on when the page is connected again;
 * - `closed`: it was closed by Python, or the client has stopped. It does not come back: Python opens another one.
 */
export type ChannelState = 'open' | 'waiting' | 'closed';

/**
 * A channel between this page and Python. The client creates it when Python opens it.
 *
 * In TypeScript, `Api` says which methods the two sides have: `Channel<{ python: Handler; page: Page }>`.
 *
 * It dispatches a `statechange` event, which has no further fields, after each change of `state`.
 */
export class Channel<Api extends ChannelApi = ChannelApi> extends Calls<PythonOf<Api>> {
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
  handler: HandlerOf<Api> | null = null;

  readonly #requester: Requester;
  readonly #events = new EventTarget();
  #state: ChannelState = 'open';
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

  /** The state of the channel. */
  get state(): ChannelState {
    return this.#state;
  }

  /**
   * Call a function after each change of `state`. An exception that it throws is reported like that of any listener, and
   * ends nothing.
   *
   * @param type - `statechange`.
   * @param listener - The function.
   * @param options - Those of every event target: a `signal`, for example, ends it.
   */
  addEventListener(
    type: 'statechange',
    listener: (event: Event) => void,
    options?: AddEventListenerOptions | boolean,
  ): void {
    this.#events.addEventListener(type, listener, options);
  }

  /** Call a function no more that was added with `addEventListener`. */
  removeEventListener(
    type: 'statechange',
    listener: (event: Event) => void,
    options?: EventListenerOptions | boolean,
  ): void {
    this.#events.removeEventListener(type, listener, options);
  }

  /** @internal Set the state. */
  setState(state: ChannelState): void {
    if (state !== this.#state) {
      this.#state = state;
      this.#events.dispatchEvent(new Event('statechange'));
    }
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
  with(options: CallOptions): Calls<PythonOf<Api>> {
    return new Calls(this.#requester, checkCallOptions(options));
  }

  /**
   * Return the newest value for a method in Python, for what changes faster than Python takes it, such as a pointer or
   * a slider:
   *
   * ```js
   * canvas.onpointermove = ({ offsetX, offsetY }) => channel.latest('move').set(offsetX, offsetY);
   * ```
   *
   * Setting it never waits: one call is under way at a time, and the next one has the value that is the newest then.
   * There is one for each method of the channel, until it is closed, and it ends with the channel.
   *
   * @param name - The name of the method.
   * @param options - If they are given, they hold from the next call on.
   * @throws TypeError if the name is not a string, or an option is unknown or has the wrong type.
   * @throws RangeError if the timeout is negative or NaN.
   * @throws ClosedError if the channel is closed.
   */
  latest(name: string, options?: LatestOptions): Latest {
    return this.#requester.latest(name, options);
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
