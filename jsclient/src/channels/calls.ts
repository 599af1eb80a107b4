/** Calling Python in a channel. */

import type { CallOptions } from '../requests/call-options.js';
import type { StreamArgument } from '../requests/outbox.js';
import type { MetaGenerator } from '../streams/reader.js';
import type { StreamSource } from '../streams/sources.js';
import type { AnyMethods, ArgumentsOf, CallName, OtherArgumentsOf, ResultOf, StreamCallName } from './api.js';
import type { Latest, LatestOptions } from './latest.js';

/** Makes the requests of a channel. */
export interface Requester {
  call(name: string, args: readonly unknown[], stream?: StreamArgument, options?: CallOptions): Promise<unknown>;
  echo(args: readonly unknown[], options?: CallOptions): Promise<unknown>;
  pipe(stream: StreamArgument, options?: CallOptions): Promise<unknown>;
  latest(name: string, options: LatestOptions | undefined): Latest;
}

/**
 * The calls of a channel, with the options of `channel.with` or with none.
 *
 * A call that a handler method makes before its first `await` is a **child** of the request that the method handles. It
 * has no more time than that request has left, and is cancelled when that request is cancelled or its time has passed,
 * and when its channel is closed. When the request has been answered, its children go on, with the same time.
 *
 * In TypeScript, `Methods` is the interface of what can be called.
 */
export class Calls<Methods extends object = AnyMethods> {
  readonly #requester: Requester;
  readonly #options: CallOptions | undefined;

  /** @internal */
  constructor(requester: Requester, options?: CallOptions) {
    this.#requester = requester;
    this.#options = options;
  }

  /**
   * Call a method of the channel's handler in Python.
   *
   * The arguments are encoded before this returns, so later changes to them have no effect.
   *
   * @param name - The method's name.
   * @param args - The arguments: JSON values, with typed arrays, ArrayBuffers and DataViews anywhere inside.
   * @returns What the method returned: a value, or a `MetaGenerator` if it returned a stream. It rejects with
   *   - `KernelError` if the method raised, or if there is no such method;
   *   - the signal's reason, by default a `DOMException` with the name `AbortError`, if the call was cancelled on this
   *     side. If it was sent, Python has ended the method by then, or has had the server's `cancel_wait` to do so;
   *   - a `DOMException` with the name `TimeoutError` if its time has passed. Python has ended the method likewise;
   *   - `RemoteCancelledError` if the method was cancelled by its own program;
   *   - `ConnectionLostError` if the connection was lost before the answer came. The call may have run, and it is not
   *     sent again;
   *   - `ClosedError` if the channel or the client is closed, or was closed before the answer came;
   *   - `StateError`, the base class of the last three, if the page is not connected, or if Python already runs as many
   *     calls as it takes at the same time. Nothing has run;
   *   - `TypeError` or `RangeError` if an argument cannot be sent. The message says which part of it.
   */
  call<Name extends CallName<Methods>>(
    name: Name,
    ...args: ArgumentsOf<Methods[Name]>
  ): Promise<ResultOf<Methods[Name]>> {
    return this.#requester.call(name, args, undefined, this.#options) as Promise<ResultOf<Methods[Name]>>;
  }

  /**
   * Call a method of the channel's handler in Python with a byte stream as its first argument.
   *
   * The stream is read no faster than Python reads it. It is closed when Python stops reading it, when the call is
   * cancelled, when the channel is closed, and when the connection is lost: the `finally` of a generator runs, a
   * `ReadableStream` is cancelled. If it throws, reading it in Python raises an error with the same name and message.
   *
   * @param name - The method's name.
   * @param stream - The stream: an async iterable or an iterable of `Uint8Array`s, a `ReadableStream`, a `Blob`, a
   *   `File`, a `Response`, a typed array or an `ArrayBuffer`.
   * @param args - The method's other arguments, the same as those of `call`.
   * @returns What the method returned. It rejects like `call`, and with a `TypeError` if the stream is none of these or
   *   cannot be read any more. Nothing is sent then.
   */
  callWithStream<Name extends StreamCallName<Methods>>(
    name: Name,
    stream: StreamSource,
    ...args: OtherArgumentsOf<Methods[Name]>
  ): Promise<ResultOf<Methods[Name]>> {
    return this.#requester.call(name, args, { source: stream }, this.#options) as Promise<ResultOf<Methods[Name]>>;
  }

  /**
   * Send a byte stream to Python and receive it back. This is for tests of the connection.
   *
   * @param stream - The stream, the same as that of `callWithStream`.
   * @returns The stream. It rejects like `callWithStream`.
   */
  pipe(stream: StreamSource): Promise<MetaGenerator> {
    return this.#requester.pipe({ source: stream }, this.#options) as Promise<MetaGenerator>;
  }

  /**
   * Send arguments to Python and receive them back. This is for tests of the connection.
   *
   * @param args - The arguments.
   * @returns The arguments. It rejects like `call`.
   */
  echo(...args: unknown[]): Promise<unknown[]> {
    return this.#requester.echo(args, this.#options) as Promise<unknown[]>;
  }
}
