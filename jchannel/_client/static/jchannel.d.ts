/** The options of a call, as users give them. */
/**
 * How a call, an echo or a pipe is made.
 *
 * Times are **seconds**, here as everywhere in jchannel, in JavaScript and in Python; they are no milliseconds.
 */
interface CallOptions {
    /**
     * Cancels the call when it aborts. The `channel.signal` of a handler method makes the call a child of the request that
     * the method handles, also after the method's first `await`: the call has no more time than that request. `null`: the
     * call is no child, and goes on when the request that is being handled ends. Default: a call made before the first
     * `await` of a handler method is a child of the request that it handles; every other one is no child.
     */
    readonly signal?: AbortSignal | null;
    /**
     * The time in **seconds**, from 0 on, fractions included. Of a call without a stream and of an echo it limits the whole;
     * of a call with a stream and of a pipe, the time without progress: in which no part of the stream is taken, and no
     * answer comes. A child has the time that its parent has left, if that is less. `null`: no limit, and none from a
     * parent, which ends the call with itself all the same. Default, and with `Infinity`: the time that the parent has
     * left, where there is one; else no limit.
     */
    readonly timeout?: number | null;
}

/** A byte stream as its reader gets it. */
/** How records are read. */
interface RecordOptions {
    /** The most bytes of one record, its separator included; `Infinity` for no limit. Default 64 MiB. */
    readonly limit?: number;
}
/**
 * A byte stream from Python, which can be read once, in one of several ways or in one after the other.
 *
 * Nothing is fetched before it is read, and no faster than it is read. Whoever stops reading early, by leaving a loop
 * over it, by `aclose` or by cancelling `stream`, stops its source in Python.
 *
 * All ways to read it reject with
 * - `KernelError` when its source in Python has raised, after what it had given before;
 * - `ClosedError` when the channel or the client that it belongs to was closed, and `ConnectionLostError` when the
 *   connection was lost;
 * - `StateError`, of which those are kinds, when it broke off, when the request that it belongs to was cancelled, when
 *   it was closed by its reader, and while something else reads it.
 */
