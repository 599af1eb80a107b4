/** A stream that this page sends to the server: inside its message, by one POST request after the other, or as pieces. */

import type { Environment } from '../connection/environment.js';
import { ProtocolError, StateError } from '../errors.js';
import { PIECE_LIMIT } from '../protocol/connection.js';
import { describeThrown } from '../thrown.js';
import type { Pieces, PieceSender } from './pieces.js';
import { INLINE_LIMIT, PART_SIZE, type Part, type Source } from './sources.js';

/** The time in milliseconds within which a source must end to travel inside its message. */
export const INLINE_TIME = 2;

/** The most bytes of one POST request, and the most that are buffered for the next one. */
export const POST_LIMIT = PART_SIZE;

/** The most bytes that are buffered of a stream that is sent as pieces. */
export const PIECES_AHEAD = 256 * 1024;

/** The most bytes of a Blob that are read at once for pieces. Reading one takes a while, however few bytes it is. */
export const BLOB_AHEAD = 1024 * 1024;

/** The most parts that are buffered. Each takes memory, however short it is. */
const MAX_PARTS = 16_384;

/** The most parts whose memory is kept for others. */
const MAX_SPARE = 8;

const MAX_REASON_LENGTH = 500;

// An async generator takes three microtasks from one chunk to the next, a pipe of them a few times as many.
const IDLE_HOPS = 20;

/** The callbacks of an outgoing stream. */
export interface OutgoingEvents {
  /** Called with the error that has broken the stream. */
  readonly onBroken: (error: unknown) => void;
  /** Called with each piece to send. */
  readonly onPiece: (data: Uint8Array<ArrayBuffer>) => void;
  /** Called when the last piece has been sent. */
  readonly onSent: () => void;
  /** Called when nothing more of the stream will be sent. */
  readonly onEnd: () => void;
}

/** A stream that this page sends. */
export class OutgoingStream implements PieceSender {
  readonly channel: number;
  /** The number of the stream; 0 until it is announced. */
  id = 0;
  /** Called when the reader has taken a part of the stream. */
  onTaken: (() => void) | undefined;
  readonly #source: Source;
  readonly #environment: Environment;
  readonly #events: OutgoingEvents;
  readonly #controller = new AbortController();
  /** Whether the stream waits for its ticket, is being posted, is being sent as pieces, or has ended. */
  #state: 'waiting' | 'posting' | 'sending' | 'ended' = 'waiting';
  /** Why the stream was ended by `close`. */
  #endError: Error | undefined;
  /** Whether the source has more to read, has ended, or has failed. */
  #sourceState: 'open' | 'ended' | 'failed' = 'open';
  /** What the source has failed with. */
  #sourceError: unknown;
  #isReading = false;
  #parts: Part[] = [];
  #buffered = 0;
  /** The number of buffered bytes from which on the source is not read. */
  #bufferSize = 0;
  /** Memory of parts that have left, for the next ones: getting new memory for each takes longer than copying it. */
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  #wake: (() => void) | undefined;
  /** The bytes that can be sent as pieces. */
  #credit = 0;
  /** Called when it has had its turn to send a piece. */
  #onTurn: (() => void) | undefined;

  constructor(channel: number, source: Source, events: OutgoingEvents, environment: Environment) {
    this.channel = channel;
    this.#source = source;
    this.#events = events;
    this.#environment = environment;
  }

  /** The length in bytes, if it is known. */
  get total(): number | undefined {
    return this.#source.total;
  }

  /** Whether it is better posted than sent as pieces, even where those are the faster way. */
  get isBlob(): boolean {
    return this.#source.isBlob ?? false;
  }

  /** The error with which `close` has ended the stream. */
  get endError(): Error | undefined {
    return this.#endError;
  }

  /**
   * Find out whether the stream is short and ready.
   *
   * @param limit - The most bytes for which there is room in the message.
   * @param callback - Called once, after `INLINE_TIME` at the latest, and earlier when the stream is closed. Its
   *   argument is the whole stream, which has ended then, or `undefined`.
   */
  prepare(limit: number, callback: (data: Uint8Array<ArrayBuffer> | undefined) => void): void {
    const { data, total } = this.#source;
    const most = Math.min(INLINE_LIMIT, limit);
    if ((total !== undefined && total > most) || most < 0) {
      callback(undefined);
    } else if (data !== undefined) {
      this.#end();
      callback(data);
    } else {
      void this.#readShort(most).then(callback);
    }
  }

  /** Start to post the stream, as fast as its reader reads. */
  post(url: string): void {
    if (this.#state === 'waiting') {
      this.#state = 'posting';
      this.#read(POST_LIMIT);
      void this.#postAll(url);
    }
  }

