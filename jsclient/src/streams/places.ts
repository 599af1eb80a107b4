/**
 * The places of the streams that travel over HTTP. Each may occupy one of a browser's connections to its host, of which
 * there are six for everything: the next stream would stop the page's own requests. So they are counted for all sessions
 * of this page with the same host, as behind a proxy.
 */

const TAKEN = new Map<string, Set<object>>();

/** The places of one session's streams. */
export class Places {
  readonly #host: string;
  readonly #limit: () => number;

  /**
   * @param url - A URL of the host.
   * @param limit - Returns the most streams that can have a place.
   */
  constructor(url: string, limit: () => number) {
    this.#host = new URL(url).host;
    this.#limit = limit;
  }

  /** Take a place for a stream, until `release`, and return whether there was one. */
  take(stream: object): boolean {
    const taken = TAKEN.get(this.#host) ?? new Set();
    if (taken.size >= this.#limit()) {
      return false;
    }
    TAKEN.set(this.#host, taken.add(stream));
    return true;
  }

  /** Give the place of a stream back, if it has one. */
  release(stream: object): void {
    const taken = TAKEN.get(this.#host);
    taken?.delete(stream);
    if (taken?.size === 0) {
      TAKEN.delete(this.#host);
    }
  }
}
