/** When to try to connect again, and when to give up. */

/** How the client connects again. All times are in seconds. */
export interface RetryPolicy {
  /** The longest wait before the second attempt. Default 0.25. */
  readonly base: number;
  /** By what the longest wait grows with each attempt. Default 2. */
  readonly factor: number;
  /** The longest wait there is. Default 10. */
  readonly cap: number;
  /** How much of each wait is drawn at random, from 0 for none to 1 for all of it. Default 1. */
  readonly spread: number;
  /** The time without success, spent waiting and trying, after which the client stops. Default 600. */
  readonly giveUpAfter: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = { base: 0.25, factor: 2, cap: 10, spread: 1, giveUpAfter: 600 };

/**
 * Completes and checks a policy.
 *
 * @throws TypeError, RangeError when an option is not a number, or out of range.
 */
export function makeRetryPolicy(given: Partial<RetryPolicy>): RetryPolicy {
  const policy = { ...DEFAULT_RETRY_POLICY, ...given };
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
  if (policy.spread > 1) {
    throw new RangeError(`The option reconnect.spread must be at most 1, and is ${String(policy.spread)}.`);
  }
  return policy;
}

/**
 * Counts attempts and time. The waits grow exponentially and, unless the policy says otherwise, are drawn from their
 * whole range, so that many pages that lost the same server do not come back at once.
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

  /** The time to wait before the next attempt, in seconds; `null` when it is time to give up. */
  next(): number | null {
    if (this.#spent >= this.#policy.giveUpAfter) {
      return null;
    }
    const { base, factor, cap, spread } = this.#policy;
    const longest = Math.min(cap, base * factor ** this.#attempts);
    this.#attempts++;
    return longest * (1 - spread + spread * this.#random());
  }

  /** Takes note of time spent without a connection, in seconds. */
  spend(time: number): void {
    this.#spent += time;
  }

  /** Takes note of a connection. The waits become short again only when it has lasted. */
  succeed(): void {
    this.#spent = 0;
  }

  /** Takes note of a connection that has lasted. */
  last(): void {
    this.#attempts = 0;
  }
}
