/**
 * The state of one connection: which messages can follow each other, for the connection, each request and each stream.
 *
 * The window is the connection's, too: how many bytes of streams can be under way on it, in each direction.
 *
 * A `Connection` is one side of one socket. It turns messages into frames, and frames into messages. It does no I/O and
 * uses no clock.
 */

import { ProtocolError, StateError } from '../errors.js';
import { Arriving, BATCH_LIMIT, countBatch, encodeFrames, FRAME_OVERHEAD, type Frame } from './frames.js';
import {
  encodeMessage,
  maySend,
  utf8Length,
  type Ack,
  type Answer,
  type Call,
  type Close,
  type Echo,
  type Encoded,
  type Hello,
  type Message,
  type Open,
  type Piece,
  type Pipe,
  type Request,
  type Role,
  type StreamInfo,
  type Welcome,
} from './messages.js';
import type { Packed } from './values.js';

/** The version of the protocol, which is the WebSocket's subprotocol. */
export const VERSION = 'jchannel.v1';

/** The default for the largest frame in bytes. */
export const FRAME_LIMIT = 64 * 1024 * 1024;

/** The most bytes of one piece of a stream. */
export const PIECE_LIMIT = 64 * 1024;

/**
 * The most bytes of pieces that are under way to the other side, of all streams together: what a message may have to
 * wait for. It bounds the rate, too, to this many bytes in one round trip.
 */
export const PIECES_UNDER_WAY = 1024 * 1024;

/**
 * The most that a side sends of them while requests and answers pass beside its streams. Over a comm it makes no
 * difference, as that takes few messages and a longer way: more pieces share one.
 */
export const PIECES_BESIDE_MESSAGES = 256 * 1024;

/**
 * So many bytes of pieces have to arrive within so many milliseconds, without a request or an answer beside them, before
 * a side sends as many as can be under way: on a connection that takes 40 MiB/s a call waits behind them for 25 ms at
 * most.
 */
export const QUIET_BYTES = 8 * 1024 * 1024;
export const QUIET_TIME = 200;

/** The state of a connection. */
export type ConnectionState = 'opening' | 'hello' | 'ready' | 'ended';

/** A request without its id. The arguments of a call may be packed already. */
export type RequestBody =
  | Omit<Open, 'id'>
  | Omit<Close, 'id'>
  | Omit<Echo, 'id'>
  | (Omit<Call, 'id' | 'args'> & { readonly args: readonly unknown[] | Packed })
  | Omit<Pipe, 'id'>;

// There are three texts, and JSON may need six bytes for each character. The rest is a reserve.
const BYTES_PER_ERROR_CHARACTER = 24;

// The most bytes of a piece's message besides its data.
const PIECE_OVERHEAD = 160;

// The most bytes of a call, pipe or result with a stream inside, besides the name, the arguments and the stream.
const STREAM_OVERHEAD = 480;

type Step = 'hello' | 'welcome' | 'goodbye' | 'other';

// The state that follows a message, by the state before. Any other message is an error.
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
// Messages that wait for room, or that this page makes by itself.
const WAITING: ReadonlySet<Message['type']> = new Set<Message['type']>([...REQUESTS, 'result', 'piece']);
const ANSWERS: ReadonlySet<Message['type']> = new Set<Answer['type']>(['result', 'error']);

/** Counts the pieces of one side of a connection. */
class Window {
  /** The most bytes that this side sends while requests and answers pass beside them. */
  besideMessages = PIECES_BESIDE_MESSAGES;
  /** Whether this side can send more, because pieces have arrived fast without any. */
  #isWide = false;
  #quietBytes = 0;
  #quietSince: number | undefined;
  #underWay = 0;
  #unacknowledged = 0;

  /** Whether a piece can be sent now. If not, those under way must arrive first. */
  get isOpen(): boolean {
    const most = this.#isWide ? PIECES_UNDER_WAY : this.besideMessages;
    return this.#underWay + PIECE_LIMIT <= most;
  }

  /** The bytes to be acknowledged now; 0 for none yet. */
  get ackDue(): number {
    // From half of the least that can be under way on, so there is always room for a piece when all have arrived.
    return this.#unacknowledged >= this.besideMessages / 2 ? this.#unacknowledged : 0;
  }

  /** Count a message of this side. */
  send(message: Piece | Ack): void {
    if (message.type === 'piece') {
      this.#underWay += message.data.length;
    } else {
      this.#unacknowledged -= message.bytes;
    }
  }

