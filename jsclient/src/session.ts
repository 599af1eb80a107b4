/** The requests of one connected socket: what runs here for the server, and what becomes of each message. */

import type { Channels } from './channels.js';
import type { Environment } from './environment.js';
import { findMethod, NothingToCallError, type Method } from './handlers.js';
import { Invocation, runDuring, type EndKind, type InvocationHost } from './invocation.js';
import type { MetaGenerator } from './meta-generator.js';
import type { Outgoing } from './outgoing.js';
import type { Connection } from './protocol/connection.js';
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
import { Requests, type Ending } from './requests.js';
import { discard, isStream } from './source.js';
import type { Received, Streams } from './streams.js';
import { describeThrown, domNameOf } from './thrown.js';
import type { Writer } from './writer.js';

/** The most requests of the server that may run here at the same time. More are refused. */
export const MAX_RUNNING = 16_384;

/** The most characters of an error's message, and of its stack, that are sent. */
export const MAX_ERROR_LENGTH = 65_536;

// The name of the error that answers a request that was ended.
const END_NAMES: Readonly<Record<EndKind, string>> = {
  cancelled: 'AbortError',
  timeout: 'TimeoutError',
  ended: 'StateError',
};

/** A message that belongs to a request or a stream, and not to the connection as a whole. */
export type RequestMessage = Exclude<Message, Hello | Welcome | Goodbye | Beat>;

/** The requests of one connected socket. */
export class Session implements InvocationHost {
  readonly environment: Environment;
  /** The requests of this page. */
  readonly requests: Requests;
  readonly #connection: Connection;
  readonly #channels: Channels;
  readonly #writer: Writer;
  readonly #streams: Streams;
  readonly #running = new Map<number, Invocation>();
  /** The streams that came with requests that run here, by the requests' ids. */
  readonly #carried = new Map<number, Received>();
  /** The streams that are about to leave in answers, by the requests' ids. */
  readonly #leaving = new Map<number, Outgoing>();

  constructor(
    connection: Connection,
    channels: Channels,
    writer: Writer,
    streams: Streams,
    environment: Environment,
  ) {
    this.environment = environment;
    this.requests = new Requests(connection, writer, streams, this);
    this.#connection = connection;
    this.#channels = channels;
    this.#writer = writer;
    this.#streams = streams;
  }

  expire(invocation: Invocation): void {
    // It has a child or code that listens, or nobody would have noticed.
    this.#abort(invocation, 'timeout', 'The time of the request has passed.');
  }

  finishQuietly(invocation: Invocation): void {
    this.#fail(invocation, undefined);
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
        this.requests.takeResult(message);
        break;
      case 'error':
        this.requests.takeError(message);
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

  /** Ends all requests and streams: requests that wait reject, and those that run here have their signals aborted. */
  end(ending: Ending): void {
    const running = [...this.#running.values()];
    this.#running.clear();
    this.requests.end(ending);
    this.#streams.end(() => new ending.Reason(ending.streamMessage));
    for (const invocation of running) {
      this.#abort(invocation, 'ended', ending.message);
    }
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
    this.requests.endChannel(channel, message);
    for (const invocation of [...this.#running.values()].filter((running) => running.channel === channel)) {
      this.#abort(invocation, 'ended', message);
      this.#fail(invocation, undefined);
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

  #call({ id, channel: channelId, name, args, stream, timeout, parent }: Call): void {
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
    const invocation = this.#start(id, channelId, this.#deadlineOf(timeout, parent));
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

  #pipe({ id, channel, stream, timeout, parent }: Pipe): void {
    const reader = this.#carry(id, channel, stream);
    if (this.#channels.get(channel) === undefined) {
      this.#refuseChannel(id, channel);
      return;
    }
    const invocation = this.#start(id, channel, this.#deadlineOf(timeout, parent));
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
      // Code that knows of the end is waited for, and calls on its behalf are: the answer comes when they are done.
      if (!invocation.isAwaited) {
        this.#fail(invocation, undefined);
      }
    }
  }

  /** Ends an invocation before its code has: its signal is aborted, and its streams end. */
  #abort(invocation: Invocation, kind: EndKind, message: string): void {
    this.#carried.get(invocation.id)?.fail(message);
    invocation.abort(kind, message);
    this.#leaving.get(invocation.id)?.close();
  }

  /** When the time of a request of the server is over: never after that of the request on whose behalf it is made. */
  #deadlineOf(timeout = Infinity, parent?: number): number {
    const own = timeout === Infinity ? Infinity : this.environment.clock() + timeout * 1000;
    return parent === undefined ? own : Math.min(own, this.requests.deadlineOf(parent));
  }

  #start(id: number, channel: number, deadline?: number): Invocation | undefined {
    if (this.#running.size >= MAX_RUNNING) {
      this.#sendError(
        id,
        'busy',
        'StateError',
        `The page already runs ${String(MAX_RUNNING)} requests, as many as it takes at the same time.`,
      );
      return undefined;
    }
    const invocation = new Invocation(id, channel, this, deadline);
    this.#running.set(id, invocation);
    return invocation;
  }

  /** Takes note that an invocation is about to be answered. Tells whether it was not yet. */
  #leave(invocation: Invocation): boolean {
    invocation.noteAnswered();
    return this.#running.delete(invocation.id);
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
  #succeed(invocation: Invocation, value: unknown): boolean {
    this.#leave(invocation);
    return this.#succeedAtOnce(invocation.id, value);
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
      this.#leave(invocation);
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
      this.#leave(invocation);
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
    if (!this.#leave(invocation)) {
      return;
    }
    const { id, end } = invocation;
    if (end === undefined) {
      this.#sendThrown(id, kindOfThrown(thrown, invocation), thrown);
    } else {
      this.#sendError(id, end.kind, END_NAMES[end.kind], end.message);
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

/** The kind of the error that answers a request whose code has thrown this by itself. */
function kindOfThrown(thrown: unknown, invocation: Invocation): ErrorKind {
  switch (domNameOf(thrown)) {
    case 'AbortError':
      return 'aborted';
    case 'TimeoutError':
      return invocation.isLate ? 'timeout' : 'exception';
    default:
      return 'exception';
  }
}
