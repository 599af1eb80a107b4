/** The streams of one connection, in both directions: their numbers, and what the messages about them do. */

import type { Environment } from './environment.js';
import { ClosedError, StateError } from './errors.js';
import { Incoming, type Origin } from './incoming.js';
import { MetaGenerator } from './meta-generator.js';
import { Outgoing } from './outgoing.js';
import type { Connection } from './protocol/connection.js';
import type { StreamInfo, StreamMessage } from './protocol/messages.js';
import { makeSource } from './source.js';
import { describeThrown } from './thrown.js';
import type { Writer } from './writer.js';

/** The most characters of an error's name and message that the reader of a stream gets. */
const MAX_ERROR_LENGTH = 4096;

/** A stream of the server, for its reader and for the session. */
export interface Received {
  readonly reader: MetaGenerator;
  /** Stops it if nobody reads it. */
  drop(): void;
  /** Ends it with an error. */
  fail(message: string): void;
}

/** The streams of one connection. */
export class Streams {
  readonly #connection: Connection;
  readonly #writer: Writer;
  readonly #baseUrl: string;
  readonly #inParts: boolean;
  readonly #environment: Environment;
  readonly #sent = new Set<Outgoing>();
  readonly #announced = new Map<number, Outgoing>();
  readonly #received = new Map<number, Incoming>();

  /** @param way - `url` is the URL below which the server has the streams, without a slash at its end. */
  constructor(connection: Connection, writer: Writer, way: Origin, environment: Environment) {
    this.#connection = connection;
    this.#writer = writer;
    this.#baseUrl = way.url;
    this.#inParts = way.inParts;
    this.#environment = environment;
  }

  /**
   * Takes up what is to be sent as a stream.
   *
   * @param onEnd - Called when nothing more will be sent of it.
   * @throws TypeError when it cannot be sent as a stream.
   */
  take(channel: number, given: unknown, onEnd: () => void = () => undefined): Outgoing {
    const events = {
      onBroken: (error: unknown) => {
        const limit = Math.min(MAX_ERROR_LENGTH, this.#connection.errorLimit);
        const { name, message } = describeThrown(error, limit);
        this.#send({ type: 'broken', stream: outgoing.id, name, message });
      },
      onEnd: () => {
        this.#sent.delete(outgoing);
        this.#announced.delete(outgoing.id);
        onEnd();
      },
    };
    const outgoing: Outgoing = new Outgoing(channel, makeSource(given), events, this.#environment);
    this.#sent.add(outgoing);
    return outgoing;
  }

  /**
   * Announces a stream in a message.
   *
   * @param data - The whole stream, if it is short and ready.
   * @param send - Sends the message, with the announcement that it is given. What it throws ends the stream.
   */
  announce<T>(outgoing: Outgoing, data: Uint8Array<ArrayBuffer> | undefined, send: (stream: StreamInfo) => T): T {
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

  /** Takes up a stream that the server has announced. */
  receive(channel: number, info: StreamInfo): Received {
    const { id } = info;
    // The end of the channel or the connection does not concern a stream that is whole already.
    const isWhole = info.data !== undefined;
    const events = {
      onStop: () => {
        this.refuse(info);
      },
      onEnd: () => {
        this.#received.delete(id);
      },
    };
    const from = { url: this.#urlOf(info.ticket), inParts: this.#inParts };
    const incoming = new Incoming(channel, info, from, events, this.#environment);
    if (!isWhole) {
      this.#received.set(id, incoming);
    }
    const reader = new MetaGenerator(incoming);
    return {
      reader,
      drop: () => {
        if (!reader.isTaken) {
          incoming.stop();
        }
      },
      fail: (message) => {
        incoming.fail(new StateError(message));
      },
    };
  }

  /** Tells the server that nobody wants one of its streams, unless all of it is here already. */
  refuse({ id, data }: StreamInfo): void {
    if (data === undefined) {
      this.#send({ type: 'stop', stream: id });
    }
  }

  /** Takes a message that came. One about a stream that has ended has crossed its end. */
  handle(message: StreamMessage): void {
    switch (message.type) {
      case 'ticket':
        this.#announced.get(message.stream)?.post(this.#urlOf(message.ticket));
        break;
      case 'stop':
        this.#announced.get(message.stream)?.close();
        break;
      case 'broken':
        this.#received.get(message.stream)?.noteBroken(message);
        break;
    }
  }

  /** Ends the streams of a channel that is closed. */
  endChannel(channel: number, message: string): void {
    this.#endAll((stream) => stream.channel === channel, () => new ClosedError(message));
  }

  /** Ends all streams, with errors that are made for each. */
  end(makeError: () => Error): void {
    this.#endAll(() => true, makeError);
  }

  #endAll(isMeant: (stream: Incoming | Outgoing) => boolean, makeError: () => Error): void {
    for (const incoming of [...this.#received.values()].filter(isMeant)) {
      incoming.fail(makeError());
    }
    for (const outgoing of [...this.#sent].filter(isMeant)) {
      outgoing.close(makeError());
    }
  }

  #urlOf(ticket = ''): string {
    return `${this.#baseUrl}/${ticket}`;
  }

  #send(message: StreamMessage): void {
    this.#connection.send(message);
    this.#writer.wake();
  }
}
