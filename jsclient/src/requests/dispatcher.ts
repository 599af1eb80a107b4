/** Running the requests of the server: opening and closing channels, and calling the methods of their handlers. */

import type { ChannelRegistry } from '../channels/registry.js';
import type { Environment } from '../connection/environment.js';
import type { Room } from '../connection/room.js';
import type { Writer } from '../connection/writer.js';
import type { Connection } from '../protocol/connection.js';
import type {
  Call,
  Cancel,
  Close,
  Echo,
  ErrorAnswer,
  ErrorKind,
  Open,
  Pipe,
  Request,
  Result,
  StreamInfo,
} from '../protocol/messages.js';
import { pack } from '../protocol/values.js';
import type { OutgoingStream } from '../streams/outgoing.js';
import { MAX_STREAMS, type StreamRegistry } from '../streams/registry.js';
import { discard, isStream } from '../streams/sources.js';
import { describeThrown, domNameOf } from '../thrown.js';
import { findMethod, NothingToCallError, type Method } from './handlers.js';
import { Invocation, runDuring, type EndKind, type InvocationHost } from './invocation.js';
import type { Outbox } from './outbox.js';
import { isPromise, outcomeOf, type Outcome } from './outcome.js';

/** The most requests of the server that run at the same time. More are refused. */
export const MAX_RUNNING = 16_384;

/** The most channels of the server that are open at the same time. More are refused. */
export const MAX_CHANNELS = 1000;

/** The most characters of an error's message, and of its stack, that are sent. */
export const MAX_ERROR_LENGTH = 65_536;

// The name of the error that answers a request that was ended.
const END_NAMES: Readonly<Record<EndKind, string>> = {
  cancelled: 'AbortError',
  timeout: 'TimeoutError',
  ended: 'StateError',
};

/** Runs the requests of the server in one session. */
export class Dispatcher implements InvocationHost {
  readonly environment: Environment;
  readonly #connection: Connection;
  readonly #channels: ChannelRegistry;
  readonly #writer: Writer;
  readonly #streams: StreamRegistry;
  readonly #outbox: Outbox;
  readonly #room: Room;
  readonly #running = new Map<number, Invocation>();

  /** @param outbox - Has the requests of this page that can be parents of those of the server. */
  constructor(
    connection: Connection,
    channels: ChannelRegistry,
    writer: Writer,
    streams: StreamRegistry,
    outbox: Outbox,
    room: Room,
    environment: Environment,
  ) {
    this.#connection = connection;
    this.#channels = channels;
    this.#writer = writer;
    this.#streams = streams;
    this.#outbox = outbox;
    this.#room = room;
    this.environment = environment;
  }

  /** Whether no request of the server runs. */
  get isIdle(): boolean {
    return this.#running.size === 0;
  }

  expire(invocation: Invocation): void {
    // It has a child or code that listens: nothing else sets an alarm.
    invocation.abort('timeout', 'The time of the request has passed.');
  }

  answerEnded(invocation: Invocation): void {
    this.#fail(invocation, undefined);
  }

  /** Handle a request. */
  handle(message: Request): void {
    switch (message.type) {
      case 'open':
        this.#open(message);
        break;
      case 'close':
        this.#close(message);
        break;
      case 'echo':
        this.#echo(message);
        break;
      case 'call':
        this.#call(message);
        break;
      case 'pipe':
        this.#pipe(message);
        break;
    }
  }

  /** Handle the cancellation of a request. */
  handleCancel({ id }: Cancel): void {
    const invocation = this.#running.get(id);
    if (invocation !== undefined) {
      invocation.abort('cancelled', 'Python has cancelled the request.');
      // If code or children react to the end, the answer comes when they are done.
      if (!invocation.isAwaited) {
        this.#fail(invocation, undefined);
      }
    }
  }

