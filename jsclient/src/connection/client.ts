/** The client: stays connected to a server, and reports its state. */

import type { Channel } from '../channels/channel.js';
import { ChannelRegistry, type MakeRequest } from '../channels/registry.js';
import { StateError } from '../errors.js';
import { checkNames } from '../options.js';
import { MIN_FRAME_LIMIT, type GoodbyeReason } from '../protocol/messages.js';
import { describeThrown } from '../thrown.js';
import { findEnvironment, type Environment, type Transport } from './environment.js';
import { explainPolicy, isRefusal } from './content-policy.js';
import { makeRetryPolicy, Retry, type RetryPolicy } from './retry.js';
import { HANDSHAKE_TIMEOUT, Session, type Address } from './session.js';

/** The time in seconds after which a connection counts as lasting, so that its loss does not lengthen the waits. */
export const LASTING = 10;

/** The default frame limit in bytes through a proxy. jupyter-server-proxy carries 10 MiB. */
export const PROXY_FRAME_LIMIT = 10_000_000;

const TOKEN = /^[\w-]+$/u;
const CLIENT_ID = /^.{1,64}$/su;
const MAX_REASON_LENGTH = 500;

/**
 * The state of a client.
 *
 * - `connecting`: an attempt is under way, or will be as soon as the page's own modules have run;
 * - `connected`: calls can be made;
 * - `waiting`: the connection was lost or could not be made, and there will be another attempt; or the page is left or
 *   frozen, and there will be one when it is shown again;
 * - `stopped`: there will be no other attempt, for the reason in `stopReason`.
 */
export type ClientState = 'connecting' | 'connected' | 'waiting' | 'stopped';

/** Why a client has stopped. */
export interface StopReason {
  /** The reason in one word: that of the goodbye of one of the two sides, `unreachable`, or `frame`. */
  readonly reason: GoodbyeReason | 'unreachable' | 'frame';
  /** The reason in a sentence. */
  readonly message: string;
}

/** Where and how to connect. */
export interface ConnectOptions {
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

const CONNECT_OPTIONS: readonly (keyof ConnectOptions)[] = [
  'url',
  'token',
  'clientId',
  'transport',
  'segmented',
  'frameLimit',
  'reconnect',
];

interface Settings extends Address {
  readonly retry: RetryPolicy;
}

/**
 * A client of one server. `connect` creates it.
 *
 * It dispatches a `statechange` event, which has no further fields, after each change of `state`.
 */
export class Client extends EventTarget {
  readonly #settings: Settings;
  readonly #environment: Environment;
  readonly #channels = new ChannelRegistry(
    (...request) => this.#request(...request),
    () => this.#state === 'connected',
    (channel) => this.#environment.makeElement(channel),
  );
  readonly #retry: Retry;
  readonly #stopWatching: () => void;
  #state: ClientState = 'connecting';
  #stopReason: StopReason | null = null;
  #hasBegun = false;
  #session: Session | undefined;
  #since: number;
  #wait: { readonly timer: unknown; readonly delay: number } | undefined;

