/** The channels that are open in this page. They outlive a lost connection. */

import type { CallOptions } from './call-options.js';
import { Channel } from './channel.js';
import { ClosedError } from './errors.js';
import { evaluateCode } from './evaluate.js';
import type { GivenStream, RequestDraft } from './requests.js';
import { discard } from './source.js';

/** Makes a request on the present connection. */
export type MakeRequest = (draft: RequestDraft, stream?: GivenStream, options?: CallOptions) => Promise<unknown>;

interface Entry {
  readonly channel: Channel;
  /** What the initialization function returns. */
  readonly opened: Promise<unknown>;
  /** Ends the channel: its requests are refused from now on. */
  readonly end: (message: string) => void;
}

/** The channels that are open in this page, by their ids. */
export class Channels {
  readonly #entries = new Map<number, Entry>();
  readonly #request: MakeRequest;

  constructor(request: MakeRequest) {
    this.#request = request;
  }

  /** The channel of this id, if it is open. */
  get(id: number): Channel | undefined {
    return this.#entries.get(id)?.channel;
  }

  /** The channels that are open now. */
  list(): Map<number, Channel> {
    return new Map(Array.from(this.#entries, ([id, { channel }]) => [id, channel]));
  }

  /**
   * Opens a channel by running its code. The code of a channel that is open already does not run again.
   *
   * @param id - The channel's id.
   * @param code - JavaScript that gives the initialization function.
   * @returns What the initialization function returned. It rejects with what that, or evaluating the code, threw; then
   *   the channel is not open.
   */
  open(id: number, code: string): Promise<unknown> {
    return (this.#entries.get(id) ?? this.#create(id, code)).opened;
  }

  /**
   * Forgets a channel: its requests are refused from now on.
   *
   * @returns Whether it was open.
   */
  forget(id: number, message: string): boolean {
    this.#entries.get(id)?.end(message);
    return this.#entries.delete(id);
  }

  /** Forgets all channels but those of these ids. */
  keepOnly(ids: ReadonlySet<number>, message: string): void {
    for (const id of [...this.#entries.keys()].filter((id) => !ids.has(id))) {
      this.forget(id, message);
    }
  }

  #create(id: number, code: string): Entry {
    let over: string | undefined;
    const request: MakeRequest = (draft, stream, options) => {
      if (options?.signal?.aborted) {
        discard(stream?.source);
        return Promise.reject(options.signal.reason as Error);
      }
      return over === undefined ? this.#request(draft, stream, options) : Promise.reject(new ClosedError(over));
    };
    const channel = new Channel(id, {
      call: (name, args, stream, options) =>
        // Callers in JavaScript are not held to the types.
        typeof (name as unknown) === 'string'
          ? request({ type: 'call', channel: id, name, args }, stream, options)
          : Promise.reject(new TypeError('The name of the method must be a string.')),
      echo: (args, options) => request({ type: 'echo', channel: id, args }, undefined, options),
      pipe: (stream, options) => request({ type: 'pipe', channel: id }, stream, options),
    });
    // The entry is there before the code runs, which may use the channel at once.
    const { promise: opened, resolve } = makeDeferred();
    const entry: Entry = {
      channel,
      opened,
      end: (message) => {
        over = message;
      },
    };
    this.#entries.set(id, entry);
    resolve(this.#initialize(entry, code));
    return entry;
  }

  async #initialize(entry: Entry, code: string): Promise<unknown> {
    const { id } = entry.channel;
    try {
      const value = await evaluateCode(code, id)(entry.channel);
      // `(channel) => channel.handler = {…}` gives the handler, which stays here and is no answer.
      return value === entry.channel.handler ? null : value;
    } catch (error) {
      if (this.#entries.get(id) === entry) {
        this.forget(id, `The channel ${String(id)} could not be opened: its code has failed.`);
      }
      throw error;
    }
  }
}

function makeDeferred(): { promise: Promise<unknown>; resolve: (value: unknown) => void } {
  let resolve!: (value: unknown) => void;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
