/**
 * The connection of a notebook's page to one server, for any number of outputs. The first output makes it, it is kept
 * as long as an output is in the page, and it is made again after a reload.
 */

import { connectFrom, type Client, type ClientState } from '../connection/client.js';
import type { Environment } from '../connection/environment.js';
import type { RetryPolicy } from '../connection/retry.js';
import type { Door } from '../protocol/messages.js';
import { findDoors, isLoopback, type Base } from './bases.js';
import type { Asker, Comm } from './comm.js';
import { readStorage, storageKeyOf, type OutputConfig } from './config.js';
import { Desk, type ProofResult } from './desk.js';
import { Elements } from './elements.js';
import { holdName, type HeldName } from './names.js';
import { explainSilence } from './obstacles.js';
import { Output, type OutputState } from './output.js';
import { Panels } from './panels.js';
import { openProvenSocket } from './proven-socket.js';

/**
 * The time in seconds after which a page closes the connection when its last output is gone. A cell that runs again
 * clears its output some time before it makes the next one.
 */
export const GRACE = 3;

/**
 * On this machine, a server that refuses connections has ended for good: if it is started again, it has another name.
 * Each attempt is an error in the browser's console, so there are few. Their waits need no randomness: a notebook has
 * one page.
 */
const LOCAL_RETRY: Partial<RetryPolicy> = { base: 1, cap: 2, spread: 0, giveUpAfter: 3 };
const REMOTE_RETRY: Partial<RetryPolicy> = { base: 1, spread: 0, giveUpAfter: 30 };

/** A comm whose kernel is gone says so at once. One that is silent may be cut off from its kernel for a while. */
const COMM_RETRY: Partial<RetryPolicy> = { base: 1, cap: 5, spread: 0, giveUpAfter: 60 };

/** One that hears pages between cells only is silent for as long as a cell runs. */
const BETWEEN_CELLS_RETRY: Partial<RetryPolicy> = { base: 1, cap: 5, spread: 0, giveUpAfter: 3600 };

const MOVE = 'run server.move_to_newest_page() in a cell of this notebook';
const GONE =
  'the kernel behind this output is not running any more, or this page cannot reach it. Run the cell again; where Jupyter ' +
  'is on another machine, it needs jupyter-server-proxy.';
const USED =
  'not connected: this output is for the page that has shown it first. Run a cell that uses the channel to connect this ' +
  `page; if another page is connected, ${MOVE}.`;
const TAKEN = `not connected: another page is connected to this server. To use this page instead, ${MOVE}.`;
/** Where the server says nothing that helps. A kernel that is restarted ends its servers, and says goodbye. */
const WORDS = new Map([
  ['taken', TAKEN],
  ['unreachable', GONE],
  ['closed', 'the server was closed, or its kernel has been restarted. Run the cell again.'],
]);
const NO_COMM =
  'the door “comm” was asked for, and this front end shows no widgets. Install ipywidgets where Jupyter runs, and reload ' +
  'the page.';
const MUTE =
  'not connected. The server takes connections, and does not answer: its kernel is stopped, or runs code that lets no ' +
  'other thread run. Interrupt the kernel, and run the cell again.';
const STORES_NOTHING =
  ' The browser lets this page store nothing, so it does not come back by itself after a reload: run the cell again then.';
const NO_ADDRESS =
  'this page knows no address of the kernel’s machine: give the server the URL under which the page reaches it, as in ' +
  'jchannel.start(url=…).';

/** The state of a connection: `idle` before the first attempt and after its last output is gone, else the client's. */
export type NotebookState = 'idle' | ClientState;

interface Stored {
  /** The token; empty if the page was connected over a comm. */
  readonly token: string;
  readonly base: string;
  readonly door: Door;
  readonly client: string;
}

/**
 * The connection to one server. It dispatches a `statechange` event, which has no further fields, after each change.
 */
