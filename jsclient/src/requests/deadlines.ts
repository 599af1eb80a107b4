/** What ends a request of this page before its answer: a deadline, a signal, or the end of its parent. */

import type { CallOptions } from './call-options.js';
import { findBySignal, findCurrent, type Invocation, type InvocationHost } from './invocation.js';

/** What ends a request before its answer. Times are in milliseconds; `Infinity` is no limit. */
export interface Limits {
  /** The invocation that the request is a child of. */
  readonly parent: Invocation | undefined;
  /** The signal that cancels the request. */
  readonly signal: AbortSignal | undefined;
  /** The deadline by the environment's clock. */
  readonly deadline: number;
  /** The longest time without progress. */
  readonly idle: number;
  /** When the request began. */
  readonly begun: number;
}

/** The limits of a request that has none. */
export const NO_LIMITS: Limits = {
  parent: undefined,
  signal: undefined,
  deadline: Infinity,
  idle: Infinity,
  begun: 0,
};

/**
 * Return the limits of a request that is made now.
 *
 * @param options - The user's options.
 * @param hasStream - Whether the request has a stream, so that its timeout is the time without progress.
 * @param host - The host of the invocations that the request can be a child of.
 */
export function findLimits(options: CallOptions | undefined, hasStream: boolean, host: InvocationHost): Limits {
  const signal = options?.signal;
  const timeout = options?.timeout;
  const owner = signal ? findBySignal(signal, host) : undefined;
  const parent = owner ?? findCurrent(host);
  if (parent === undefined && !signal && typeof timeout !== 'number') {
    return NO_LIMITS;
  }
  const begun = host.environment.clock();
  const inherited = timeout === null ? Infinity : (parent?.deadline ?? Infinity);
  const limit = (timeout ?? Infinity) * 1000;
  return {
    parent: signal === null ? undefined : parent,
    // The signal of an invocation needs no listener: the invocation cancels its children.
    signal: owner === undefined && signal ? signal : undefined,
    deadline: hasStream ? inherited : Math.min(inherited, begun + limit),
    idle: hasStream ? limit : Infinity,
    begun,
  };
}

/** Return the error of a timeout. */
export function makeTimeoutError(message: string): DOMException {
  return new DOMException(message, 'TimeoutError');
}
