/** The page's end of a channel, as its initialization function gets it. */

import { currentSignal } from './invocation.js';
import type { MetaGenerator } from './meta-generator.js';
import type { GivenStream } from './session.js';
import type { StreamSource } from './source.js';

/** Makes the requests of one channel. */
export interface Requester {
  call(name: string, args: readonly unknown[], stream?: GivenStream): Promise<unknown>;
  echo(args: readonly unknown[]): Promise<unknown>;
  pipe(stream: GivenStream): Promise<unknown>;
}

/** A communication channel between this page and Python. It is made by the client when Python opens it. */
export class Channel {
  /** The number of the channel, the same on both sides. */
  readonly id: number;

  /** The object whose methods Python calls; `null` at first. Methods that begin with an underscore are private. */
  handler: object | null = null;

  readonly #requester: Requester;

  /** @internal */
  constructor(id: number, requester: Requester) {
    this.id = id;
    this.#requester = requester;
  }

  /**
   * Calls a method of the channel's handler in Python.
   *
   * The arguments are encoded before this returns, so changing them afterwards changes nothing.
   *
   * @param name - The method's name.
   * @param args - Its arguments: JSON values, and anywhere inside them typed arrays, ArrayBuffers and DataViews.
   * @returns What the method returned: a value, or a `MetaGenerator` when it returned a stream. It rejects with
   *   - `KernelError` when the method raised, or when there is none of that name;
   *   - `StateError` when the channel is closed, the page is not connected, or the connection is lost before the answer
   *     comes; then the call may have run, and it is not sent again;
   *   - `TypeError` or `RangeError` when an argument cannot be sent; the message names its place.
   */
  call(name: string, ...args: unknown[]): Promise<unknown> {
    return this.#requester.call(name, args);
  }

  /**
   * Calls a method of the channel's handler in Python with a byte stream as its first argument.
   *
   * The stream is read no faster than Python reads it. When Python wants no more of it, when the channel is closed or
   * the connection is lost, it is closed: the `finally` of a generator runs, a `ReadableStream` is cancelled. When it
   * throws, the method's reader gets an error with that name and message.
   *
   * @param name - The method's name.
   * @param stream - The stream: an async iterable or an iterable of `Uint8Array`s, a `ReadableStream`, a `Blob`, a
   *   `File`, a `Response`, a typed array or an `ArrayBuffer`.
   * @param args - The method's other arguments, as for `call`.
   * @returns As `call`. It rejects as `call` does, and with a `TypeError` when the stream is nothing of the above, or
   *   cannot be read any more; then nothing is sent.
   */
  callWithStream(name: string, stream: StreamSource, ...args: unknown[]): Promise<unknown> {
    return this.#requester.call(name, args, { source: stream });
  }

  /**
   * Sends a byte stream to Python and receives it back, to test whether it comes through unchanged.
   *
   * @param stream - The stream, as for `callWithStream`.
   * @returns The stream. It rejects as `callWithStream` does.
   */
  pipe(stream: StreamSource): Promise<MetaGenerator> {
    return this.#requester.pipe({ source: stream }) as Promise<MetaGenerator>;
  }

  /**
   * Sends arguments to Python and receives them back, to test whether they come through unchanged.
   *
   * @param args - The arguments.
   * @returns The arguments. It rejects as `call` does.
   */
  echo(...args: unknown[]): Promise<unknown[]> {
    return this.#requester.echo(args) as Promise<unknown[]>;
  }

  /**
   * The signal that aborts when Python cancels the call that is being handled, when the channel is closed, or when the
   * connection is lost. A method that has read it is waited for after that; one that has not is left to itself.
   *
   * It can be read only while a handler method of this channel is being called, before its first `await`.
   *
   * @throws StateError at any other time.
   */
  get signal(): AbortSignal {
    return currentSignal(this.id);
  }
}
