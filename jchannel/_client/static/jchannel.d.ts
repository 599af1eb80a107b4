/** The options of a call. */
/**
 * The options of a call, an echo or a pipe.
 *
 * Times are in **seconds**, as everywhere in jchannel, in JavaScript and in Python, and not in milliseconds.
 */
interface CallOptions {
    /**
     * A signal that cancels the call when it aborts. The `channel.signal` of a handler method makes the call a child of
     * the request that the method handles, also after the method's first `await`: the call has no more time than that
     * request. `null`: the call is not a child, and goes on when the request that is being handled ends. Default: a call
     * made before the first `await` of a handler method is a child of the request that it handles, and any other call is
     * not a child.
     */
    readonly signal?: AbortSignal | null;
    /**
     * The time in **seconds**, at least 0, fractions included. For a call without a stream and for an echo it is the
     * whole time. For a call with a stream and for a pipe it is the time without progress, in which no part of the stream
     * is taken and no answer comes. A child has at most the time that its parent has left. `null`: no limit, not even
     * that of a parent, which still cancels the call when it ends. Default, and with `Infinity`: the time that the parent
     * has left if there is a parent, else no limit.
     */
    readonly timeout?: number | null;
}

/** Reading a byte stream from Python. */
/** Options for reading records. */
interface RecordOptions {
    /** The most bytes of one record, its separator included; `Infinity` for no limit. Default 64 MiB. */
    readonly limit?: number;
}
/**
 * A byte stream from Python. It can be read once, in one way or in several ways after each other.
 *
 * Nothing is fetched before it is read, and no faster than it is read. Leaving a loop over the stream early, calling
 * `aclose` and cancelling `stream` stop its source in Python.
 *
 * All ways to read it reject with
 * - `KernelError` if its source in Python has raised, after everything it yielded before that;
 * - `ClosedError` if its channel or its client was closed;
 * - `ConnectionLostError` if the connection was lost;
 * - `StateError`, their base class, if the stream broke off, if its request was cancelled, if its reader has closed it,
 *   and while something else reads it; and where `join` has returned its bytes before.
 */
