/** One request of this page, from the call to its end: who waits for it, and what ends the wait before the answer. */

import { Alarm } from './alarm.js';
import type { Environment } from './environment.js';
import { follow, unfollow } from './followers.js';
import type { Invocation } from './invocation.js';
import type { Outgoing } from './outgoing.js';

/** What ends a request before its answer. Times are in milliseconds; `Infinity` is no limit. */
export interface Bounds {
  /** The request of the server that it is a child of. */
  readonly parent: Invocation | undefined;
  /** Cancels it. */
  readonly signal: AbortSignal | undefined;
  /** When it is over, by the environment's clock. */
  readonly deadline: number;
  /** How long it may make no progress. */
  readonly idle: number;
  /** When it began. */
  readonly begun: number;
}

/** The bounds of a request that has none. */
export const UNBOUNDED: Bounds = {
  parent: undefined,
  signal: undefined,
  deadline: Infinity,
  idle: Infinity,
  begun: 0,
};

/** What a request needs of its session. */
export interface PendingHost {
  readonly environment: Environment;
  /** The most seconds that a cancelled request waits for its answer. */
  readonly cancelWait: number;
  /** Tells the server that a request is cancelled. */
  sendCancel(id: number): void;
}

/** A request of this page that has no outcome yet. */
export class Pending {
  readonly channel: number;
  /** Its id; 0 before it is sent. */
  id = 0;
  /** The stream that it carries. */
  outgoing: Outgoing | undefined;
  readonly #what: string;
  readonly #bounds: Bounds;
  readonly #host: PendingHost;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (reason: unknown) => void;
  #alarm: Alarm | undefined;
  #since = 0;
  #cancellation: { readonly reason: unknown } | undefined;
  #isSettled = false;

  /** @param what - What it is called in messages for people. */
  constructor(
    channel: number,
    what: string,
    bounds: Bounds,
    host: PendingHost,
    resolve: (value: unknown) => void,
    reject: (reason: unknown) => void,
  ) {
    this.channel = channel;
    this.#what = what;
    this.#bounds = bounds;
    this.#host = host;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** When its time is over, by the environment's clock. */
  get deadline(): number {
    return this.#bounds.deadline;
  }

  /** Whether it has been cancelled, so that its answer does not matter. */
  get isCancelled(): boolean {
    return this.#cancellation !== undefined;
  }

  /** Whether nobody waits for it any more. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** The parent, if the request has as much time as that has, and no less. */
  get parentInTime(): Invocation | undefined {
    const { parent, deadline } = this.#bounds;
    return deadline !== Infinity && parent?.deadline === deadline ? parent : undefined;
  }

  /** What its message tells of its time: whole milliseconds, in seconds. `undefined` where it is not limited. */
  get timeout(): number | undefined {
    const { deadline } = this.#bounds;
    return deadline === Infinity
      ? undefined
      : Math.max(Math.floor(deadline - this.#host.environment.clock()), 0) / 1000;
  }

  /** The id of its parent, as long as that has not been answered. */
  get parentId(): number | undefined {
    const { parent } = this.#bounds;
    return parent?.isRunning ? parent.id : undefined;
  }

  /** Begins to watch over what ends it. */
  begin(): void {
    if (this.#bounds === UNBOUNDED) {
      return;
    }
    const { parent, signal, deadline, idle } = this.#bounds;
    const { environment } = this.#host;
    parent?.adopt(this);
    if (signal !== undefined) {
      follow(signal, this);
    }
    if (idle !== Infinity || deadline < (parent?.deadline ?? Infinity)) {
      this.#since = environment.clock();
      this.#alarm = new Alarm(
        environment,
        () => Math.min(deadline, this.#since + idle),
        () => {
          this.#expire();
        },
      );
    }
  }

  /** Takes note of progress, which gives a request that is limited by that all its time again. */
  noteProgress(): void {
    this.#since = this.#host.environment.clock();
  }

  /** Cancels it: the server is told, and the caller gets the reason when that has ended it, or has had time to. */
  cancel(reason: unknown): void {
    if (this.#cancellation !== undefined) {
      return;
    }
    this.#cancellation = { reason };
    this.#unwatch();
    this.outgoing?.close();
    if (this.id === 0) {
      this.fail(reason);
      return;
    }
    const { environment, cancelWait } = this.#host;
    this.#host.sendCancel(this.id);
    const due = environment.clock() + cancelWait * 1000;
    this.#alarm = new Alarm(
      environment,
      () => due,
      () => {
        this.fail(reason);
      },
    );
  }

  /** Gives its caller a value, unless the request was cancelled. */
  succeed(value: unknown): void {
    if (this.#cancellation === undefined) {
      this.#settle();
      this.#resolve(value);
    } else {
      this.fail(this.#cancellation.reason);
    }
  }

  /** Gives its caller an error: the reason it was cancelled for, if it was. */
  fail(error: unknown): void {
    if (!this.#isSettled) {
      this.#settle();
      this.#reject(this.#cancellation === undefined ? error : this.#cancellation.reason);
    }
  }

  #settle(): void {
    this.#isSettled = true;
    if (this.#bounds !== UNBOUNDED) {
      this.#unwatch();
      this.#bounds.parent?.release(this);
    }
  }

  #unwatch(): void {
    this.#alarm?.stop();
    if (this.#bounds.signal !== undefined) {
      unfollow(this.#bounds.signal, this);
    }
  }

  #expire(): void {
    const { idle, deadline, begun } = this.#bounds;
    const isStuck = idle < deadline - this.#since;
    const seconds = Math.round(isStuck ? idle : deadline - begun) / 1000;
    const problem = isStuck ? 'made no progress for' : 'was not answered within';
    this.cancel(makeTimeout(`${this.#what} ${problem} ${String(seconds)} s, and has been cancelled.`));
  }
}

/** The error of a time that has passed. */
export function makeTimeout(message: string): DOMException {
  return new DOMException(message, 'TimeoutError');
}
