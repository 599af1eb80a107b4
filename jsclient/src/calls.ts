/** The calls that a page makes in a channel. */

import type { CallOptions } from './call-options.js';
import type { MetaGenerator } from './meta-generator.js';
import type { GivenStream } from './requests.js';
import type { StreamSource } from './source.js';

/** Makes the requests of one channel. */
export interface Requester {
  call(name: string, args: readonly unknown[], stream?: GivenStream, options?: CallOptions): Promise<unknown>;
  echo(args: readonly unknown[], options?: CallOptions): Promise<unknown>;
  pipe(stream: GivenStream, options?: CallOptions): Promise<unknown>;
}

/**
 * The calls of a channel: with the options that were given to `channel.with`, or without.
 *
 * A call that a handler method makes before its first `await` is a **child** of the request that the method handles: it
 * has no more time than that request has left, and is cancelled when that request is cancelled, when its time has passed,
 * and when its channel is closed. When the request has been answered, its children go on, within the same time.
 */
export class Calls {
  readonly #requester: Requester;
  readonly #options: CallOptions | undefined;

  /** @internal */
  constructor(requester: Requester, options?: CallOptions) {
    this.#requester = requester;
    this.#options = options;
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
   *   - the signal's reason, by default a `DOMException` with the name `AbortError`, when the call was cancelled on this
   *     side. If it was sent, Python has ended the method by then, or has had the server's `cancel_wait` to do so;
   *   - a `DOMException` with the name `TimeoutError` when its time has passed. Python has ended the method likewise;
   *   - `RemoteCancelledError` when the method was cancelled by its own program;
   *   - `ConnectionLostError` when the connection is lost before the answer comes; then the call may have run, and it is
   *     not sent again;
   *   - `ClosedError` when the channel or the client is closed, before the answer comes or already;
   *   - `StateError`, of which the last three are kinds, when the page is not connected, or Python runs as many calls as
   *     it takes at the same time; then nothing has run;
   *   - `TypeError` or `RangeError` when an argument cannot be sent; the message names its place.
   */
  call(name: string, ...args: unknown[]): Promise<unknown> {
    return this.#requester.call(name, args, undefined, this.#options);
  }

  /**
   * Calls a method of the channel's handler in Python with a byte stream as its first argument.
   *
   * The stream is read no faster than Python reads it. When Python wants no more of it, when the call is cancelled, when
   * the channel is closed or the connection is lost, it is closed: the `finally` of a generator runs, a `ReadableStream`
   * is cancelled. When it throws, the method's reader gets an error with that name and message.
   *
   * @param name - The method's name.
   * @param stream - The stream: an async iterable or an iterable of `Uint8Array`s, a `ReadableStream`, a `Blob`, a
   *   `File`, a `Response`, a typed array or an `ArrayBuffer`.
   * @param args - The method's other arguments, as for `call`.
   * @returns As `call`. It rejects as `call` does, and with a `TypeError` when the stream is nothing of the above, or
   *   cannot be read any more; then nothing is sent.
   */
  callWithStream(name: string, stream: StreamSource, ...args: unknown[]): Promise<unknown> {
    return this.#requester.call(name, args, { source: stream }, this.#options);
  }

  /**
   * Sends a byte stream to Python and receives it back, to test whether it comes through unchanged.
   *
   * @param stream - The stream, as for `callWithStream`.
   * @returns The stream. It rejects as `callWithStream` does.
   */
  pipe(stream: StreamSource): Promise<MetaGenerator> {
    return this.#requester.pipe({ source: stream }, this.#options) as Promise<MetaGenerator>;
  }

  /**
   * Sends arguments to Python and receives them back, to test whether they come through unchanged.
   *
   * @param args - The arguments.
   * @returns The arguments. It rejects as `call` does.
   */
  echo(...args: unknown[]): Promise<unknown[]> {
    return this.#requester.echo(args, this.#options) as Promise<unknown[]>;
  }
}