  /** Start to send the stream as pieces, as fast as its reader gives credit. */
  sendPieces(pieces: Pieces, credit: number): void {
    if (this.#state === 'waiting') {
      this.#state = 'sending';
      this.#credit = credit;
      this.#read(PIECES_AHEAD);
      void this.#sendAll(pieces);
    }
  }

  /**
   * Let this many more bytes be sent as pieces.
   *
   * @throws ProtocolError if the stream does not travel as pieces.
   */
  allow(credit: number): void {
    if (this.#state !== 'sending') {
      throw new ProtocolError('credit was given to a stream that does not travel as pieces');
    }
    this.#credit += credit;
    this.#notify();
  }

  get hasPiece(): boolean {
    return this.#credit > 0 && this.#buffered >= PIECE_LIMIT && this.#parts[0] instanceof Uint8Array;
  }

  sendPiece(limit: number): number {
    const piece = this.#hasEnded ? undefined : this.#takePiece(limit);
    if (!this.hasPiece) {
      this.#onTurn?.();
    }
    return piece?.length ?? 0;
  }

  /** End the stream early: close its source, and abort the POST request that is under way. */
  close(error?: Error): void {
    if (!this.#hasEnded) {
      this.#endError = error;
      if (this.#sourceState === 'open') {
        this.#source.close();
      }
      this.#end();
      this.#controller.abort();
    }
  }

