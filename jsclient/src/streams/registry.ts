/** The streams of one session, in both directions, by their numbers. */

import type { Environment } from '../connection/environment.js';
import type { Writer } from '../connection/writer.js';
import { ClosedError, ProtocolError, StateError } from '../errors.js';
import type { Connection } from '../protocol/connection.js';
import type { StreamInfo, StreamMessage, Ticket } from '../protocol/messages.js';
import { describeThrown } from '../thrown.js';
import { PartFetch, WholeFetch, type StreamFetch } from './fetching.js';
import { IncomingStream } from './incoming.js';
import { OutgoingStream } from './outgoing.js';
import { PieceFetch, type Pieces } from './pieces.js';
import { Places } from './places.js';
import { MetaGenerator } from './reader.js';
import { makeSource } from './sources.js';

/** The most characters of an error's name and message that are sent to the reader of a stream. */
const MAX_ERROR_LENGTH = 4096;

/** The most streams of a session that come with the server's requests or answer them. More are refused. */
export const MAX_STREAMS = 1000;

/** Where streams are fetched from. */
export interface Origin {
  readonly url: string;
  /** Whether they are fetched in parts. */
  readonly inParts: boolean;
  /** Whether streams of the page are posted, however near the server is. */
  readonly posts: boolean;
}

/** A stream of the server and its reader. */
export interface ReceivedStream {
  readonly reader: MetaGenerator;
  /** Stop the stream if nobody reads it. */
  stopUnread(): void;
  /** End the stream with an error. */
  fail(message: string): void;
}

/** The streams of one session. */
export class StreamRegistry {
  readonly #connection: Connection;
  readonly #writer: Writer;
  readonly #pieces: Pieces;
  readonly #origin: Origin;
  /** The places of streams that travel over HTTP, if there is HTTP. */
  readonly #places: Places | undefined;
  readonly #environment: Environment;
  readonly #outgoing = new Set<OutgoingStream>();
  /** The streams that come with the server's requests or answer them, unless they are whole in their message. */
  readonly #asked = new Set<object>();
  readonly #announced = new Map<number, OutgoingStream>();
  readonly #incoming = new Map<number, IncomingStream>();

  /** @param origin - Its `url` is the URL below which the server has the streams, without a slash at its end. */
  constructor(
    connection: Connection,
    writer: Writer,
    pieces: Pieces,
    origin: Origin,
    environment: Environment,
  ) {
    this.#connection = connection;
    this.#writer = writer;
    this.#pieces = pieces;
    this.#origin = origin;
    this.#places = environment.hasHttp ? new Places(origin.url, () => connection.httpStreams) : undefined;
    this.#environment = environment;
  }

  /** Whether there are as many streams as the server's requests can have. */
  get isFull(): boolean {
    return this.#asked.size >= MAX_STREAMS;
  }

  /** Whether there are more of them, as the last one has been counted before it was refused. */
  get isTooFull(): boolean {
    return this.#asked.size > MAX_STREAMS;
  }

  /** Count a stream as one that answers a request of the server, until it ends. */
  countAnswer(outgoing: OutgoingStream): void {
    this.#asked.add(outgoing);
  }

