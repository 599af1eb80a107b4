/** Fakes of the surroundings of the client: sockets, HTTP, the environment, and a server with the protocol. */

import { vi } from 'vitest';
import type { Channel } from '../src/channels/channel.js';
import { connectFrom, type Client, type ConnectOptions } from '../src/connection/client.js';
import type { Environment, LifeEvents, SocketLike } from '../src/connection/environment.js';
import { Connection, type RequestBody } from '../src/protocol/connection.js';
import type { Answer, Message } from '../src/protocol/messages.js';
import { joinFrame } from './frames.js';

type Listener = (event: { readonly data: unknown }) => void;

/** A WebSocket without a network. */
export class FakeSocket implements SocketLike {
  binaryType = 'blob';
  readyState = 0;
  bufferedAmount = 0;
  isClosed = false;
  readonly url: string;
  readonly protocols: readonly string[];
  readonly sent: (string | Uint8Array<ArrayBuffer>)[] = [];
  readonly #listeners = new Map<string, Listener[]>();

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.sent.push(data);
  }

  close(): void {
    this.isClosed = true;
    this.readyState = 2;
  }

  /** Simulate the end of the WebSocket handshake. */
  open(): void {
    this.readyState = 1;
    this.#dispatch('open');
  }

  /** Simulate a frame from the server. */
  arrive(data: string | ArrayBuffer): void {
    this.#dispatch('message', data);
  }

  /** Simulate the loss of the connection, or that it could not be made. */
  lose(): void {
    this.readyState = 3;
    this.#dispatch('error');
    this.#dispatch('close');
  }

  #dispatch(type: string, data?: unknown): void {
    for (const listener of this.#listeners.get(type) ?? []) {
      listener({ data });
    }
  }
}

/** An HTTP request that a test answers. */
export class FakeExchange {
  readonly url: string;
  readonly method: string;
  readonly body: Blob | undefined;
  readonly signal: AbortSignal;
  readonly response: Promise<Response>;
  #resolve!: (response: Response) => void;
  #reject!: (error: unknown) => void;
  #controller!: ReadableStreamDefaultController<Uint8Array>;

  constructor(url: string, { method = 'GET', body, signal, ...others }: RequestInit) {
    if (signal === undefined || signal === null || Object.keys(others).length > 0) {
      throw new Error('requests have a signal, and no option but the method and the body');
    }
    this.url = url;
    this.method = method;
    this.body = body as Blob | undefined;
    this.signal = signal;
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    signal.addEventListener('abort', () => {
      this.fail(signal.reason);
    });
  }

  /** Answer with a whole response. */
  answer(status: number, body: string | Uint8Array<ArrayBuffer> | ReadableStream | null = null): void {
    this.#resolve(new Response(body, { status }));
  }

  /** Answer a GET with a part of a stream. */
  answerPart(text: string, mark: string): void {
    const data = new TextEncoder().encode(text);
    const body = new Uint8Array(8 + data.length);
    new DataView(body.buffer).setUint32(0, data.length, true);
    body.set(new TextEncoder().encode(mark), 4);
    body.set(data, 8);
    this.answer(200, body);
  }

  /** Start to answer a GET with bytes. */
  begin(...chunks: (Uint8Array<ArrayBuffer> | string)[]): void {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
    });
    this.#resolve(new Response(body, { status: 200 }));
    this.signal.addEventListener('abort', () => {
      this.breakOff(this.signal.reason);
    });
    this.give(...chunks);
  }

  /** Send more bytes of the answer to a GET. */
  give(...chunks: (Uint8Array<ArrayBuffer> | string)[]): void {
    for (const chunk of chunks) {
      this.#controller.enqueue(typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk);
    }
  }

  /** End the answer to a GET. */
  finish(): void {
    this.#controller.close();
  }

  /** Break off the answer to a GET. */
  breakOff(error: unknown): void {
    try {
      this.#controller.error(error);
    } catch {
      // It has ended.
    }
  }

  /** Fail without an answer. */
  fail(error: unknown): void {
    this.#reject(error);
  }
}

/** An environment whose network and randomness a test controls, with the time of the fake timers. */
export class FakeEnvironment implements Environment {
  readonly sockets: FakeSocket[] = [];
  readonly exchanges: FakeExchange[] = [];
  holdsBack = true;
  copiesSent = true;
  luck = 0.5;
  readonly elements: { readonly channel: number; isRemoved: boolean }[] = [];
  readonly blockers: ((url: string) => void)[] = [];
  watchers: LifeEvents[] = [];

  hasHttp = true;