declare class MetaGenerator implements AsyncIterable<Uint8Array<ArrayBuffer>> {
    #private;
    /** The number of bytes received so far. */
    get received(): number;
    /**
     * The length of the whole stream in bytes as its source has measured it before, if it could. It is meant for showing
     * progress: a file that is being written to may have more or fewer.
     */
    get total(): number | undefined;
    /** Iterate over the chunks as they come. None is empty. */
    [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array<ArrayBuffer>>;
    /** Read everything that is left into one array. */
    join(): Promise<Uint8Array<ArrayBuffer>>;
    /**
     * Iterate over pieces of one size.
     *
     * @param limit - The size in bytes. Default 8192. The last piece may be shorter.
     * @throws RangeError if the size is not a positive integer.
     */
    byLimit(limit?: number): AsyncIterableIterator<Uint8Array<ArrayBuffer>>;
    /**
     * Iterate over records. Each ends with the separator, but the last one may have none.
     *
     * @param separator - The separator: bytes, or a string, which is encoded as UTF-8. Default: a line feed.
     * @param options - `limit` is the most bytes of one record, by default 64 MiB. A longer record stops the stream, and
     *   reading it rejects with a RangeError.
     * @throws TypeError if the separator is neither bytes nor a string.
     * @throws RangeError if the separator is empty or the limit is not a positive integer.
     */
    bySeparator(separator?: string | Uint8Array, options?: RecordOptions): AsyncIterableIterator<Uint8Array<ArrayBuffer>>;
    /**
     * Iterate over lines of text, without the `\n` or `\r\n` at their ends.
     *
     * @param options - `limit` is the most bytes of one line, as for `bySeparator`.
     * @returns The lines. A line that is not UTF-8 stops the stream, and reading it rejects with a TypeError.
     * @throws RangeError if the limit is not a positive integer.
     */
    lines(options?: RecordOptions): AsyncIterableIterator<string>;
    /** The rest as a ReadableStream, always the same one. It is a byte stream if the browser supports those. */
    get stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
    /**
     * Close the stream, which stops its source in Python. Reading it rejects with a StateError from then on. A stream
     * that has ended is left as it is.
     */
    aclose(): Promise<void>;
}

/** An object that holds bytes. */
type Bytes = ArrayBuffer | ArrayBufferView;
/** What can be sent as a stream. */
type StreamSource = AsyncIterable<Bytes> | Iterable<Bytes> | ReadableStream<Bytes> | Blob | Response | ArrayBuffer | ArrayBufferView;

/**
 * The types of what the two sides of a channel offer each other. They are for the compiler alone: no code of the client
 * depends on them.
 */

/**
 * What is known of the two sides of a channel, as two interfaces of methods. Of a side that is left out nothing is known,
 * and everything is allowed.
 *
 * A method takes and returns what the page sees: `add(a: number, b: number): number` is called as
 * `await channel.call('add', 2, 3)`. A `MetaGenerator` as its first parameter, or as what it returns, is a byte stream.
 * `python -m jchannel types` writes the interface of a handler in Python.
 */
interface ChannelApi {
    /** The methods of the handler in Python, which the page calls. */
    readonly python?: object;
    /** The methods of `channel.handler` in the page, which Python calls. */
    readonly page?: object;
}
/** Methods of which nothing is known. */
type AnyMethods = Readonly<Record<string, (...args: unknown[]) => unknown>>;
/** The methods of the handler in Python. */
type PythonOf<Api extends ChannelApi> = Api extends {
    readonly python: infer Python extends object;
} ? Python : AnyMethods;
/** The handler of the page: what it may be, and what its methods may return. */
type HandlerOf<Api extends ChannelApi> = Api extends {
    readonly page: infer Page extends object;
} ? {
    [Name in keyof Page]: Implementation<Page[Name]>;
} : object;
type Implementation<Member> = Member extends (...args: infer Args) => infer Result ? (...args: Args) => Sent<Awaited<Result>> | Promise<Sent<Awaited<Result>>> : Member;
/** What a method returns so that the other side receives a value or a stream. */
type Sent<Value> = Value extends MetaGenerator ? AsyncIterable<Bytes> | ReadableStream<Bytes> | Blob | Response : Value;
/** Whether a method is called with a stream as its first argument, without one, or in both ways. */
type Use<Member> = Member extends (...args: infer Args) => unknown ? unknown extends Args[0] ? 'value' | 'stream' : [NonNullable<Args[0]>] extends [never] ? 'value' : NonNullable<Args[0]> extends MetaGenerator ? 'stream' : 'value' : never;
type NameOf<Methods, Wanted> = {
    [Name in keyof Methods & string]: Wanted extends Use<Methods[Name]> ? Name : never;
}[keyof Methods & string];
/** The names of the methods that are called without a stream. */
type CallName<Methods> = NameOf<Methods, 'value'>;
/** The names of the methods that are called with a stream as their first argument. */
type StreamCallName<Methods> = NameOf<Methods, 'stream'>;
/** The arguments of a method. */
type ArgumentsOf<Member> = Member extends (...args: infer Args) => unknown ? Args : never;
/** The arguments of a method without the first one, the stream. */
type OtherArgumentsOf<Member> = ArgumentsOf<Member> extends [unknown?, ...infer Others] ? Others : ArgumentsOf<Member>;
/** What a call of a method gives. */
type ResultOf<Member> = Member extends (...args: never[]) => infer Result ? Awaited<Result> : never;

/**
 * The messages of the protocol: which types there are, who sends them, and how they are encoded and parsed.
 *
 * The tables here are those of `docs/protocol.md`. `connection.ts` decides whether a message is allowed at a given
 * time.
 */

declare const GOODBYE_REASONS: readonly ["closed", "token", "origin", "version", "taken", "replaced", "protocol", "away"];
type GoodbyeReason = (typeof GOODBYE_REASONS)[number];

/** What the client needs of its surroundings: sockets, HTTP, time and randomness. Tests replace it. */

/** The part of a WebSocket that the client uses. */
interface SocketLike {
    /** The client sets it to `arraybuffer`, and takes no other binary messages. */
    binaryType: string;
    /** 0 until it is open, 1 while it is, 2 or 3 afterwards. */
    readonly readyState: number;
    /** The bytes that were sent and have not left yet. While there are many, calls and streams wait. */
    readonly bufferedAmount: number;
    /** Set by the client: to be called if the server has shown that it lives by something else than a message. */
    onSign?: () => void;
    /** Send a message. Bytes may be a part of their buffer. */
    send(data: string | Uint8Array<ArrayBuffer>): void;
    /** Close it. What was sent before still leaves. */
    close(): void;
    addEventListener(type: 'open' | 'close' | 'error', listener: () => void): void;
    addEventListener(type: 'message', listener: (event: {
        readonly data: unknown;
    }) => void): void;
}
/** What carries a client's messages and, if it has HTTP, its streams. */
interface Transport {
    /**
     * Open a socket. It is called for each attempt to connect, and may throw if it cannot even try.
     *
     * @param url - Where to; empty if `connect` was given no `url`.
     * @param protocols - The subprotocols to offer, one of which has the token.
     */
    readonly socket: (url: string, protocols: string[]) => SocketLike;
    /** Ask the server over HTTP, as the global `fetch`. Default: there is no HTTP, and all streams use the socket. */
    readonly fetch?: (url: string, options: RequestInit) => Promise<Response>;
}

/** The newest value wins: of the values that a page sets, faster than Python takes them, Python gets the newest. */

/** The options of `channel.latest`. */
interface LatestOptions {
    /** The time in **seconds** for each call, from when it is sent. Default, and with `null`: no limit. */
    readonly timeout?: number | null;
    /**
     * Called with the error of each call that fails, because the method has raised or its time has passed. Default: the
     * first one after a call that has succeeded is an unhandled rejection, which the browser shows in its console, and
     * those that follow it are only counted.
     */
    readonly onFailure?: (error: unknown) => void;
}
/** What has become of the values that were set so far. */
interface LatestStatistics {
    /** The number of values that were set. */
    readonly values: number;
    /** The number of them that were sent. One that was sent again after a lost connection counts once. */
    readonly sent: number;
    /** The number of them that were never sent, because a newer one was set first. */
    readonly skipped: number;
    /** The number of calls that have failed. */
    readonly failed: number;
}
/**
 * The newest value for a method in Python. `channel.latest` creates it.
 *
 * However often a value is set, one call is under way at a time, and the next one has the value that is the newest then.
 * So Python is never behind by more than one call, and nothing waits in line.
 */
declare class Latest {
    #private;
    /** The name of the method. */
    readonly name: string;
    /**
     * Set the newest value, which replaces every one that has not been sent. It does not wait.
     *
     * While the page is not connected, the newest value waits. It is sent again after a lost connection, whether Python
     * has got it before or not. Values have no order with calls.
     *
     * @param args - The value: the arguments of the method, like those of `call`. They may be changed afterwards.
     * @throws TypeError, RangeError if an argument cannot be sent. The value before is still the newest.
     * @throws ClosedError if it is closed, or the channel is.
     */
    set(...args: unknown[]): void;
    /** Return what has become of the values so far. */
    statistics(): LatestStatistics;
    /**
     * Close it: no more can be set. `channel.latest` creates another one for the same method.
     *
     * @returns A promise that is fulfilled when the last value has arrived, when its call has failed, or when the channel
     *   is closed. It does not reject.
     */
    close(): Promise<void>;
}

/** Calling Python in a channel. */

/**
 * The calls of a channel, with the options of `channel.with` or with none.
 *
 * A call that a handler method makes before its first `await` is a **child** of the request that the method handles. It
 * has no more time than that request has left, and is cancelled when that request is cancelled or its time has passed,
 * and when its channel is closed. When the request has been answered, its children go on, with the same time.
 *
 * In TypeScript, `Methods` is the interface of what can be called.
 */
declare class Calls<Methods extends object = AnyMethods> {
    #private;
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
    call<Name extends CallName<Methods>>(name: Name, ...args: ArgumentsOf<Methods[Name]>): Promise<ResultOf<Methods[Name]>>;
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
    callWithStream<Name extends StreamCallName<Methods>>(name: Name, stream: StreamSource, ...args: OtherArgumentsOf<Methods[Name]>): Promise<ResultOf<Methods[Name]>>;
    /**
     * Send a byte stream to Python and receive it back. This is for tests of the connection.
     *
     * @param stream - The stream, the same as that of `callWithStream`.
     * @returns The stream. It rejects like `callWithStream`.
     */
    pipe(stream: StreamSource): Promise<MetaGenerator>;
    /**
     * Send arguments to Python and receive them back. This is for tests of the connection.
     *
     * @param args - The arguments.
     * @returns The arguments. It rejects like `call`.
     */
    echo(...args: unknown[]): Promise<unknown[]>;
}

/** One channel of the page. Its initialization function is called with it. */

/**
 * The state of a channel.
 *
 * - `open`: the page is connected;
 * - `waiting`: the connection was lost, or the page is left or frozen. The channel goes on when the page is connected again;
 * - `closed`: it was closed by Python, or the client has stopped. It does not come back: Python opens another one.
 */
type ChannelState = 'open' | 'waiting' | 'closed';
/**
 * A channel between this page and Python. The client creates it when Python opens it.
 *
 * In TypeScript, `Api` says which methods the two sides have: `Channel<{ python: Handler; page: Page }>`.
 *
 * It dispatches a `statechange` event, which has no further fields, after each change of `state`.
 */
declare class Channel<Api extends ChannelApi = ChannelApi> extends Calls<PythonOf<Api>> {
    #private;
    /** The number of the channel, the same on both sides. */
    readonly id: number;
    /**
     * The object whose methods Python can call; `null` at first. Methods that begin with an underscore are private.
     *
     * A large typed array among their arguments is a view of the message that it came in: use the array itself, or
     * `array.slice().buffer`, but not `array.buffer`. So is one that a call returns.
     * If a method returns a promise, Python receives what that is fulfilled with. No other object is awaited, even if it
     * has a method `then`. JavaScript itself calls the `then` of what an `async` function returns.
     */
    handler: HandlerOf<Api> | null;
    /**
     * The element in which the channel's code draws, an empty `<div>` at first, always the same one.
     *
     * In a notebook it is in the output of the cell that has opened the channel, or of the one in which Python has called
     * `channel.show()` last; the output may appear a moment later. In a page of the server's it is in the page's element
     * with the attribute `data-jchannel-elements`, or at the end of its body. It can be moved anywhere else. It stays when
     * the channel is closed.
     *
     * @throws StateError where there is no page, as in Node.
     */
    get element(): HTMLElement;
    /** The state of the channel. */
    get state(): ChannelState;
    /**
     * Call a function after each change of `state`. An exception that it throws is reported like that of any listener, and
     * ends nothing.
     *
     * @param type - `statechange`.
     * @param listener - The function.
     * @param options - Those of every event target: a `signal`, for example, ends it.
     */
    addEventListener(type: 'statechange', listener: (event: Event) => void, options?: AddEventListenerOptions | boolean): void;
    /** Call a function no more that was added with `addEventListener`. */
    removeEventListener(type: 'statechange', listener: (event: Event) => void, options?: EventListenerOptions | boolean): void;
    /**
     * Return the channel's calls with options:
     *
     * ```js
     * await channel.with({ signal, timeout: 2 }).call('add', 2, 3);
     * ```
     *
     * @param options - `signal` cancels the calls when it aborts. `timeout` is in **seconds**, not milliseconds. See
     *   `CallOptions` for the defaults and the meaning of `null`.
     * @returns An object with `call`, `callWithStream`, `pipe` and `echo`. It can be used any number of times, and each
     *   call has the whole timeout.
     * @throws TypeError if an option is unknown or has the wrong type.
     * @throws RangeError if the timeout is negative or NaN.
     */
    with(options: CallOptions): Calls<PythonOf<Api>>;
    /**
     * Return the newest value for a method in Python, for what changes faster than Python takes it, such as a pointer or
     * a slider:
     *
     * ```js
     * canvas.onpointermove = ({ offsetX, offsetY }) => channel.latest('move').set(offsetX, offsetY);
     * ```
     *
     * Setting it never waits: one call is under way at a time, and the next one has the value that is the newest then.
     * There is one for each method of the channel, until it is closed, and it ends with the channel.
     *
     * @param name - The name of the method.
     * @param options - If they are given, they hold from the next call on.
     * @throws TypeError if the name is not a string, or an option is unknown or has the wrong type.
     * @throws RangeError if the timeout is negative or NaN.
     * @throws ClosedError if the channel is closed.
     */
    latest(name: string, options?: LatestOptions): Latest;
    /**
     * The signal of the call that is being handled. It aborts
     * - with an `AbortError` when Python cancels the call, when the channel is closed, or when the connection is lost;
     * - with a `TimeoutError` when the call's time has passed.
     *
     * If the method has read the signal, Python waits until the method has ended after that; else it does not. Passed to
     * `channel.with`, the signal makes further calls children of the one that is being handled.
     *
     * It can be read only while a handler method of this channel is being called, before the method's first `await`.
     *
     * @throws StateError at any other time.
     */
    get signal(): AbortSignal;
    /**
     * The time in seconds that is left for the call that is being handled; `Infinity` if Python has set no timeout. It
     * can be read only when `signal` can.
     *
     * @throws StateError at any other time.
     */
    get timeLeft(): number;
}

/** Deciding when to connect again, and when to give up. */
/** When the client connects again after a lost connection. All times are in seconds. */
interface RetryPolicy {
    /** The longest wait before the second attempt. Default 0.25. */
    readonly base: number;
    /** The factor by which the longest wait grows with each attempt. Default 2. */
    readonly factor: number;
    /** The upper limit of the longest wait. Default 10. */
    readonly cap: number;
    /** The fraction of each wait that is random, from 0 to 1. Default 1. */
    readonly spread: number;
    /** The time without a connection, spent waiting and trying, after which the client stops. Default 600. */
    readonly giveUpAfter: number;
}

/** The client: stays connected to a server, and reports its state. */

/**
 * The state of a client.
 *
 * - `connecting`: an attempt is under way, or will be as soon as the page's own modules have run;
 * - `connected`: calls can be made;
 * - `waiting`: the connection was lost or could not be made, and there will be another attempt; or the page is left or
 *   frozen, and there will be one when it is shown again;
 * - `stopped`: there will be no other attempt, for the reason in `stopReason`.
 */
type ClientState = 'connecting' | 'connected' | 'waiting' | 'stopped';
/** Why a client has stopped. */
interface StopReason {
    /** The reason in one word: that of the goodbye of one of the two sides, `unreachable`, or `frame`. */
    readonly reason: GoodbyeReason | 'unreachable' | 'frame';
    /** The reason in a sentence. */
    readonly message: string;
}
/** Where and how to connect. */
interface ConnectOptions {
    /**
     * The server's base URL, with the scheme http or https, such as `http://localhost:8889`. It may be left out if
     * `transport` has no HTTP.
     */
    readonly url?: string;
    /** The server's token. It may be left out with `url`. */
    readonly token?: string;
    /** The name of this page, of 1 to 64 characters. It should be the same after a reload. Default: a random name. */
    readonly clientId?: string;
    /** What carries messages and streams. Default: the global WebSocket class and `fetch`. */
    readonly transport?: Transport;
    /**
     * Whether streams of the server are fetched in parts, each with its own HTTP request. A proxy may hold a response
     * back until it is whole, so that a stream that waits for its reader stalls, or may end a response that has broken
     * off as if it were whole. Parts of at most 4 MiB, whose lengths are checked, come through. Without a proxy one
     * response is faster, but only Chromium stops a server whose response is not read: Firefox and WebKit keep all of it.
     * Default: true where `url` has a path, as URLs of a proxy do, and in pages of other browsers than Chromium.
     */
    readonly segmented?: boolean;
    /**
     * The largest message in bytes, at least 4096, that comes through between here and the server. Both sides refuse to
     * send a larger one, where a proxy would close the connection. Default: 10,000,000 if `url` has a path, because
     * jupyter-server-proxy carries 10 MiB, else the server's limit. The server's limit always holds.
     */
    readonly frameLimit?: number;
    /** When to connect again after a lost connection, in seconds. */
    readonly reconnect?: Partial<RetryPolicy>;
}
/**
 * A client of one server. `connect` creates it.
 *
 * It dispatches a `statechange` event, which has no further fields, after each change of `state`.
 */
declare class Client extends EventTarget {
    #private;
    /** The state of the client. */
    get state(): ClientState;
    /** Why the client has stopped; `null` if it has not. */
    get stopReason(): StopReason | null;
    /** The channels that are open now, by their ids. */
    get channels(): ReadonlyMap<number, Channel>;
    /** The name of this page, by which the server recognizes it. */
    get clientId(): string;
    /** Close the connection for good, and with it all channels. The server is told. */
    close(): void;
}
/**
 * Connect to a server, and stay connected. After a lost connection the client tries again, with longer and longer
 * waits, until `reconnect.giveUpAfter`. It stops when the server says goodbye.
 *
 * @param options - Where and how to connect.
 * @returns The client, in the state `connecting`.
 * @throws TypeError, RangeError if an option is not valid.
 */
declare function connect(options: ConnectOptions): Client;

/** Connecting a page to the server that served it: finding the server, the token, and the client id before a reload. */

/** How a page connects itself. */
interface PageOptions {
    /** The server's base URL. Default: that of the server which served the client's script. */
    readonly url?: string;
    /** Whether this window connects also if it is a frame within a page of the server. */
    readonly frame?: boolean;
}

/** The errors of the client. Values that cannot be sent are a TypeError or a RangeError. */
/** The operation is not possible in the current state of the connection or the channel. */
declare class StateError extends Error {
}
/**
 * The channel or the client is not open: it was closed by this side or by Python, or the code of the channel failed.
 */
declare class ClosedError extends StateError {
}
/** The connection was lost before a call was answered. The call may have run, and it is not sent again. */
declare class ConnectionLostError extends StateError {
}
/** The Python code that was called was cancelled by its own program, not by this side. It may have run in part. */
declare class RemoteCancelledError extends StateError {
}
/** The other side has violated the protocol. This ends the connection. */
declare class ProtocolError extends Error {
}
/**
 * Python answered a call with an error: the method raised, or the handler has no such method.
 *
 * `message` names the exception's Python type before its own message, as in `ValueError: no luck`.
 */
declare class KernelError extends Error {
    /**
     * The kind of the error: `exception` if the method raised; `handler`, `method`, `callable` or `private` if there is
     * no such method to call; `value` if what the method returned cannot be sent.
     */
    readonly kind: string;
    /** The name of the exception's Python type, such as `ValueError`; empty if no exception was raised. */
    readonly type: string;
    /** The exception's own message. */
    readonly detail: string;
    /** The Python traceback, if the server is set to send it. */
    readonly traceback: string | undefined;
    constructor(kind: string, type: string, detail: string, traceback?: string);
}

/** Evaluating the code of a channel, an expression whose value is the initialization function. */

/**
 * The initialization function of a channel: its code, or the default export of its module. Python receives what it
 * returns.
 *
 * ```ts
 * import type { Initialize } from './jchannel/jchannel.js';
 *
 * const initialize: Initialize = (channel) => {
 *   channel.handler = { add: (a: number, b: number) => a + b };
 * };
 * export default initialize;
 * ```
 *
 * `Initialize<{ python: Handler; page: Page }>` says which methods the two sides have.
 */
type Initialize<Api extends ChannelApi = ChannelApi> = (channel: Channel<Api>) => any;

/**
 * The ES module. Importing it does not connect: `connect` connects to any server, `connectPage` to the server that
 * served the page.
 */

/**
 * Connect the page to the server that served it. The token is in the fragment of `server.page_url`; after a reload it
 * is in the tab's session storage.
 *
 * It connects when the page has been read and its modules have run, so that the code of channels finds what they define;
 * at once if that is so already.
 *
 * A page has one client: if it is connected already, also by the script that the server has put into it, that client is
 * returned.
 *
 * @param options - `url` is the server's base URL. Default: the URL of the server that served this module. `frame` says
 *   that this window connects also if it is a frame within a page of the server. Default: such a frame is a part of
 *   that page, which connects itself, unless the frame's own address has the token.
 * @returns The client. If it cannot connect it is stopped, and its stop reason says what to do.
 * @throws TypeError if there is no `url` and this module was not served by a jchannel server.
 */
declare function connectPage(options?: PageOptions): Client;

export { Calls, Channel, Client, ClosedError, ConnectionLostError, KernelError, Latest, MetaGenerator, ProtocolError, RemoteCancelledError, StateError, connect, connectPage };
export type { Bytes, CallOptions, ChannelApi, ChannelState, ClientState, ConnectOptions, Initialize, LatestOptions, LatestStatistics, PageOptions, RecordOptions, RetryPolicy, SocketLike, StopReason, StreamSource, Transport };
