/** One request of the server that runs here: its AbortSignal, its deadline, its streams, and its child requests. */

import type { Environment } from '../connection/environment.js';
import { StateError } from '../errors.js';
import type { OutgoingStream } from '../streams/outgoing.js';
import type { ReceivedStream } from '../streams/registry.js';
import { Alarm } from './alarm.js';

/**
 * The state of an invocation.
 *
 * - `running`: its code runs;
 * - `ended`: it was ended before its code, and has not been answered;
 * - `answered`: its answer has been sent.
 */
type InvocationState = 'running' | 'ended' | 'answered';

/** Why an invocation was ended before its code; also the kind of the error that answers it. */
export type EndKind = 'cancelled' | 'timeout' | 'ended';

/** Why an invocation was ended before its code. */
export interface End {
  readonly kind: EndKind;
  readonly message: string;
}

/** A request of this page that is made on behalf of an invocation. */
export interface Child {
  readonly deadline: number;
  cancel(reason: unknown): void;
}

/** What an invocation needs of the dispatcher that runs it. */
export interface InvocationHost {
  readonly environment: Environment;
  /** Called when the deadline of an invocation that has not been answered has passed. */
  expire(invocation: Invocation): void;
  /** Called when the last child of an ended invocation has ended, and its code does not listen to the signal. */
  answerEnded(invocation: Invocation): void;
}

// The invocations by the signals that their code has read, so that it can make child requests with them.
const bySignal = new WeakMap<AbortSignal, Invocation>();

/** A request of the server, from its arrival to its answer. */
export class Invocation {
  readonly id: number;
  readonly channel: number;
  /** The deadline by the environment's clock; `Infinity` for none. */
  readonly deadline: number;
  readonly host: InvocationHost;
  /** The stream that came with the request. */
  argument: ReceivedStream | undefined;
  /** The stream that will be the result, until it is announced. */
  result: OutgoingStream | undefined;
  #state: InvocationState = 'running';
  #end: End | undefined;
  #controller: AbortController | undefined;
  #children: Set<Child> | undefined;
  #alarm: Alarm | undefined;

  constructor(id: number, channel: number, host: InvocationHost, deadline = Infinity) {
    this.id = id;
    this.channel = channel;
    this.host = host;
    this.deadline = deadline;
  }

  /** Why the invocation was ended before its code, if it was. */
  get end(): End | undefined {
    return this.#end;
  }

  /** Whether the invocation has been neither ended nor answered. */
  get isRunning(): boolean {
    return this.#state === 'running';
  }

  /** Whether ending the invocation makes something else end soon: code that has read the signal, or a child. */
  get isAwaited(): boolean {
    return this.#controller !== undefined || this.#hasChildren;
  }

  /** The time that is left, in seconds; `Infinity` without a deadline. */
  get timeLeft(): number {
    return Math.max(this.deadline - this.host.environment.clock(), 0) / 1000;
  }

  /** Whether the deadline has passed. */
  get isLate(): boolean {
    return this.deadline !== Infinity && this.timeLeft === 0;
  }

  /** The signal that aborts when the invocation is ended before its code. */
  get signal(): AbortSignal {
    // Created on demand: most methods never read it, and a controller costs as much as a short call.
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

  /** End the invocation: abort its signal, cancel its children, and end its streams. Only the first call counts. */
  abort(kind: EndKind, message: string): void {
    if (this.#state === 'running') {
      this.#state = 'ended';
      this.#end = { kind, message };
      this.argument?.fail(message);
      this.#unwatch();
      if (this.isAwaited) {
        const reason = makeReason(this.#end);
        this.#controller?.abort(reason);
        this.#cancelChildren(reason);
      }
      this.result?.close();
    }
  }

  /** Record that the answer is sent. The children go on, until the deadline at the latest. */
  markAnswered(): void {
    this.#state = 'answered';
    if (!this.#hasChildren) {
      this.#unwatch();
    }
  }

  /** Add a child, which ends with the invocation, and at its deadline at the latest. */
  addChild(child: Child): void {
    this.#children ??= new Set();
    this.#children.add(child);
    this.#watch();
  }

  /** Remove a child that has ended. */
  removeChild(child: Child): void {
    this.#children?.delete(child);
    if (!this.#hasChildren) {
      if (this.#state === 'answered') {
        this.#unwatch();
      } else if (this.#state === 'ended' && this.#controller === undefined) {
        this.host.answerEnded(this);
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
    if (this.#state === 'answered') {
      const message = 'The time of the request on whose behalf the call was made has passed.';
      this.#cancelChildren(new DOMException(message, 'TimeoutError'));
    } else {
      this.host.expire(this);
    }
  }

  #cancelChildren(reason: DOMException): void {
    for (const child of [...(this.#children ?? [])]) {
      // After the answer, a child that did not inherit the deadline goes on.
      if (this.#state !== 'answered' || child.deadline <= this.deadline) {
        child.cancel(reason);
      }
    }
  }
}

function makeReason({ kind, message }: End): DOMException {
  return new DOMException(message, kind === 'timeout' ? 'TimeoutError' : 'AbortError');
}

let current: Invocation | undefined;

/** Call a function with an invocation as the current one, and return what it returns. */
export function runDuring<T>(invocation: Invocation, run: () => T): T {
  const outer = current;
  current = invocation;
  try {
    return run();
  } finally {
    current = outer;
  }
}

/** Return the current invocation, if it is one of this host. */
export function findCurrent(host: InvocationHost): Invocation | undefined {
  return current?.host === host ? current : undefined;
}

/** Return the invocation that a signal belongs to, if it is one of this host. */
export function findBySignal(signal: AbortSignal, host: InvocationHost): Invocation | undefined {
  const invocation = bySignal.get(signal);
  return invocation?.host === host ? invocation : undefined;
}

/**
 * Return the current invocation of a channel.
 *
 * @throws StateError if there is none.
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
