/**
 * The states of one connection: what may follow what, for the connection as a whole, for each request and each stream.
 *
 * A `Connection` belongs to one side of one socket. Messages go in and frames come out; frames go in and messages come
 * out. It does no I/O and knows no time.
 */

import { ProtocolError, StateError } from '../errors.js';
import { countBatch, decodeFrame, encodeFrame, FRAME_OVERHEAD, type Frame } from './frames.js';
import {
  encodeMessage,
  maySend,
  type Answer,
  type Call,
  type Close,
  type Echo,
  type Encoded,
  type Message,
  type Open,
  type Pipe,
  type Request,
  type Role,
  type StreamInfo,
} from './messages.js';
import type { Packed } from './values.js';

/** The protocol's version, as the WebSocket's subprotocol has it. */
export const VERSION = 'jchannel.v1';

/** The largest frame in bytes, unless the server says otherwise. */
export const FRAME_LIMIT = 64 * 1024 * 1024;

/** How far a connection is. */
export type ConnectionState = 'opening' | 'hello' | 'ready' | 'ended';

/** A request before it has its id. The arguments of a call may have been packed before. */
export type RequestBody =
  | Omit<Open, 'id'>
  | Omit<Close, 'id'>
  | Omit<Echo, 'id'>
  | (Omit<Call, 'id' | 'args'> & { readonly args: readonly unknown[] | Packed })
  | Omit<Pipe, 'id'>;

// Three texts, of which JSON may make six bytes for each character, and then some.
const BYTES_PER_ERROR_CHARACTER = 24;

type Step = 'hello' | 'welcome' | 'goodbye' | 'other';

// The state that a message leads to, by the state it is sent in. What is not here is an error.
const TRANSITIONS: Readonly<Record<ConnectionState, Readonly<Partial<Record<Step, ConnectionState>>>>> = {
  opening: { hello: 'hello', goodbye: 'ended' },
  hello: { welcome: 'ready', goodbye: 'ended' },
  ready: { other: 'ready', goodbye: 'ended' },
  ended: {},
};

const STEPS: Readonly<Partial<Record<Message['type'], Step>>> = {
  hello: 'hello',
  welcome: 'welcome',
  goodbye: 'goodbye',
};

const REQUESTS: ReadonlySet<Message['type']> = new Set<Request['type']>(['open', 'close', 'echo', 'call', 'pipe']);
const ANSWERS: ReadonlySet<Message['type']> = new Set<Answer['type']>(['result', 'error']);

/** One side of a connection. */
export class Connection {
  readonly role: Role;
  #state: ConnectionState = 'opening';
  #frameLimit: number;
  #wayLimit = Infinity;
  #lastId = 0;
  #lastFarId = 0;
  #lastStream = 0;
  #lastFarStream = 0;
  readonly #asked = new Map<number, Request['type']>();
  readonly #running = new Map<number, Request['type']>();
  #queue: Encoded[] = [];

  /**
   * @param role - Which side this is.
   * @param frameLimit - The largest frame to send, in bytes. A page takes the server's from its `welcome`, and both sides
   *   take that of the page's `hello` where it is smaller.
   */
  constructor(role: Role, frameLimit = FRAME_LIMIT) {
    this.role = role;
    this.#frameLimit = frameLimit;
  }

  /** How far the connection is. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** The largest frame that may be sent, in bytes. */
  get frameLimit(): number {
    return this.#frameLimit;
  }

  /** The number of the next stream that this side announces. */
  get nextStream(): number {
    return this.#lastStream + 1;
  }

