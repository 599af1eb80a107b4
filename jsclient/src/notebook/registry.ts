/** What all outputs of a page share, whichever versions of jchannel made them. */

import type { OutputConfig } from './config.js';
import type { NotebookConnection } from './connection.js';

/** The registry of a page. Fields can be added to it, but none can change. */
export interface Registry {
  /** The scripts that have loaded, by their hashes. Each is called with the outputs that ask for it. */
  readonly scripts: Map<string, (element: HTMLElement, config: OutputConfig) => void>;
  /** The scripts that are being loaded, by the names of the servers that they are loaded from. */
  readonly loads: Map<string, Promise<void>>;
  /** The outputs that have been seen. */
  readonly seen: WeakSet<Element>;
  /** The connections to servers, by the servers' public names. */
  readonly servers: Map<string, NotebookConnection>;
}

const KEY = Symbol.for('jchannel');

/** Return the registry of this page. */
export function findRegistry(): Registry {
  const scope = globalThis as unknown as { [KEY]: Registry | undefined };
  return (scope[KEY] ??= { scripts: new Map(), loads: new Map(), seen: new WeakSet(), servers: new Map() });
}
