/**
 * A connection over the messages of a comm: what a notebook's kernel and its pages send each other anyway.
 *
 * Such messages have no end that is noticed, come to every page of the kernel, may be dropped without an error, and must
 * not be too many or too large. So each has the name of its connection and a number; a gap ends the connection, what is
 * under way is bounded by acknowledgements, and how often a message leaves by a pace. The frames of a session, one after
 * the other, are a sequence of bytes that is cut into messages; several frames that wait leave in one.
 */

import { ProtocolError } from '../errors.js';

/** The most bytes of one message. Jupyter's server takes 10 MiB and drops what is larger without an error. */
export const COMM_MESSAGE_BYTES = 2 ** 20;

/** The most messages that are under way in one direction, which the other side has not acknowledged. */
export const COMM_WINDOW = 16;

/** After how many messages they are acknowledged by a message of its own, if none goes back anyway. */
export const COMM_ACK_FROM = 8;

/**
 * The most messages per second in the long run. Jupyter's server drops a kernel's messages above 1,000, silently, and a
 * message of the page can cause two more.
 */
export const COMM_RATE = 200;

/** The most messages that leave at once, after a rest. */
export const COMM_BURST = 50;

/** The bytes of frames that nobody has taken from which on nothing is acknowledged, so that the other side waits. */
export const COMM_UNREAD_BYTES = 4 * 2 ** 20;

/** The bytes that each of these frames counts beside its own: a small one takes that much memory, and an empty one, too. */
export const COMM_FRAME_COST = 100;

const MAX_REASON = 500;

/** A frame's kind and the length of its bytes, before them. */
const HEAD = 5;
const TEXT = 0;
const BINARY = 1;

const ALMOST_ONE = 1 - 1e-6;
const TYPES = ['open', 'opened', 'data', 'ack', 'close'] as const;

type CommType = (typeof TYPES)[number];

/**
 * How far a connection is: `opening` until the kernel has answered, `open`, `closing` while what waits still leaves,
 * `ended`.
 */
export type CommState = 'opening' | 'open' | 'closing' | 'ended';

/** The content of a message. The bytes of `data` are beside it, as a buffer. */
export interface CommContent {
  readonly connection: string;
  readonly type: CommType;
  /** The number of messages before it in its direction, and one; 0 for an `ack`, which does not count. */
  readonly number: number;
  /** The number of the last message of the other direction that has been received. */
  readonly acknowledged: number;
  /** Why, in words, if it is a `close`. */
  readonly reason?: string;
}

/** A message. */
export interface CommMessage {
  readonly content: CommContent;
  /** The bytes of `data`. */
  readonly data?: Uint8Array<ArrayBuffer>;
}

/** Return whether a content is of a connection; it may be another one's. */
export function isOfConnection(content: unknown, name: string): content is Readonly<Record<string, unknown>> {
  return typeof content === 'object' && content !== null && (content as { connection?: unknown }).connection === name;
}

/**
 * Return the message of a content and its buffers.
 *
 * @throws ProtocolError if they are not one.
 */
