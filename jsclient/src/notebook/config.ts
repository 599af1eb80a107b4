/** The configuration of an output of a notebook, and the session storage of its tab. */

import type { Door } from '../protocol/messages.js';

/** What the kernel has written into an output: JSON in the attribute `data-jchannel`. Nothing in it stays secret. */
export interface OutputConfig {
  /** The server's public name. */
  readonly server: string;
  /** The ticket that can be exchanged for the server's token, once and for a short time. */
  readonly ticket: string;
  /** When the ticket was issued, by the kernel's clock, in seconds since 1970. */
  readonly issued: number;
  /** The hash of the script, for the attribute `integrity` of a `<script>`. */
  readonly integrity: string;
  /** Where the server listens: `localhost` for this machine only, empty for all addresses, or one address. */
  readonly host: string;
  readonly port: number;
  /** The URL of the server for the page, if the user has set one. */
  readonly url: string | null;
  /** The only door to try, if the user has said one. */
  readonly door?: Door | null;
  /** What is said when the server is not reached, in a front end that is no Jupyter. */
  readonly gone?: string;
  /** Where the kernel hears a page between cells only: the words that say so, as a part of a sentence. */
  readonly betweenCells?: string;
}

/**
 * The time in seconds after which a ticket has surely expired. It is much longer than the server's own limit, because
 * the clocks of the kernel and the page may differ.
 */
const MAX_TICKET_AGE = 600;

/** Return the key in the session storage for what a page needs to connect to a server again after a reload. */
export function storageKeyOf(server: string): string {
  return `jchannel ${server}`;
}

/** Return a value of the session storage; `null` if there is none or the storage is not allowed. */
export function readStorage(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Return whether an output may still be able to connect this page. */
export function isWorthTrying({ server, issued }: OutputConfig): boolean {
  return Date.now() / 1000 < issued + MAX_TICKET_AGE || readStorage(storageKeyOf(server)) !== null;
}