  /** Forget all invocations, so that none of them is answered, and return them. */
  detach(): Invocation[] {
    const running = [...this.#running.values()];
    this.#running.clear();
    return running;
  }

  #open({ id, channel, code, module, nan }: Open): void {
    const invocation = new Invocation(id, channel, this);
    if (this.#channels.size >= MAX_CHANNELS && this.#channels.get(channel) === undefined) {
      const message = `The page already has ${String(MAX_CHANNELS)} channels, as many as it takes at the same time.`;
      this.#sendError(invocation, 'busy', 'StateError', message);
    } else if (this.#start(invocation)) {
      const outcome = this.#channels.open(channel, { code, module }, nan);
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
    const request = new Invocation(id, channel, this);
    const message = `The channel ${String(channel)} was closed.`;
    if (!this.#channels.forget(channel, message)) {
      this.#refuseChannel(request);
      return;
    }
    this.#streams.endChannel(channel, message);
    this.#outbox.endChannel(channel, message);
    for (const invocation of [...this.#running.values()].filter((running) => running.channel === channel)) {
      invocation.abort('ended', message);
      this.#fail(invocation, undefined);
    }
    this.#succeed(request, null);
  }

  #echo({ id, channel, args }: Echo): void {
    const invocation = new Invocation(id, channel, this);
    if (this.#channels.get(channel) === undefined) {
      this.#refuseChannel(invocation);
    } else if (this.#start(invocation)) {
      this.#whenRoom(invocation, () => {
        this.#succeed(invocation, args);
      });
    }
  }

  #call(message: Call): void {
    const invocation = this.#receive(message);
    const channel = this.#channels.get(message.channel);
    if (channel === undefined) {
      this.#refuseChannel(invocation);
      return;
    }
    const { handler } = channel;
    let method: Method;
    try {
      method = findMethod(handler, message.name);
    } catch (error) {
      this.#sendThrown(invocation, error instanceof NothingToCallError ? error.kind : 'exception', error);
      return;
    }
    if (this.#start(invocation, message.stream)) {
      const { argument } = invocation;
      const args = argument === undefined ? message.args : [argument.reader, ...message.args];
      this.#whenRoom(invocation, () => {
        this.#run(invocation, () => Reflect.apply(method, handler, args));
      });
    }
  }

  /** Run the method of an invocation, and answer in this step if it returns no promise. */
  #run(invocation: Invocation, method: () => unknown): void {
    const succeed = (value: unknown): void => {
      if (isStream(value)) {
        this.#succeedWithStream(invocation, value);
      } else {
        this.#succeed(invocation, value);
      }
    };
    let value: unknown;
    let isPending: boolean;
    try {
      value = runDuring(invocation, method);
      isPending = isPromise(value);
    } catch (error) {
      this.#fail(invocation, error);
      return;
    }
    if (isPending) {
      this.#finish(
        invocation,
        outcomeOf(() => value),
        succeed,
      );
    } else {
      this.#conclude(invocation, value, succeed);
    }
  }

  /** Run something for an invocation as soon as there is room for its answer, unless it has been answered by then. */
  #whenRoom(invocation: Invocation, run: () => void): void {
    this.#room.enter(() => {
      if (this.#running.has(invocation.id)) {
        run();
      }
    });
  }

  #pipe(message: Pipe): void {
    const invocation = this.#receive(message);
    if (this.#channels.get(message.channel) === undefined) {
      this.#refuseChannel(invocation);
    } else if (this.#start(invocation, message.stream)) {
      this.#succeedWithStream(invocation, invocation.argument?.reader);
    }
  }

  /** Return the invocation of a request that can have a deadline, a parent and a stream. */
  #receive({ id, channel, stream, timeout, parent }: Call | Pipe): Invocation {
    const own = timeout === undefined ? Infinity : this.environment.clock() + timeout * 1000;
    const deadline = parent === undefined ? own : Math.min(own, this.#outbox.deadlineOf(parent));
    const invocation = new Invocation(id, channel, this, deadline);
    // One too many is refused by `#start`.
    invocation.argument = stream && this.#streams.receive(channel, stream, true);
    return invocation;
  }

  /** Start an invocation, and return whether it was not refused. */
  #start(invocation: Invocation, stream?: StreamInfo): boolean {
    if (stream !== undefined && stream.data === undefined && this.#streams.isTooFull) {
      this.#refuseStream(invocation);
      return false;
    }
    if (this.#running.size >= MAX_RUNNING) {
      this.#sendError(
        invocation,
        'busy',
        'StateError',
        `The page already runs ${String(MAX_RUNNING)} requests, as many as it takes at the same time.`,
      );
      return false;
    }
    this.#running.set(invocation.id, invocation);
    return true;
  }

  /** Mark an invocation as answered, and return whether it was running. */
  #leave(invocation: Invocation): boolean {
    invocation.markAnswered();
    return this.#running.delete(invocation.id);
  }

  #finish(invocation: Invocation, outcome: Promise<Outcome>, succeed: (value: unknown) => void): void {
    outcome.then(
      ({ value }) => {
        this.#conclude(invocation, value, succeed);
      },
      (error: unknown) => {
        this.#fail(invocation, error);
      },
    );
  }

  /** Answer with what the code has returned, as soon as there is room, unless the invocation has been ended. */
  #conclude(invocation: Invocation, value: unknown, succeed: (value: unknown) => void): void {
    this.#room.enter(() => {
      if (invocation.end === undefined) {
        succeed(value);
      } else {
        discard(value);
        this.#fail(invocation, undefined);
      }
    });
  }

  /** Answer with a value, and return whether it could be sent. */
  #succeed(invocation: Invocation, value: unknown): boolean {
    this.#leave(invocation);
    const nan = this.#channels.nanOf(invocation.channel);
    try {
      const packed = nan === undefined ? value : pack(value, 'value', nan, true);
      this.#send(invocation, { type: 'result', id: invocation.id, value: packed });
      return true;
    } catch (error) {
      this.#sendThrown(invocation, 'value', error);
      return false;
    }
  }

  /** Answer with a stream, as soon as it is known whether it is short and ready. */
  #succeedWithStream(invocation: Invocation, source: unknown): void {
    const { id, channel, argument } = invocation;
    let result: OutgoingStream;
    try {
      // The result may be made of the argument and not have begun to read it, so it is stopped only after the result.
      result = this.#streams.open(channel, source, () => argument?.stopUnread());
    } catch (error) {
      this.#leave(invocation);
      this.#sendThrown(invocation, 'value', error);
      return;
    }
    invocation.result = result;
    result.prepare(this.#connection.roomBeside(0), (data) => {
      invocation.result = undefined;
      if (invocation.end !== undefined) {
        this.#fail(invocation, undefined);
        return;
      }
      this.#leave(invocation);
      if (data === undefined) {
        if (this.#streams.isFull) {
          result.close();
          this.#refuseStream(invocation);
          return;
        }
        this.#streams.countAnswer(result);
      }
      // There is room for the announcement alone in every frame.
      this.#streams.announce(result, data, (stream) => {
        this.#send(invocation, { type: 'result', id, value: null, stream });
      });
    });
  }

  /** Answer with an error: with the end of the invocation if it was ended, else with what was thrown. */
  #fail(invocation: Invocation, thrown: unknown): void {
    if (!this.#leave(invocation)) {
      return;
    }
    const { end } = invocation;
    if (end === undefined) {
      this.#sendThrown(invocation, kindOfThrown(thrown, invocation), thrown);
    } else {
      this.#sendError(invocation, end.kind, END_NAMES[end.kind], end.message);
    }
  }

  #refuseStream(invocation: Invocation): void {
    const message = `The page already has ${String(MAX_STREAMS)} streams of calls, as many as it takes at the same time.`;
    this.#sendError(invocation, 'busy', 'StateError', message);
  }

  #refuseChannel(invocation: Invocation): void {
    const message = `The channel ${String(invocation.channel)} is not open in the page.`;
    this.#sendError(invocation, 'channel', 'StateError', message);
  }

  #sendError(invocation: Invocation, kind: ErrorKind, name: string, message: string): void {
    this.#send(invocation, { type: 'error', id: invocation.id, kind, name, message });
  }

  #sendThrown(invocation: Invocation, kind: ErrorKind, thrown: unknown): void {
    const limit = Math.min(MAX_ERROR_LENGTH, this.#connection.errorLimit);
    const { name, message, stack } = describeThrown(thrown, limit);
    if (kind === 'exception' && stack !== undefined) {
      this.#send(invocation, { type: 'error', id: invocation.id, kind, name, message, stack });
    } else {
      this.#sendError(invocation, kind, name, message);
    }
  }

  #send({ argument }: Invocation, message: Result | ErrorAnswer): void {
    this.#writer.send(message);
    if (message.type === 'error' || message.stream === undefined) {
      argument?.stopUnread();
    }
  }
}

/** Return the kind of the error that answers a request whose code has thrown. */
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