export function decodeCommMessage(
  content: Readonly<Record<string, unknown>>,
  buffers: readonly Uint8Array<ArrayBuffer>[],
): CommMessage {
  const { connection, type, number, acknowledged, reason = '' } = content;
  if (typeof connection !== 'string' || connection === '' || connection.length > 64) {
    throw new ProtocolError('a message of a comm does not name its connection');
  }
  if (!TYPES.includes(type as CommType)) {
    throw new ProtocolError('a message of a comm has no type that is known');
  }
  if (!isNumber(number) || !isNumber(acknowledged)) {
    throw new ProtocolError('a message of a comm has no numbers');
  }
  if (buffers.length !== (type === 'data' ? 1 : 0)) {
    throw new ProtocolError(`a message of a comm of type ${String(type)} has ${String(buffers.length)} buffers`);
  }
  if (typeof reason !== 'string') {
    throw new ProtocolError('the reason of a close is no text');
  }
  const [data] = buffers;
  if (data !== undefined && data.length > COMM_MESSAGE_BYTES) {
    throw new ProtocolError(
      `a message of a comm has ${String(data.length)} bytes, and ${String(COMM_MESSAGE_BYTES)} are the most`,
    );
  }
  return {
    content: { connection, type: type as CommType, number, acknowledged, reason: reason.slice(0, MAX_REASON) },
    ...(data === undefined ? {} : { data }),
  };
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** One side of a connection. It does no I/O, and is told the time. */
export class CommConnection {
  readonly name: string;
  readonly #opens: boolean;
  readonly #frameLimit: number;
  readonly #pace = new Pace();
  readonly #received = new ByteQueue();
  #state: CommState = 'opening';
  #whyEnded = '';
  #greets: boolean;
  #unsent: Uint8Array<ArrayBuffer>[] = [];
  #waitingBytes = 0;
  #goodbye = '';
  #sent = 0;
  #acknowledged = 0;
  #last = 0;
  #told = 0;
  #frames: { readonly frame: string | ArrayBuffer; readonly cost: number }[] = [];
  #unread = 0;

  /**
   * @param name - Its name, of 1 to 64 characters.
   * @param opens - Whether this side has to send `open`: the page's.
   * @param frameLimit - The largest frame that is received, in bytes.
   */
  constructor(name: string, opens: boolean, frameLimit: number) {
    this.name = name;
    this.#opens = opens;
    this.#greets = opens;
    this.#frameLimit = frameLimit;
  }

  /** How far it is. */
  get state(): CommState {
    return this.#state;
  }

  /** Why it has ended, as the end of a sentence; empty before. */
  get whyEnded(): string {
    return this.#whyEnded;
  }

  /** The bytes that wait to be sent. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Queue a frame, or a copy of its bytes. It is dropped if the connection is closing or has ended. */
  send(frame: string | Uint8Array<ArrayBuffer>): void {
    if (this.#state === 'opening' || this.#state === 'open') {
      const data = typeof frame === 'string' ? new TextEncoder().encode(frame) : frame.slice();
      const head = new Uint8Array(HEAD);
      head[0] = typeof frame === 'string' ? TEXT : BINARY;
      new DataView(head.buffer).setUint32(1, data.length, true);
      this.#unsent.push(head, data);
      this.#waitingBytes += HEAD + data.length;
    }
  }

  /** Close the connection when what waits has been sent. */
  close(reason: string): void {
    if (this.#state === 'opening' || this.#state === 'open') {
      this.#goodbye = reason;
      this.#state = 'closing';
    }
  }

  /** End the connection at once, without telling the other side. The first reason counts. */
  end(why: string): void {
    if (this.#state !== 'ended') {
      this.#whyEnded = why;
      this.#unsent = [];
      this.#waitingBytes = 0;
      this.#state = 'ended';
    }
  }

  /**
   * Return the next message to send; `null` if there is none, or none can leave yet.
   *
   * @param now - The time in seconds.
   */
  nextMessage(now: number): CommMessage | null {
    const type = this.#nextType();
    if (type === null || this.#pace.wait(now) > 0) {
      return null;
    }
    this.#pace.take();
    const data = type === 'data' ? this.#takeBytes() : undefined;
    const reason = this.#goodbye;
    if (type === 'close') {
      this.end('it was closed on this side');
    } else if (type !== 'data' && type !== 'ack') {
      this.#greets = false;
    }
    this.#told = this.#readable;
    const number = type === 'ack' ? 0 : ++this.#sent;
    const content = { connection: this.name, type, number, acknowledged: this.#told };
    return {
      content: type === 'close' ? { ...content, reason } : content,
      ...(data === undefined ? {} : { data }),
    };
  }

  /** Return an `ack` that can be sent at any time, also if nothing new is acknowledged. */
  makeAck(): CommMessage {
    return { content: { connection: this.name, type: 'ack', number: 0, acknowledged: this.#told } };
  }

  /** Return in how many seconds a message can leave; `null` if not before something else happens. */
  wait(now: number): number | null {
    return this.#nextType() === null ? null : this.#pace.wait(now);
  }

  /**
   * Receive a message of the connection. After the end it is ignored.
   *
   * @throws ProtocolError if it cannot follow those before: one was lost, or the other side is wrong. The connection
   *   has ended.
   */
  receive(message: CommMessage): void {
    if (this.#state === 'ended') {
      return;
    }
    try {
      this.#receive(message);
    } catch (error) {
      this.end((error as Error).message);
      throw error;
    }
  }

  /** Return the next frame that has come; `null` if there is none. */
  nextFrame(): string | ArrayBuffer | null {
    const next = this.#frames.shift();
    this.#unread -= next?.cost ?? 0;
    return next?.frame ?? null;
  }

  #nextType(): CommType | null {
    if (this.#state === 'ended') {
      return null;
    }
    if (this.#sent - this.#acknowledged < COMM_WINDOW) {
      if (this.#greets) {
        return this.#opens ? 'open' : 'opened';
      }
      if (this.#waitingBytes > 0 && this.#state !== 'opening') {
        return 'data';
      }
      if (this.#state === 'closing' && this.#waitingBytes === 0) {
        return 'close';
      }
    }
    return this.#readable - this.#told >= COMM_ACK_FROM ? 'ack' : null;
  }

  /** The number of the last message that is acknowledged now. */
  get #readable(): number {
    return this.#unread <= COMM_UNREAD_BYTES ? this.#last : this.#told;
  }

  /** Take the bytes of the next message. They are a whole buffer, as front ends cannot send a part of one. */
  #takeBytes(): Uint8Array<ArrayBuffer> {
    const data = new Uint8Array(Math.min(this.#waitingBytes, COMM_MESSAGE_BYTES));
    let filled = 0;
    while (filled < data.length) {
      const [first] = this.#unsent.splice(0, 1) as [Uint8Array<ArrayBuffer>];
      const part = first.subarray(0, data.length - filled);
      data.set(part, filled);
      filled += part.length;
      if (part.length < first.length) {
        this.#unsent.unshift(first.subarray(part.length));
      }
    }
    this.#waitingBytes -= filled;
    return data;
  }

  #receive({ content: { type, number, acknowledged, reason = '' }, data }: CommMessage): void {
    // It counts wherever it stands: who closes may not know what has come.
    if (type === 'close') {
      this.end(reason || 'it was closed on the far side');
      return;
    }
    if (acknowledged < this.#acknowledged || acknowledged > this.#sent) {
      throw new ProtocolError(
        `message ${String(acknowledged)} of its comm is acknowledged, and ${String(this.#sent)} were sent`,
      );
    }
    this.#acknowledged = acknowledged;
    if (type === 'ack') {
      return;
    }
    if (number !== this.#last + 1) {
      throw new ProtocolError(
        `message ${String(number)} of its comm came after ${String(this.#last)}: messages were lost`,
      );
    }
    if (number - this.#told > COMM_WINDOW) {
      throw new ProtocolError(`more than ${String(COMM_WINDOW)} messages of its comm are under way`);
    }
    const expected = this.#last > 0 ? 'data' : this.#opens ? 'opened' : 'open';
    if (type !== expected) {
      throw new ProtocolError(`a message of its comm of type ${type} came in the place of ${expected}`);
    }
    this.#last = number;
    if (data !== undefined) {
      this.#received.push(data);
      this.#splitFrames();
    } else {
      this.#greets = !this.#opens;
      if (this.#state === 'opening') {
        this.#state = 'open';
      }
    }
  }

  #splitFrames(): void {
    const received = this.#received;
    for (let head = received.peek(HEAD); head !== null; head = received.peek(HEAD)) {
      const kind = head[0];
      const size = new DataView(head.buffer).getUint32(1, true);
      if (kind !== TEXT && kind !== BINARY) {
        throw new ProtocolError(`a frame over its comm has the kind ${String(kind)}`);
      }
      if (size > this.#frameLimit) {
        throw new ProtocolError(`a frame of ${String(size)} bytes came, and ${String(this.#frameLimit)} are the most`);
      }
      if (received.size < HEAD + size) {
        return;
      }
      received.take(HEAD);
      const payload = received.take(size);
      const frame = kind === TEXT ? decodeText(payload) : payload.buffer;
      this.#frames.push({ frame, cost: size + COMM_FRAME_COST });
      this.#unread += size + COMM_FRAME_COST;
    }
  }
}

function decodeText(payload: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    throw new ProtocolError('a text frame over its comm is no UTF-8');
  }
}

