/** Fakes of a notebook's page: its document, its outputs, its storage, and the server's desk. */

import { createHmac } from 'node:crypto';
import { vi } from 'vitest';
import type { OutputConfig } from '../../src/notebook/config.js';
import { FakeServer, type FakeEnvironment, type FakeExchange } from '../fakes.js';

export const TOKEN = 'the-token';
export const TICKET = '1.the-ticket';

/** The parts of an element that outputs use. */
export class FakeElement {
  isConnected = true;
  parentNode: object | null = {};
  readonly dataset: Record<string, string> = {};
  readonly style = { color: '', cssText: '' };
  ariaHidden = '';
  ancestors: Record<string, FakeElement> = {};
  children: unknown[] = [];
  #text = '';

  get textContent(): string {
    return this.#text + this.children.map((child) => (typeof child === 'string' ? child : text(child))).join('');
  }

  set textContent(value: string) {
    this.#text = value;
    this.children = [];
  }

  closest(selector: string): FakeElement | null {
    return this.ancestors[selector] ?? null;
  }

  replaceChildren(...children: unknown[]): void {
    this.#text = '';
    this.children = children;
    for (const child of children) {
      if (child instanceof FakeElement) {
        child.parentNode = this;
      }
    }
  }
}

function text(element: unknown): string {
  return (element as FakeElement).textContent;
}

/** A script that the loader has put into the page. */
export class FakeScript extends FakeElement {
  src = '';
  integrity = '';
  crossOrigin = '';
  onload: () => void = () => undefined;
  onerror: () => void = () => undefined;
  isRemoved = false;

  remove(): void {
    this.isRemoved = true;
  }
}

/** A page of a notebook. Its constructor replaces the globals with its parts. */
export class FakePage {
  readonly outputs: FakeElement[] = [];
  readonly scripts: FakeScript[] = [];
  readonly stored = new Map<string, string>();
  readonly locks = new FakeLocks();
  observers: FakeObserver[] = [];
  readonly panels: FakePanel[] = [];
  /** The outputs that are places for elements. */
  readonly places: FakeElement[] = [];
  sight: FakeSight | undefined;
  document: { hidden: boolean };
  mayStore = true;
  /** The permission to reach this machine. */
  permission: PermissionState = 'granted';
  readonly policy = new EventTarget();
  /** JupyterLab's configuration, as the text of its element. */
  labConfig: string | null = JSON.stringify({ baseUrl: '/user/me/' });
  readonly body = { dataset: {} as Record<string, string> };
  currentScript = new FakeScript();

  constructor(url = 'http://localhost:8888/lab') {
    const { protocol, hostname, origin, href, pathname } = new URL(url);
    const observers = this.observers;
    vi.stubGlobal('location', { protocol, hostname, origin, href, pathname });
    vi.stubGlobal('isSecureContext', protocol === 'https:' || hostname === 'localhost');
    this.document = this.#makeDocument();
    vi.stubGlobal('document', this.document);
    const query = (): Promise<unknown> => Promise.resolve({ state: this.permission });
    vi.stubGlobal('navigator', { locks: this.locks, permissions: { query } });
    vi.stubGlobal(
      'MutationObserver',
      class extends FakeObserver {
        constructor(callback: () => void) {
          super(callback);
          observers.push(this);
        }
      },
    );
    const setSight = (sight: FakeSight): void => {
      this.sight = sight;
    };
    vi.stubGlobal(
      'IntersectionObserver',
      class extends FakeSight {
        constructor(callback: SightCallback) {
          super(callback);
          setSight(this);
        }
      },
    );
    vi.stubGlobal('sessionStorage', {
      getItem: (key: string) => {
        this.#checkStorage();
        return this.stored.get(key) ?? null;
      },
      setItem: (key: string, value: string) => {
        this.#checkStorage();
        this.stored.set(key, value);
      },
    });
    Reflect.deleteProperty(globalThis, Symbol.for('jchannel'));
  }

  /** Add an output to the page. */
  addOutput(config: Partial<OutputConfig> = {}): FakeElement {
    const element = new FakeElement();
    element.dataset['jchannel'] = JSON.stringify(makeConfig(config));
    this.outputs.push(element);
    return element;
  }

  /** Add an output that is a place for the element of a channel. */
  addPlace(name?: string, order?: number): FakeElement {
    const place = new FakeElement();
    if (name !== undefined) {
      place.dataset['jchannelElement'] = name;
    }
    if (order !== undefined) {
      place.dataset['jchannelOrder'] = String(order);
    }
    this.places.push(place);
    return place;
  }

  /** Notify the observers that the page has changed. */
  change(): void {
    for (const observer of this.observers) {
      observer.notify();
    }
  }

  /** Report that the page's policy has blocked something. */
  block(blockedURI: string, disposition = 'enforce'): void {
    const details = { blockedURI, disposition, effectiveDirective: 'connect-src' };
    this.policy.dispatchEvent(Object.assign(new Event('securitypolicyviolation'), details));
  }

  #checkStorage(): void {
    if (!this.mayStore) {
      throw new DOMException('not allowed', 'SecurityError');
    }
  }

  #makeDocument(): { hidden: boolean } {
    const currentScript = this.currentScript;
    const document = {
      body: this.body,
      hidden: false,
      getElementsByClassName: (name: string) => (name === 'jchannel-element' ? this.places : this.panels),
      currentScript,
      head: { append: (script: FakeScript) => this.scripts.push(script) },
      addEventListener: this.policy.addEventListener.bind(this.policy),
      removeEventListener: this.policy.removeEventListener.bind(this.policy),
      getElementById: (id: string) =>
        id === 'jupyter-config-data' && this.labConfig !== null ? { textContent: this.labConfig } : null,
      querySelectorAll: () => this.outputs,
      createElement: (name: string) => 
        name === 'script' ? new FakeScript() : Object.assign(new FakeElement(), { parentNode: null }),
    };
    return document;
  }
}

