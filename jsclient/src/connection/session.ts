/** One connected socket: the handshake, the requests and streams in both directions, and the end of all of them. */

import type { MakeRequest, ChannelRegistry } from '../channels/registry.js';
import { ClosedError, ConnectionLostError, ProtocolError } from '../errors.js';
import { Connection } from '../protocol/connection.js';
import type { Frame } from '../protocol/frames.js';
import type { GoodbyeReason, Message, Welcome } from '../protocol/messages.js';
import { findLimits } from '../requests/deadlines.js';
import { Dispatcher } from '../requests/dispatcher.js';
import { Outbox } from '../requests/outbox.js';
import { Pieces } from '../streams/pieces.js';
import { StreamRegistry } from '../streams/registry.js';
import { describeThrown } from '../thrown.js';
import type { Environment } from './environment.js';
import { FrameSocket } from './frame-socket.js';
import { Room, UNASKED_LIMIT } from './room.js';
import { Watchdog } from './watchdog.js';
import { Writer } from './writer.js';

/** The time in seconds from the start of an attempt to connect within which the server must have sent its welcome. */
export const HANDSHAKE_TIMEOUT = 10;

/** The most characters of an error of the client's own that a goodbye says: they fit into the smallest frame. */
const MAX_ERROR_LENGTH = 500;

const LOST_MESSAGE =
  'The connection to the server was lost before the answer came. ' +
  'The call may have run; it is not sent again by itself.';
const AWAY_MESSAGE = 'The page was left, or the browser has frozen it. It connects again when it is shown.';
const LOST_STREAM_MESSAGE = 'The connection to the server was lost before the stream had ended.';

/** Where to connect to, and with which token and id. */
export interface Address {
  /** The URL of the socket; empty if there is none. */
  readonly socketUrl: string;
  /** The URL below which the server has the streams; empty if there is none. */
  readonly streamsUrl: string;
  /** Whether streams of the server are fetched in parts. */
  readonly segmented: boolean;
  /** Whether what the page sends is posted, and not sent in pieces, however near the server is: through a proxy. */
  readonly posts: boolean;
  /** The largest frame in bytes that comes through between here and the server, if there is such a limit. */
  readonly frameLimit: number | undefined;
  /** The server's token, if it asks for one. */
  readonly token: string | undefined;
  readonly clientId: string;
}

/** Why a session was closed by one of the two sides. */
export interface CloseReason {
  readonly reason: GoodbyeReason;
  readonly message: string;
}

/** The callbacks of a session. */
export interface SessionEvents {
  /** Called with the ids of the channels that the server still has, when its welcome has come. */
  readonly onWelcome: (channels: readonly number[]) => void;
  /** Called once when the server has closed the session, or with `null` if it was lost; not after `close`. */
  readonly onEnd: (reason: CloseReason | null) => void;
}

/** One attempt to connect and, if it succeeds, the connection. */
export class Session {
  readonly #connection = new Connection('page');
  readonly #pieces: Pieces;
  readonly #writer: Writer;
  readonly #room: Room;
  readonly #streams: StreamRegistry;
  readonly #outbox: Outbox;
  readonly #dispatcher: Dispatcher;
  readonly #socket: FrameSocket;
  readonly #environment: Environment;
  readonly #events: SessionEvents;
  readonly #handshakeTimer: unknown;
  #watchdog: Watchdog | undefined;
  #hasEnded = false;
  /** The unasked bytes that had been sent when there was room the last time. */
  #unaskedBefore = 0;

