/**
 * A widget's comm, where no port can be reached: sockets over its messages, and what the page asks the kernel beside.
 *
 * A message of the kernel's comes to every page of it, so each has the name of what it answers or belongs to.
 */

import type { Environment, SocketLike } from '../connection/environment.js';
import { ProtocolError } from '../errors.js';
import { CommConnection, decodeCommMessage, isOfConnection, type CommMessage } from '../protocol/comm.js';
import type { OutputConfig } from './config.js';
import type { PanelReport } from './panels.js';

/** The time in seconds within which the kernel must answer what it is asked. It may be busy with a cell. */
export const ASK_TIMEOUT = 5;

/** The largest frame that can be written; what the server really sends is limited by its session. */
const MOST_BYTES = 2 ** 32;

/** What front ends hand over as a buffer: also a part of a larger one, one of another window, and Base64. */
type Buffer = DataView<ArrayBuffer> | Uint8Array<ArrayBuffer> | ArrayBuffer | string;
type Handler = (content: unknown, buffers?: readonly Buffer[]) => void;

/** The part of a widget's model that is needed, as anywidget has it. */
export interface Model {
  get(name: string): unknown;
  send(content: unknown, callbacks?: unknown, buffers?: readonly ArrayBuffer[]): void;
  on(event: string, handler: Handler): void;
  off(event: string, handler: Handler): void;
}

/** What a page asks the server beside its session: by HTTP, or over a comm. */
export interface Asker {
  reportPanels(token: string, names: readonly string[]): Promise<Readonly<Record<string, PanelReport>> | null>;
  requestPlace(token: string, channel: number): Promise<void>;
}

/** A widget's comm. */
export class Comm implements Asker {
  readonly #model: Model;
  readonly #environment: Environment;
  #isDead = false;

  constructor(model: Model, environment: Environment) {
    this.#model = model;
    this.#environment = environment;
  }

  /** Whether it has lost its kernel. */
  get isDead(): boolean {
    return this.#isDead;
  }

  /**
   * Open a socket to the server in the kernel.
   *
   * @throws Error if the comm has taken no message before: it has lost its kernel, and none comes back.
   */
  openSocket(): SocketLike {
    if (this.#isDead) {
      throw new Error('its comm has lost its kernel');
    }
    return new CommSocket(this.#model, this.#environment, () => {
      this.#isDead = true;
    });
  }

  /** Ask for what an output of now would say; `null` if there is no answer. */
  async requestConfig(): Promise<OutputConfig | null> {
    return ((await this.#ask({ what: 'config' })) as OutputConfig | undefined) ?? null;
  }

  async reportPanels(
    _: string,
    names: readonly string[],
  ): Promise<Readonly<Record<string, PanelReport>> | null> {
    return ((await this.#ask({ what: 'panels', names })) as Readonly<Record<string, PanelReport>> | undefined) ?? null;
  }

  async requestPlace(_: string, channel: number): Promise<void> {
    await this.#ask({ what: 'place', channel });
  }

  #ask(question: object): Promise<unknown> {
    const asked = this.#environment.newName();
    return new Promise((resolve) => {
      const finish = (answer: unknown): void => {
        this.#environment.clearTimeout(timer);
        this.#model.off('msg:custom', hear);
        resolve(answer);
      };
      const hear: Handler = (content) => {
        const told = content as { type?: unknown; asked?: unknown; answer?: unknown } | null;
        if (told?.type === 'told' && told.asked === asked) {
          finish(told.answer);
        }
      };
      const timer = this.#environment.setTimeout(() => {
        finish(undefined);
      }, ASK_TIMEOUT * 1000);
      this.#model.on('msg:custom', hear);
      try {
        this.#model.send({ type: 'ask', asked, ...question });
      } catch {
        finish(undefined); // The kernel is gone.
      }
    });
  }
}

type Listener = (event: { readonly data: unknown }) => void;

/** A socket over the messages of a comm. */
class CommSocket implements SocketLike {
  binaryType = '';
  readyState = 0;
  onSign?: () => void;
  readonly #model: Model;
  readonly #environment: Environment;
  readonly #connection: CommConnection;
  readonly #onDead: () => void;
  readonly #listeners: (readonly [string, Listener])[] = [];
  #timer: unknown;
  /** Whether the frames of one message are being handed over: what answers them leaves in one, too. */
  #isHearing = false;