/** An observer of the page's changes. */
export class FakeObserver {
  #isObserving = false;
  readonly #callback: () => void;

  constructor(callback: () => void) {
    this.#callback = callback;
  }

  observe(): void {
    this.#isObserving = true;
  }

  disconnect(): void {
    this.#isObserving = false;
  }

  notify(): void {
    if (this.#isObserving) {
      this.#callback();
    }
  }
}

type SightCallback = (entries: { target: FakePanel; isIntersecting: boolean }[]) => void;

/** An observer of what is visible. */
export class FakeSight {
  readonly observed: FakePanel[] = [];
  readonly #callback: SightCallback;

  constructor(callback: SightCallback) {
    this.#callback = callback;
  }

  observe(panel: FakePanel): void {
    this.observed.push(panel);
  }

  /** Report that a panel has become visible or invisible. */
  see(target: FakePanel, isIntersecting = true): void {
    this.#callback([{ target, isIntersecting }]);
  }
}

/** A panel, as Python shows it. */
export class FakePanel extends FakeElement {
  readonly parts = new Map(['dot', 'state', 'note', 'calls'].map((name) => [name, new FakeElement()]));

  constructor(name?: string) {
    super();
    if (name !== undefined) {
      this.dataset['jchannelPanel'] = name;
    }
    this.part('state').textContent = 'open';
    this.part('note').textContent = 'as of noon';
    this.part('calls').textContent = '1';
  }

  querySelector(selector: string): FakeElement | null {
    return this.parts.get(/"(.*)"/u.exec(selector)?.[1] ?? '') ?? null;
  }

  part(name: string): FakeElement {
    return this.parts.get(name) ?? new FakeElement();
  }

  /** The visible text: the state, the figure, and its age. */
  get says(): string {
    return ['state', 'calls', 'note'].map((name) => this.part(name).textContent).join(', ');
  }
}

/** A browser's locks. */
export class FakeLocks {
  readonly held = new Set<string>();

  async request(name: string, { signal }: { signal: AbortSignal }, work: () => Promise<void>): Promise<void> {
    if (this.held.has(name)) {
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(new DOMException('aborted', 'AbortError'));
        });
      });
    }
    this.held.add(name);
    await work();
    this.held.delete(name);
  }
}

export function makeConfig(config: Partial<OutputConfig> = {}): OutputConfig {
  return {
    server: 'server',
    ticket: TICKET,
    issued: Date.now() / 1000,
    integrity: 'sha256-x',
    host: 'localhost',
    port: 8889,
    url: null,
    ...config,
  };
}

/** The server's desk, and its sockets. */
export class FakeDesk {
  readonly environment: FakeEnvironment;
  /** The secrets that the desk can prove to know. */
  token = TOKEN;
  tickets = new Set([TICKET]);
  /** The channels for which a place was asked for. */
  readonly places: string[] = [];
  /** The base URLs at which it is reached. */
  bases = ['http://localhost:8889'];
  #answered = 0;

  constructor(environment: FakeEnvironment) {
    this.environment = environment;
  }

  /** Answer requests until there are no more. */
  async settle(): Promise<void> {
    await vi.advanceTimersByTimeAsync(0);
    for (const exchange of this.environment.exchanges.slice(this.#answered)) {
      this.#answered++;
      this.answer(exchange);
      await vi.advanceTimersByTimeAsync(0);
    }
    if (this.#answered < this.environment.exchanges.length) {
      await this.settle();
    }
  }

  /** Answer all requests, and make the connection. */
  async welcome(): Promise<FakeServer> {
    await this.settle();
    const server = new FakeServer(this.environment.socket);
    server.welcome();
    return server;
  }

  answer(exchange: FakeExchange): void {
    const url = new URL(exchange.url);
    if (!this.bases.some((base) => exchange.url.startsWith(`${base}/jchannel/notebook/server/`))) {
      exchange.fail(new TypeError('Failed to fetch'));
    } else if (url.pathname.endsWith('/proof')) {
      const name = url.searchParams.get('ticket');
      const ticket = [...this.tickets].find((other) => other.startsWith(`${String(name)}.`));
      const key = name === null ? this.token : ticket;
      const nonce = url.searchParams.get('nonce') ?? '';
      const proof = (known: string): string => createHmac('sha256', known).update(`jchannel server ${nonce}`).digest('hex');
      exchange.answer(200, JSON.stringify(key === undefined ? { refused: 'ticket' } : { proof: proof(key) }));
    } else if (url.pathname.endsWith('/panels')) {
      const [key, ...names] = (exchange.body as unknown as string).split(' ');
      const known = createHmac('sha256', this.token).update('jchannel panels server').digest('hex');
      const panels = Object.fromEntries(names.map((name) => [name, { mood: 'good', texts: { calls: '2' }, note: 'as of one' }]));
      exchange.answer(200, JSON.stringify(key === known ? { panels } : { refused: 'key' }));
    } else if (url.pathname.endsWith('/element')) {
      const [key, channel = ''] = (exchange.body as unknown as string).split(' ');
      const known = createHmac('sha256', this.token).update('jchannel panels server').digest('hex');
      this.places.push(key === known ? channel : 'refused');
      exchange.answer(200, '{"shown": true}');
    } else {
      const ticket = exchange.body as unknown as string;
      exchange.answer(200, JSON.stringify(this.tickets.delete(ticket) ? { token: this.token } : { refused: 'ticket' }));
    }
  }
}
