/** One output: shows in a line how its page stands with the server. */

/** How a line's dot looks. */
export type Mood = 'good' | 'busy' | 'bad';

const COLORS: Readonly<Record<Mood, string>> = {
  good: 'var(--jp-success-color1, #2f8f5b)',
  busy: 'var(--jp-warn-color1, #b7791f)',
  bad: 'var(--jp-error-color1, #c23b3b)',
};

/** One output. It does not keep its element: what the notebook has thrown away can be collected. */
export class Output {
  readonly #element: WeakRef<HTMLElement>;
  readonly #cell: WeakRef<Element> | undefined;

  constructor(element: HTMLElement) {
    this.#element = new WeakRef(element);
    const cell = element.closest('.jp-Cell');
    this.#cell = cell === null ? undefined : new WeakRef(cell);
  }

  /** Whether it is in the page, be it out of sight. */
  get isPresent(): boolean {
    const element = this.#element.deref();
    return element !== undefined && (element.isConnected || this.#isCollapsed(element));
  }

  /** Writes a line. Tells whether there is still something to write into. */
  show(mood: Mood, words: string): boolean {
    const element = this.#element.deref();
    if (element === undefined) {
      return false;
    }
    const dot = document.createElement('span');
    dot.textContent = '● ';
    dot.style.color = COLORS[mood];
    dot.ariaHidden = 'true';
    element.replaceChildren(dot, `jchannel: ${words}`);
    element.dataset['state'] = mood;
    return true;
  }

  /** JupyterLab takes the whole output area of a cell out of the page while its outputs are collapsed. */
  #isCollapsed(element: HTMLElement): boolean {
    const area = element.closest('.jp-Cell-outputArea');
    return area?.parentNode === null && this.#cell?.deref()?.isConnected === true;
  }
}
