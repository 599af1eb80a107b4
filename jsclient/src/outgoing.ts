/** A stream of this page that is sent to the server: inside its message, or in posts that follow each other. */

import type { Environment } from './environment.js';
import { StateError } from './errors.js';
import { INLINE_LIMIT, PART_SIZE, type Part, type Source } from './source.js';
import { describeThrown } from './thrown.js';

/** The time in milliseconds that a source has to show that it is short and ready. */
export const INLINE_TIME = 2;

/** The most bytes of one post, and the most that wait for the next one. */
export const POST_LIMIT = PART_SIZE;

/** The most parts that wait: each of them takes memory, however short it is. */
const MAX_PARTS = 16_384;

const MAX_REASON_LENGTH = 500;

// An async generator takes three microtasks from one chunk to the next, a pipe of them a few times as many.
const IDLE_HOPS = 20;

/** What a stream tells to the session. */
export interface OutgoingEvents {
  /** It cannot go on, for this reason. */
  readonly onBroken: (error: unknown) => void;
  /** Nothing more will be sent of it. */
  readonly onEnd: () => void;
}

/** A stream of this page. */
export class Outgoing {
  readonly channel: number;
  /** Its number; 0 before it is announced. */
  id = 0;
  /** Called when the reader has taken a part of it. */
  onTaken: (() => void) | undefined;
  readonly #source: Source;
  readonly #environment: Environment;
  readonly #events: OutgoingEvents;
  readonly #controller = new AbortController();
  #parts: Part[] = [];
  #waiting = 0;
  /** How many bytes may wait before the source is read no further. */
  #room = 0;
  #isReading = false;
  #hasEnded = false;
  #failure: { readonly error: unknown } | undefined;
  #isOver = false;
  #endError: Error | undefined;
  #hasTicket = false;
  #wake: (() => void) | undefined;

  constructor(channel: number, source: Source, events: OutgoingEvents, environment: Environment) {
    this.channel = channel;
    this.#source = source;
    this.#events = events;
    this.#environment = environment;
  }

  /** The length in bytes, where it is known. */
  get total(): number | undefined {
    return this.#source.total;
  }

  /** Why the stream was ended before its end, if it was by `close` with an error. */
  get endError(): Error | undefined {
    return this.#endError;
  }

  /**
   * Finds out whether the stream is short and ready.
   *
   * @param callback - Called once: at once where that is clear, and after `INLINE_TIME` at the latest. What it gets is
   *   the whole stream, which has ended then, or `undefined`. It is called early when the stream is closed.
   */
  prepare(callback: (data: Uint8Array<ArrayBuffer> | undefined) => void): void {
    const { data, total } = this.#source;
    if (total !== undefined && total > INLINE_LIMIT) {
      callback(undefined);
    } else if (data !== undefined) {
      this.#end();
      callback(data);
    } else {
      void this.#tryShort().then(callback);
    }
  }

  /** Posts the stream, from now on as fast as its reader reads. */
  post(url: string): void {
    if (!this.#isOver && !this.#hasTicket) {
      this.#hasTicket = true;
      this.#read(POST_LIMIT);
      void this.#postAll(url);
    }
  }

  /** Ends the stream before its end: the source is closed, and a post that is under way is aborted. */
  close(error?: Error): void {
    if (!this.#isOver) {
      this.#endError = error;
      if (!this.#hasEnded) {
        this.#source.close();
      }
      this.#end();
      this.#controller.abort();
    }
  }

