/** The requests of this page on one connected socket: who waits for which answer. */

import type { CallOptions } from './call-options.js';
import type { Environment } from './environment.js';
import { ClosedError, KernelError, RemoteCancelledError, StateError } from './errors.js';
import { findBySignal, findCurrent, type InvocationHost } from './invocation.js';
import { makeTimeout, Pending, UNBOUNDED, type Bounds, type PendingHost } from './pending.js';
import type { Connection, RequestBody } from './protocol/connection.js';
import type { Call, Echo, ErrorAnswer, Pipe, Result } from './protocol/messages.js';
import { pack } from './protocol/values.js';
import { discard } from './source.js';
import type { Streams } from './streams.js';
import type { Writer } from './writer.js';

/** A request of this page before it has its id, and without its stream. */
export type RequestDraft =
  | Omit<Echo, 'id'>
  | Omit<Call, 'id' | 'stream' | 'timeout' | 'parent'>
  | Omit<Pipe, 'id' | 'stream' | 'timeout' | 'parent'>;

/** What was given to be sent as the stream of a request. */
export interface GivenStream {
  readonly source: unknown;
}

/** How a session ends, for those who wait. */
export interface Ending {
  /** The class of the errors that they get. */
  readonly Reason: new (message: string) => StateError;
  readonly message: string;
  /** The message for the readers of streams. */
  readonly streamMessage: string;
}

const NO_OPTIONS: CallOptions = {};

/** The requests of this page. */
export class Requests implements PendingHost {
  /** As the server's welcome has it. */
  cancelWait = 0;
  readonly #connection: Connection;
  readonly #writer: Writer;
  readonly #streams: Streams;
  readonly #host: InvocationHost;
  readonly #pending = new Map<number, Pending>();

  /** @param host - The host of the requests that this one's may be children of. */
  constructor(connection: Connection, writer: Writer, streams: Streams, host: InvocationHost) {
    this.#connection = connection;
    this.#writer = writer;
    this.#streams = streams;
    this.#host = host;
  }

  get environment(): Environment {
    return this.#host.environment;
  }