  get #hasEnded(): boolean {
    return this.#state === 'ended';
  }

  /** Whether more can be read from the source. */
  get #canRead(): boolean {
    return this.#sourceState === 'open' && !this.#hasEnded;
  }

  async #readShort(limit: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const time = { isOver: false };
    const timer = this.#environment.setTimeout(() => {
      time.isOver = true;
      this.#notify();
    }, INLINE_TIME);
    this.#read(limit + 1);
    while (!time.isOver && this.#canRead && this.#buffered <= limit) {
      await this.#change();
    }
    this.#environment.clearTimeout(timer);
    this.#bufferSize = 0;
    if (this.#sourceState !== 'ended' || this.#hasEnded || this.#buffered > limit) {
      return undefined;
    }
    // No source of unknown length has Blobs, and no Blob is that short.
    const data = join(this.#parts as Uint8Array<ArrayBuffer>[], this.#buffered);
    this.#end();
    return data;
  }

  /** Read the source until this number of bytes is buffered. */
  #read(bufferSize: number): void {
    this.#bufferSize = bufferSize;
    if (!this.#isReading) {
      this.#isReading = true;
      void this.#fillBuffer();
    }
  }

  async #fillBuffer(): Promise<void> {
    try {
      while (this.#canRead && this.#buffered < this.#bufferSize && this.#parts.length < MAX_PARTS) {
        const part = await this.#source.read(this.#copy);
        if (this.#hasEnded) {
          break; // What comes later belongs to nobody.
        }
        if (part === null) {
          this.#sourceState = 'ended';
        } else if (sizeOf(part) > 0) {
          this.#parts.push(part);
          this.#buffered += sizeOf(part);
        }
        this.#notify();
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#isReading = false;
  }

  #fail(error: unknown): void {
    this.#sourceState = 'failed';
    this.#sourceError = error;
    // It may have yielded something that is not bytes, and still be open.
    this.#source.close();
    this.#notify();
  }

  async #postAll(url: string): Promise<void> {
    let offset = 0;
    let isLast = false;
    while (!isLast) {
      await this.#waitForBody(POST_LIMIT);
      if (this.#hasEnded) {
        return;
      }
      if (this.#buffered === 0 && this.#sourceState === 'failed') {
        this.#events.onBroken(this.#sourceError);
        break;
      }
      const body = this.#takeBody();
      isLast = this.#sourceState === 'ended' && this.#buffered === 0;
      this.#read(POST_LIMIT);
      const status = await this.#postPart(`${url}?offset=${String(offset)}${isLast ? '&end=1' : ''}`, body);
      if (status !== 204) {
        this.close();
        return;
      }
      offset += body.size;
      this.onTaken?.();
    }
    this.#end();
  }

  async #sendAll(pieces: Pieces): Promise<void> {
    while (!this.#hasEnded) {
      await this.#waitForBody(PIECE_LIMIT);
      await this.#loadBlob();
      while (!this.#canLeave) {
        await this.#change();
      }
      await new Promise<void>((resolve) => {
        this.#onTurn = resolve;
        pieces.enter(this);
      });
    }
  }

  /** Whether the stream can have its turn: there is credit for a piece, or nothing more is sent. */
  get #canLeave(): boolean {
    return this.#credit > 0 || this.#buffered === 0 || this.#hasEnded;
  }

  /** Send the next piece, or the end. */
  #takePiece(limit: number): Uint8Array<ArrayBuffer> | undefined {
    if (this.#buffered === 0) {
      if (this.#sourceState === 'failed') {
        this.#events.onBroken(this.#sourceError);
      } else {
        this.#events.onSent();
      }
      this.#end();
      return undefined;
    }
    const piece = this.#takeBytes(Math.min(limit, this.#credit));
    this.#credit -= piece.length;
    this.#events.onPiece(piece);
    this.#read(PIECES_AHEAD);
    this.onTaken?.();
    return piece;
  }

  /** If a Blob is what comes next, read its beginning. */
  async #loadBlob(): Promise<void> {
    const [blob] = this.#parts;
    if (!(blob instanceof Blob)) {
      return;
    }
    try {
      const bytes = new Uint8Array(await blob.slice(0, BLOB_AHEAD).arrayBuffer());
      if (!this.#hasEnded) {
        this.#parts.splice(0, 1, bytes, ...(blob.size > bytes.length ? [blob.slice(bytes.length)] : []));
      }
    } catch (error) {
      this.#parts = [];
      this.#buffered = 0;
      this.#fail(error);
    }
  }

  /** Take bytes that are buffered, up to a limit. The first part must not be a Blob. */
  #takeBytes(limit: number): Uint8Array<ArrayBuffer> {
    const taken: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    while (size < limit && this.#parts[0] instanceof Uint8Array) {
      const part = this.#parts[0];
      const bytes = part.subarray(0, limit - size);
      if (bytes.length < part.length) {
        this.#parts[0] = part.subarray(bytes.length);
      } else {
        this.#parts.shift();
        this.#spareMemory(part);
      }
      taken.push(bytes);
      size += bytes.length;
    }
    this.#buffered -= size;
    return join(taken, size);
  }

  /** Copy a part, into memory of one that has left if there is some. */
  readonly #copy = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => {
    const memory = this.#spare.pop();
    if (memory === undefined || memory.length < bytes.length) {
      return bytes.slice();
    }
    memory.set(bytes);
    return memory.subarray(0, bytes.length);
  };

  /**
   * Keep the memory of a part. The last piece of it is copied into its frame in this step, and a source that copies
   * into that memory gives its next part in a later one.
   */
  #spareMemory({ buffer }: Uint8Array<ArrayBuffer>): void {
    // Parts of bytes in memory share theirs with what follows.
    if (this.#source.data === undefined && this.#spare.length < MAX_SPARE && buffer.byteLength <= PIECES_AHEAD) {
      this.#spare.push(new Uint8Array(buffer));
    }
  }

  /**
   * Post one part, and return the status 204, or 202 or 410 if no more is wanted; `undefined` if it fails, which breaks
   * the stream.
   */
  async #postPart(url: string, body: Blob): Promise<number | undefined> {
    try {
      const { signal } = this.#controller;
      const response = await this.#environment.fetch(url, { method: 'POST', body, signal });
      response.body?.cancel().catch(() => undefined);
      if (![204, 202, 410].includes(response.status)) {
        throw new StateError(`the server answered with the status ${String(response.status)}.`);
      }
      return response.status;
    } catch (error) {
      if (!this.#hasEnded) {
        const { message } = describeThrown(error, MAX_REASON_LENGTH);
        this.#events.onBroken(new StateError(`The page could not post a part of the stream: ${message}`));
      }
      return undefined;
    }
  }

  /** Wait until something can be sent, and then as long as the source yields more without delay. */
  async #waitForBody(limit: number): Promise<void> {
    while (this.#buffered === 0 && this.#canRead) {
      await this.#change();
    }
    let before = this.#buffered;
    for (let hops = 0; hops < IDLE_HOPS && this.#isReading && this.#buffered < limit; hops++) {
      await Promise.resolve();
      if (this.#buffered > before) {
        before = this.#buffered;
        hops = 0;
      }
    }
  }

  /** Take what is buffered, up to `POST_LIMIT`, as a Blob: Chromium sends one ten times as fast as a Uint8Array. */
  #takeBody(): Blob {
    // At most one part is buffered beyond the limit. That part alone can be longer.
    const all = new Blob(this.#parts);
    this.#buffered = Math.max(all.size - POST_LIMIT, 0);
    this.#parts = this.#buffered > 0 ? [all.slice(POST_LIMIT)] : [];
    return this.#buffered > 0 ? all.slice(0, POST_LIMIT) : all;
  }

  #end(): void {
    this.#spare.length = 0;
    if (!this.#hasEnded) {
      this.#state = 'ended';
      this.#parts = [];
      this.#buffered = 0;
      this.#events.onEnd();
      this.#notify();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #notify(): void {
    this.#wake?.();
  }
}

/** Return parts as one, which is not copied if it is a single one. */
function join(parts: readonly Uint8Array<ArrayBuffer>[], size: number): Uint8Array<ArrayBuffer> {
  if (parts.length === 1 && parts[0] !== undefined) {
    return parts[0];
  }
  const joined = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

function sizeOf(part: Part): number {
  return part instanceof Uint8Array ? part.length : part.size;
}