  async #tryShort(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const time = { isOver: false };
    const timer = this.#environment.setTimeout(() => {
      time.isOver = true;
      this.#notify();
    }, INLINE_TIME);
    this.#read(INLINE_LIMIT + 1);
    while (!time.isOver && !this.#hasEnded && !this.#isOver && this.#waiting <= INLINE_LIMIT) {
      await this.#change();
    }
    this.#environment.clearTimeout(timer);
    this.#room = 0;
    if (!this.#hasEnded || this.#failure !== undefined || this.#isOver || this.#waiting > INLINE_LIMIT) {
      return undefined;
    }
    const data = new Uint8Array(this.#waiting);
    let offset = 0;
    // No source of an unknown length gives Blobs, and no Blob that is that short.
    for (const part of this.#parts as Uint8Array<ArrayBuffer>[]) {
      data.set(part, offset);
      offset += part.length;
    }
    this.#end();
    return data;
  }

  /** Reads the source until so many bytes wait. */
  #read(room: number): void {
    this.#room = room;
    if (!this.#isReading) {
      this.#isReading = true;
      void this.#gather();
    }
  }

  async #gather(): Promise<void> {
    try {
      while (!this.#hasEnded && !this.#isOver && this.#waiting < this.#room && this.#parts.length < MAX_PARTS) {
        const part = await this.#source.read();
        if (part === null) {
          this.#hasEnded = true;
        } else if (sizeOf(part) > 0) {
          this.#parts.push(part);
          this.#waiting += sizeOf(part);
        }
        this.#notify();
      }
    } catch (error) {
      this.#failure = { error };
      this.#hasEnded = true;
      // It may have given something that is no bytes, and be ready to go on.
      this.#source.close();
      this.#notify();
    }
    this.#isReading = false;
  }

  async #postAll(url: string): Promise<void> {
    let offset = 0;
    let isLast = false;
    while (!isLast) {
      await this.#gathered();
      if (this.#isOver) {
        return;
      }
      if (this.#waiting === 0 && this.#failure !== undefined) {
        this.#events.onBroken(this.#failure.error);
        break;
      }
      const body = this.#takeBody();
      isLast = this.#hasEnded && this.#failure === undefined && this.#waiting === 0;
      this.#read(POST_LIMIT);
      const status = await this.#postOne(`${url}?offset=${String(offset)}${isLast ? '&end=1' : ''}`, body);
      if (status !== 204) {
        this.close();
        return;
      }
      offset += body.size;
      this.onTaken?.();
    }
    this.#end();
  }

  /** Posts one part. Gives the status 204 or 410, or `undefined` when it has failed; then the reader is told. */
  async #postOne(url: string, body: Blob): Promise<number | undefined> {
    try {
      const { signal } = this.#controller;
      const response = await this.#environment.fetch(url, { method: 'POST', body, signal });
      response.body?.cancel().catch(() => undefined);
      if (response.status !== 204 && response.status !== 410) {
        throw new StateError(`the server answered with the status ${String(response.status)}.`);
      }
      return response.status;
    } catch (error) {
      if (!this.#isOver) {
        const { message } = describeThrown(error, MAX_REASON_LENGTH);
        this.#events.onBroken(new StateError(`The page could not post a part of the stream: ${message}`));
      }
      return undefined;
    }
  }

  /** Waits until something can be posted, and as long as the source goes on without waiting for anything. */
  async #gathered(): Promise<void> {
    while (this.#waiting === 0 && !this.#hasEnded && !this.#isOver) {
      await this.#change();
    }
    let before = this.#waiting;
    for (let hops = 0; hops < IDLE_HOPS && this.#isReading && this.#waiting < POST_LIMIT; hops++) {
      await Promise.resolve();
      if (this.#waiting > before) {
        before = this.#waiting;
        hops = 0;
      }
    }
  }

  /** Takes what waits, up to `POST_LIMIT`, as a Blob: Chromium sends one ten times as fast as a Uint8Array. */
  #takeBody(): Blob {
    // What waits is at most one part more than the limit, and that part alone can be longer.
    const all = new Blob(this.#parts);
    this.#waiting = Math.max(all.size - POST_LIMIT, 0);
    this.#parts = this.#waiting > 0 ? [all.slice(POST_LIMIT)] : [];
    return this.#waiting > 0 ? all.slice(0, POST_LIMIT) : all;
  }

  #end(): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#parts = [];
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

function sizeOf(part: Part): number {
  return part instanceof Uint8Array ? part.length : part.size;
}