  /**
   * Count a message of the other side.
   *
   * @throws ProtocolError if more is under way than can be, or more is acknowledged than is under way.
   */
  receive(message: Piece | Ack): void {
    if (message.type === 'piece') {
      this.#unacknowledged += message.data.length;
      if (this.#unacknowledged > PIECES_UNDER_WAY) {
        throw new ProtocolError(`more than ${String(PIECES_UNDER_WAY)} bytes of pieces are under way`);
      }
    } else {
      if (message.bytes > this.#underWay) {
        const sizes = `${String(message.bytes)} bytes are acknowledged, and ${String(this.#underWay)} are under way`;
        throw new ProtocolError(sizes);
      }
      this.#underWay -= message.bytes;
      this.#quietBytes += message.bytes;
    }
  }

  /** Note when pieces of this side have arrived, in milliseconds of any clock, and whether they came fast. */
  noteTime(now: number): void {
    if (this.#quietSince === undefined || this.#quietBytes >= QUIET_BYTES) {
      this.#isWide = this.#quietSince !== undefined && now - this.#quietSince <= QUIET_TIME;
      this.#quietSince = now;
      this.#quietBytes = 0;
    }
  }

  /** Note that a request or an answer passes, in either direction. */
  noteMessage(): void {
    this.#isWide = false;
    this.#quietSince = undefined;
  }
}

/** One side of a connection. */
export class Connection {
  readonly role: Role;
  #state: ConnectionState = 'opening';
  #frameLimit: number;
  #helloLimit = Infinity;
  #lastId = 0;
  #lastFarId = 0;
  #lastStream = 0;
  #lastFarStream = 0;
  readonly #pending = new Map<number, Request['type']>();
  readonly #running = new Map<number, Request['type']>();
  readonly #window = new Window();
  #httpStreams = Infinity;
  #queue: Encoded[] = [];
  /** The attachments that follow the frame that has left last. */
  #apart: Frame[] = [];
  /** A frame that has come and waits for its attachments. */
  #arriving: Arriving | undefined;
  #isUrgent = false;
  #queuedBytes = 0;
  #unaskedBytes = 0;

  /**
   * @param role - Which side this is.
   * @param frameLimit - The largest frame to send, in bytes. A page uses that of the server's `welcome` instead. If
   *   that of the page's `hello` is smaller, both sides use it.
   */
  constructor(role: Role, frameLimit = FRAME_LIMIT) {
    this.role = role;
    this.#frameLimit = frameLimit;
  }

  /** The state of the connection. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** The largest frame that may be sent, in bytes. */
  get frameLimit(): number {
    return this.#frameLimit;
  }

  /** The most streams that can travel over HTTP at once. The server's `welcome` says it. */
  get httpStreams(): number {
    return this.#httpStreams;
  }

  /** The most bytes of the next piece; 0 if none can be sent, as until more of those under way have arrived. */
  get pieceRoom(): number {
    return this.#window.isOpen && this.#state === 'ready' ? Math.min(PIECE_LIMIT, this.#frameLimit - PIECE_OVERHEAD) : 0;
  }

  /** The most bytes of pieces that this side sends while requests and answers pass beside them. */
  get piecesBesideMessages(): number {
    return this.#window.besideMessages;
  }

  /** The bytes of pieces to be acknowledged now; 0 for none yet. */
  get ackDue(): number {
    return this.#window.ackDue;
  }

  /** Note when pieces of this side have arrived, in milliseconds of any clock. */
  noteTime(now: number): void {
    this.#window.noteTime(now);
  }

  /** The id of the next stream that this side announces. */
  get nextStream(): number {
    return this.#lastStream + 1;
  }

  /** The most bytes of a stream for which a message has room, besides its own bytes. */
  roomBeside(size: number): number {
    return this.#frameLimit - STREAM_OVERHEAD - size;
  }