declare class MetaGenerator implements AsyncIterable<Uint8Array<ArrayBuffer>> {
    #private;
    /** The number of bytes that have been received so far. */
    get received(): number;
    /** The length of the whole stream in bytes, where its source knows it. */
    get total(): number | undefined;
    /** The chunks as they come. None is empty. */
    [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array<ArrayBuffer>>;
    /** Everything that is left, as one array. */
    join(): Promise<Uint8Array<ArrayBuffer>>;
    /**
     * Pieces of one size.
     *
     * @param limit - The size in bytes. Default 8192. The last piece may be shorter.
     * @throws RangeError when it is not an integer from 1 on.
     */
    byLimit(limit?: number): AsyncIterableIterator<Uint8Array<ArrayBuffer>>;
    /**
     * Records that end with a separator, which is a part of them. The last one may be without.
     *
     * @param separator - The separator: bytes, or a text that stands for its UTF-8. Default: a line feed.
     * @param options - `limit` is the most bytes of one record, by default 64 MiB. A longer one stops the stream, and
     *   reading it rejects with a RangeError.
     * @throws TypeError, RangeError when the separator is neither or is empty, or the limit is not an integer from 1 on.
     */
    bySeparator(separator?: string | Uint8Array, options?: RecordOptions): AsyncIterableIterator<Uint8Array<ArrayBuffer>>;
    /**
     * Lines of text, without the `\n` or `\r\n` at their ends.
     *
     * @param options - `limit` is the most bytes of one line, as for `bySeparator`.
     * @returns The lines. Reading them rejects with a TypeError, and stops the stream, when one is not UTF-8.
     * @throws RangeError when the limit is not an integer from 1 on.
     */
    lines(options?: RecordOptions): AsyncIterableIterator<string>;
    /** What is left, as a plain ReadableStream: always the same one, and a byte stream where the browser has them. */
    get stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
    /**
     * Ends the stream: its source in Python is stopped. Reading rejects from then on with a StateError. A stream that has
     * ended stays as it is.
     */
    aclose(): Promise<void>;
}

/** The outside world that the client uses: sockets, HTTP, time and randomness. Tests put their own in its place. */
/** The part of a WebSocket that the client uses. */
interface SocketLike {
    binaryType: string;
    readonly readyState: number;
    send(data: string | ArrayBuffer | Blob): void;
    close(): void;
    addEventListener(type: 'open' | 'close' | 'error', listener: () => void): void;
    addEventListener(type: 'message', listener: (event: {
        readonly data: unknown;
    }) => void): void;
}
/** A WebSocket class: the browser's, Node's (from version 22 on), or one of a package such as `ws`. */
type SocketClass = new (url: string, protocols: string[]) => SocketLike;

/** The errors that the client raises, each named after who is to blame. Refused values are TypeError and RangeError. */
/** What was asked cannot be done in the present state of the connection or the channel. */
declare class StateError extends Error {
}
/** The channel or the client is not open: it was closed on this side or by Python, or the code of the channel failed. */
declare class ClosedError extends StateError {
}
/** The connection was lost while a call waited for its answer. The call may have run; it is not sent again by itself. */
declare class ConnectionLostError extends StateError {
}
/** The Python code that was called was cancelled by its own program. Nobody on this side did. It may have run in part. */
declare class RemoteCancelledError extends StateError {
}
/** The other side sent what the protocol does not allow. The connection ends with it. */
declare class ProtocolError extends Error {
}
/**
 * Python answered a call with an error: its method raised, or its handler has nothing to call under that name.
 *
 * `message` names the exception's Python type before its own message, as in `ValueError: no luck`.
 */
declare class KernelError extends Error {
    /**
     * What went wrong, in one word: `exception` when the method raised; `handler`, `method`, `callable` or `private` when
     * there was nothing to call; `value` when what the method returned cannot be sent.
     */
    readonly kind: string;
    /** The name of the exception's Python type, such as `ValueError`; empty when no exception was raised. */
    readonly type: string;
    /** The exception's own message. */
    readonly detail: string;
    /** The Python traceback, where the server was told to send it. */
    readonly traceback: string | undefined;
    constructor(kind: string, type: string, detail: string, traceback?: string);
}

/** What holds bytes. */
type Bytes = ArrayBuffer | ArrayBufferView;
/** What can be sent as a stream. */
type StreamSource = AsyncIterable<Bytes> | Iterable<Bytes> | ReadableStream<Bytes> | Blob | Response | ArrayBuffer | ArrayBufferView;

/**
 * The vocabulary of the wire: the type of each message, who sends it, how it is written and how it is read.
 *
 * The tables here are those of `docs/protocol.md`. Whether a message may come at this time is not decided here but in
 * `connection.ts`.
 */

declare const GOODBYE_REASONS: readonly ["closed", "token", "origin", "version", "taken", "replaced", "protocol"];
type GoodbyeReason = (typeof GOODBYE_REASONS)[number];

/** The calls that a page makes in a channel. */

/**
 * The calls of a channel: with the options that were given to `channel.with`, or without.
 *
 * A call that a handler method makes before its first `await` is a **child** of the request that the method handles: it
 * has no more time than that request has left, and is cancelled when that request is cancelled, when its time has passed,
 * and when its channel is closed. When the request has been answered, its children go on, within the same time.
 */
declare class Calls {
    #private;
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
    call(name: string, ...args: unknown[]): Promise<unknown>;
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
    callWithStream(name: string, stream: StreamSource, ...args: unknown[]): Promise<unknown>;
    /**
     * Sends a byte stream to Python and receives it back, to test whether it comes through unchanged.
     *
     * @param stream - The stream, as for `callWithStream`.
     * @returns The stream. It rejects as `callWithStream` does.
     */
    pipe(stream: StreamSource): Promise<MetaGenerator>;
    /**
     * Sends arguments to Python and receives them back, to test whether they come through unchanged.
     *
     * @param args - The arguments.
     * @returns The arguments. It rejects as `call` does.
     */
    echo(...args: unknown[]): Promise<unknown[]>;
}

/** The page's end of a channel, as its initialization function gets it. */

/** A communication channel between this page and Python. It is made by the client when Python opens it. */
declare class Channel extends Calls {
    #private;
    /** The number of the channel, the same on both sides. */
    readonly id: number;
    /** The object whose methods Python calls; `null` at first. Methods that begin with an underscore are private. */
    handler: object | null;
    /**
     * The channel's calls with options:
     *
     * ```js
     * await channel.with({ signal, timeout: 2 }).call('add', 2, 3);
     * ```
     *
     * @param options - `signal` cancels the calls when it aborts; `timeout` is their time in **seconds**, not milliseconds.
     *   See `CallOptions` for what they default to and what `null` means.
     * @returns An object with `call`, `callWithStream`, `pipe` and `echo`, which can be used any number of times. The
     *   timeout begins anew with each call.
     * @throws TypeError when an option is unknown or of a wrong type, RangeError when the timeout is negative or NaN.
     */
    with(options: CallOptions): Calls;
    /**
     * The signal of the call that is being handled. It aborts
     * - with an `AbortError` when Python cancels the call, when the channel is closed, or when the connection is lost;
     * - with a `TimeoutError` when the call's time has passed.
     *
     * A method that has read it is waited for after that; one that has not is left to itself. Given to `channel.with`, it
     * makes further calls children of the one that is being handled.
     *
     * It can be read only while a handler method of this channel is being called, before its first `await`.
     *
     * @throws StateError at any other time.
     */
    get signal(): AbortSignal;
    /**
     * The time in seconds that is left for the call that is being handled; `Infinity` where Python has set no timeout. It
     * can be read when `signal` can.
     *
     * @throws StateError at any other time.
     */
    get timeLeft(): number;
}

/** When to try to connect again, and when to give up. */
/** How the client connects again. All times are in seconds. */
interface RetryPolicy {
    /** The longest wait before the second attempt. Default 0.25. */
    readonly base: number;
    /** By what the longest wait grows with each attempt. Default 2. */
    readonly factor: number;
    /** The longest wait there is. Default 10. */
    readonly cap: number;
    /** How much of each wait is drawn at random, from 0 for none to 1 for all of it. Default 1. */
    readonly spread: number;
    /** The time without success, spent waiting and trying, after which the client stops. Default 600. */
    readonly giveUpAfter: number;
}

/** The client: stays connected to a server as long as that makes sense, and says how it stands. */

/**
 * How a client stands.
 *
 * - `connecting`: an attempt is under way;
 * - `connected`: calls can be made;
 * - `waiting`: the connection was lost or could not be made, and there will be another attempt;
 * - `stopped`: there will be none, for the reason in `stopReason`.
 */
type ClientState = 'connecting' | 'connected' | 'waiting' | 'stopped';
/** Why a client has stopped. */
interface StopReason {
    /** In one word: what the server's goodbye or this side's said, or `unreachable`. */
    readonly reason: GoodbyeReason | 'unreachable';
    /** In a sentence for a person. */
    readonly message: string;
}
/** Where and how to connect. */
interface ConnectOptions {
    /** The server's base URL, with the scheme http or https, such as `http://localhost:8889`. */
    readonly url: string;
    /** The server's token. */
    readonly token: string;
    /** The name of this page, of 1 to 64 characters, the same after a reload. Default: a random one. */
    readonly clientId?: string;
    /** The WebSocket class. Default: the global one. */
    readonly WebSocket?: SocketClass;
    /**
     * Whether streams of the server are fetched in parts, each by a request of its own. A proxy may hold a response back
     * until it is whole, so that a stream stalls that waits for its reader, or end one that has broken off as if it were
     * whole; parts of at most 4 MiB, whose lengths are checked, come through. Without a proxy one response is faster.
     * Default: whether `url` has a path, as it has where it leads through a proxy.
     */
    readonly segmented?: boolean;
    /**
     * The largest message in bytes, at least 4096, that the way to the server carries. Both sides refuse a larger one with
     * an error, where a proxy would close the connection. Default: 10,000,000 where `url` has a path, for
     * jupyter-server-proxy carries 10 MiB; else what the server takes, which is the most in any case.
     */
    readonly frameLimit?: number;
    /** How to connect again, in seconds. */
    readonly reconnect?: Partial<RetryPolicy>;
}
/**
 * A client of one server. `connect` makes it.
 *
 * It dispatches a `statechange` event, which has no further fields, after each change of `state`.
 */
declare class Client extends EventTarget {
    #private;
    /** How the client stands. */
    get state(): ClientState;
    /** Why the client has stopped; `null` as long as it has not. */
    get stopReason(): StopReason | null;
    /** The channels that are open now, by their ids. */
    get channels(): ReadonlyMap<number, Channel>;
    /** The name of this page, by which the server knows it again. */
    get clientId(): string;
    /** Closes the connection for good, and with it all channels. The server is told. */
    close(): void;
}
/**
 * Connects to a server, and stays connected: after a lost connection the client tries again, quietly and more and more
 * rarely, until `reconnect.giveUpAfter`. It stops when the server says goodbye.
 *
 * @param options - Where and how to connect.
 * @returns The client, in the state `connecting`.
 * @throws TypeError, RangeError when an option is not as it must be.
 */
declare function connect(options: ConnectOptions): Client;

/**
 * The ES module. Importing it does nothing: `connect` connects to a server that is given, `connectPage` to the server
 * that served the page.
 */

/**
 * Connects a page to the server that served it. The token comes from the fragment of the page's address, as
 * `server.page_url` has it, or after a reload from the tab's session storage.
 *
 * @param options - `url` is the server's base URL. Default: that of the server that served this module.
 * @returns The client. Without a token it is stopped, with a reason that says what to do.
 * @throws TypeError when `url` is not given and this module was not served by a server of jchannel.
 */
declare function connectPage(options?: {
    readonly url?: string;
}): Client;

export { Calls, Channel, Client, ClosedError, ConnectionLostError, KernelError, MetaGenerator, ProtocolError, RemoteCancelledError, StateError, connect, connectPage };
export type { Bytes, CallOptions, ClientState, ConnectOptions, RecordOptions, RetryPolicy, SocketClass, SocketLike, StopReason, StreamSource };
