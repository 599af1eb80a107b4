/** The requests of one connected socket, in both directions: who waits for which answer, and what runs here. */

import type { Channels } from './channels.js';
import { KernelError, StateError } from './errors.js';
import { findMethod, NothingToCallError, type Method } from './handlers.js';
import { Invocation, runDuring, type EndKind } from './invocation.js';
import type { MetaGenerator } from './meta-generator.js';
import type { Outgoing } from './outgoing.js';
import type { Connection, RequestBody } from './protocol/connection.js';
import type {
  Call,
  Cancel,
  Close,
  Echo,
  ErrorAnswer,
  ErrorKind,
  Goodbye,
  Hello,
  Message,
  Open,
  Pipe,
  Result,
  Beat,
  StreamInfo,
  Welcome,
} from './protocol/messages.js';
import { pack } from './protocol/values.js';
import { discard, isStream } from './source.js';
import type { Received, Streams } from './streams.js';
import { describeThrown } from './thrown.js';
import type { Writer } from './writer.js';

/** The most requests of the server that may run here at the same time. More are refused. */
export const MAX_RUNNING = 16_384;

/** The most characters of an error's message, and of its stack, that are sent. */
export const MAX_ERROR_LENGTH = 65_536;

/** A request of this page before it has its id, and without its stream. */
export type RequestDraft = Omit<Echo, 'id'> | Omit<Call, 'id' | 'stream'> | Omit<Pipe, 'id' | 'stream'>;

/** What was given to be sent as the stream of a request. */
export interface GivenStream {
  readonly source: unknown;
}

/** A message that belongs to a request or a stream, and not to the connection as a whole. */
export type RequestMessage = Exclude<Message, Hello | Welcome | Goodbye | Beat>;

interface Pending {
  readonly channel: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The requests of one connected socket. */
export class Session {
  readonly #connection: Connection;
  readonly #channels: Channels;
  readonly #writer: Writer;
  readonly #streams: Streams;
  readonly #pending = new Map<number, Pending>();
  readonly #running = new Map<number, Invocation>();
  /** The streams that came with requests that run here, by the requests' ids. */
  readonly #carried = new Map<number, Received>();
  /** The streams that are about to leave in answers, by the requests' ids. */
  readonly #leaving = new Map<number, Outgoing>();

  constructor(connection: Connection, channels: Channels, writer: Writer, streams: Streams) {
    this.#connection = connection;
    this.#channels = channels;
    this.#writer = writer;
    this.#streams = streams;
  }