  /** The most characters of each text of an error that surely fits into a frame. */
  get errorLimit(): number {
    return Math.floor(this.#frameLimit / BYTES_PER_ERROR_CHARACTER);
  }

  /** The number of messages that no frame has taken yet. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** The number of this side's requests that the other side has not answered. */
  get unanswered(): number {
    return this.#asked.size;
  }

  /** The number of the other side's requests that this side has not answered. */
  get running(): number {
    return this.#running.size;
  }

  /**
   * Queues a request for the next frame, encoded as its values are now.
   *
   * @returns The id that it was given.
   * @throws As `send` does; no id is used up then.
   */
  request(body: RequestBody): number {
    const id = this.#lastId + 1;
    this.send({ ...body, id } as Request);
    this.#lastId = id;
    this.#asked.set(id, body.type);
    return id;
  }

  /**
   * Queues a message for the next frame, encoded as its values are now. A cancel of a request that has been answered is
   * dropped, for its answer has crossed it.
   *
   * @throws TypeError, RangeError when its values cannot be sent, or when it is larger than the connection takes.
   * @throws StateError when the message may not be sent in this state, answers what was not asked, or is of a stream
   *   that was not announced.
   */
  send(message: Message): void {
    const state = this.#follow(this.role, message);
    if (state === undefined) {
      throw new StateError(`A ${this.role} cannot send ${message.type} while its connection is ${this.#state}.`);
    }
    if (message.type === 'cancel' && !this.#asked.has(message.id)) {
      return;
    }
    if (isAnswer(message) && !this.#running.has(message.id)) {
      throw new StateError(`There is no request ${String(message.id)} to answer.`);
    }
    const fault = findFault(message, this.role, this.#running, this.#lastStream, this.#lastFarStream);
    if (fault !== undefined) {
      throw new StateError(`A ${this.role} cannot send this ${message.type}: ${fault}.`);
    }
    const encoded = encodeMessage(message);
    const size = encoded.size + FRAME_OVERHEAD;
    if (size > this.#frameLimit) {
      throw new RangeError(
        `The message takes ${String(size)} bytes, and the connection takes at most ${String(this.#frameLimit)} bytes ` +
          'at once. Send less at a time.',
      );
    }
    this.#state = state;
    this.#takeLimits(message);
    if (isAnswer(message)) {
      this.#running.delete(message.id);
    }
    this.#lastStream = streamOf(message)?.id ?? this.#lastStream;
    this.#queue.push(encoded);
  }

  /** Takes what waits, up to one batch, as a frame; `null` when nothing waits. */
  nextFrame(): Frame | null {
    return this.#queue.length === 0 ? null : encodeFrame(this.#queue.splice(0, countBatch(this.#queue, this.#frameLimit)));
  }

  /**
   * Takes a frame from the other side.
   *
   * @returns Its messages. A cancel of a request that has been answered is not among them.
   * @throws ProtocolError when the frame, or one of its messages at this time, is not one of the protocol. Nothing of
   *   the frame counts then, and the connection should end.
   */
  receive(frame: string | ArrayBuffer): Message[] {
    return decodeFrame(frame).filter((message) => this.#take(message));
  }

  #take(message: Message): boolean {
    const farRole = this.role === 'page' ? 'server' : 'page';
    const state = this.#follow(farRole, message);
    if (state === undefined) {
      throw new ProtocolError(
        `the message ${message.type} cannot come to a ${this.role} while its connection is ${this.#state}`,
      );
    }
    const fault = findFault(message, farRole, this.#asked, this.#lastFarStream, this.#lastStream);
    if (fault !== undefined) {
      throw new ProtocolError(fault);
    }
    this.#state = state;
    this.#lastFarStream = streamOf(message)?.id ?? this.#lastFarStream;
    this.#takeLimits(message);
    if (message.type === 'cancel') {
      return this.#running.has(message.id);
    } else if (isRequest(message)) {
      if (message.id <= this.#lastFarId) {
        throw new ProtocolError(`the id ${String(message.id)} does not follow ${String(this.#lastFarId)}`);
      }
      // One that was answered has crossed its child.
      const parent = parentOf(message) ?? 0;
      if (parent > this.#lastId) {
        throw new ProtocolError(`there is no request ${String(parent)} that could be the parent of another`);
      }
      this.#lastFarId = message.id;
      this.#running.set(message.id, message.type);
    } else if (isAnswer(message) && !this.#asked.delete(message.id)) {
      throw new ProtocolError(`there is no request ${String(message.id)} that waits for an answer`);
    }
    return true;
  }

  /** Takes the limits that the handshake's messages say: the smallest holds. A server's own is its own already. */
  #takeLimits(message: Message): void {
    if (message.type === 'hello' && message.frame_limit !== undefined) {
      this.#wayLimit = message.frame_limit;
      this.#frameLimit = Math.min(this.#frameLimit, message.frame_limit);
    } else if (message.type === 'welcome' && this.role === 'page') {
      this.#frameLimit = Math.min(this.#wayLimit, message.frame_limit);
    }
  }

  #follow(sender: Role, message: Message): ConnectionState | undefined {
    return maySend(sender, message.type) ? TRANSITIONS[this.#state][STEPS[message.type] ?? 'other'] : undefined;
  }
}

/**
 * Finds what is wrong about the streams that a message is about.
 *
 * @param sender - The message's sender.
 * @param asked - What the other side has asked of the sender, by its id.
 * @param last - The number of the last stream that the sender announced.
 * @param lastFar - The number of the last stream that the other side announced.
 */
function findFault(
  message: Message,
  sender: Role,
  asked: ReadonlyMap<number, Request['type']>,
  last: number,
  lastFar: number,
): string | undefined {
  switch (message.type) {
    case 'call':
    case 'pipe':
      return findStreamFault(message.stream, sender, last);
    case 'result':
      return (
        findStreamFault(message.stream, sender, last) ??
        findResultFault(message.stream !== undefined, message.value, asked.get(message.id))
      );
    case 'broken':
      return message.stream > last ? `there is no stream ${String(message.stream)} of its sender` : undefined;
    case 'stop':
    case 'ticket':
      return message.stream > lastFar ? `there is no stream ${String(message.stream)} of its receiver` : undefined;
    default:
      return undefined;
  }
}

function findStreamFault(stream: StreamInfo | undefined, sender: Role, last: number): string | undefined {
  if (stream === undefined) {
    return undefined;
  }
  const { id, data, ticket } = stream;
  if (id <= last) {
    return `the number ${String(id)} of a stream does not follow ${String(last)}`;
  }
  if (sender === 'page') {
    return ticket === undefined ? undefined : 'a stream of the page cannot have a ticket';
  }
  return (data === undefined) === (ticket === undefined)
    ? 'a stream of the server must have either its data or a ticket'
    : undefined;
}

function findResultFault(isStream: boolean, value: unknown, request?: Request['type']): string | undefined {
  if (isStream && value !== null) {
    return 'the value beside a stream must be null';
  }
  const isStrange = isStream ? request !== 'call' && request !== 'pipe' : request === 'pipe';
  return isStrange && request !== undefined
    ? `the answer to the request ${request} ${isStream ? 'cannot' : 'must'} be a stream`
    : undefined;
}

function streamOf(message: Message): StreamInfo | undefined {
  return message.type === 'call' || message.type === 'pipe' || message.type === 'result' ? message.stream : undefined;
}

function parentOf(request: Request): number | undefined {
  return request.type === 'call' || request.type === 'pipe' ? request.parent : undefined;
}

function isRequest(message: Message): message is Request {
  return REQUESTS.has(message.type);
}

function isAnswer(message: Message): message is Answer {
  return ANSWERS.has(message.type);
}