  /** @throws Whatever opening the socket throws if it cannot even try to connect. */
  constructor(address: Address, channels: ChannelRegistry, events: SessionEvents, environment: Environment) {
    this.#environment = environment;
    this.#events = events;
    const connection = this.#connection;
    const wake = (): void => {
      writer.wake();
    };
    const pieces = new Pieces(connection, wake, () => environment.clock());
    const transmit = (frame: Frame): void => {
      this.#socket.send(frame);
    };
    const writer = new Writer(connection, transmit, () => pieces.nextFrame());
    this.#pieces = pieces;
    this.#writer = writer;
    const origin = { url: address.streamsUrl, inParts: address.segmented, posts: address.posts };
    this.#room = new Room(environment, () => this.#socket.buffered + connection.queuedBytes);
    this.#streams = new StreamRegistry(connection, writer, pieces, origin, environment);
    this.#outbox = new Outbox(connection, writer, this.#streams, environment);
    this.#dispatcher = new Dispatcher(connection, channels, writer, this.#streams, this.#outbox, this.#room, environment);
    const socketEvents = {
      onOpen: () => {
        this.#sendHello(address);
      },
      onFrame: (frame: string | ArrayBuffer) => {
        this.#receive(frame);
      },
      onSign: () => {
        this.#watchdog?.reset();
      },
      onClose: () => {
        this.#end(null);
      },
    };
    this.#socket = new FrameSocket(address.socketUrl, address.token, socketEvents, environment);
    this.#handshakeTimer = environment.setTimeout(() => {
      this.#end(null);
    }, HANDSHAKE_TIMEOUT * 1000);
  }

  /** Make a request. See `Outbox.make`. */
  request(...[draft, stream, options]: Parameters<MakeRequest>): Promise<unknown> {
    return this.#outbox.make(draft, stream, findLimits(options, stream !== undefined, this.#dispatcher));
  }

  /** Close the session: say goodbye if the server can hear it, and close the socket. */
  close(reason: CloseReason): void {
    this.#stop(reason);
    this.#sendGoodbye(reason);
    this.#socket.close();
  }

  /** Leave the server because the page is left or frozen: tell it if it can hear it, and close the socket. */
  leave(): void {
    this.#stop(null);
    this.#sendGoodbye({ reason: 'away', message: AWAY_MESSAGE });
    this.#socket.close();
  }

  #receive(frame: string | ArrayBuffer): void {
    this.#watchdog?.reset();
    if (!this.#room.isFull) {
      this.#unaskedBefore = this.#connection.unaskedBytes;
    } else if (this.#connection.unaskedBytes - this.#unaskedBefore > UNASKED_LIMIT) {
      this.#end(null);
      return;
    }
    this.#writer.hold();
    try {
      for (const message of this.#connection.receive(frame)) {
        this.#handle(message);
        // A handler may have closed the client.
        if (this.#hasEnded) {
          return;
        }
      }
      this.#writer.release(this.#dispatcher.isIdle);
    } catch (error) {
      this.#breakOff(error);
    }
  }

  /** End the session because the server has broken the protocol, or because of an error of the client's own. */
  #breakOff(error: unknown): void {
    const { message } = describeThrown(error, MAX_ERROR_LENGTH);
    const reason: CloseReason =
      error instanceof ProtocolError
        ? { reason: 'protocol', message: `The server has sent what the protocol does not allow: ${message}.` }
        : { reason: 'closed', message: `An error of jchannel in the page has ended the session: ${message}` };
    try {
      this.#sendGoodbye(reason);
    } catch {
      // What has ended the session may be what fails here.
    }
    this.#end(reason);
  }

  #handle(message: Message): void {
    switch (message.type) {
      case 'welcome':
        this.#handleWelcome(message);
        break;
      case 'goodbye':
        this.#end({ reason: message.reason, message: message.message });
        break;
      case 'beat':
      case 'hello': // It comes only to servers.
        this.#writer.send({ type: 'beat' });
        break;
      case 'result':
        this.#outbox.handleResult(message);
        break;
      case 'error':
        this.#outbox.handleError(message);
        break;
      case 'ticket':
      case 'stop':
      case 'broken':
      case 'credit':
      case 'piece':
      case 'end':
        this.#streams.handle(message);
        break;
      case 'ack':
        this.#pieces.goOn();
        break;
      case 'cancel':
        this.#dispatcher.handleCancel(message);
        break;
      default:
        this.#dispatcher.handle(message);
    }
  }

  #handleWelcome({ beat, cancel_wait: cancelWait, channels }: Welcome): void {
    this.#outbox.cancelWait = cancelWait;
    this.#environment.clearTimeout(this.#handshakeTimer);
    this.#watchdog = new Watchdog(this.#environment, beat, () => {
      this.#end(null);
    });
    this.#events.onWelcome(channels);
  }

  #end(reason: CloseReason | null): void {
    this.#stop(reason);
    this.#socket.close();
    this.#events.onEnd(reason);
  }

  /** End all requests and streams; with `null`, because the connection was lost. */
  #stop(reason: CloseReason | null): void {
    this.#hasEnded = true;
    this.#environment.clearTimeout(this.#handshakeTimer);
    this.#watchdog?.stop();
    this.#room.end();
    const Reason = reason === null ? ConnectionLostError : ClosedError;
    const message = reason?.message ?? LOST_MESSAGE;
    const running = this.#dispatcher.detach();
    this.#outbox.end(() => new Reason(message));
    this.#streams.end(() => new Reason(reason?.message ?? LOST_STREAM_MESSAGE));
    for (const invocation of running) {
      invocation.abort('ended', message);
    }
  }

  #sendHello({ clientId, frameLimit }: Address): void {
    const limit = frameLimit === undefined ? {} : { frame_limit: frameLimit };
    const { door, why } = this.#environment.door ?? {};
    const way = { ...(door === undefined ? {} : { door }), ...(why === undefined || why === '' ? {} : { why }) };
    this.#connection.send({ type: 'hello', client: clientId, ...limit, ...way });
    this.#writer.flush();
  }

  #sendGoodbye({ reason, message }: CloseReason): void {
    const { state } = this.#connection;
    if (state === 'hello' || state === 'ready') {
      this.#connection.send({ type: 'goodbye', reason, message });
      this.#writer.flush();
    }
  }
}
