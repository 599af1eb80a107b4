/** Deciding when to connect again, and when to give up. */

import { checkNames } from '../options.js';

/** When the client connects again after a lost connection. All times are in seconds. */
export interface RetryPolicy {
  /** The longest wait before the second attempt. Default 0.25. */
  readonly base: number;
  /** The factor by which the longest wait grows with each attempt. Default 2. */
  readonly factor: number;
  /** The upper limit of the longest wait. Default 10. */
  readonly cap: number;
  /** The fraction of each wait that is random, from 0 to 1. Default 1. */
  readonly spread: number;
  /** The time without a connection, spent waiting and trying, after which the client stops. Default 600. */
  readonly giveUpAfter: number;
}

/** That of pages; the notebook's connection has its own. */
export const DEFAULT_RETRY_POLICY: RetryPolicy = { base: 0.25, factor: 2, cap: 10, spread: 1, giveUpAfter: 600 };

/**
 * Return a checked policy, with defaults for what is missing.
 *
 * @throws TypeError if an option is unknown or not a number.
 * @throws RangeError if an option is out of range, or would have no effect.
 */
export function makeRetryPolicy(options: Partial<RetryPolicy>): RetryPolicy {
  checkNames('reconnect', options, Object.keys(DEFAULT_RETRY_POLICY));
  const policy = { ...DEFAULT_RETRY_POLICY, ...options };
  for (const [name, least] of [
    ['base', 0],
    ['factor', 1],
    ['cap', 0],
    ['spread', 0],
    ['giveUpAfter', 0],
  ] as const) {
    const value: unknown = policy[name];
    if (typeof value !== 'number' || Number.isNaN(value)) {
      throw new TypeError(`The option reconnect.${name} must be a number.`);
    }
    if (value < least) {
      throw new RangeError(`The option reconnect.${name} must be at least ${String(least)}, and is ${String(value)}.`);
    }
  }
  if (options.base !== undefined && options.base > policy.cap) {
    throw new RangeError(
      `The option reconnect.base is ${String(policy.base)}, and reconnect.cap limits it to ${String(policy.cap)}. ` +
        'Give a greater reconnect.cap, too.',
    );
  }
  if (policy.spread > 1) {
    throw new RangeError(`The option reconnect.spread must be at most 1, and is ${String(policy.spread)}.`);
  }
  return policy;
}

/**
 * Counts attempts and time. The waits grow exponentially and, unless the policy says otherwise, each is drawn at random
 * from its whole range, so that many pages of one server do not all come back at the same time.
 */
export class Retry {
  readonly #policy: RetryPolicy;
  readonly #random: () => number;
  #attempts = 0;
  #spent = 0;

  constructor(policy: RetryPolicy, random: () => number) {
    this.#policy = policy;
    this.#random = random;
  }

  /** Return the time to wait before the next attempt, in seconds; `null` if it is time to give up. */
  next(): number | null {
    if (this.#spent >= this.#policy.giveUpAfter) {
      return null;
    }
    const { base, factor, cap, spread } = this.#policy;
    const longest = Math.min(cap, base * factor ** this.#attempts);
    this.#attempts++;
    return longest * (1 - spread + spread * this.#random());
  }

  /** Count time spent without a connection, in seconds. */
  spend(time: number): void {
    this.#spent += time;
  }

  /** Record that there is a connection. The waits become short again only when it has lasted. */
  markConnected(): void {
    this.#spent = 0;
  }

  /** Record that the connection has lasted. */
  markLasting(): void {
    this.#attempts = 0;
  }
}
