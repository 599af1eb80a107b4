/**
 * A notebook page's connection to one server, however many outputs speak of it: made by the first of them, kept as long as
 * one of them is in the page, and taken up again after a reload.
 */

import { connectFrom, type Client, type ClientState } from '../client.js';
import type { Environment } from '../environment.js';
import type { RetryPolicy } from '../retry.js';
import { findBases, isLoopback } from './bases.js';
import { readStorage, storageKeyOf, type OutputConfig } from './config.js';
import { Desk, type Finding } from './desk.js';
import { holdName, type HeldName } from './names.js';
import { Output, type Mood } from './output.js';
import { Panels } from './panels.js';
import { makeProvenSocket } from './proven-socket.js';

/**
 * The time in seconds after which a page whose last output is gone lets go. A cell that runs again clears its output some
 * time before it makes the next.
 */
export const GRACE = 3;

/**
 * On this machine nothing comes back that has refused a connection, but for a server that is started again, which has another
 * name. Each attempt is an error in the browser's console, so they are few, and as many each time: a notebook has one page.
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
const NO_WAY =
  'this page knows no address of the kernel’s machine: give the server the URL under which the page reaches it, as in ' +
  'jchannel.start(url=…).';

/** How a notebook's page stands with a server: `idle` before anything is tried, and after it has let go. */
export type NotebookState = 'idle' | ClientState;

interface Stored {
  readonly token: string;
  readonly base: string;
  readonly client: string;
}

/** The connection. It dispatches a `statechange` event, which has no further fields, after each change. */
export class NotebookConnection extends EventTarget {
  /** The server's public name. */
  readonly server: string;
  readonly #environment: Environment;
  readonly #outputs = new Set<Output>();
  readonly #observer = new MutationObserver(() => {
    this.#look();
  });
  readonly #panels: Panels;
  #config: OutputConfig | undefined;
  #tried = 0;
  #trying = false;
  #client: Client | null = null;
  #base = '';
  #token = '';
  #name: HeldName | undefined;
  #words = '';
  #timer: unknown;

  constructor(server: string, environment: Environment) {
    super();
    this.server = server;
    this.#environment = environment;
    this.#panels = new Panels(server, environment);
  }

  /** The client; `null` when there is none, or none yet. Another one takes its place when the page connects anew. */
  get client(): Client | null {
    return this.#client;
  }

  /** How the page stands with the server. */
  get state(): NotebookState {
    return this.#client?.state ?? (this.#trying ? 'connecting' : this.#words === '' ? 'idle' : 'stopped');
  }

  /** The same in words, for a person. */
  get words(): string {
    switch (this.state) {
      case 'connected':
        return `connected to ${new URL(this.#base).host}.`;
      case 'waiting':
        return 'the connection was lost. Trying again.';
      case 'stopped':
        return this.#words;
      default:
        return 'connecting.';
    }
  }

  /** Takes an output. One that is newer than the last attempt is a reason for another. */
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
    if (config === undefined || this.#trying || config.issued <= this.#tried || (this.#client !== null && this.#client.state !== 'stopped')) {
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
      this.#look();
    });
  }

  /** Connects. Gives why not, or nothing. */
  async #connect(config: OutputConfig): Promise<string> {
    const stored = this.#read();
    const bases = findBases(config, globalThis);
    if (stored !== null) {
      const order = [stored.base, ...bases.filter((base) => base !== stored.base)];
      const [finding, base] = await this.#find(order, (desk) => desk.proveToken(stored.token));
      return finding === 'proven' ? this.#open(base, stored.token, stored.client) : GONE;
    }
    const [finding, base] = await this.#find(bases, (desk) => desk.proveTicket(config.ticket));
    if (finding === 'proven') {
      const token = await new Desk(base, this.server, this.#environment).claim(config.ticket);
      return token === null ? USED : this.#open(base, token, null);
    }
    return finding === 'refused' ? USED : bases.length === 0 ? NO_WAY : GONE;
  }

  /** The first of several bases at which the server, or its refusal, is found. */
  async #find(bases: readonly string[], ask: (desk: Desk) => Promise<Finding>): Promise<[Finding, string]> {
    for (const base of bases) {
      const finding = await ask(new Desk(base, this.server, this.#environment));
      if (finding === 'proven' || finding === 'refused') {
        return [finding, base];
      }
    }
    return ['silent', ''];
  }

  async #open(base: string, token: string, remembered: string | null): Promise<string> {
    this.#name = await holdName(remembered, (navigator as Partial<Navigator>).locks, this.#environment);
    const clientId = this.#name.name;
    this.#write({ token, base, client: clientId });
    const desk = new Desk(base, this.server, this.#environment);
    let finding: Finding = 'proven';
    const prove = async (): Promise<boolean> => {
      finding = await desk.proveToken(token);
      if (finding === 'foreign') {
        client.close();
      }
      return finding === 'proven';
    };
    const environment = Object.assign(Object.create(this.#environment) as Environment, {
      WebSocket: makeProvenSocket(prove, this.#environment.WebSocket),
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
        this.#words = reason === 'taken' ? TAKEN : reason === 'unreachable' || finding === 'foreign' ? GONE : message;
        this.#giveNameBack();
      }
      this.#change();
    });
    this.#base = base;
    this.#token = token;
    this.#client = client;
    return '';
  }

  #giveNameBack(): void {
    this.#name?.release();
    this.#name = undefined;
  }

  /** Sees whether an output is still in the page, or again. */
  #look(): void {
    if ([...this.#outputs].some(({ isPresent }) => isPresent)) {
      this.#environment.clearTimeout(this.#timer);
      this.#timer = undefined;
    } else {
      this.#timer ??= this.#environment.setTimeout(() => {
        this.#letGo();
      }, GRACE * 1000);
    }
  }

  #letGo(): void {
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
    this.#followPanels();
    this.dispatchEvent(new Event('statechange'));
  }

  #followPanels(): void {
    if (this.state === 'connected') {
      const desk = new Desk(this.#base, this.server, this.#environment);
      this.#panels.start((names) => desk.reportPanels(this.#token, names));
    } else {
      this.#panels.stop(this.state === 'stopped' || this.state === 'idle' ? 'not connected' : 'connection lost');
    }
  }

  #show(): void {
    const moods: Readonly<Record<NotebookState, Mood>> = {
      idle: 'busy',
      connecting: 'busy',
      connected: 'good',
      waiting: 'busy',
      stopped: 'bad',
    };
    for (const output of this.#outputs) {
      if (!output.show(moods[this.state], this.words)) {
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
      // A page that may not store anything does not come back by itself after a reload.
    }
  }
}