  openSocket(url: string, protocols: string[]): SocketLike {
    const socket = new FakeSocket(url, protocols);
    this.sockets.push(socket);
    return socket;
  }

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) {
      throw new Error('no socket was made');
    }
    return socket;
  }

  /** The last HTTP request. */
  get exchange(): FakeExchange {
    const exchange = this.exchanges.at(-1);
    if (exchange === undefined) {
      throw new Error('no request was made');
    }
    return exchange;
  }

  fetch(url: string, options: RequestInit): Promise<Response> {
    const exchange = new FakeExchange(url, options);
    this.exchanges.push(exchange);
    return exchange.response;
  }

  setTimeout(callback: () => void, delay: number): unknown {
    return setTimeout(callback, delay);
  }

  clearTimeout(timer: unknown): void {
    clearTimeout(timer as number);
  }

  now(): number {
    return Date.now();
  }

  clock(): number {
    return performance.now();
  }

  random(): number {
    return this.luck;
  }

  newName(): string {
    return 'random-name';
  }

  makeElement(channel: number): HTMLElement {
    const element = { channel, isRemoved: false, remove: () => (element.isRemoved = true) };
    this.elements.push(element);
    return element as unknown as HTMLElement;
  }

  watchLife(events: LifeEvents): () => void {
    this.watchers.push(events);
    return () => {
      this.watchers = this.watchers.filter((other) => other !== events);
    };
  }

  onBlocked(listener: (url: string) => void): () => void {
    this.blockers.push(listener);
    return () => {
      this.blockers.splice(this.blockers.indexOf(listener), 1);
    };
  }

  /** Simulate that the page's policy has blocked a connection. */
  block(url: string): void {
    for (const listener of [...this.blockers]) {
      listener(url);
    }
  }

  /** Simulate that the browser has put the page away. */
  goAway(): void {
    for (const { onAway } of this.watchers) {
      onAway();
    }
  }

  awake(): void {
    for (const { onAwake } of this.watchers) {
      onAwake();
    }
  }
}

/** What a fake server says in its welcome, with defaults. Times are in seconds. */
export interface WelcomeOptions {
  readonly beat?: number;
  readonly frameLimit?: number;
  readonly cancelWait?: number;
  readonly httpStreams?: number;
}

/** The server's side of one fake socket. */
export class FakeServer {
  readonly connection = new Connection('server');
  readonly socket: FakeSocket;
  #read = 0;

  constructor(socket: FakeSocket) {
    this.socket = socket;
  }

  /** Make the connection, up to and including the welcome. */
  welcome(channels: readonly number[] = [], options: WelcomeOptions = {}): void {
    this.socket.open();
    this.receive();
    const { beat = 15, frameLimit = 67_108_864, cancelWait = 5, httpStreams } = options;
    const limit = httpStreams === undefined ? {} : { http_streams: httpStreams };
    this.send({ type: 'welcome', beat, frame_limit: frameLimit, cancel_wait: cancelWait, channels, ...limit });
  }

  /** Send messages in one frame. */
  send(...messages: Message[]): void {
    for (const message of messages) {
      this.connection.send(message);
    }
    this.#transmit();
  }

  /** Send a request, and return its id. */
  request(body: RequestBody): number {
    const id = this.connection.request(body);
    this.#transmit();
    return id;
  }

  /** Send a request, run everything that can run, and return the answer. */
  async ask(body: RequestBody): Promise<Answer> {
    const id = this.request(body);
    return this.answerTo(id);
  }

  /** Run everything that can run, and return the answer to a request. */
  async answerTo(id: number): Promise<Answer> {
    const answers = (await this.settle()).filter((message) => 'id' in message && message.id === id);
    if (answers.length !== 1) {
      throw new Error(`the request ${String(id)} has ${String(answers.length)} answers`);
    }
    return answers[0] as Answer;
  }

  /** Run everything that can run, and return what the page has sent since the last time. */
  async settle(): Promise<Message[]> {
    await vi.advanceTimersByTimeAsync(0);
    return this.receive();
  }

  /** Return what the page has sent since the last time. */
  receive(): Message[] {
    const frames = this.socket.sent.slice(this.#read);
    this.#read += frames.length;
    return frames.flatMap((frame) => this.connection.receive(joinFrame(frame)));
  }

  #transmit(): void {
    for (let frame = this.connection.nextFrame(); frame !== null; frame = this.connection.nextFrame()) {
      this.socket.arrive(joinFrame(frame));
    }
  }
}

/** A client that is connected to a fake server. */
export interface Fixture {
  readonly environment: FakeEnvironment;
  readonly client: Client;
  readonly server: FakeServer;
}

/** Return a client that has not been welcomed yet. */
export function makeClient(options: Partial<ConnectOptions> = {}): Omit<Fixture, 'server'> {
  const environment = new FakeEnvironment();
  const client = connectFrom(environment, { url: 'http://localhost:8889', token: 'secret', ...options });
  return { environment, client };
}

/** Return a client and a server that has welcomed it. */
export function makeConnected(options: WelcomeOptions = {}, connectOptions: Partial<ConnectOptions> = {}): Fixture {
  const { environment, client } = makeClient(connectOptions);
  const server = new FakeServer(environment.socket);
  server.welcome([], options);
  return { environment, client, server };
}

/** Let a client connect again after a lost connection, and welcome it. */
export function reconnect({ environment }: Fixture, channels: readonly number[] = []): FakeServer {
  vi.advanceTimersByTime(10_000);
  const server = new FakeServer(environment.socket);
  server.welcome(channels);
  return server;
}

/** Open a channel in a client, as the server asks for it, and return it. */
export async function openChannel(client: Client, server: FakeServer, id = 1): Promise<Channel> {
  await server.ask({ type: 'open', channel: id, code: 'c => null' });
  const channel = client.channels.get(id);
  if (channel === undefined) {
    throw new Error('the channel was not opened');
  }
  return channel;
}
