/** The options of a call, as users give them. */

/**
 * How a call, an echo or a pipe is made.
 *
 * Times are **seconds**, here as everywhere in jchannel, in JavaScript and in Python; they are no milliseconds.
 */
export interface CallOptions {
  /**
   * Cancels the call when it aborts. The `channel.signal` of a handler method makes the call a child of the request that
   * the method handles, also after the method's first `await`: the call has no more time than that request. `null`: the
   * call is no child, and goes on when the request that is being handled ends. Default: a call made before the first
   * `await` of a handler method is a child of the request that it handles; every other one is no child.
   */
  readonly signal?: AbortSignal | null;

  /**
   * The time in **seconds**, from 0 on, fractions included. Of a call without a stream and of an echo it limits the whole;
   * of a call with a stream and of a pipe, the time without progress: in which no part of the stream is taken, and no
   * answer comes. A child has the time that its parent has left, if that is less. `null`: no limit, and none from a
   * parent, which ends the call with itself all the same. Default, and with `Infinity`: the time that the parent has
   * left, where there is one; else no limit.
   */
  readonly timeout?: number | null;
}

/**
 * Checks the options of a call.
 *
 * @throws TypeError when they are no object, one of them is unknown, or one is of a wrong type.
 * @throws RangeError when the timeout is negative or NaN.
 */
export function checkCallOptions(options: unknown): CallOptions {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`The options of a call must be an object, such as {timeout: 2}. They are ${String(options)}.`);
  }
  const { signal, timeout, ...others } = options as Record<string, unknown>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw new TypeError(`A call has no option ${unknown}. Its options are signal and timeout.`);
  }
  if (signal !== undefined && signal !== null && !isSignal(signal)) {
    throw new TypeError('The option signal must be an AbortSignal or null.');
  }
  if (timeout !== undefined && timeout !== null && typeof timeout !== 'number') {
    throw new TypeError(`The option timeout must be a number of seconds or null. It is a ${typeof timeout}.`);
  }
  if (Number.isNaN(timeout) || (timeout ?? 0) < 0) {
    throw new RangeError(`The option timeout must be a number of seconds from 0 on. It is ${String(timeout)}.`);
  }
  // Later changes of the user's object change nothing.
  return { ...(options as CallOptions) };
}

// Also right for signals of other windows.
function isSignal(value: unknown): boolean {
  const { aborted, addEventListener } = value as Partial<AbortSignal>;
  return typeof aborted === 'boolean' && typeof addEventListener === 'function';
}
