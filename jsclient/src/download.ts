/** How the bytes of a stream of the server come to this page: as one response, or in parts. */

import type { Environment } from './environment.js';
import { StateError } from './errors.js';
import { decodePart } from './protocol/parts.js';

/** What fetches a stream. */
export interface Download {
  /** Whether the server keeps something of it even when its source has failed, as long as it may be asked for. */
  readonly isKept: boolean;
  /**
   * The next bytes, at least one; `undefined` at the end. It is called again only when it has resolved.
   *
   * It rejects when the stream breaks off.
   */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
}

/** A stream as the body of one response, which flows as fast as it is read. */
export class WholeDownload implements Download {
  readonly isKept = false;
  readonly #fetch: () => Promise<Response>;
  #body: ReadableStreamDefaultReader<Uint8Array> | undefined;

  /** @param signal - Ends the fetch, and fails what is read then. */
  constructor(url: string, signal: AbortSignal, environment: Environment) {
    this.#fetch = () => environment.fetch(url, { signal });
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.#body ??= check(await this.#fetch()).getReader();
    let chunk: Uint8Array | undefined;
    do {
      ({ value: chunk } = await this.#body.read());
    } while (chunk?.length === 0);
    return chunk as Uint8Array<ArrayBuffer> | undefined;
  }
}

/**
 * A stream in parts, each of which is asked for when the one before has been read: for ways where a response may be held
 * back until it is whole, or end like a whole one when it has broken off.
 */
export class PartDownload implements Download {
  readonly #fetch: (offset: number) => Promise<Response>;
  #received = 0;
  #mark = 'more';

  /** @param signal - Ends the fetch, and fails what is read then. */
  constructor(url: string, signal: AbortSignal, environment: Environment) {
    this.#fetch = (offset) => environment.fetch(`${url}?offset=${String(offset)}`, { signal });
  }

  get isKept(): boolean {
    return this.#mark === 'more';
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (this.#mark === 'more') {
      const response = await this.#fetch(this.#received);
      check(response);
      const { data, mark } = decodePart(await response.arrayBuffer());
      this.#mark = mark;
      this.#received += data.length;
      if (data.length > 0) {
        return data;
      }
    }
    if (this.#mark === 'fail') {
      throw new StateError('its source has failed.');
    }
    return undefined;
  }
}

/** The body of a response, if it is a right one. */
function check({ ok, status, body }: Response): ReadableStream<Uint8Array> {
  if (!ok || body === null) {
    body?.cancel().catch(() => undefined);
    throw new StateError(`the server answered with the status ${String(status)}.`);
  }
  return body;
}