  /** @internal */
  constructor(settings: Settings, environment: Environment) {
    super();
    this.#settings = settings;
    this.#environment = environment;
    this.#retry = new Retry(settings.retry, () => environment.random());
    this.#since = environment.now();
    const stopLife = environment.watchLife({
      onAway: () => {
        this.#leave();
      },
      onAwake: () => {
        this.#connectNow();
      },
    });
    const stopBlocked = environment.onBlocked((url) => {
      this.#handleBlocked(url);
    });
    this.#stopWatching = () => {
      stopLife();
      stopBlocked();
    };
  }

  /** The state of the client. */
  get state(): ClientState {
    return this.#state;
  }

  /** Why the client has stopped; `null` if it has not. */
  get stopReason(): StopReason | null {
    return this.#stopReason;
  }

  /** The channels that are open now, by their ids. */
  get channels(): ReadonlyMap<number, Channel> {
    return this.#channels.list();
  }

  /** The name of this page, by which the server recognizes it. */
  get clientId(): string {
    return this.#settings.clientId;
  }

  /** Close the connection for good, and with it all channels. The server is told. */
  close(): void {
    if (this.#state !== 'stopped') {
      this.#session?.close({ reason: 'closed', message: 'The page has closed its connection.' });
      this.stop({ reason: 'closed', message: 'The page has closed its client.' });
    }
  }

  /** @internal Try to connect for the first time, unless that has been done, or the client has stopped. */
  begin(): void {
    if (!this.#hasBegun && this.#state !== 'stopped') {
      this.start();
    }
  }

  /** @internal Try to connect. */
  start(): void {
    this.#hasBegun = true;
    this.#wait = undefined;
    this.#since = this.#environment.now();
    const events = {
      onWelcome: (channels: readonly number[]) => {
        this.#welcome(channels);
      },
      onEnd: (reason: StopReason | null) => {
        this.#end(reason);
      },
    };
    try {
      this.#session = new Session(this.#settings, this.#channels, events, this.#environment);
    } catch (error) {
      const { socketUrl, streamsUrl } = this.#settings;
      const { message } = describeThrown(error, MAX_REASON_LENGTH);
      this.stop({
        reason: 'unreachable',
        message: socketUrl !== '' && isRefusal(error, socketUrl)
          ? explainPolicy(streamsUrl, socketUrl)
          : `The page cannot connect to ${socketUrl || 'the server'}: ${message}`,
      });
      return;
    }
    this.#setState('connecting');
  }

  /** @internal Stop for good. The session must have ended. */
  stop(reason: StopReason): void {
    this.#session = undefined;
    this.#environment.clearTimeout(this.#wait?.timer);
    this.#stopWatching();
    this.#stopReason = reason;
    this.#channels.keepOnly(new Set(), `The channel is closed, for the client has stopped: ${reason.message}`);
    this.#setState('stopped');
  }

  #welcome(channels: readonly number[]): void {
    this.#since = this.#environment.now();
    this.#retry.markConnected();
    this.#channels.keepOnly(new Set(channels), 'The server closed the channel while the page was not connected.');
    this.#setState('connected');
    this.#channels.sendLatest();
  }

  #end(reason: StopReason | null): void {
    this.#session = undefined;
    const time = (this.#environment.now() - this.#since) / 1000;
    if (reason !== null) {
      this.stop(reason);
      return;
    }
    if (this.#state === 'connecting') {
      this.#retry.spend(Math.min(time, HANDSHAKE_TIMEOUT));
    } else if (time >= LASTING) {
      this.#retry.markLasting();
    }
    const delay = this.#retry.next();
    if (delay === null) {
      this.stop({
        reason: 'unreachable',
        message:
          `The server could not be reached at ${this.#settings.socketUrl || 'the other side of its transport'} ` +
          `for ${String(this.#settings.retry.giveUpAfter)} seconds. Reload the page to try again.`,
      });
      return;
    }
    this.#since = this.#environment.now();
    const timer = this.#environment.setTimeout(() => {
      this.#connectNow();
    }, delay * 1000);
    this.#wait = { timer, delay };
    this.#setState('waiting');
  }

  /** Connect now instead of waiting any longer. */
  #connectNow(): void {
    if (this.#wait !== undefined) {
      const { timer, delay } = this.#wait;
      this.#environment.clearTimeout(timer);
      // While the machine sleeps, the clock goes on but nothing is tried. That time does not count.
      this.#retry.spend(Math.min(delay, (this.#environment.now() - this.#since) / 1000));
      this.start();
    }
  }

  /** Stop if the page's policy has blocked the socket. Browsers do not report that one as closed. */
  #handleBlocked(url: string): void {
    const { socketUrl, streamsUrl } = this.#settings;
    if (this.#state === 'connecting' && url === socketUrl) {
      const message = explainPolicy(streamsUrl, socketUrl);
      this.#session?.close({ reason: 'closed', message });
      this.stop({ reason: 'unreachable', message });
    }
  }

  /** Leave the server because the page is left or frozen, and wait until the page is awake. */
  #leave(): void {
    if (!this.#hasBegun) {
      return;
    }
    this.#session?.leave();
    this.#session = undefined;
    this.#environment.clearTimeout(this.#wait?.timer);
    this.#wait = { timer: undefined, delay: 0 };
    this.#setState('waiting');
  }

  #request(...request: Parameters<MakeRequest>): Promise<unknown> {
    if (this.#state === 'connected' && this.#session !== undefined) {
      return this.#session.request(...request);
    }
    return Promise.reject(
      new StateError(
        this.#state === 'connecting'
          ? 'The page is not connected to the server: an attempt to connect is under way.'
          : 'The page is not connected to the server: the connection was lost, and the page will try again soon.',
      ),
    );
  }

  #setState(state: ClientState): void {
    if (state !== this.#state) {
      this.#state = state;
      this.#channels.noteState();
      this.dispatchEvent(new Event('statechange'));
    }
  }
}