  /** The most characters of each text of an error with which it always fits into a frame. */
  get errorLimit(): number {
    return Math.floor(this.#frameLimit / BYTES_PER_ERROR_CHARACTER);
  }

  /** The bytes of the queued messages. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** The bytes of all messages so far that did not wait for room: errors, and what is about streams. */
  get unaskedBytes(): number {
    return this.#unaskedBytes;
  }

  /** Whether a queued message has borrowed bytes, and must leave in this step. */
  get isUrgent(): boolean {
    return this.#isUrgent;
  }

  /** The number of queued messages. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** The number of this side's requests that have not been answered. */
  get unanswered(): number {
    return this.#pending.size;
  }

  /** The number of the other side's requests that have not been answered. */
  get running(): number {
    return this.#running.size;
  }

  /**
   * Encode a request and queue it for the next frame.
   *
   * @param body - The request, to which its id is added.
   * @returns The id of the request.
   * @throws The errors of `send`. No id is used up then.
   */
  request(body: RequestBody): number {
    const id = this.#lastId + 1;
    // A copy of it took an eighth of what a call costs the client.
    (body as { id?: number }).id = id;
    this.send(body as Request);
    this.#lastId = id;
    this.#pending.set(id, body.type);
    return id;
  }

  /**
   * Encode a message and queue it for the next frame. A `cancel` of a request that has been answered already is
   * dropped.
   *
   * @throws TypeError, RangeError if the values cannot be sent, or if the message is larger than the frame limit.
   * @throws StateError if the message cannot be sent in this state, or is about a request or a stream that there is
   *   not.
   */
  send(message: Message): void {
    const state = this.#nextState(this.role, message);
    if (state === undefined) {
      throw new StateError(`A ${this.role} cannot send ${message.type} while its connection is ${this.#state}.`);
    }
    if (message.type === 'cancel' && !this.#pending.has(message.id)) {
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
          'at once. Send less at a time, or bytes as a stream.',
      );
    }
    this.#state = state;
    this.#lastStream = streamOf(message)?.id ?? this.#lastStream;
    switch (message.type) {
      case 'hello':
      case 'welcome':
        this.#applyLimits(message);
        break;
      case 'piece':
      case 'ack':
        this.#window.send(message);
        break;
      case 'result':
      case 'error':
        this.#running.delete(message.id);
        this.#window.noteMessage();
        break;
      default:
        if (isRequest(message)) {
          this.#window.noteMessage();
        }
    }
    this.#queue.push(encoded);
    this.#isUrgent ||= encoded.attachments.some(({ isBorrowed }) => isBorrowed);
    this.#queuedBytes += encoded.size;
    if (!WAITING.has(message.type)) {
      this.#unaskedBytes += encoded.size;
    }
  }

  /** Return the next frame to send; `null` if no message is queued. Attachments that leave apart follow their frame. */
  nextFrame(): Frame | null {
    const data = this.#apart.shift();
    if (data !== undefined) {
      return data;
    }
    if (this.#queue.length === 0) {
      this.#isUrgent = false;
      return null;
    }
    const batch = this.#queue.splice(0, countBatch(this.#queue, this.#frameLimit));
    for (const { size } of batch) {
      this.#queuedBytes -= size;
    }
    const frames = encodeFrames(batch);
    this.#apart = frames.slice(1);
    return frames[0];
  }

  /**
   * Decode a frame from the other side.
   *
   * @returns The messages, but no `cancel` of a request that has been answered already. None while the frame waits for
   *   its attachments.
   * @throws ProtocolError if the frame, or one of its messages at this time, violates the protocol. The connection
   *   should be closed then.
   */
  receive(frame: string | ArrayBuffer): Message[] {
    const arriving = this.#arriving ?? this.#begin(frame);
    if (this.#arriving !== undefined) {
      arriving.add(frame);
    }
    this.#arriving = arriving.isWhole ? undefined : arriving;
    if (this.#arriving !== undefined) {
      return [];
    }
    const messages = arriving.finish();
    const batch = messages.length > 1 ? sizeOf(arriving.head, BATCH_LIMIT, arriving.apartSize) : 0;
    if (batch > BATCH_LIMIT) {
      throw new ProtocolError(
        `a frame of several messages has ${String(batch)} bytes, and ${String(BATCH_LIMIT)} are the most`,
      );
    }
    return messages.filter((message) => this.#handle(message));
  }

  #begin(frame: string | ArrayBuffer): Arriving {
    this.#checkSize(sizeOf(frame, this.#frameLimit));
    const arriving = new Arriving(frame);
    if (!arriving.isWhole) {
      this.#checkSize(sizeOf(frame, this.#frameLimit, arriving.apartSize));
      if (this.#state !== 'ready') {
        throw new ProtocolError('the messages of the handshake have no attachments');
      }
    }
    return arriving;
  }