/** Bytes that came in several parts. */
class ByteQueue {
  #parts: Uint8Array<ArrayBuffer>[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(part: Uint8Array<ArrayBuffer>): void {
    this.#parts.push(part);
    this.#size += part.length;
  }

  /** Return the first bytes, in a buffer of their own; `null` if there are fewer. */
  peek(size: number): Uint8Array<ArrayBuffer> | null {
    return this.#size < size ? null : this.#copy(size).bytes;
  }

  /** Remove the first bytes, and return them in a buffer of their own. */
  take(size: number): Uint8Array<ArrayBuffer> {
    const { bytes, used, rest } = this.#copy(size);
    this.#parts.splice(0, used, ...(rest === undefined ? [] : [rest]));
    this.#size -= size;
    return bytes;
  }

  #copy(size: number): { bytes: Uint8Array<ArrayBuffer>; used: number; rest: Uint8Array<ArrayBuffer> | undefined } {
    const bytes = new Uint8Array(size);
    let filled = 0;
    let used = 0;
    let rest: Uint8Array<ArrayBuffer> | undefined;
    for (const part of this.#parts) {
      if (filled === size) {
        break;
      }
      const taken = part.subarray(0, size - filled);
      bytes.set(taken, filled);
      filled += taken.length;
      used++;
      rest = taken.length < part.length ? part.subarray(taken.length) : undefined;
    }
    return { bytes, used, rest };
  }
}

/** Lets `COMM_BURST` messages leave at once, and `COMM_RATE` per second in the long run. */
class Pace {
  #tokens = COMM_BURST;
  #now: number | undefined;

  /** Return in how many seconds the next message can leave. */
  wait(now: number): number {
    const elapsed = Math.max(0, now - (this.#now ?? now));
    this.#tokens = Math.min(COMM_BURST, this.#tokens + elapsed * COMM_RATE);
    this.#now = now;
    // A number may miss one by a hair, and then no time would ever be enough.
    return this.#tokens > ALMOST_ONE ? 0 : (1 - this.#tokens) / COMM_RATE;
  }

  /** Count a message that leaves. */
  take(): void {
    this.#tokens -= 1;
  }
}