  /** @param onDead - Called when the comm takes no message. */
  constructor(model: Model, environment: Environment, onDead: () => void) {
    this.#onDead = onDead;
    this.#model = model;
    this.#environment = environment;
    this.#connection = new CommConnection(environment.newName(), true, MOST_BYTES);
    model.on('msg:custom', this.#hear);
    // The front end says so when the comm has lost its kernel; a message that cannot be sent then ends the socket.
    model.on('comm_live_update', this.#probe);
    queueMicrotask(() => {
      this.#pump();
    });
  }

  get bufferedAmount(): number {
    return this.#connection.waitingBytes;
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.push([type, listener]);
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.#connection.send(data);
    if (!this.#isHearing) {
      this.#pump();
    }
  }

  close(): void {
    this.#connection.close('the page has closed the connection');
    this.#pump();
  }

  readonly #hear: Handler = (content, buffers = []) => {
    if (!isOfConnection(content, this.#connection.name)) {
      return;
    }
    try {
      this.#connection.receive(decodeCommMessage(content, buffers.map(toBytes)));
      // While a cell runs, the kernel may not be able to send more than an `ack`.
      this.onSign?.();
    } catch (error) {
      this.#say({
        content: {
          connection: this.#connection.name,
          type: 'close',
          number: 0,
          acknowledged: 0,
          reason: (error as Error).message,
        },
      });
      this.#connection.end((error as Error).message);
    }
    if (this.readyState === 0 && this.#connection.state === 'open') {
      this.readyState = 1;
      this.#fire('open', undefined);
    }
    this.#isHearing = true;
    try {
      for (let frame = this.#connection.nextFrame(); frame !== null; frame = this.#connection.nextFrame()) {
        this.#fire('message', frame);
      }
    } finally {
      this.#isHearing = false;
    }
    this.#pump();
  };

  readonly #probe: Handler = () => {
    this.#say(this.#connection.makeAck());
    this.#checkEnd();
  };

  #pump(): void {
    const now = this.#environment.clock() / 1000;
    for (let next = this.#connection.nextMessage(now); next !== null; next = this.#connection.nextMessage(now)) {
      this.#say(next);
    }
    this.#environment.clearTimeout(this.#timer);
    const wait = this.#connection.wait(now);
    if (wait !== null) {
      this.#timer = this.#environment.setTimeout(() => {
        this.#pump();
      }, wait * 1000);
    }
    this.#checkEnd();
  }

  #say({ content, data }: CommMessage): void {
    try {
      this.#model.send(content, undefined, data === undefined ? [] : [data.buffer]);
    } catch (error) {
      this.#onDead();
      this.#connection.end(`its comm takes no messages: ${String(error)}`);
    }
  }

  #checkEnd(): void {
    if (this.#connection.state === 'ended' && this.readyState !== 3) {
      this.readyState = 3;
      this.#environment.clearTimeout(this.#timer);
      this.#model.off('msg:custom', this.#hear);
      this.#model.off('comm_live_update', this.#probe);
      this.#fire('close', undefined);
    }
  }

  #fire(type: string, data: unknown): void {
    for (const [meant, listener] of this.#listeners) {
      if (meant === type) {
        listener({ data });
      }
    }
  }
}

/** @throws ProtocolError if it is none. */
function toBytes(buffer: Buffer): Uint8Array<ArrayBuffer> {
  if (typeof buffer === 'string') {
    return decodeBase64(buffer);
  }
  if (ArrayBuffer.isView(buffer)) {
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }
  // That of another window is not an instance of this one's class.
  if (Object.prototype.toString.call(buffer) !== '[object ArrayBuffer]') {
    throw new ProtocolError('the front end hands over something else than bytes');
  }
  return new Uint8Array(buffer);
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let at = 0; at < binary.length; at++) {
      bytes[at] = binary.charCodeAt(at);
    }
    return bytes;
  } catch {
    throw new ProtocolError('the front end hands over a text that is not Base64 in the place of bytes');
  }
}
