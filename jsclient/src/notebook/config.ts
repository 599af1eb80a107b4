/** What an output of a notebook says about the server that it is to connect its page to, and what its page shares. */

import type { NotebookConnection } from './connection.js';

/** What the kernel has written into an output, as JSON in its attribute `data-jchannel`. Nothing in it stays secret. */
export interface OutputConfig {
  /** The server's public name. */
  readonly server: string;
  /** What may be changed into the server's token, once and soon. */
  readonly ticket: string;
  /** When the ticket was issued, by the kernel's clock, in seconds since 1970. */
  readonly issued: number;
  /** The hash of the script, as `<script integrity>` has it. */
  readonly integrity: string;
  /** Where the server listens: `localhost` for this machine alone, empty for every address, or one address. */
  readonly host: string;
  readonly port: number;
  /** The URL under which the page reaches the server, where the user has given one. */
  readonly url: string | null;
}

/** What all outputs of a page share, whichever versions of jchannel made them. It can grow and not change. */
export interface Registry {
  /** The scripts that have loaded, by their hashes: each takes outputs. */
  readonly scripts: Map<string, (element: HTMLElement, config: OutputConfig) => void>;
  /** The scripts that are being loaded, by the names of the servers that they are loaded from. */
  readonly loads: Map<string, Promise<void>>;
  /** The outputs that have been seen. */
  readonly seen: WeakSet<Element>;
  /** The servers that this page knows, by their public names. */
  readonly servers: Map<string, NotebookConnection>;
}

/**
 * The time in seconds after which nobody need ask any more whether a ticket is good. It is far more than the server's own,
 * for the kernel's clock and the page's may differ.
 */
const TICKET_MAY_LAST = 600;

const KEY = Symbol.for('jchannel');

/** The registry of this page. */
export function findRegistry(): Registry {
  const scope = globalThis as unknown as { [KEY]: Registry | undefined };
  return (scope[KEY] ??= { scripts: new Map(), loads: new Map(), seen: new WeakSet(), servers: new Map() });
}

/** Under which key a tab's session storage has what a page needs to come back to a server. */
export function storageKeyOf(server: string): string {
  return `jchannel ${server}`;
}

/** What a tab has stored; `null` where it has nothing, or may not store. */
export function readStorage(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Whether an output can still be of use to this page. */
export function isWorthTrying({ server, issued }: OutputConfig): boolean {
  return Date.now() / 1000 < issued + TICKET_MAY_LAST || readStorage(storageKeyOf(server)) !== null;
}
