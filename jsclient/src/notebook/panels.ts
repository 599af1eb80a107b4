/**
 * The panels of one server in the page of a notebook, which show the state of the server or of a channel. Visible
 * panels are updated while the page is connected, and the others say how old their figures are.
 */

import type { Environment } from '../connection/environment.js';

/** The time in seconds between two updates. */
export const PANEL_INTERVAL = 1;

/** The colour of a panel's dot: its subject works, waits, or has ended. */
export type Mood = 'good' | 'busy' | 'off';

/** The current contents of a panel. */
export interface PanelReport {
  readonly mood: Mood;
  /** The texts of the panel's parts, by the parts' names. */
  readonly texts: Readonly<Record<string, string>>;
  /** The time of the texts, in words. */
  readonly note: string;
}

/** Asks for the reports of panels, by their names. It returns `null` if there is no answer. */
export type AskPanels = (names: readonly string[]) => Promise<Readonly<Record<string, PanelReport>> | null>;

/** The colours of a panel's dot. `off` is the one that Python has set. */
const COLORS: Readonly<Record<Mood, string>> = {
  good: 'var(--jp-success-color1, #2f8f5b)',
  busy: 'var(--jp-warn-color1, #b7791f)',
  off: 'var(--jp-content-font-color2, inherit)',
};

/** The panels. The server is not asked while none is visible. Removed elements can be garbage-collected. */
export class Panels {
  readonly #server: string;
  readonly #environment: Environment;
  // This is a live collection, which browsers cache: iterating over it is cheap if the page has not changed.
  readonly #found = document.getElementsByClassName('jchannel-panel') as HTMLCollectionOf<HTMLElement>;
  readonly #seen = new WeakSet<HTMLElement>();
  readonly #visible = new Set<HTMLElement>();
  readonly #notes = new WeakMap<HTMLElement, string>();
  readonly #observer = new IntersectionObserver((entries) => {
    this.#handleEntries(entries);
  });
  #ask: AskPanels | null = null;
  #asking = false;
  #timer: unknown;

  /**
   * @param server - The server's public name.
   * @param environment - It is needed for timers.
   */
  constructor(server: string, environment: Environment) {
    this.#server = server;
    this.#environment = environment;
  }

  /** Start to update the panels. Calling it again has no effect. */
  start(ask: AskPanels): void {
    if (this.#ask === null) {
      this.#ask = ask;
      this.#tick();
    }
  }

  /** Stop updating the panels, and show a last state in them. */
  stop(state: string): void {
    this.#ask = null;
    this.#environment.clearTimeout(this.#timer);
    for (const panel of this.#visible) {
      this.#showAge(panel);
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

  #handleEntries(entries: readonly IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of entries) {
      const panel = target as HTMLElement;
      if (isIntersecting) {
        this.#visible.add(panel);
      } else {
        this.#visible.delete(panel);
        this.#showAge(panel);
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
          this.#showAge(panel);
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

  /** Show in a panel how old its figures are. */
  #showAge(panel: HTMLElement): void {
    const note = this.#notes.get(panel);
    if (note !== undefined) {
      write(panel, 'note', note);
      color(panel, 'off');
    }
  }
}

/** Return the public name of a panel's server, and the panel's own name. */
function nameOf(panel: HTMLElement): readonly [string, string] {
  const [server = '', name = ''] = (panel.dataset['jchannelPanel'] ?? '').split(' ');
  return [server, name];
}

function findPart(panel: HTMLElement, name: string): HTMLElement | null {
  return panel.querySelector<HTMLElement>(`[data-jchannel-text="${name}"]`);
}

function write(panel: HTMLElement, name: string, text: string): void {
  const part = findPart(panel, name);
  // Writing an unchanged text would clear a selection in it.
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
