/** A widget's model whose comm leads to a kernel that a test plays. */

import { CommConnection, decodeCommMessage, type CommMessage } from '../../src/protocol/comm.js';
import type { Model } from '../../src/notebook/comm.js';
import { FakeServer, FakeSocket } from '../fakes.js';

type Handler = Parameters<Model['on']>[1];

/** The kernel's end of a connection, as a socket of the server that a test plays. */
export class KernelSocket extends FakeSocket {
  readonly wire: CommConnection;
  readonly #model: FakeModel;

  constructor(model: FakeModel, name: string) {
    super('', []);
    this.wire = new CommConnection(name, false, 2 ** 26);
    this.#model = model;
  }

  override open(): void {
    // It is open already.
  }

  override arrive(data: string | ArrayBuffer): void {
    this.wire.send(typeof data === 'string' ? data : new Uint8Array(data));
    this.flush();
  }

  take(message: CommMessage): void {
    this.wire.receive(message);
    for (let frame = this.wire.nextFrame(); frame !== null; frame = this.wire.nextFrame()) {
      this.sent.push(typeof frame === 'string' ? frame : new Uint8Array(frame));
    }
    this.flush();
  }

  flush(): void {
    for (let next = this.wire.nextMessage(0); next !== null; next = this.wire.nextMessage(0)) {
      this.#model.deliver(next.content, next.data === undefined ? [] : [new DataView(next.data.buffer)]);
    }
  }
}

/** A widget's model. The kernel answers what it is asked, and connections, unless it is deaf. */
export class FakeModel implements Model {
  readonly sockets: KernelSocket[] = [];
  readonly asked: Record<string, unknown>[] = [];
  readonly sent: Record<string, unknown>[] = [];
  answers: Record<string, unknown> = {};
  error: Error | undefined;
  isDeaf = false;
  readonly handlers: { readonly event: string; readonly handler: Handler }[] = [];
  readonly #state: Record<string, unknown>;

  constructor(state: Record<string, unknown> = {}) {
    this.#state = state;
  }

  get socket(): KernelSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) {
      throw new Error('no connection was opened over the comm');
    }
    return socket;
  }

  get(name: string): unknown {
    return this.#state[name];
  }

  /** Return the model as a view gets it, and a function that disposes of the view: its listeners are gone then. */
  view(): [Model, () => void] {
    const own: Parameters<Model['on']>[] = [];
    const model: Model = {
      get: this.get.bind(this),
      send: this.send.bind(this),
      on: (...listener) => {
        own.push(listener);
        this.on(...listener);
      },
      off: this.off.bind(this),
    };
    const dispose = (): void => {
      for (const listener of own) {
        this.off(...listener);
      }
    };
    return [model, dispose];
  }

  on(event: string, handler: Handler): void {
    this.handlers.push({ event, handler });
  }

  off(event: string, handler: Handler): void {
    const at = this.handlers.findIndex((other) => other.event === event && other.handler === handler);
    if (at !== -1) {
      this.handlers.splice(at, 1);
    }
  }

  send(content: unknown, _?: unknown, buffers: readonly ArrayBuffer[] = []): void {
    if (this.error !== undefined) {
      throw this.error;
    }
    const fields = content as Record<string, unknown>;
    this.sent.push(fields);
    if (this.isDeaf) {
      return;
    }
    if (fields['type'] === 'ask') {
      this.asked.push(fields);
      this.deliver({ type: 'told', asked: fields['asked'], answer: this.answers[String(fields['what'])] });
      return;
    }
    const message = decodeCommMessage(fields, buffers.map((buffer) => new Uint8Array(buffer)));
    const { connection, type } = message.content;
    if (type === 'open') {
      this.sockets.push(new KernelSocket(this, connection));
    }
    this.sockets.find(({ wire }) => wire.name === connection)?.take(message);
  }

  /** Deliver a message of the kernel's to the page. */
  deliver(content: unknown, buffers?: Parameters<Handler>[1]): void {
    this.fire('msg:custom', content, buffers);
  }

  fire(event: string, ...args: Parameters<Handler>): void {
    for (const { event: meant, handler } of [...this.handlers]) {
      if (meant === event) {
        handler(...args);
      }
    }
  }

  /** Welcome the page over its newest connection. */
  welcome(): FakeServer {
    const server = new FakeServer(this.socket);
    server.welcome();
    return server;
  }
}
