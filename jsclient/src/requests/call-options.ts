/** The options of a call. */

import { checkNames } from '../options.js';

/**
 * The options of a call, an echo or a pipe.
 *
 * Times are in **seconds**, as everywhere in jchannel, in JavaScript and in Python, and not in milliseconds.
 */
export interface CallOptions {
  /**
   * A signal that cancels the call when it aborts. The `channel.signal` of a handler method makes the call a child of
   * the request that the method handles, also after the method's first `await`: the call has no more time than that
   * request. `null`: the call is not a child, and goes on when the request that is being handled ends. Default: a call
   * made before the first `await` of a handler method is a child of the request that it handles, and any other call is
   * not a child.
   */
  readonly signal?: AbortSignal | null;

  /**
   * The time in **seconds**, at least 0, fractions included. For a call without a stream and for an echo it is the
   * whole time. For a call with a stream and for a pipe it is the time without progress, in which no part of the stream
   * is taken and no answer comes. A child has at most the time that its parent has left. `null`: no limit, not even
   * that of a parent, which still cancels the call when it ends. Default, and with `Infinity`: the time that the parent
   * has left if there is a parent, else no limit.
   */
  readonly timeout?: number | null;
}

/**
 * Check the options of a call, and return a copy.
 *
 * @throws TypeError if they are not an object, or if one of them is unknown or has the wrong type.
 * @throws RangeError if the timeout is negative or NaN.
 */
export function checkCallOptions(options: unknown): CallOptions {
  checkNames('channel.with', options, ['signal', 'timeout']);
  const { signal, timeout } = options as Record<string, unknown>;
  if (signal !== undefined && signal !== null && !isSignal(signal)) {
    throw new TypeError('The option signal must be an AbortSignal or null.');
  }
  if (timeout !== undefined && timeout !== null && typeof timeout !== 'number') {
    throw new TypeError(`The option timeout must be a number of seconds or null. It is a ${typeof timeout}.`);
  }
  if (Number.isNaN(timeout) || (timeout ?? 0) < 0) {
    throw new RangeError(`The option timeout must be a number of seconds from 0 on. It is ${String(timeout)}.`);
  }
  // A copy, so that later changes of the user's object have no effect.
  return { ...(options as CallOptions) };
}

// It works for signals of other windows, too.
function isSignal(value: unknown): boolean {
  const { aborted, addEventListener } = value as Partial<AbortSignal>;
  return typeof aborted === 'boolean' && typeof addEventListener === 'function';
}
