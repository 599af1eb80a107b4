/** One output, which shows the state of the connection in one line. */

/** The state that a line shows by the colour of its dot. */
export type OutputState = 'good' | 'busy' | 'bad';

const COLORS: Readonly<Record<OutputState, string>> = {
  good: 'var(--jp-success-color1, #2f8f5b)',
  busy: 'var(--jp-warn-color1, #b7791f)',
  bad: 'var(--jp-error-color1, #c23b3b)',
};

/** One output. Its element can be garbage-collected when the notebook has removed it. */
export class Output {
  readonly #element: WeakRef<HTMLElement>;
  #cell: WeakRef<Element> | undefined;

  constructor(element: HTMLElement) {
    this.#element = new WeakRef(element);
  }

  /** Whether the output is in the page, visible or not. */
  get isPresent(): boolean {
    const element = this.#element.deref();
    if (element?.isConnected === true) {
      this.#cell ??= findCell(element); // JupyterLab puts a widget into its cell after it was rendered.
      return true;
    }
    return element !== undefined && this.#isCollapsed(element);
  }

  /** Show a line, and return whether the element still exists. */
  show(state: OutputState, words: string): boolean {
    const element = this.#element.deref();
    if (element === undefined) {
      return false;
    }
    const dot = document.createElement('span');
    dot.textContent = '● ';
    dot.style.color = COLORS[state];
    dot.ariaHidden = 'true';
    element.replaceChildren(dot, `jchannel: ${words}`);
    element.dataset['state'] = state;
    return true;
  }

  /** Return whether the outputs of the cell are collapsed. JupyterLab removes them from the page then. */
  #isCollapsed(element: HTMLElement): boolean {
    const area = element.closest('.jp-Cell-outputArea');
    return area?.parentNode === null && this.#cell?.deref()?.isConnected === true;
  }
}

function findCell(element: HTMLElement): WeakRef<Element> | undefined {
  const cell = element.closest('.jp-Cell');
  return cell === null ? undefined : new WeakRef(cell);
}
