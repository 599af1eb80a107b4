/** The requests of this page in one session. */

import type { Environment } from '../connection/environment.js';
import type { Writer } from '../connection/writer.js';
import { ClosedError, KernelError, RemoteCancelledError, StateError } from '../errors.js';
import type { Connection, RequestBody } from '../protocol/connection.js';
import { sizeOfPacked, type Call, type Echo, type ErrorAnswer, type Pipe, type Result } from '../protocol/messages.js';
import { pack, Packed, type Nan } from '../protocol/values.js';
import type { StreamRegistry } from '../streams/registry.js';
import { discard } from '../streams/sources.js';
import { makeTimeoutError, NO_LIMITS, type Limits } from './deadlines.js';
import { Request, type RequestHost } from './request.js';

interface Arguments {
  readonly args?: readonly unknown[];
  /** What becomes of NaN and the infinities in them. */
  readonly nan?: Nan | undefined;
}

/** A request of this page without its id, its stream, its time and its parent. */
export type RequestDraft =
  | (Omit<Echo, 'id'> & Arguments)
  | (Omit<Call, 'id' | 'stream' | 'timeout' | 'parent'> & Arguments)
  | Omit<Pipe, 'id' | 'stream' | 'timeout' | 'parent'>;

/** What the user wants to send as the stream of a request. */
export interface StreamArgument {
  readonly source: unknown;
}

/** The requests of this page in one session. */
export class Outbox implements RequestHost {
  readonly environment: Environment;
  /** The longest time in seconds that a cancelled request waits for its answer. The server's `welcome` sets it. */
  cancelWait = 0;
  readonly #connection: Connection;
  readonly #writer: Writer;
  readonly #streams: StreamRegistry;
  readonly #requests = new Map<number, Request>();

  constructor(connection: Connection, writer: Writer, streams: StreamRegistry, environment: Environment) {
    this.#connection = connection;
    this.#writer = writer;
    this.#streams = streams;
    this.environment = environment;
  }

  /**
   * Make a request. Its arguments are encoded before this returns; a request with a stream may be sent a little later.
   *
   * @param stream - The stream to send. A pipe has one, and a call may have one.
   * @param limits - What ends the request before its answer.
   * @returns The value or the stream of the answer. It rejects with the error of the answer, with what ends the
   *   session, with the reason of its cancellation, or with what is wrong with the arguments or the stream.
   */
  make(draft: RequestDraft, stream: StreamArgument | undefined, limits: Limits): Promise<unknown> {
    const what = describeRequest(draft);
    if (limits.deadline <= limits.begun || limits.idle === 0) {
      discard(stream?.source);
      return Promise.reject(makeTimeoutError(`${what} was not sent: no time was left for it.`));
    }
    return new Promise((resolve, reject) => {
      const request = new Request(draft.channel, what, limits, this, resolve, reject);
      if (draft.type === 'echo' || stream === undefined) {
        const isPlain = draft.type === 'echo' || limits === NO_LIMITS;
        const body = packWithNan(draft);
        this.#add(this.#connection.request((isPlain ? body : addContext(body, request)) as RequestBody), request);
        request.watch();
        this.#writer.wake();
        return;
      }
      const body = draft.type === 'call' ? { ...draft, args: pack(draft.args, 'args', draft.nan) } : draft;
      const outgoing = this.#streams.open(draft.channel, stream.source);
      outgoing.onTaken = () => {
        request.markProgress();
      };
      request.outgoing = outgoing;
      request.watch();
      const room = this.#connection.roomBeside(sizeOfBody(body));
      outgoing.prepare(room, (data) => {
        if (request.state === 'done') {
          return;
        }
        if (outgoing.endError !== undefined) {
          request.fail(outgoing.endError);
          return;
        }
        try {
          const id = this.#streams.announce(outgoing, data, (info) =>
            this.#connection.request(addContext({ ...body, stream: info }, request) as RequestBody),
          );
          this.#add(id, request);
          this.#writer.wake();
        } catch (error) {
          request.fail(error);
        }
      });
    });
  }

  /** Handle a result. */
  handleResult({ id, value, stream }: Result): void {
    const request = this.#remove(id);
    if (stream === undefined) {
      request?.succeed(value);
    } else if (request?.state === 'sent') {
      request.succeed(this.#streams.receive(request.channel, stream).reader);
    } else {
      // The channel was closed or the request cancelled before the answer came.
      this.#streams.refuse(stream);
      request?.succeed(null);
    }
  }

  /** Handle an error that answers a request. */
  handleError(message: ErrorAnswer): void {
    const request = this.#remove(message.id);
    const parent = message.kind === 'timeout' ? request?.parentInTime : undefined;
    if (parent?.isRunning) {
      // By the clock of Python, which has set the deadline, the parent is late too.
      parent.host.expire(parent);
    }
    request?.fail(makeError(message));
  }

  /** Return the deadline of a request; `Infinity` if it has none or has been answered. */
  deadlineOf(id: number): number {
    return this.#requests.get(id)?.deadline ?? Infinity;
  }

  /** Reject the requests of a channel that is closed. */
  endChannel(channel: number, message: string): void {
    for (const [id, request] of [...this.#requests].filter(([, { channel: other }]) => other === channel)) {
      this.#requests.delete(id);
      request.fail(new ClosedError(message));
    }
  }

  /** Reject all requests, each with an error of its own. */
  end(makeReason: () => Error): void {
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const request of requests) {
      request.fail(makeReason());
    }
  }

  sendCancel(id: number): void {
    this.#writer.send({ type: 'cancel', id });
  }

  #add(id: number, request: Request): void {
    request.markSent(id);
    this.#requests.set(id, request);
  }

  #remove(id: number): Request | undefined {
    const request = this.#requests.get(id);
    this.#requests.delete(id);
    return request;
  }
}

/** Return the bytes of a request that it has besides its stream, at most. */
function sizeOfBody(body: { readonly type: string; readonly name?: string; readonly args?: unknown }): number {
  // JSON may need six bytes for each code unit of the name.
  const name = (body.name?.length ?? 0) * 6;
  return body.args instanceof Packed ? name + sizeOfPacked(body.args) : name;
}

/** Add the time and the parent of a request to its message. Fields that are `undefined` are not sent. */
function addContext(body: object, { timeout, parentId }: Request): object {
  return { ...body, timeout, parent: parentId };
}

/** Pack the arguments of a draft where they are to be packed in another way than the others, as messages are encoded. */
function packWithNan(draft: RequestDraft): object {
  const { args, nan } = draft as Arguments;
  return nan === undefined ? draft : { ...draft, args: pack(args, 'args', nan, true) };
}

/** Return what error messages call a request. */
function describeRequest(draft: RequestDraft): string {
  return draft.type === 'call' ? `The call of '${draft.name}'` : `The ${draft.type}`;
}

/** Return the error that a request rejects with when an error answers it. */
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
      return makeTimeoutError(message);
    default:
      return new KernelError(kind, name, message, stack);
  }
}