/**
 * Connect to a server, and stay connected. After a lost connection the client tries again, with longer and longer
 * waits, until `reconnect.giveUpAfter`. It stops when the server says goodbye.
 *
 * @param options - Where and how to connect.
 * @returns The client, in the state `connecting`.
 * @throws TypeError, RangeError if an option is not valid.
 */
export function connect(options: ConnectOptions): Client {
  return connectFrom(findEnvironment(options.transport), options);
}

/** Connect to a server in this environment. See `connect`. */
export function connectFrom(environment: Environment, options: ConnectOptions): Client {
  const client = makeClient(environment, options);
  client.begin();
  return client;
}

/** Return a client that has not begun to connect. See `connect`. */
export function makeClient(environment: Environment, options: ConnectOptions): Client {
  checkNames('connect', options, CONNECT_OPTIONS);
  const { clientId = environment.newName() } = options;
  // JavaScript callers can pass anything.
  const place = options.url === undefined && !environment.hasHttp ? NOWHERE : makePlace(options);
  if (typeof (clientId as unknown) !== 'string' || !CLIENT_ID.test(clientId)) {
    throw new TypeError('The option clientId must be a string of 1 to 64 characters.');
  }
  const { isProxied, ...urls } = place;
  const inParts = isProxied || !environment.holdsBack;
  const { segmented = inParts, frameLimit = isProxied ? PROXY_FRAME_LIMIT : undefined } = options;
  if (typeof (segmented as unknown) !== 'boolean') {
    throw new TypeError('The option segmented must be true or false.');
  }
  if (frameLimit !== undefined && !(Number.isSafeInteger(frameLimit) && frameLimit >= MIN_FRAME_LIMIT)) {
    throw new TypeError(`The option frameLimit must be an integer of at least ${String(MIN_FRAME_LIMIT)}.`);
  }
  const retry = makeRetryPolicy(options.reconnect ?? {});
  const settings = { ...urls, segmented, posts: options.segmented ?? isProxied, frameLimit, clientId, retry };
  return new Client(settings, environment);
}

/** The place of a server that a transport without HTTP leads to by itself. */
const NOWHERE = { streamsUrl: '', socketUrl: '', isProxied: false, token: undefined };

function makePlace({ url, token }: ConnectOptions): Pick<Address, 'streamsUrl' | 'socketUrl' | 'token'> & { isProxied: boolean } {
  if (typeof token !== 'string' || !TOKEN.test(token)) {
    throw new TypeError('The option token must be the token that the server has given.');
  }
  const streamsUrl = makeUrl(url, 'streams');
  const socketUrl = makeUrl(url, 'socket').replace(/^http/u, 'ws');
  return { streamsUrl, socketUrl, token, isProxied: new URL(streamsUrl).pathname !== '/streams' };
}

function makeUrl(base: unknown, name: string): string {
  const url = typeof base === 'string' && URL.canParse(base) ? new URL(base) : undefined;
  if (url === undefined || !/^https?:$/u.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new TypeError(
      `The option url must be the server's base URL, such as http://localhost:8889, without a query and a fragment; ` +
        `it is ${String(base)}.`,
    );
  }
  url.pathname = `${url.pathname.replace(/\/+$/u, '')}/${name}`;
  return url.href;
}