  /**
   * Makes a request of the server. Its arguments are encoded at once, but with a stream it may leave a little later.
   *
   * @param stream - What is sent as its stream. A pipe has one, and a call may have one.
   * @param options - What may end it before its answer.
   * @returns The answer's value or stream. It rejects with what the answer says, with the reason of `end`, with what
   *   has cancelled it, or when the request's values or its stream cannot be sent.
   */
  make(draft: RequestDraft, stream?: GivenStream, options?: CallOptions): Promise<unknown> {
    const bounds = this.#bound(options, stream !== undefined);
    const what = describeRequest(draft);
    if (bounds.deadline <= bounds.begun || bounds.idle === 0) {
      discard(stream?.source);
      return Promise.reject(makeTimeout(`${what} was not sent: no time was left for it.`));
    }
    return new Promise((resolve, reject) => {
      const pending = new Pending(draft.channel, what, bounds, this, resolve, reject);
      if (draft.type === 'echo' || stream === undefined) {
        const isPlain = draft.type === 'echo' || bounds === UNBOUNDED;
        this.#await(this.#connection.request((isPlain ? draft : addTerms(draft, pending)) as RequestBody), pending);
        pending.begin();
        return;
      }
      const body = draft.type === 'call' ? { ...draft, args: pack(draft.args, 'args') } : draft;
      const outgoing = this.#streams.take(draft.channel, stream.source);
      outgoing.onTaken = () => {
        pending.noteProgress();
      };
      pending.outgoing = outgoing;
      pending.begin();
      outgoing.prepare((data) => {
        if (pending.isSettled) {
          return;
        }
        if (outgoing.endError !== undefined) {
          pending.fail(outgoing.endError);
          return;
        }
        try {
          const id = this.#streams.announce(outgoing, data, (info) =>
            this.#connection.request(addTerms({ ...body, stream: info }, pending) as RequestBody),
          );
          this.#await(id, pending);
        } catch (error) {
          pending.fail(error);
        }
      });
    });
  }

  /** Takes the answer to a request. A late one is dropped. */
  takeResult({ id, value, stream }: Result): void {
    const pending = this.#takePending(id);
    if (stream === undefined) {
      pending?.succeed(value);
    } else if (pending !== undefined && !pending.isCancelled) {
      pending.succeed(this.#streams.receive(pending.channel, stream).reader);
    } else {
      // The channel was closed or the request cancelled while the answer was on its way.
      this.#streams.refuse(stream);
      pending?.succeed(null);
    }
  }

  /** Takes the answer to a request that has failed. */
  takeError(message: ErrorAnswer): void {
    const pending = this.#takePending(message.id);
    const parent = message.kind === 'timeout' ? pending?.parentInTime : undefined;
    if (parent?.isRunning) {
      // By the clock of Python, which set it, the parent's time has passed too.
      parent.host.expire(parent);
    }
    pending?.fail(makeError(message));
  }

  /** When the time of a request is over; `Infinity` where it is not limited, or the request has been answered. */
  deadlineOf(id: number): number {
    return this.#pending.get(id)?.deadline ?? Infinity;
  }

  /** Ends the requests of a channel that is closed. */
  endChannel(channel: number, message: string): void {
    for (const [id, pending] of [...this.#pending].filter(([, waiting]) => waiting.channel === channel)) {
      this.#pending.delete(id);
      pending.fail(new ClosedError(message));
    }
  }

  /** Ends all requests. */
  end({ Reason, message }: Ending): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const request of pending) {
      request.fail(new Reason(message));
    }
  }

  sendCancel(id: number): void {
    this.#connection.send({ type: 'cancel', id });
    this.#writer.wake();
  }

  /** What ends a request, by its options and by what runs right now. */
  #bound(options: CallOptions | undefined, hasStream: boolean): Bounds {
    const { signal, timeout } = options ?? NO_OPTIONS;
    const own = signal ? findBySignal(signal, this.#host) : undefined;
    const origin = own ?? findCurrent(this.#host);
    if (origin === undefined && !signal && typeof timeout !== 'number') {
      return UNBOUNDED;
    }
    const begun = this.environment.clock();
    const inherited = timeout === null ? Infinity : (origin?.deadline ?? Infinity);
    const limit = (timeout ?? Infinity) * 1000;
    const deadline = hasStream ? inherited : Math.min(inherited, begun + limit);
    const idle = hasStream ? limit : Infinity;
    return {
      // A signal of this session's own needs no listener: its request ends its children.
      parent: signal === null ? undefined : origin,
      signal: own === undefined && signal ? signal : undefined,
      deadline,
      idle,
      begun,
    };
  }

  #await(id: number, pending: Pending): void {
    pending.id = id;
    this.#pending.set(id, pending);
    this.#writer.wake();
  }

  #takePending(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }
}

/** Adds what a request's message tells of its time and its parent. Fields that are `undefined` are not sent. */
function addTerms(body: object, { timeout, parentId }: Pending): object {
  return { ...body, timeout, parent: parentId };
}

/** What a request is called in messages for people. */
function describeRequest(draft: RequestDraft): string {
  return draft.type === 'call' ? `The call of '${draft.name}'` : `The ${draft.type}`;
}

/** The error that a call rejects with. What could not run here or there is a StateError; the rest is Python's. */
function makeError({ kind, name, message, stack }: ErrorAnswer): Error {
  switch (kind) {
    case 'channel':
    case 'ended':
      return new ClosedError(message);
    case 'busy':
      return new StateError(message);
    case 'cancelled':
    case 'aborted':
      return new RemoteCancelledError(message);
    case 'timeout':
      return makeTimeout(message);
    default:
      return new KernelError(kind, name, message, stack);
  }
}
