/**
 * The panels of one server in a notebook's page: how the server and its channels stand, as Python has shown them. Those in
 * sight are brought up to date while the page is connected, and the others say of when their figures are.
 */

import type { Environment } from '../environment.js';

/** The time in seconds between two looks at the figures. */
export const PANEL_INTERVAL = 1;

/** How a panel's dot looks: what it is about works, waits, or has ended. */
export type Mood = 'good' | 'busy' | 'off';

/** What a panel says now. */
export interface PanelReport {
  readonly mood: Mood;
  /** The texts of its parts, by the parts' names. */
  readonly texts: Readonly<Record<string, string>>;
  /** Of when they are, in words. */
  readonly note: string;
}

/** Asks for panels by their names. It gives `null` where there is no answer. */
export type AskPanels = (names: readonly string[]) => Promise<Readonly<Record<string, PanelReport>> | null>;

/** How a panel's dot looks, by its mood. `off` is what Python has made it. */
const COLORS: Readonly<Record<Mood, string>> = {
  good: 'var(--jp-success-color1, #2f8f5b)',
  busy: 'var(--jp-warn-color1, #b7791f)',
  off: 'var(--jp-content-font-color2, inherit)',
};

/** The panels. Nothing is asked while none is in sight, and elements that are gone can be collected. */
export class Panels {
  readonly #server: string;
  readonly #environment: Environment;
  // Browsers keep such a collection: looking at it again costs nothing where the page has not changed.
  readonly #found = document.getElementsByClassName('jchannel-panel') as HTMLCollectionOf<HTMLElement>;
  readonly #seen = new WeakSet<HTMLElement>();
  readonly #visible = new Set<HTMLElement>();
  readonly #notes = new WeakMap<HTMLElement, string>();
  readonly #observer = new IntersectionObserver((entries) => {
    this.#see(entries);
  });
  #ask: AskPanels | null = null;
  #asking = false;
  #timer: unknown;

  /**
   * @param server - The server's public name.
   * @param environment - Has the timer.
   */
  constructor(server: string, environment: Environment) {
    this.#server = server;
    this.#environment = environment;
  }

  /** Brings the panels up to date from now on. Calling it again changes nothing. */
  start(ask: AskPanels): void {
    if (this.#ask === null) {
      this.#ask = ask;
      this.#tick();
    }
  }

  /** Leaves the panels as they are, but for the state that they show. */
  stop(state: string): void {
    this.#ask = null;
    this.#environment.clearTimeout(this.#timer);
    for (const panel of this.#visible) {
      this.#rest(panel);
      write(panel, 'state', state);
    }
  }

  #tick(): void {
    for (const panel of this.#found) {
      if (!this.#seen.has(panel)) {
        this.#seen.add(panel);
        if (nameOf(panel)[0] === this.#server) {
          this.#observer.observe(panel);
        }
      }
    }
    void this.#refresh();
    this.#timer = this.#environment.setTimeout(() => {
      this.#tick();
    }, PANEL_INTERVAL * 1000);
  }

  #see(entries: readonly IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of entries) {
      const panel = target as HTMLElement;
      if (isIntersecting) {
        this.#visible.add(panel);
      } else {
        this.#visible.delete(panel);
        this.#rest(panel);
      }
    }
    void this.#refresh();
  }

  async #refresh(): Promise<void> {
    const ask = this.#ask;
    if (ask === null || this.#asking || this.#visible.size === 0 || document.hidden) {
      return;
    }
    this.#asking = true;
    const reports = await ask([...new Set(Array.from(this.#visible, (panel) => nameOf(panel)[1]))]);
    this.#asking = false;
    if (this.#ask !== null) {
      for (const panel of this.#visible) {
        const report = reports?.[nameOf(panel)[1]];
        if (report === undefined) {
          this.#rest(panel);
        } else {
          this.#show(panel, report);
        }
      }
    }
  }

  #show(panel: HTMLElement, { mood, texts, note }: PanelReport): void {
    this.#notes.set(panel, note);
    for (const [name, text] of Object.entries(texts)) {
      write(panel, name, text);
    }
    write(panel, 'note', 'live');
    color(panel, mood);
  }

  /** Has a panel say of when its figures are. */
  #rest(panel: HTMLElement): void {
    const note = this.#notes.get(panel);
    if (note !== undefined) {
      write(panel, 'note', note);
      color(panel, 'off');
    }
  }
}

/** The public name of a panel's server, and the panel's own. */
function nameOf(panel: HTMLElement): readonly [string, string] {
  const [server = '', name = ''] = (panel.dataset['jchannelPanel'] ?? '').split(' ');
  return [server, name];
}

function findPart(panel: HTMLElement, name: string): HTMLElement | null {
  return panel.querySelector<HTMLElement>(`[data-jchannel-text="${name}"]`);
}

function write(panel: HTMLElement, name: string, text: string): void {
  const part = findPart(panel, name);
  // What has not changed is not written: a selection in it stays.
  if (part !== null && part.textContent !== text) {
    part.textContent = text;
  }
}

function color(panel: HTMLElement, mood: Mood): void {
  const dot = findPart(panel, 'dot');
  if (dot !== null) {
    dot.style.color = COLORS[mood];
  }
}
