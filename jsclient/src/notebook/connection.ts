/**
 * The connection of a notebook's page to one server, for any number of outputs. The first output makes it, it is kept
 * as long as an output is in the page, and it is made again after a reload.
 */

import { connectFrom, type Client, type ClientState } from '../connection/client.js';
import type { Environment } from '../connection/environment.js';
import type { RetryPolicy } from '../connection/retry.js';
import { findBases, isLoopback } from './bases.js';
import { readStorage, storageKeyOf, type OutputConfig } from './config.js';
import { Desk, type ProofResult } from './desk.js';
import { Elements } from './elements.js';
import { holdName, type HeldName } from './names.js';
import { explainSilence } from './obstacles.js';
import { Output, type OutputState } from './output.js';
import { Panels } from './panels.js';
import { makeProvenSocket } from './proven-socket.js';

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
  readonly token: string;
  readonly base: string;
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
  #base = '';
  #token = '';
  #name: HeldName | undefined;
  #words = '';
  #storesNothing = false;
  #timer: unknown;

  constructor(server: string, environment: Environment) {
    super();
    this.server = server;
    this.#environment = environment;
    this.#panels = new Panels(server, environment);
    this.#elements = new Elements(server, (channel) => {
      void new Desk(this.#base, server, environment).requestPlace(this.#token, channel);
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
        return `connected to ${new URL(this.#base).host}.${this.#storesNothing ? STORES_NOTHING : ''}`;
      case 'waiting':
        return 'the connection was lost. Trying again.';
      case 'stopped':
        return this.#words;
      default:
        return 'connecting.';
    }
  }

  /** Add an output. If it is newer than the last attempt to connect, there is another attempt. */
  add(element: HTMLElement, config: OutputConfig): void {
    this.#outputs.add(new Output(element));
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
    const bases = findBases(config, globalThis);
    try {
      const words = await this.#connectTo(bases, config);
      const isSilent = words === GONE || words === MUTE;
      return isSilent ? ((await explainSilence(bases, blocked, 'connect-src')) ?? words) : words;
    } finally {
      stop();
    }
  }

  async #connectTo(bases: readonly string[], config: OutputConfig): Promise<string> {
    const stored = this.#read();
    if (stored !== null) {
      const order = [stored.base, ...bases.filter((base) => base !== stored.base)];
      const [result, base] = await this.#find(order, (desk) => desk.proveToken(stored.token));
      return result === 'proven' ? this.#open(base, stored.token, stored.client) : result === 'mute' ? MUTE : GONE;
    }
    const [result, base] = await this.#find(bases, (desk) => desk.proveTicket(config.ticket));
    if (result === 'proven') {
      const token = await new Desk(base, this.server, this.#environment).claim(config.ticket);
      return token === null ? USED : this.#open(base, token, null);
    }
    return result === 'refused' ? USED : result === 'mute' ? MUTE : bases.length === 0 ? NO_ADDRESS : GONE;
  }

  /** Return the first of several base URLs at which the server is, or a server that refuses the ticket. */
  async #find(bases: readonly string[], ask: (desk: Desk) => Promise<ProofResult>): Promise<[ProofResult, string]> {
    let failure: ProofResult = 'silent';
    for (const base of bases) {
      const result = await ask(new Desk(base, this.server, this.#environment));
      if (result === 'proven' || result === 'refused') {
        return [result, base];
      }
      failure = result === 'mute' ? result : failure;
    }
    return [failure, ''];
  }

  async #open(base: string, token: string, storedId: string | null): Promise<string> {
    this.#name = await holdName(storedId, (navigator as Partial<Navigator>).locks, this.#environment);
    const clientId = this.#name.name;
    this.#write({ token, base, client: clientId });
    const desk = new Desk(base, this.server, this.#environment);
    let result: ProofResult = 'proven';
    const prove = async (): Promise<boolean> => {
      result = await desk.proveToken(token);
      if (result === 'foreign') {
        client.close();
      }
      return result === 'proven';
    };
    const environment = Object.assign(Object.create(this.#environment) as Environment, {
      WebSocket: makeProvenSocket(prove, this.#environment.WebSocket),
      makeElement: (channel: number) => this.#elements.make(channel),
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
    client.addEventListener('statechange', () => {
      if (client.stopReason !== null) {
        const { reason, message } = client.stopReason;
        this.#words = result === 'foreign' ? GONE : isBlocked ? message : (WORDS.get(reason) ?? message);
        stopBlocked();
        this.#releaseName();
      }
      this.#change();
    });
    this.#base = base;
    this.#token = token;
    this.#client = client;
    return '';
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
      const desk = new Desk(this.#base, this.server, this.#environment);
      this.#panels.start((names) => desk.reportPanels(this.#token, names));
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
    const stored = readStorage(storageKeyOf(this.server));
    return stored === null ? null : (JSON.parse(stored) as Stored);
  }

  #write(stored: Stored): void {
    try {
      sessionStorage.setItem(storageKeyOf(this.server), JSON.stringify(stored));
    } catch {
      this.#storesNothing = true;
    }
  }
}
