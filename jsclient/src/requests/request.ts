/** One request of this page, from the call to its outcome. */

import type { Environment } from '../connection/environment.js';
import type { OutgoingStream } from '../streams/outgoing.js';
import { Alarm } from './alarm.js';
import { makeTimeoutError, NO_LIMITS, type Limits } from './deadlines.js';
import type { Child, Invocation } from './invocation.js';
import { follow, unfollow } from './signals.js';

/**
 * The state of a request.
 *
 * - `opening`: its stream is being opened, and it has not been sent;
 * - `sent`: it waits for its answer;
 * - `cancelling`: it was cancelled, and waits for the server to end it;
 * - `done`: its caller has the outcome.
 */
export type RequestState = 'opening' | 'sent' | 'cancelling' | 'done';

/** What a request needs of its outbox. */
export interface RequestHost {
  readonly environment: Environment;
  /** The longest time in seconds that a cancelled request waits for its answer. */
  readonly cancelWait: number;
  /** Tell the server that a request is cancelled. */
  sendCancel(id: number): void;
}

/** A request of this page. */
export class Request implements Child {
  readonly channel: number;
  /** The stream that the request sends. */
  outgoing: OutgoingStream | undefined;
  readonly #what: string;
  readonly #limits: Limits;
  readonly #host: RequestHost;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (reason: unknown) => void;
  #state: RequestState = 'opening';
  /** The id on the wire, once it is sent. */
  #id = 0;
  /** Why the request was cancelled. */
  #reason: unknown;
  #alarm: Alarm | undefined;
  #lastProgress = 0;

  /** @param what - What error messages call the request. */
  constructor(
    channel: number,
    what: string,
    limits: Limits,
    host: RequestHost,
    resolve: (value: unknown) => void,
    reject: (reason: unknown) => void,
  ) {
    this.channel = channel;
    this.#what = what;
    this.#limits = limits;
    this.#host = host;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** The state of the request. */
  get state(): RequestState {
    return this.#state;
  }

  /** The deadline by the environment's clock. */
  get deadline(): number {
    return this.#limits.deadline;
  }

  /** The parent, if the request has the parent's deadline and no earlier one. */
  get parentInTime(): Invocation | undefined {
    const { parent, deadline } = this.#limits;
    return deadline !== Infinity && parent?.deadline === deadline ? parent : undefined;
  }

  /** The time left as the message says it: whole milliseconds, in seconds. `undefined` without a deadline. */
  get timeout(): number | undefined {
    const { deadline } = this.#limits;
    return deadline === Infinity
      ? undefined
      : Math.max(Math.floor(deadline - this.#host.environment.clock()), 0) / 1000;
  }

  /** The id of the parent, as long as that is running. */
  get parentId(): number | undefined {
    const { parent } = this.#limits;
    return parent?.isRunning ? parent.id : undefined;
  }

  /** Start to watch the limits. */
  watch(): void {
    if (this.#limits === NO_LIMITS) {
      return;
    }
    const { parent, signal, deadline, idle } = this.#limits;
    const { environment } = this.#host;
    parent?.addChild(this);
    if (signal !== undefined) {
      follow(signal, this);
    }
    if (idle !== Infinity || deadline < (parent?.deadline ?? Infinity)) {
      this.#lastProgress = environment.clock();
      this.#alarm = new Alarm(
        environment,
        () => Math.min(deadline, this.#lastProgress + idle),
        () => {
          this.#expire();
        },
      );
    }
  }

  /** Record that the request was sent. */
  markSent(id: number): void {
    this.#state = 'sent';
    this.#id = id;
  }

  /** Record progress, which restarts the time without progress. */
  markProgress(): void {
    this.#lastProgress = this.#host.environment.clock();
  }

  /**
   * Cancel the request. It rejects with the reason at once if it has not been sent, else when the server has answered
   * or has had the time to.
   */
  cancel(reason: unknown): void {
    if (this.#state === 'cancelling' || this.#state === 'done') {
      return;
    }
    const isSent = this.#state === 'sent';
    this.#state = 'cancelling';
    this.#reason = reason;
    this.#unwatch();
    this.outgoing?.close();
    if (!isSent) {
      this.fail(reason);
      return;
    }
    const { environment, cancelWait } = this.#host;
    this.#host.sendCancel(this.#id);
    const due = environment.clock() + cancelWait * 1000;
    this.#alarm = new Alarm(
      environment,
      () => due,
      () => {
        this.fail(reason);
      },
    );
  }

  /** Resolve with a value; reject with the reason if the request was cancelled. */
  succeed(value: unknown): void {
    if (this.#state === 'sent') {
      this.#finish();
      this.#resolve(value);
    } else {
      this.fail(this.#reason);
    }
  }

  /** Reject with an error; with the reason if the request was cancelled. */
  fail(error: unknown): void {
    if (this.#state !== 'done') {
      const reason = this.#state === 'cancelling' ? this.#reason : error;
      this.#finish();
      this.#reject(reason);
    }
  }

  #finish(): void {
    this.#state = 'done';
    if (this.#limits !== NO_LIMITS) {
      this.#unwatch();
      this.#limits.parent?.removeChild(this);
    }
  }

  #unwatch(): void {
    this.#alarm?.stop();
    if (this.#limits.signal !== undefined) {
      unfollow(this.#limits.signal, this);
    }
  }

  #expire(): void {
    const { idle, deadline, begun } = this.#limits;
    const isStuck = idle < deadline - this.#lastProgress;
    const seconds = Math.round(isStuck ? idle : deadline - begun) / 1000;
    const problem = isStuck ? 'made no progress for' : 'was not answered within';
    this.cancel(makeTimeoutError(`${this.#what} ${problem} ${String(seconds)} s, and has been cancelled.`));
  }
}