  #checkSize(size: number): void {
    if (size > this.#frameLimit) {
      throw new ProtocolError(`a frame of ${String(size)} bytes came, and ${String(this.#frameLimit)} are the most`);
    }
  }

  #handle(message: Message): boolean {
    const farRole = this.role === 'page' ? 'server' : 'page';
    const state = this.#nextState(farRole, message);
    if (state === undefined) {
      throw new ProtocolError(
        `the message ${message.type} cannot come to a ${this.role} while its connection is ${this.#state}`,
      );
    }
    const fault = findFault(message, farRole, this.#pending, this.#lastFarStream, this.#lastStream);
    if (fault !== undefined) {
      throw new ProtocolError(fault);
    }
    this.#state = state;
    this.#lastFarStream = streamOf(message)?.id ?? this.#lastFarStream;
    switch (message.type) {
      case 'hello':
      case 'welcome':
        this.#applyLimits(message);
        break;
      case 'piece':
      case 'ack':
        this.#window.receive(message);
        break;
      case 'cancel':
        return this.#running.has(message.id);
      case 'result':
      case 'error':
        if (!this.#pending.delete(message.id)) {
          throw new ProtocolError(`there is no request ${String(message.id)} that waits for an answer`);
        }
        this.#window.noteMessage();
        break;
      default:
        if (isRequest(message)) {
          this.#receiveRequest(message);
        }
    }
    return true;
  }

  #receiveRequest(request: Request): void {
    if (request.id <= this.#lastFarId) {
      throw new ProtocolError(`the id ${String(request.id)} does not follow ${String(this.#lastFarId)}`);
    }
    // The parent may have been answered already.
    const parent = parentOf(request) ?? 0;
    if (parent > this.#lastId) {
      throw new ProtocolError(`there is no request ${String(parent)} that could be the parent of another`);
    }
    this.#lastFarId = request.id;
    this.#running.set(request.id, request.type);
    this.#window.noteMessage();
  }

  /** Apply the limits of the handshake. Of frames the smallest one holds. A server knows its own already. */
  #applyLimits(message: Hello | Welcome): void {
    if (message.type === 'hello' && message.door === 'comm') {
      this.#window.besideMessages = PIECES_UNDER_WAY;
    }
    if (message.type === 'hello' && message.frame_limit !== undefined) {
      this.#helloLimit = message.frame_limit;
      this.#frameLimit = Math.min(this.#frameLimit, message.frame_limit);
    } else if (message.type === 'welcome' && this.role === 'page') {
      this.#frameLimit = Math.min(this.#helloLimit, message.frame_limit);
      this.#httpStreams = message.http_streams ?? Infinity;
    }
  }

  #nextState(sender: Role, message: Message): ConnectionState | undefined {
    return maySend(sender, message.type) ? TRANSITIONS[this.#state][STEPS[message.type] ?? 'other'] : undefined;
  }
}

/**
 * Return what is wrong with the streams in a message, if anything is.
 *
 * @param sender - The message's sender.
 * @param requests - The requests that the sender has not answered, by their ids.
 * @param last - The id of the last stream that the sender has announced.
 * @param lastFar - The id of the last stream that the other side has announced.
 */
function findFault(
  message: Message,
  sender: Role,
  requests: ReadonlyMap<number, Request['type']>,
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
        findResultFault(message.stream !== undefined, message.value, requests.get(message.id))
      );
    case 'broken':
    case 'piece':
    case 'end':
      return message.stream > last ? `there is no stream ${String(message.stream)} of its sender` : undefined;
    case 'stop':
    case 'ticket':
    case 'credit':
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
  const isWrong = isStream ? request !== 'call' && request !== 'pipe' : request === 'pipe';
  return isWrong && request !== undefined
    ? `the answer to the request ${request} ${isStream ? 'cannot' : 'must'} be a stream`
    : undefined;
}

function streamOf(message: Message): StreamInfo | undefined {
  return message.type === 'call' || message.type === 'pipe' || message.type === 'result' ? message.stream : undefined;
}

function parentOf(request: Request): number | undefined {
  return request.type === 'call' || request.type === 'pipe' ? request.parent : undefined;
}

/**
 * Return the bytes of a frame; 0 for a text that is certainly no longer than a limit or a batch, and is not measured.
 *
 * @param apart - The bytes of its attachments that are apart.
 */
function sizeOf(frame: string | ArrayBuffer, limit: number, apart = 0): number {
  if (typeof frame !== 'string') {
    return frame.byteLength;
  }
  // A code unit takes three bytes at most.
  return apart > 0 || frame.length * 3 > Math.max(limit, BATCH_LIMIT) ? utf8Length(frame) + apart : 0;
}

function isRequest(message: Message): message is Request {
  return REQUESTS.has(message.type);
}

function isAnswer(message: Message): message is Answer {
  return ANSWERS.has(message.type);
}