export class NotebookConnection extends EventTarget {
  /** The server's public name. */
  readonly server: string;
  readonly #environment: Environment;
  readonly #outputs = new Set<Output>();
  readonly #observer = new MutationObserver(() => {
    this.#checkOutputs();
    this.#elements.update();
  });
  readonly #panels: Panels;
  readonly #elements: Elements;
  #config: OutputConfig | undefined;
  #tried = 0;
  #trying = false;
  #client: Client | null = null;
  #comm: Comm | undefined;
  #asker: Asker;
  #place = '';
  #note = '';
  #token = '';
  #name: HeldName | undefined;
  #words = '';
  #storesNothing = false;
  #timer: unknown;

  constructor(server: string, environment: Environment) {
    super();
    this.server = server;
    this.#environment = environment;
    this.#asker = new Desk('', server, environment); // Until there is a door.
    this.#panels = new Panels(server, environment);
    this.#elements = new Elements(server, (channel) => {
      void this.#asker.requestPlace(this.#token, channel);
    });
  }

  /** The client; `null` if there is none. A new attempt to connect replaces it. */
  get client(): Client | null {
    return this.#client;
  }

  /** The state of the connection. */
  get state(): NotebookState {
    return this.#client?.state ?? (this.#trying ? 'connecting' : this.#words === '' ? 'idle' : 'stopped');
  }

  /** The state in words. */
  get words(): string {
    switch (this.state) {
      case 'connected':
        return `connected ${this.#place}${this.#note}.${this.#storesNothing ? STORES_NOTHING : ''}`;
      case 'waiting':
        return `the connection was lost. Trying again${this.#note}.`;
      case 'stopped':
        return this.#words;
      default:
        return `connecting${this.#note}.`;
    }
  }

  /**
   * Add an output. If it is newer than the last attempt to connect, there is another attempt.
   *
   * @param comm - The comm of the widget that the output is, if it is one.
   */
  add(element: HTMLElement, config: OutputConfig, comm?: Comm): void {
    this.#outputs.add(new Output(element));
    this.#comm = comm ?? this.#comm;
    this.#observer.observe(document, { childList: true, subtree: true });
    this.#environment.clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#config === undefined || config.issued >= this.#config.issued) {
      this.#config = config;
    }
    this.#try();
    this.#show();
  }

  #try(): void {
    const config = this.#config;
    const isActive = this.#trying || (this.#client !== null && this.#client.state !== 'stopped');
    if (config === undefined || isActive || config.issued <= this.#tried) {
      return;
    }
    this.#tried = config.issued;
    this.#trying = true;
    this.#client = null;
    this.#change();
    void this.#connect(config).then((words) => {
      this.#trying = false;
      this.#words = words;
      this.#change();
      this.#try();
      this.#checkOutputs();
    });
  }

  /** Connect, and return why that is not possible; an empty string if it is. */
  async #connect(config: OutputConfig): Promise<string> {
    const blocked: string[] = [];
    const stop = this.#environment.onBlocked((url) => blocked.push(url));
    try {
      const doors = findDoors(config, globalThis);
      const words = await this.#connectBy(doors, config);
      const isSilent = words === this.#gone || words === GONE || words === MUTE;
      const bases = doors.map(({ url }) => url);
      return isSilent ? ((await explainSilence(bases, blocked, 'connect-src')) ?? words) : words;
    } finally {
      stop();
    }
  }

  async #connectBy(doors: readonly Base[], config: OutputConfig): Promise<string> {
    const stored = this.#read();
    if (stored !== null && stored.token !== '' && config.door !== 'comm') {
      const former: Base = { door: stored.door, url: stored.base };
      const isAllowed = (config.door ?? former.door) === former.door;
      const order = isAllowed ? [former, ...doors.filter(({ url }) => url !== former.url)] : doors;
      const [result, found] = await this.#find(order, (desk) => desk.proveToken(stored.token));
      if (found !== undefined && result === 'proven') {
        return this.#open(found, this.#explain(order, found), stored.token, stored.client);
      }
      return this.#openComm(config, doors, stored.client, result === 'mute' ? MUTE : this.#gone);
    }
    const [result, found] = await this.#find(doors, (desk) => desk.proveTicket(config.ticket));
    if (found === undefined) {
      const unheard = doors.length === 0 ? NO_ADDRESS : result === 'mute' ? MUTE : GONE;
      const words = config.door === 'comm' ? NO_COMM : unheard;
      return this.#openComm(config, doors, stored?.client ?? null, result === 'mute' ? words : (config.gone ?? words));
    }
    const desk = new Desk(found.url, this.server, this.#environment);
    let token = result === 'proven' ? await desk.claim(config.ticket) : null;
    if (token === null) {
      // Another page has used the ticket. The kernel gives a page of its own another one.
      const renewed = await this.#comm?.requestConfig();
      token = renewed === undefined || renewed === null ? null : await desk.claim(renewed.ticket);
    }
    return token === null ? USED : this.#open(found, this.#explain(doors, found), token, stored?.client ?? null);
  }

  /** What is said where the server is not reached. */
  get #gone(): string {
    return this.#config?.gone ?? GONE;
  }

  /** Return the first of several doors at which the server is, or a server that refuses the ticket. */
  async #find(
    doors: readonly Base[],
    ask: (desk: Desk) => Promise<ProofResult>,
  ): Promise<[ProofResult, Base | undefined]> {
    let failure: ProofResult = 'silent';
    for (const base of doors) {
      const result = await ask(new Desk(base.url, this.server, this.#environment));
      if (result === 'proven' || result === 'refused') {
        return [result, base];
      }
      failure = result === 'mute' ? result : failure;
    }
    return [failure, undefined];
  }

  /** Return why no better door than this one can be used. */
  #explain(doors: readonly Base[], found: Base | undefined): string {
    const better = doors.slice(0, found === undefined ? doors.length : Math.max(0, doors.indexOf(found)));
    return better.map(({ url }) => `the server did not answer at ${url}`).join('; ');
  }

  /** Connect over the comm, and return an empty string; without a comm, return why the page cannot connect. */
  async #openComm(
    { door: asked = null, betweenCells }: OutputConfig,
    doors: readonly Base[],
    storedId: string | null,
    words: string,
  ): Promise<string> {
    const comm = asked === null || asked === 'comm' ? this.#comm : undefined;
    if (comm === undefined) {
      return words;
    }
    const clientId = await this.#hold(storedId);
    this.#write({ token: '', base: '', door: 'comm', client: clientId });
    const door = asked === 'comm' ? 'it was asked for' : this.#explain(doors, undefined);
    const environment = Object.assign(this.#derive('comm', door || 'this page knows no address of the server'), {
      hasHttp: false,
      openSocket: () => comm.openSocket(),
    });
    this.#asker = comm;
    this.#place = 'by the kernel’s own messages';
    this.#note = betweenCells === undefined ? '' : `; ${betweenCells}`;
    const reconnect = betweenCells === undefined ? COMM_RETRY : BETWEEN_CELLS_RETRY;
    const client = connectFrom(environment, { clientId, reconnect });
    let isMute = words === MUTE;
    client.addEventListener('statechange', () => {
      isMute &&= client.state !== 'connected';
    });
    return this.#use(client, '', (text) => {
      const gone = isMute && !comm.isDead ? MUTE : this.#gone;
      return text === GONE ? gone : text;
    });
  }

  async #hold(storedId: string | null): Promise<string> {
    this.#name = await holdName(storedId, (navigator as Partial<Navigator>).locks, this.#environment);
    return this.#name.name;
  }

  /** Return an environment for a client that has come by a door. */
  #derive(door: Door, why: string): Environment {
    return Object.assign(Object.create(this.#environment) as Environment, {
      door: { door, why },
      makeElement: (channel: number) => this.#elements.make(channel),
    });
  }

  async #open({ door, url: base }: Base, why: string, token: string, storedId: string | null): Promise<string> {
    const clientId = await this.#hold(storedId);
    this.#write({ token, base, door, client: clientId });
    const desk = new Desk(base, this.server, this.#environment);
    let result: ProofResult = 'proven';
    const prove = async (): Promise<boolean> => {
      result = await desk.proveToken(token);
      if (result === 'foreign') {
        client.close();
      }
      return result === 'proven';
    };
    const environment = Object.assign(this.#derive(door, why), {
      openSocket: (url: string, protocols: string[]) =>
        openProvenSocket(prove, () => this.#environment.openSocket(url, protocols)),
    });
    let isBlocked = false;
    // Before the client's own listener, which stops it.
    const stopBlocked = this.#environment.onBlocked((url) => {
      isBlocked ||= url.startsWith(base.replace(/^http/u, 'ws'));
    });
    const client = connectFrom(environment, {
      url: base,
      token,
      clientId,
      reconnect: isLoopback(base) ? LOCAL_RETRY : REMOTE_RETRY,
    });
    this.#asker = desk;
    this.#place = `to ${new URL(base).host}`;
    this.#note = '';
    return this.#use(client, token, (words, message) => {
      stopBlocked();
      const told = isBlocked ? message : words;
      return result === 'foreign' || told === GONE ? this.#gone : told;
    });
  }

  /**
   * Use a client, and return why it has stopped; an empty string if it has not.
   *
   * @param explain - Returns why the client has stopped, given what is said of that in general, and by the client.
   */
  #use(client: Client, token: string, explain: (words: string, message: string) => string): string {
    const noteStop = (): string => {
      if (client.stopReason === null) {
        return '';
      }
      const { reason, message } = client.stopReason;
      this.#words = explain(WORDS.get(reason) ?? message, message);
      this.#releaseName();
      return this.#words;
    };
    client.addEventListener('statechange', () => {
      noteStop();
      this.#change();
    });
    this.#token = token;
    this.#client = client;
    return noteStop(); // It may have stopped before it had a listener.
  }

  #releaseName(): void {
    this.#name?.release();
    this.#name = undefined;
  }

  /** Check whether an output is in the page. */
  #checkOutputs(): void {
    if ([...this.#outputs].some(({ isPresent }) => isPresent)) {
      this.#environment.clearTimeout(this.#timer);
      this.#timer = undefined;
    } else {
      this.#timer ??= this.#environment.setTimeout(() => {
        this.#disconnect();
      }, GRACE * 1000);
    }
  }

  #disconnect(): void {
    this.#timer = undefined;
    this.#client?.close();
    this.#client = null;
    this.#words = '';
    this.#tried = 0;
    this.#observer.disconnect();
    this.#change();
  }

  #change(): void {
    this.#show();
    this.#updatePanels();
    this.dispatchEvent(new Event('statechange'));
  }

  #updatePanels(): void {
    if (this.state === 'connected') {
      this.#panels.start((names) => this.#asker.reportPanels(this.#token, names));
    } else {
      this.#panels.stop(this.state === 'stopped' || this.state === 'idle' ? 'not connected' : 'connection lost');
    }
  }

  #show(): void {
    const states: Readonly<Record<NotebookState, OutputState>> = {
      idle: 'busy',
      connecting: 'busy',
      connected: 'good',
      waiting: 'busy',
      stopped: 'bad',
    };
    for (const output of this.#outputs) {
      if (!output.show(states[this.state], this.words)) {
        this.#outputs.delete(output);
      }
    }
  }

  #read(): Stored | null {
    try {
      return JSON.parse(readStorage(storageKeyOf(this.server)) ?? 'null') as Stored | null;
    } catch {
      return null; // Somebody else's.
    }
  }

  #write(stored: Stored): void {
    try {
      sessionStorage.setItem(storageKeyOf(this.server), JSON.stringify(stored));
    } catch {
      this.#storesNothing = true;
    }
  }
}
