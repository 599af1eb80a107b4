/** One attempt to connect, from its beginning to the end of what came of it. */

import type { Channels } from './channels.js';
import type { Environment } from './environment.js';
import { ClosedError, ConnectionLostError, type ProtocolError } from './errors.js';
import { Connection } from './protocol/connection.js';
import type { GoodbyeReason, Message, Welcome } from './protocol/messages.js';
import type { Ending } from './requests.js';
import { Session } from './session.js';
import { Socket } from './socket.js';
import { Streams } from './streams.js';
import { Watchdog } from './watchdog.js';
import { Writer } from './writer.js';

/** The time in seconds from the beginning of an attempt within which the server must have said welcome. */
export const HANDSHAKE_TIMEOUT = 10;

/** Where and as whom to connect. */
export interface Address {
  /** The URL of the socket. */
  readonly socketUrl: string;
  /** The URL below which the server has the streams. */
  readonly streamsUrl: string;
  /** Whether streams of the server are fetched in parts. */
  readonly segmented: boolean;
  /** The largest frame in bytes that the way to the server carries, where that is known. */
  readonly frameLimit: number | undefined;
  readonly token: string;
  readonly clientId: string;
}

/** Why a connection ended for good. */
export interface Farewell {
  readonly reason: GoodbyeReason;
  readonly message: string;
}

/** What happens to a link. */
export interface LinkEvents {
  /** The server has said welcome, and that these channels are alive. */
  readonly onWelcome: (channels: readonly number[]) => void;
  /** The link is over: for good, or `null` when it was lost. Told once, and not after `close`. */
  readonly onEnd: (farewell: Farewell | null) => void;
}

const LOST: Ending = {
  Reason: ConnectionLostError,
  message:
    'The connection to the server was lost before the answer came. ' +
    'The call may have run; it is not sent again by itself.',
  streamMessage: 'The connection to the server was lost before the stream had ended.',
};

/** One attempt to connect and the connection that it becomes. */
export class Link {
  /** The requests on this connection. */
  readonly session: Session;
  readonly #connection = new Connection('page');
  readonly #writer: Writer;
  readonly #socket: Socket;
  readonly #environment: Environment;
  readonly #events: LinkEvents;
  readonly #handshakeTimer: unknown;
  #watchdog: Watchdog | undefined;
  #isOver = false;

  /** @throws Whatever the WebSocket class throws when it cannot even try. */
  constructor(address: Address, channels: Channels, events: LinkEvents, environment: Environment) {
    this.#environment = environment;
    this.#events = events;
    this.#writer = new Writer(this.#connection, (frame) => {
      this.#socket.send(frame);
    });
    const { clientId, frameLimit } = address;
    const way = { url: address.streamsUrl, inParts: address.segmented };
    const streams = new Streams(this.#connection, this.#writer, way, environment);
    this.session = new Session(this.#connection, channels, this.#writer, streams, environment);
    const socketEvents = {
      onOpen: () => {
        const limit = frameLimit === undefined ? {} : { frame_limit: frameLimit };
        this.#connection.send({ type: 'hello', client: clientId, ...limit });
        this.#writer.flush();
      },
      onFrame: (frame: string | ArrayBuffer) => {
        this.#receive(frame);
      },
      onClose: () => {
        this.#end(null);
      },
    };
    this.#socket = new Socket(address.socketUrl, address.token, socketEvents, environment);
    this.#handshakeTimer = environment.setTimeout(() => {
      this.#end(null);
    }, HANDSHAKE_TIMEOUT * 1000);
  }

  /** Ends the link on purpose: says goodbye where somebody listens, and closes the socket. */
  close(farewell: Farewell): void {
    this.#stop(makeEnding(farewell));
    this.#sayGoodbye(farewell);
    this.#socket.close();
  }

  #receive(frame: string | ArrayBuffer): void {
    this.#watchdog?.notice();
    for (const message of this.#read(frame)) {
      switch (message.type) {
        case 'welcome':
          this.#welcome(message);
          break;
        case 'goodbye':
          this.#end({ reason: message.reason, message: message.message });
          break;
        case 'beat':
        case 'hello':
          break;
        default:
          this.session.handle(message);
      }
      // A handler may have closed the client.
      if (this.#isOver) {
        return;
      }
    }
  }

  #read(frame: string | ArrayBuffer): Message[] {
    try {
      return this.#connection.receive(frame);
    } catch (error) {
      const farewell: Farewell = {
        reason: 'protocol',
        message: `The server has sent what the protocol does not allow: ${(error as ProtocolError).message}.`,
      };
      this.#sayGoodbye(farewell);
      this.#end(farewell);
      return [];
    }
  }

  #welcome({ beat, cancel_wait: cancelWait, channels }: Welcome): void {
    this.session.requests.cancelWait = cancelWait;
    this.#environment.clearTimeout(this.#handshakeTimer);
    this.#watchdog = new Watchdog(this.#environment, beat, () => {
      this.#end(null);
    });
    this.#events.onWelcome(channels);
  }

  #end(farewell: Farewell | null): void {
    this.#stop(farewell === null ? LOST : makeEnding(farewell));
    this.#socket.close();
    this.#events.onEnd(farewell);
  }

  #stop(ending: Ending): void {
    this.#isOver = true;
    this.#environment.clearTimeout(this.#handshakeTimer);
    this.#watchdog?.stop();
    this.session.end(ending);
  }

  #sayGoodbye({ reason, message }: Farewell): void {
    const { state } = this.#connection;
    if (state === 'hello' || state === 'ready') {
      this.#connection.send({ type: 'goodbye', reason, message });
      this.#writer.flush();
    }
  }
}

function makeEnding({ message }: Farewell): Ending {
  return { Reason: ClosedError, message, streamMessage: message };
}
