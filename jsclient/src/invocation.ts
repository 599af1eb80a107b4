/** One request of the server that runs here: its AbortSignal, its time, and the requests made on its behalf. */

import { Alarm } from './alarm.js';
import type { Environment } from './environment.js';
import { StateError } from './errors.js';

/** Why a request ended before its code did; also the kind of the error that answers it. */
export type EndKind = 'cancelled' | 'timeout' | 'ended';

/** How a request ended before its code did. */
export interface End {
  readonly kind: EndKind;
  readonly message: string;
}

/** A request of this page that is made on behalf of one that runs here. */
export interface Child {
  readonly deadline: number;
  cancel(reason: unknown): void;
}

/** What a request that runs here needs of its session. */
export interface InvocationHost {
  readonly environment: Environment;
  /** Its time has passed. */
  expire(invocation: Invocation): void;
  /** It was ended, its code does not listen, and the last of its children has ended. */
  finishQuietly(invocation: Invocation): void;
}

// The requests by the signals that their code has got, so that it can make further requests on their behalf.
const bySignal = new WeakMap<AbortSignal, Invocation>();

/** A request of the server, from its arrival to its answer. */
export class Invocation {
  readonly id: number;
  readonly channel: number;
  /** When its time is over, by the environment's clock; `Infinity` for no limit. */
  readonly deadline: number;
  readonly host: InvocationHost;
  #controller: AbortController | undefined;
  #end: End | undefined;
  #isAnswered = false;
  #children: Set<Child> | undefined;
  #alarm: Alarm | undefined;

  constructor(id: number, channel: number, host: InvocationHost, deadline = Infinity) {
    this.id = id;
    this.channel = channel;
    this.host = host;
    this.deadline = deadline;
  }

  /** How the request was ended before its code had, if it was. */
  get end(): End | undefined {
    return this.#end;
  }

  /** Whether it was neither answered nor ended. */
  get isRunning(): boolean {
    return !this.#isAnswered && this.#end === undefined;
  }

  /** Whether something is expected to end soon when the request is ended: code that asked for the signal, or a child. */
  get isAwaited(): boolean {
    return this.#controller !== undefined || this.#hasChildren;
  }

  /** The time that is left, in seconds; `Infinity` without a limit. */
  get timeLeft(): number {
    return Math.max(this.deadline - this.host.environment.clock(), 0) / 1000;
  }

  /** Whether its time has passed. */
  get isLate(): boolean {
    return this.deadline !== Infinity && this.timeLeft === 0;
  }

  /** The signal that aborts when the request is ended before its code has. */
  get signal(): AbortSignal {
    // Only when it is asked for, for most methods never ask and a controller costs as much as a short call.
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      bySignal.set(this.#controller.signal, this);
      if (this.#end === undefined) {
        this.#watch();
      } else {
        this.#controller.abort(makeReason(this.#end));
      }
    }
    return this.#controller.signal;
  }

  get #hasChildren(): boolean {
    return this.#children !== undefined && this.#children.size > 0;
  }

  /** Aborts the signal and cancels the children. Has no effect after the first time. */
  abort(kind: EndKind, message: string): void {
    if (this.#end === undefined) {
      this.#end = { kind, message };
      this.#unwatch();
      if (this.isAwaited) {
        const reason = makeReason(this.#end);
        this.#controller?.abort(reason);
        this.#cancelChildren(reason);
      }
    }
  }

  /** Takes note that it was answered. Its children go on; from now on, they have nothing of it but its deadline. */
  noteAnswered(): void {
    this.#isAnswered = true;
    if (!this.#hasChildren) {
      this.#unwatch();
    }
  }

  /** Takes a request that ends with this one, at its deadline at the latest. */
  adopt(child: Child): void {
    this.#children ??= new Set();
    this.#children.add(child);
    this.#watch();
  }

  /** Lets a child go, which has ended. */
  release(child: Child): void {
    this.#children?.delete(child);
    if (!this.#hasChildren) {
      if (this.#isAnswered) {
        this.#unwatch();
      } else if (this.#end !== undefined && this.#controller === undefined) {
        this.host.finishQuietly(this);
      }
    }
  }

  #watch(): void {
    if (this.deadline !== Infinity) {
      this.#alarm ??= new Alarm(
        this.host.environment,
        () => this.deadline,
        () => {
          this.#expire();
        },
      );
    }
  }

  #unwatch(): void {
    this.#alarm?.stop();
    this.#alarm = undefined;
  }

  #expire(): void {
    if (this.#isAnswered) {
      const message = 'The time of the request on whose behalf the call was made has passed.';
      this.#cancelChildren(new DOMException(message, 'TimeoutError'));
    } else {
      this.host.expire(this);
    }
  }

  #cancelChildren(reason: DOMException): void {
    for (const child of [...(this.#children ?? [])]) {
      // After the answer, a child that has taken no time from its parent goes on.
      if (!this.#isAnswered || child.deadline <= this.deadline) {
        child.cancel(reason);
      }
    }
  }
}

function makeReason({ kind, message }: End): DOMException {
  return new DOMException(message, kind === 'timeout' ? 'TimeoutError' : 'AbortError');
}

let current: Invocation | undefined;

/** Calls a function during which `findCurrent` and `getCurrent` give an invocation. */
export function runDuring<T>(invocation: Invocation, run: () => T): T {
  const outer = current;
  current = invocation;
  try {
    return run();
  } finally {
    current = outer;
  }
}

/** The request of a session that is being invoked right now, if one is. */
export function findCurrent(host: InvocationHost): Invocation | undefined {
  return current?.host === host ? current : undefined;
}

/** The request of a session whose code has got this signal, if it is one of those. */
export function findBySignal(signal: AbortSignal, host: InvocationHost): Invocation | undefined {
  const invocation = bySignal.get(signal);
  return invocation?.host === host ? invocation : undefined;
}

/**
 * The request of a channel that is being invoked right now.
 *
 * @throws StateError when none is.
 */
export function getCurrent(channel: number): Invocation {
  if (current?.channel !== channel) {
    throw new StateError(
      'channel.signal and channel.timeLeft can be read only while a handler method of the channel is being called, ' +
        'before its first await. Read them into variables at the beginning of the method.',
    );
  }
  return current;
}
