/**
 * The states of one connection: what may follow what, for the connection as a whole and for each request.
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
  type Request,
  type Role,
} from './messages.js';

/** The protocol's version, as the WebSocket's subprotocol has it. */
export const VERSION = 'jchannel.v1';

/** The largest frame in bytes, unless the server says otherwise. */
export const FRAME_LIMIT = 64 * 1024 * 1024;

/** How far a connection is. */
export type ConnectionState = 'opening' | 'hello' | 'ready' | 'ended';

/** A request before it has its id. */
export type RequestBody = Omit<Open, 'id'> | Omit<Close, 'id'> | Omit<Echo, 'id'> | Omit<Call, 'id'>;

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

const REQUESTS: ReadonlySet<Message['type']> = new Set<Request['type']>(['open', 'close', 'echo', 'call']);
const ANSWERS: ReadonlySet<Message['type']> = new Set<Answer['type']>(['result', 'error']);

/** One side of a connection. */
export class Connection {
  readonly role: Role;
  #state: ConnectionState = 'opening';
  #frameLimit: number;
  #lastId = 0;
  #lastFarId = 0;
  readonly #asked = new Set<number>();
  readonly #running = new Set<number>();
  #queue: Encoded[] = [];

  /**
   * @param role - Which side this is.
   * @param frameLimit - The largest frame to send, in bytes. A page takes the server's from its `welcome`.
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
    this.send({ ...body, id });
    this.#lastId = id;
    this.#asked.add(id);
    return id;
  }

  /**
   * Queues a message for the next frame, encoded as its values are now. A cancel of a request that has been answered is
   * dropped, for its answer has crossed it.
   *
   * @throws TypeError, RangeError when its values cannot be sent, or when it is larger than the other side takes.
   * @throws StateError when the message may not be sent in this state, or answers what was not asked.
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
    const encoded = encodeMessage(message);
    const size = encoded.size + FRAME_OVERHEAD;
    if (size > this.#frameLimit) {
      throw new RangeError(
        `The message takes ${String(size)} bytes, and the other side takes at most ${String(this.#frameLimit)} bytes ` +
          'at once. Send less at a time.',
      );
    }
    this.#state = state;
    if (isAnswer(message)) {
      this.#running.delete(message.id);
    }
    this.#queue.push(encoded);
  }

  /** Takes what waits, up to one batch, as a frame; `null` when nothing waits. */
  nextFrame(): Frame | null {
    return this.#queue.length === 0 ? null : encodeFrame(this.#queue.splice(0, countBatch(this.#queue)));
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
    const state = this.#follow(this.role === 'page' ? 'server' : 'page', message);
    if (state === undefined) {
      throw new ProtocolError(
        `the message ${message.type} cannot come to a ${this.role} while its connection is ${this.#state}`,
      );
    }
    this.#state = state;
    if (message.type === 'welcome') {
      this.#frameLimit = message.frame_limit;
    } else if (message.type === 'cancel') {
      return this.#running.has(message.id);
    } else if (isRequest(message)) {
      if (message.id <= this.#lastFarId) {
        throw new ProtocolError(`the id ${String(message.id)} does not follow ${String(this.#lastFarId)}`);
      }
      this.#lastFarId = message.id;
      this.#running.add(message.id);
    } else if (isAnswer(message) && !this.#asked.delete(message.id)) {
      throw new ProtocolError(`there is no request ${String(message.id)} that waits for an answer`);
    }
    return true;
  }

  #follow(sender: Role, message: Message): ConnectionState | undefined {
    return maySend(sender, message.type) ? TRANSITIONS[this.#state][STEPS[message.type] ?? 'other'] : undefined;
  }
}

function isRequest(message: Message): message is Request {
  return REQUESTS.has(message.type);
}

function isAnswer(message: Message): message is Answer {
  return ANSWERS.has(message.type);
}
