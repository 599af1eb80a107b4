/**
 * The server's desk for notebooks: proves that it is the server, and changes a ticket into the token.
 *
 * The server may have ended, and another program, of another user, may listen where it did. So nothing secret is sent and no
 * code is taken before the other side has proved that it knows the token, or the ticket.
 */

import type { Environment } from '../environment.js';
import type { PanelReport } from './panels.js';
import { hmac } from './sha256.js';

/** The time in seconds that a server is given to answer. */
export const DESK_TIMEOUT = 5;

/**
 * What came of asking.
 *
 * - `proven`: it is the server;
 * - `refused`: the ticket is used, or too old;
 * - `foreign`: something else listens there, or the server is another one;
 * - `silent`: nobody has answered.
 */
export type Finding = 'proven' | 'refused' | 'foreign' | 'silent';

/** The desk of one server under one base URL. */
export class Desk {
  readonly #url: string;
  readonly #server: string;
  readonly #environment: Environment;

  constructor(base: string, server: string, environment: Environment) {
    this.#url = `${base}/jchannel/notebook/${server}`;
    this.#server = server;
    this.#environment = environment;
  }

  /** Asks for a proof by the token. */
  proveToken(token: string): Promise<Finding> {
    return this.#prove(token, '');
  }

  /** Asks for a proof by a ticket. Its part before the dot is its name. */
  proveTicket(ticket: string): Promise<Finding> {
    return this.#prove(ticket, `&ticket=${ticket.slice(0, ticket.indexOf('.'))}`);
  }

  /** Changes a ticket into the token; `null` where that is not possible any more. */
  async claim(ticket: string): Promise<string | null> {
    const answer = await this.#ask('claim', { method: 'POST', body: ticket });
    return typeof answer?.['token'] === 'string' ? answer['token'] : null;
  }

  /** Asks what panels say now, by a key that is worth nothing else. `null` where there is no answer, or a refusal. */
  async reportPanels(token: string, names: readonly string[]): Promise<Readonly<Record<string, PanelReport>> | null> {
    const key = hmac(token, `jchannel panels ${this.#server}`);
    const answer = await this.#ask('panels', { method: 'POST', body: [key, ...names].join(' ') });
    return (answer?.['panels'] as Readonly<Record<string, PanelReport>> | undefined) ?? null;
  }

  async #prove(key: string, query: string): Promise<Finding> {
    const nonce = this.#environment.newName();
    const answer = await this.#ask(`proof?nonce=${nonce}${query}`, {});
    if (answer === null) {
      return 'silent';
    }
    if (answer['refused'] !== undefined) {
      return 'refused';
    }
    return answer['proof'] === hmac(key, `jchannel ${this.#server} ${nonce}`) ? 'proven' : 'foreign';
  }

  /** The answer to a request; an empty one where it is not the desk's, and `null` where there is none. */
  async #ask(path: string, options: RequestInit): Promise<Record<string, unknown> | null> {
    const abort = new AbortController();
    const timer = this.#environment.setTimeout(() => {
      abort.abort();
    }, DESK_TIMEOUT * 1000);
    try {
      const response = await this.#environment.fetch(`${this.#url}/${path}`, { ...options, signal: abort.signal });
      if (response.status >= 500) {
        return null; // A proxy's word for a port at which nobody listens.
      }
      const answer: unknown = response.ok ? await response.json().catch(() => null) : null;
      return typeof answer === 'object' && answer !== null ? { ...answer } : {};
    } catch {
      return null;
    } finally {
      this.#environment.clearTimeout(timer);
    }
  }
}
