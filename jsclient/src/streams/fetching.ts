/** Fetching the bytes of a stream of the server over HTTP: as one response, or in parts. */

import type { Environment } from '../connection/environment.js';
import { StateError } from '../errors.js';
import { decodePart, PART_LIMIT } from '../protocol/parts.js';

/** Fetches a stream. */
export interface StreamFetch {
  /** Whether the server keeps a stream whose source has failed, until it is told to stop it. */
  readonly isKept: boolean;
  /** Return the next bytes, at least one; `undefined` at the end. It rejects if the stream breaks off. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
}

/** Fetches a stream as the body of one response, which flows as fast as it is read where the environment holds back. */
export class WholeFetch implements StreamFetch {
  readonly isKept = false;
  readonly #fetch: () => Promise<Response>;
  #body: ReadableStreamDefaultReader<Uint8Array> | undefined;

  /** @param signal - Aborts the fetch, so that `read` rejects. */
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
 * Fetches a stream in parts, each when the one before it has been read. It is for proxies that hold a response back
 * until it is whole, or that end one that has broken off as if it were whole, and for browsers that keep a whole response.
 */
export class PartFetch implements StreamFetch {
  readonly #fetch: (offset: number) => Promise<Response>;
  #received = 0;
  #mark = 'more';

  /** @param signal - Aborts the fetch, so that `read` rejects. */
  constructor(url: string, signal: AbortSignal, environment: Environment) {
    this.#fetch = (offset) => environment.fetch(`${url}?offset=${String(offset)}`, { signal });
  }

  get isKept(): boolean {
    return this.#mark === 'more';
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    while (this.#mark === 'more') {
      const response = await this.#fetch(this.#received);
      const { data, mark } = decodePart(await readAll(check(response), PART_LIMIT));
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

/** Ignore what comes of a cancellation: whatever it was, the body is not wanted. */
function ignore(): void {
  // Nothing.
}

/** Return all bytes of a body, or throw if there are more than so many. */
async function readAll(body: ReadableStream<Uint8Array>, limit: number): Promise<ArrayBuffer> {
  const reader = body.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value as Uint8Array<ArrayBuffer>);
    size += next.value.length;
    if (size > limit) {
      reader.cancel().catch(ignore);
      throw new StateError(`the server answered with more than ${String(limit)} bytes.`);
    }
  }
  return await new Blob(chunks).arrayBuffer();
}

/** Return the body of a response, or throw if its status is an error. */
function check({ ok, status, body }: Response): ReadableStream<Uint8Array> {
  if (!ok || body === null) {
    body?.cancel().catch(ignore);
    throw new StateError(`the server answered with the status ${String(status)}.`);
  }
  return body;
}