  /**
   * Open a stream of this page.
   *
   * @param onEnd - Called when nothing more of the stream will be sent.
   * @throws TypeError if the source cannot be sent as a stream.
   */
  open(channel: number, source: unknown, onEnd: () => void = () => undefined): OutgoingStream {
    const events = {
      onBroken: (error: unknown) => {
        const limit = Math.min(MAX_ERROR_LENGTH, this.#connection.errorLimit);
        const { name, message } = describeThrown(error, limit);
        this.#writer.send({ type: 'broken', stream: outgoing.id, name, message });
      },
      onPiece: (data: Uint8Array<ArrayBuffer>) => {
        this.#writer.send({ type: 'piece', stream: outgoing.id, data });
      },
      onSent: () => {
        this.#writer.send({ type: 'end', stream: outgoing.id });
      },
      onEnd: () => {
        this.#places?.release(outgoing);
        this.#outgoing.delete(outgoing);
        this.#asked.delete(outgoing);
        this.#announced.delete(outgoing.id);
        onEnd();
      },
    };
    const outgoing: OutgoingStream = new OutgoingStream(channel, makeSource(source), events, this.#environment);
    this.#outgoing.add(outgoing);
    return outgoing;
  }

  /**
   * Announce a stream of this page in a message.
   *
   * @param data - The whole stream, if it is short and ready.
   * @param send - Sends the message with the announcement. If it throws, the stream is closed.
   */
  announce<T>(outgoing: OutgoingStream, data: Uint8Array<ArrayBuffer> | undefined, send: (stream: StreamInfo) => T): T {
    const id = this.#connection.nextStream;
    const total = data?.length ?? outgoing.total;
    try {
      const value = send({
        id,
        ...(total === undefined ? {} : { total }),
        ...(data === undefined ? {} : { data }),
      });
      if (data === undefined) {
        outgoing.id = id;
        this.#announced.set(id, outgoing);
      }
      return value;
    } catch (error) {
      outgoing.close();
      throw error;
    }
  }

  /**
   * Return a stream that the server has announced, with a reader for it.
   *
   * @param isArgument - Whether it has come with a request of the server.
   */
  receive(channel: number, info: StreamInfo, isArgument = false): ReceivedStream {
    const { id } = info;
    const events = {
      onStop: () => {
        this.refuse(info);
      },
      onBegin: (signal: AbortSignal) => this.#fetch(incoming, info, signal),
      onEnd: () => {
        this.#places?.release(incoming);
        this.#incoming.delete(id);
        this.#asked.delete(incoming);
      },
    };
    const incoming: IncomingStream = new IncomingStream(channel, info, events, this.#environment);
    // A stream that is here as a whole outlives its channel and its connection.
    if (info.data === undefined) {
      this.#incoming.set(id, incoming);
      if (isArgument) {
        this.#asked.add(incoming);
      }
    }
    const reader = new MetaGenerator(incoming);
    return {
      reader,
      stopUnread: () => {
        if (!reader.isInUse) {
          incoming.stop();
        }
      },
      fail: (message) => {
        incoming.fail(new StateError(message));
      },
    };
  }

  /** Tell the server to stop one of its streams, unless all of it is here already. */
  refuse({ id, data }: StreamInfo): void {
    if (data === undefined) {
      this.#writer.send({ type: 'stop', stream: id });
    }
  }

  /**
   * Handle a message about a stream. The stream may have ended before the message came.
   *
   * @throws ProtocolError if it is about pieces that can not be.
   */
  handle(message: StreamMessage): void {
    switch (message.type) {
      case 'ticket':
        this.#handleTicket(message);
        break;
      case 'credit':
        this.#announced.get(message.stream)?.allow(message.bytes);
        break;
      case 'piece':
        this.#acknowledge();
        this.#incoming.get(message.stream)?.push(message.data);
        break;
      case 'end':
        this.#incoming.get(message.stream)?.markSent();
        break;
      case 'stop':
        this.#announced.get(message.stream)?.close();
        break;
      case 'broken':
        this.#incoming.get(message.stream)?.markBroken(message);
        break;
    }
  }

  /** End the streams of a channel that is closed. */
  endChannel(channel: number, message: string): void {
    this.#endAll((stream) => stream.channel === channel, () => new ClosedError(message));
  }

  /** End all streams, each with an error of its own. */
  end(makeError: () => Error): void {
    this.#endAll(() => true, makeError);
  }

  #endAll(isMeant: (stream: IncomingStream | OutgoingStream) => boolean, makeError: () => Error): void {
    for (const incoming of [...this.#incoming.values()].filter(isMeant)) {
      incoming.fail(makeError());
    }
    for (const outgoing of [...this.#outgoing].filter(isMeant)) {
      outgoing.close(makeError());
    }
  }

  /**
   * Begin to send a stream whose reader has begun to read. To a server that is near pieces are fast, and leave the page
   * free for its other work; a Blob is posted, which keeps it out of the page's memory, and so is what a proxy passes on.
   * Else it is posted if there is a place.
   */
  #handleTicket({ stream, ticket, credit, near }: Ticket): void {
    const outgoing = this.#announced.get(stream);
    if (outgoing === undefined) {
      return;
    }
    const mayPost = !near || outgoing.isBlob || this.#origin.posts;
    if (mayPost && this.#takePlace(outgoing)) {
      outgoing.post(this.#urlOf(ticket));
    } else if (credit !== undefined) {
      outgoing.sendPieces(this.#pieces, credit);
    } else if (this.#places !== undefined) {
      outgoing.post(this.#urlOf(ticket));
    } else {
      throw new ProtocolError('a stream was asked for over HTTP only, and this client has no HTTP');
    }
  }

  /** Begin to fetch a stream: over HTTP if there is a place, else as pieces. */
  #fetch(incoming: IncomingStream, { id, ticket }: StreamInfo, signal: AbortSignal): StreamFetch {
    if (!this.#takePlace(incoming)) {
      const giveCredit = (bytes: number): void => {
        this.#writer.send({ type: 'credit', stream: id, bytes });
      };
      return new PieceFetch(this.#connection.piecesBesideMessages, giveCredit, signal);
    }
    const Fetch = this.#origin.inParts ? PartFetch : WholeFetch;
    return new Fetch(this.#urlOf(ticket), signal, this.#environment);
  }

  /** Take a place for a stream that travels over HTTP, and return whether there was one. */
  #takePlace(stream: object): boolean {
    return this.#places?.take(stream) === true;
  }

  /** Acknowledge the pieces that have arrived, if it is time to. */
  #acknowledge(): void {
    const bytes = this.#connection.ackDue;
    if (bytes > 0) {
      this.#writer.send({ type: 'ack', bytes });
    }
  }

  #urlOf(ticket = ''): string {
    return `${this.#origin.url}/${ticket}`;
  }
}
