/** The channels that are open in this page, by their ids. They outlive a lost connection. */

import { ClosedError } from '../errors.js';
import { hasAtMost, MAX_METHOD_LENGTH } from '../protocol/messages.js';
import type { CallOptions } from '../requests/call-options.js';
import type { StreamArgument, RequestDraft } from '../requests/outbox.js';
import { outcomeOf, type Outcome } from '../requests/outcome.js';
import { discard } from '../streams/sources.js';
import type { Requester } from './calls.js';
import { Channel } from './channel.js';
import { evaluateCode } from './evaluate.js';
import { importModule } from './modules.js';

/** Makes a request in the current session. */
export type MakeRequest = (draft: RequestDraft, stream?: StreamArgument, options?: CallOptions) => Promise<unknown>;

/** Where the initialization function of a channel comes from: its code, or a module of the page. */
export interface CodeSource {
  readonly code?: string | undefined;
  readonly module?: string | undefined;
}

/** Returns a new element for a channel to draw in, in its place in the page. */
export type MakeElement = (channel: number) => HTMLElement;

interface Entry {
  readonly channel: Channel;
  /** Remove what the channel has drawn. */
  readonly clear: () => void;
  /** The result of the initialization function. */
  readonly opened: Promise<Outcome>;
  /** Refuse the requests of the channel from now on. */
  readonly end: (message: string) => void;
}

/** The channels that are open in this page. */
export class ChannelRegistry {
  readonly #entries = new Map<number, Entry>();
  readonly #request: MakeRequest;
  readonly #makeElement: MakeElement;

  constructor(request: MakeRequest, makeElement: MakeElement) {
    this.#request = request;
    this.#makeElement = makeElement;
  }

  /** Return the channel with this id, if it is open. */
  get(id: number): Channel | undefined {
    return this.#entries.get(id)?.channel;
  }

  /** The number of channels that are open, or being opened. */
  get size(): number {
    return this.#entries.size;
  }

  /** Return the channels that are open now. */
  list(): Map<number, Channel> {
    return new Map(Array.from(this.#entries, ([id, { channel }]) => [id, channel]));
  }

  /**
   * Open a channel by running its initialization function. If it is open already, that does not run again.
   *
   * @param id - The channel's id.
   * @param source - Where the initialization function comes from.
   * @returns What the initialization function returned. If that, evaluating the code or importing the module throws, it
   *   rejects, and the channel is not open.
   */
  open(id: number, source: CodeSource): Promise<Outcome> {
    return (this.#entries.get(id) ?? this.#create(id, source)).opened;
  }

  /**
   * Forget a channel, and refuse its requests from now on.
   *
   * @returns Whether it was open.
   */
  forget(id: number, message: string): boolean {
    this.#entries.get(id)?.end(message);
    return this.#entries.delete(id);
  }

  /** Forget all channels but those with these ids. */
  keepOnly(ids: ReadonlySet<number>, message: string): void {
    for (const id of [...this.#entries.keys()].filter((id) => !ids.has(id))) {
      this.forget(id, message);
    }
  }

  #create(id: number, source: CodeSource): Entry {
    let problem: string | undefined;
    const request: MakeRequest = (draft, stream, options) => {
      if (options?.signal?.aborted) {
        discard(stream?.source);
        return Promise.reject(options.signal.reason as Error);
      }
      return problem === undefined ? this.#request(draft, stream, options) : Promise.reject(new ClosedError(problem));
    };
    let element: HTMLElement | undefined;
    const requester: Requester = {
      call: (name, args, stream, options) =>
        // JavaScript callers can pass anything.
        typeof (name as unknown) === 'string' && hasAtMost(name, MAX_METHOD_LENGTH)
          ? request({ type: 'call', channel: id, name, args }, stream, options)
          : Promise.reject(
              new TypeError(
                `The name of the method must be a string of at most ${String(MAX_METHOD_LENGTH)} characters.`,
              ),
            ),
      echo: (args, options) => request({ type: 'echo', channel: id, args }, undefined, options),
      pipe: (stream, options) => request({ type: 'pipe', channel: id }, stream, options),
    };
    const channel = new Channel(id, requester, () => (element ??= this.#makeElement(id)));
    // The entry is added before the code runs, because the code may use the channel at once.
    const { promise: opened, resolve } = makeDeferred();
    const entry: Entry = {
      channel,
      clear: () => element?.remove(),
      opened,
      end: (message) => {
        problem = message;
      },
    };
    this.#entries.set(id, entry);
    resolve(this.#initialize(entry, source));
    return entry;
  }

  async #initialize(entry: Entry, { code = '', module }: CodeSource): Promise<Outcome> {
    const { id } = entry.channel;
    try {
      const initialize = module === undefined ? evaluateCode(code, id) : (await importModule(module)).initialize;
      if (this.#entries.get(id) !== entry) {
        throw new ClosedError(`The channel ${String(id)} was closed while its module was being loaded.`);
      }
      const outcome = await outcomeOf(() => initialize(entry.channel));
      // `(channel) => channel.handler = {…}` returns the handler, which is not meant as the result.
      return outcome.value === entry.channel.handler ? { value: null } : outcome;
    } catch (error) {
      if (this.#entries.get(id) === entry) {
        this.forget(id, `The channel ${String(id)} could not be opened: its code has failed.`);
      }
      entry.clear();
      throw error;
    }
  }
}

function makeDeferred(): { promise: Promise<Outcome>; resolve: (outcome: Promise<Outcome>) => void } {
  let resolve!: (outcome: Promise<Outcome>) => void;
  const promise = new Promise<Outcome>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