  /**
   * Makes a request of the server. Its arguments are encoded at once, but with a stream it may leave a little later.
   *
   * @param stream - What is sent as its stream. A pipe has one, and a call may have one.
   * @returns The answer's value or stream. It rejects with what the answer says, with the reason of `end`, or when the
   *   request's values or its stream cannot be sent.
   */
  request(draft: RequestDraft, stream?: GivenStream): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const pending: Pending = { channel: draft.channel, resolve, reject };
      if (draft.type === 'echo' || stream === undefined) {
        this.#await(this.#connection.request(draft as RequestBody), pending);
        return;
      }
      const body = draft.type === 'call' ? { ...draft, args: pack(draft.args, 'args') } : draft;
      const outgoing = this.#streams.take(draft.channel, stream.source);
      outgoing.prepare((data) => {
        if (outgoing.endMessage !== undefined) {
          reject(new StateError(outgoing.endMessage));
          return;
        }
        try {
          const id = this.#streams.announce(outgoing, data, (info) =>
            this.#connection.request({ ...body, stream: info }),
          );
          this.#await(id, pending);
        } catch (error) {
          pending.reject(error as Error);
        }
      });
    });
  }

  /** Takes a message that came. */
  handle(message: RequestMessage): void {
    switch (message.type) {
      case 'call':
        this.#call(message);
        break;
      case 'pipe':
        this.#pipe(message);
        break;
      case 'result':
        this.#takeResult(message);
        break;
      case 'error':
        this.#takePending(message.id)?.reject(makeError(message));
        break;
      case 'cancel':
        this.#cancel(message);
        break;
      case 'open':
        this.#open(message);
        break;
      case 'close':
        this.#close(message);
        break;
      case 'echo':
        this.#echo(message);
        break;
      case 'ticket':
      case 'stop':
      case 'broken':
        this.#streams.handle(message);
        break;
    }
  }

  /**
   * Ends all requests and streams: requests that wait reject with this reason, and those that run here have their
   * signals aborted.
   *
   * @param streamMessage - The reason that the readers of streams get.
   */
  end(message: string, streamMessage: string): void {
    const pending = [...this.#pending.values()];
    const running = [...this.#running.values()];
    this.#pending.clear();
    this.#running.clear();
    for (const { reject } of pending) {
      reject(new StateError(message));
    }
    this.#streams.end(streamMessage);
    for (const invocation of running) {
      this.#abort(invocation, 'ended', message);
    }
  }

  #await(id: number, pending: Pending): void {
    this.#pending.set(id, pending);
    this.#writer.wake();
  }

  #takeResult({ id, value, stream }: Result): void {
    const pending = this.#takePending(id);
    if (stream === undefined) {
      pending?.resolve(value);
    } else if (pending !== undefined) {
      pending.resolve(this.#streams.receive(pending.channel, stream).reader);
    } else {
      // The channel was closed while the answer was on its way.
      this.#streams.refuse(stream);
    }
  }

  #takePending(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #open({ id, channel, code }: Open): void {
    const invocation = this.#start(id, channel);
    if (invocation !== undefined) {
      const outcome = this.#channels.open(channel, code);
      outcome.catch(() => {
        this.#streams.endChannel(channel, `The channel ${String(channel)} could not be opened: its code has failed.`);
      });
      this.#finish(invocation, outcome, (value) => {
        if (!this.#succeed(invocation, value)) {
          const message = `The channel ${String(channel)} could not be opened: its result cannot be sent.`;
          this.#channels.forget(channel, message);
          this.#streams.endChannel(channel, message);
        }
      });
    }
  }

  #close({ id, channel }: Close): void {
    const message = `The channel ${String(channel)} was closed.`;
    if (!this.#channels.forget(channel, message)) {
      this.#refuseChannel(id, channel);
      return;
    }
    this.#streams.endChannel(channel, message);
    for (const invocation of [...this.#running.values()].filter((running) => running.channel === channel)) {
      this.#abort(invocation, 'ended', message);
      this.#fail(invocation, undefined);
    }
    for (const [request, pending] of [...this.#pending].filter(([, waiting]) => waiting.channel === channel)) {
      this.#pending.delete(request);
      pending.reject(new StateError(message));
    }
    this.#succeedAtOnce(id, null);
  }

  #echo({ id, channel, args }: Echo): void {
    if (this.#channels.get(channel) === undefined) {
      this.#refuseChannel(id, channel);
    } else {
      this.#succeedAtOnce(id, args);
    }
  }

  #call({ id, channel: channelId, name, args, stream }: Call): void {
    const given = stream === undefined ? args : [this.#carry(id, channelId, stream), ...args];
    const channel = this.#channels.get(channelId);
    if (channel === undefined) {
      this.#refuseChannel(id, channelId);
      return;
    }
    const { handler } = channel;
    let method: Method;
    try {
      method = findMethod(handler, name);
    } catch (error) {
      this.#sendThrown(id, error instanceof NothingToCallError ? error.kind : 'exception', error);
      return;
    }
    const invocation = this.#start(id, channelId);
    if (invocation !== undefined) {
      const outcome = new Promise((resolve) => {
        resolve(runDuring(invocation, () => Reflect.apply(method, handler, given)));
      });
      this.#finish(invocation, outcome, (value) => {
        if (isStream(value)) {
          this.#succeedWithStream(invocation, value);
        } else {
          this.#succeed(invocation, value);
        }
      });
    }
  }

  #pipe({ id, channel, stream }: Pipe): void {
    const reader = this.#carry(id, channel, stream);
    if (this.#channels.get(channel) === undefined) {
      this.#refuseChannel(id, channel);
      return;
    }
    const invocation = this.#start(id, channel);
    if (invocation !== undefined) {
      this.#succeedWithStream(invocation, reader);
    }
  }

  /** Takes up the stream that a request carries. If nobody reads it until its answer leaves, it is stopped. */
  #carry(id: number, channel: number, stream: StreamInfo): MetaGenerator {
    const received = this.#streams.receive(channel, stream);
    this.#carried.set(id, received);
    return received.reader;
  }

  #cancel({ id }: Cancel): void {
    const invocation = this.#running.get(id);
    if (invocation !== undefined) {
      this.#abort(invocation, 'cancelled', 'Python has cancelled the request.');
      // Code that knows of the end is waited for, and its answer comes when it is done.
      if (!invocation.isListening) {
        this.#fail(invocation, undefined);
      }
    }
  }

  /** Ends an invocation before its code has: its signal is aborted, and its streams end. */
  #abort(invocation: Invocation, kind: EndKind, message: string): void {
    invocation.abort(kind, message);
    this.#carried.get(invocation.id)?.fail(message);
    this.#leaving.get(invocation.id)?.close();
  }

  #start(id: number, channel: number): Invocation | undefined {
    if (this.#running.size >= MAX_RUNNING) {
      this.#sendError(
        id,
        'busy',
        'StateError',
        `The page already runs ${String(MAX_RUNNING)} requests, as many as it takes at the same time.`,
      );
      return undefined;
    }
    const invocation = new Invocation(id, channel);
    this.#running.set(id, invocation);
    return invocation;
  }

  #finish(invocation: Invocation, outcome: Promise<unknown>, succeed: (value: unknown) => void): void {
    outcome.then(
      (value) => {
        if (invocation.end === undefined) {
          succeed(value);
        } else {
          discard(value);
          this.#fail(invocation, undefined);
        }
      },
      (error: unknown) => {
        this.#fail(invocation, error);
      },
    );
  }

  /** Answers with a value. Tells whether it could be sent. */
  #succeed({ id }: Invocation, value: unknown): boolean {
    this.#running.delete(id);
    return this.#succeedAtOnce(id, value);
  }

  /** Answers with a stream, when it has shown whether it is short and ready. */
  #succeedWithStream(invocation: Invocation, given: unknown): void {
    const { id, channel } = invocation;
    const carried = this.#carried.get(id);
    let outgoing: Outgoing;
    try {
      // The stream may be made of the one that the request carries, and not have begun to read it yet.
      outgoing = this.#streams.take(channel, given, () => carried?.drop());
    } catch (error) {
      this.#running.delete(id);
      this.#sendThrown(id, 'value', error);
      return;
    }
    this.#leaving.set(id, outgoing);
    outgoing.prepare((data) => {
      this.#leaving.delete(id);
      if (invocation.end !== undefined) {
        this.#fail(invocation, undefined);
        return;
      }
      this.#running.delete(id);
      try {
        this.#streams.announce(outgoing, data, (stream) => {
          this.#send({ type: 'result', id, value: null, stream });
        });
      } catch (error) {
        this.#sendThrown(id, 'value', error);
      }
    });
  }

  /** Answers with an error: with the end of the invocation if it was ended, or else with what was thrown. */
  #fail(invocation: Invocation, thrown: unknown): void {
    if (!this.#running.delete(invocation.id)) {
      return;
    }
    const { id, end } = invocation;
    if (end === undefined) {
      this.#sendThrown(id, 'exception', thrown);
    } else {
      this.#sendError(id, end.kind, end.kind === 'cancelled' ? 'AbortError' : 'StateError', end.message);
    }
  }

  #succeedAtOnce(id: number, value: unknown): boolean {
    try {
      this.#send({ type: 'result', id, value });
      return true;
    } catch (error) {
      this.#sendThrown(id, 'value', error);
      return false;
    }
  }

  #refuseChannel(id: number, channel: number): void {
    this.#sendError(id, 'channel', 'StateError', `The channel ${String(channel)} is not open in the page.`);
  }

  #sendError(id: number, kind: ErrorKind, name: string, message: string): void {
    this.#send({ type: 'error', id, kind, name, message });
  }

  #sendThrown(id: number, kind: ErrorKind, thrown: unknown): void {
    const limit = Math.min(MAX_ERROR_LENGTH, this.#connection.errorLimit);
    const { name, message, stack } = describeThrown(thrown, limit);
    if (kind === 'exception' && stack !== undefined) {
      this.#send({ type: 'error', id, kind, name, message, stack });
    } else {
      this.#sendError(id, kind, name, message);
    }
  }

  #send(message: Result | ErrorAnswer): void {
    this.#connection.send(message);
    this.#writer.wake();
    const carried = this.#carried.get(message.id);
    this.#carried.delete(message.id);
    if (message.type === 'error' || message.stream === undefined) {
      carried?.drop();
    }
  }
}

/** The error that a call rejects with. What could not run here or there is a StateError; the rest is Python's. */
function makeError({ kind, name, message, stack }: ErrorAnswer): Error {
  switch (kind) {
    case 'channel':
    case 'busy':
    case 'cancelled':
    case 'ended':
      return new StateError(message);
    default:
      return new KernelError(kind, name, message, stack);
  }
}
