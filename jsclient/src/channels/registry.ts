/** The channels that are open in this page, by their ids. They outlive a lost connection. */

import { ClosedError } from '../errors.js';
import { hasAtMost, MAX_METHOD_LENGTH } from '../protocol/messages.js';
import type { Nan } from '../protocol/values.js';
import type { CallOptions } from '../requests/call-options.js';
import type { StreamArgument, RequestDraft } from '../requests/outbox.js';
import { outcomeOf, type Outcome } from '../requests/outcome.js';
import { discard } from '../streams/sources.js';
import type { Requester } from './calls.js';
import { Channel } from './channel.js';
import { evaluateCode } from './evaluate.js';
import { checkLatestOptions, Latest, type LatestHost, type LatestOptions } from './latest.js';
import { importModule } from './modules.js';

/** Makes a request in the current session. */
export type MakeRequest = (draft: RequestDraft, stream?: StreamArgument, options?: CallOptions) => Promise<unknown>;

/** Where the initialization function of a channel comes from: its code, or a module of the page. */
export interface CodeSource {
  readonly code?: string | undefined;
  readonly module?: string | undefined;
}

const NAME_PROBLEM = `The name of the method must be a string of at most ${String(MAX_METHOD_LENGTH)} characters.`;

/** Returns a new element for a channel to draw in, in its place in the page. */
export type MakeElement = (channel: number) => HTMLElement;

interface Entry {
  readonly channel: Channel;
  /** What becomes of NaN and the infinities in what it sends. */
  readonly nan: Nan | undefined;
  /** The newest values of its methods, by their names. */
  readonly latest: Map<string, Latest>;
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
  readonly #isConnected: () => boolean;
  readonly #makeElement: MakeElement;

  /**
   * @param request - Makes a request in the current session.
   * @param isConnected - Returns whether there is one.
   * @param makeElement - Makes the element of a channel.
   */
  constructor(request: MakeRequest, isConnected: () => boolean, makeElement: MakeElement) {
    this.#request = request;
    this.#isConnected = isConnected;
    this.#makeElement = makeElement;
  }

  /** Return the channel with this id, if it is open. */
  get(id: number): Channel | undefined {
    return this.#entries.get(id)?.channel;
  }

  /** Return what becomes of NaN and the infinities in what a channel sends; `undefined` where they are refused. */
  nanOf(id: number): Nan | undefined {
    return this.#entries.get(id)?.nan;
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
   * @param nan - What becomes of NaN and the infinities in what it sends; `undefined` where they are refused.
   * @returns What the initialization function returned. If that, evaluating the code or importing the module throws, it
   *   rejects, and the channel is not open.
   */
  open(id: number, source: CodeSource, nan?: Nan): Promise<Outcome> {
    return (this.#entries.get(id) ?? this.#create(id, source, nan)).opened;
  }

  /**
   * Forget a channel, and refuse its requests from now on.
   *
   * @returns Whether it was open.
   */
  forget(id: number, message: string): boolean {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    entry?.end(message);
    return entry !== undefined;
  }

  /** Send the newest values of all channels, because the page is connected again. */
  sendLatest(): void {
    for (const { latest } of this.#entries.values()) {
      for (const one of latest.values()) {
        one.sendAgain();
      }
    }
  }

  /** Tell all channels whether the page is connected. */
  noteState(): void {
    const state = this.#isConnected() ? 'open' : 'waiting';
    for (const { channel } of [...this.#entries.values()]) {
      channel.setState(state);
    }
  }

  /** Forget all channels but those with these ids. */
  keepOnly(ids: ReadonlySet<number>, message: string): void {
    for (const id of [...this.#entries.keys()].filter((id) => !ids.has(id))) {
      this.forget(id, message);
    }
  }

  #create(id: number, source: CodeSource, nan: Nan | undefined): Entry {
    let problem: string | undefined;
    const request: MakeRequest = (draft, stream, options) => {
      if (options?.signal?.aborted) {
        discard(stream?.source);
        return Promise.reject(options.signal.reason as Error);
      }
      return problem === undefined ? this.#request(draft, stream, options) : Promise.reject(new ClosedError(problem));
    };
    const latest = new Map<string, Latest>();
    const host: LatestHost = {
      nan,
      call: (name, packed, options) => {
        // The connection takes what is encoded already, too.
        const args = packed as unknown as readonly unknown[];
        return request({ type: 'call', channel: id, name, args }, undefined, options);
      },
      isConnected: this.#isConnected,
    };
    let element: HTMLElement | undefined;
    const requester: Requester = {
      call: (name, args, stream, options) =>
        isMethodName(name)
          ? request({ type: 'call', channel: id, name, args, nan }, stream, options)
          : Promise.reject(new TypeError(NAME_PROBLEM)),
      latest: (name, options) => {
        if (problem !== undefined) {
          throw new ClosedError(problem);
        }
        return findLatest(latest, name, options, host);
      },
      echo: (args, options) => request({ type: 'echo', channel: id, args, nan }, undefined, options),
      pipe: (stream, options) => request({ type: 'pipe', channel: id }, stream, options),
    };
    const channel = new Channel(id, requester, () => (element ??= this.#makeElement(id)));
    // The entry is added before the code runs, because the code may use the channel at once.
    const { promise: opened, resolve } = makeDeferred();
    const entry: Entry = {
      channel,
      nan,
      latest,
      clear: () => element?.remove(),
      opened,
      end: (message) => {
        problem = message;
        for (const one of latest.values()) {
          one.end(message);
        }
        channel.setState('closed');
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

// JavaScript callers can pass anything.
function isMethodName(name: unknown): boolean {
  return typeof name === 'string' && hasAtMost(name, MAX_METHOD_LENGTH);
}

/** Return the newest value for a method, and create it if there is none that is open. */
function findLatest(
  latest: Map<string, Latest>,
  name: string,
  options: LatestOptions | undefined,
  host: LatestHost,
): Latest {
  if (!isMethodName(name)) {
    throw new TypeError(NAME_PROBLEM);
  }
  const checked = options === undefined ? undefined : checkLatestOptions(options);
  let found = latest.get(name);
  if (found === undefined || found.isClosed) {
    found = new Latest(name, host);
    latest.set(name, found);
  }
  if (checked !== undefined) {
    found.use(checked);
  }
  return found;
}

function makeDeferred(): { promise: Promise<Outcome>; resolve: (outcome: Promise<Outcome>) => void } {
  let resolve!: (outcome: Promise<Outcome>) => void;
  const promise = new Promise<Outcome>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
