/** The requests of one connected socket, in both directions: who waits for which answer, and what runs here. */

import type { Channels } from './channels.js';
import { KernelError, StateError } from './errors.js';
import { findMethod, NothingToCallError, type Method } from './handlers.js';
import { Invocation, runDuring } from './invocation.js';
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
  Result,
  Beat,
  Welcome,
} from './protocol/messages.js';
import { describeThrown } from './thrown.js';
import type { Writer } from './writer.js';

/** The most requests of the server that may run here at the same time. More are refused. */
export const MAX_RUNNING = 16_384;

/** The most characters of an error's message, and of its stack, that are sent. */
export const MAX_ERROR_LENGTH = 65_536;

// Three texts, of which JSON may make six bytes for each character, and then some.
const BYTES_PER_ERROR_CHARACTER = 24;

/** A message that belongs to a request, and not to the connection as a whole. */
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
  readonly #pending = new Map<number, Pending>();
  readonly #running = new Map<number, Invocation>();

  constructor(connection: Connection, channels: Channels, writer: Writer) {
    this.#connection = connection;
    this.#channels = channels;
    this.#writer = writer;
  }

  /**
   * Makes a request of the server.
   *
   * @returns The answer's value. It rejects with what the answer says, with the reason of `end`, or when the request's
   *   values cannot be sent.
   */
  request(body: RequestBody): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#connection.request(body);
      this.#pending.set(id, { channel: body.channel, resolve, reject });
      this.#writer.wake();
    });
  }

  /** Takes a message that came. */
  handle(message: RequestMessage): void {
    switch (message.type) {
      case 'call':
        this.#call(message);
        break;
      case 'result':
        this.#takePending(message.id)?.resolve(message.value);
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
    }
  }

  /** Ends all requests: those that wait reject with this reason, and those that run here have their signals aborted. */
  end(message: string): void {
    const pending = [...this.#pending.values()];
    const running = [...this.#running.values()];
    this.#pending.clear();
    this.#running.clear();
    for (const { reject } of pending) {
      reject(new StateError(message));
    }
    for (const invocation of running) {
      invocation.abort('ended', message);
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
      this.#finish(invocation, this.#channels.open(channel, code), () => {
        const message = `The channel ${String(channel)} could not be opened: its result cannot be sent.`;
        this.#channels.forget(channel, message);
      });
    }
  }

  #close({ id, channel }: Close): void {
    const message = `The channel ${String(channel)} was closed.`;
    if (!this.#channels.forget(channel, message)) {
      this.#refuseChannel(id, channel);
      return;
    }
    for (const invocation of [...this.#running.values()].filter((running) => running.channel === channel)) {
      invocation.abort('ended', message);
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

  #call({ id, channel: channelId, name, args }: Call): void {
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
        resolve(runDuring(invocation, () => Reflect.apply(method, handler, args)));
      });
      this.#finish(invocation, outcome);
    }
  }

  #cancel({ id }: Cancel): void {
    const invocation = this.#running.get(id);
    if (invocation !== undefined) {
      invocation.abort('cancelled', 'Python has cancelled the request.');
      // Code that knows of the end is waited for, and its answer comes when it is done.
      if (!invocation.isListening) {
        this.#fail(invocation, undefined);
      }
    }
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

  #finish(invocation: Invocation, outcome: Promise<unknown>, onUnsendable?: () => void): void {
    outcome.then(
      (value) => {
        this.#succeed(invocation, value, onUnsendable);
      },
      (error: unknown) => {
        this.#fail(invocation, error);
      },
    );
  }

  #succeed(invocation: Invocation, value: unknown, onUnsendable?: () => void): void {
    if (invocation.end !== undefined) {
      this.#fail(invocation, undefined);
    } else if (this.#running.delete(invocation.id) && !this.#succeedAtOnce(invocation.id, value)) {
      onUnsendable?.();
    }
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
    const limit = Math.min(MAX_ERROR_LENGTH, Math.floor(this.#connection.frameLimit / BYTES_PER_ERROR_CHARACTER));
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
