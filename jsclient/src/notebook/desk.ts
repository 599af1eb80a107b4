/**
 * The server's desk for notebooks, which proves that it is the server, and exchanges a ticket for the token.
 *
 * The server may have ended, and a program of another user may listen at its address. So nothing secret is sent, and no
 * code is accepted, before the other side has proved that it knows the token or the ticket.
 */

import type { Environment } from '../connection/environment.js';
import type { Asker } from './comm.js';
import type { PanelReport } from './panels.js';
import { hmac } from './sha256.js';

/** The time in seconds within which the server must answer. */
export const DESK_TIMEOUT = 5;

/**
 * The result of asking for a proof.
 *
 * - `proven`: it is the server;
 * - `refused`: the ticket was used or has expired;
 * - `foreign`: it is another server or another program;
 * - `silent`: there was no answer;
 * - `mute`: there was none in time, though nothing has refused the request.
 */
export type ProofResult = 'proven' | 'refused' | 'foreign' | 'silent' | 'mute';

/** The desk of one server at one base URL. */
export class Desk implements Asker {
  readonly #url: string;
  readonly #server: string;
  readonly #environment: Environment;
  #isMute = false;

  constructor(base: string, server: string, environment: Environment) {
    this.#url = `${base}/jchannel/notebook/${server}`;
    this.#server = server;
    this.#environment = environment;
  }

  /** Ask the server to prove that it knows the token. */
  proveToken(token: string): Promise<ProofResult> {
    return this.#prove(token, '');
  }

  /** Ask the server to prove that it knows a ticket. The ticket's part before the dot is its name. */
  proveTicket(ticket: string): Promise<ProofResult> {
    return this.#prove(ticket, `&ticket=${ticket.slice(0, ticket.indexOf('.'))}`);
  }

  /** Exchange a ticket for the token; `null` if that is not possible any more. */
  async claim(ticket: string): Promise<string | null> {
    const answer = await this.#ask('claim', { method: 'POST', body: ticket });
    return typeof answer?.['token'] === 'string' ? answer['token'] : null;
  }

  /**
   * Ask for reports of panels, with a key that is good for nothing else.
   *
   * @returns The reports; `null` if there is no answer or the server refuses.
   */
  async reportPanels(token: string, names: readonly string[]): Promise<Readonly<Record<string, PanelReport>> | null> {
    const answer = await this.#ask('panels', { method: 'POST', body: [this.#deriveKey(token), ...names].join(' ') });
    return (answer?.['panels'] as Readonly<Record<string, PanelReport>> | undefined) ?? null;
  }

  /** Ask for an output that is a place for the element of a channel. It comes later, or never. */
  async requestPlace(token: string, channel: number): Promise<void> {
    await this.#ask('element', { method: 'POST', body: `${this.#deriveKey(token)} ${String(channel)}` });
  }

  #deriveKey(token: string): string {
    return hmac(token, `jchannel panels ${this.#server}`);
  }

  async #prove(key: string, query: string): Promise<ProofResult> {
    const nonce = this.#environment.newName();
    const answer = await this.#ask(`proof?nonce=${nonce}${query}`, {});
    if (answer === null) {
      return this.#isMute ? 'mute' : 'silent';
    }
    if (answer['refused'] !== undefined) {
      return 'refused';
    }
    return answer['proof'] === hmac(key, `jchannel ${this.#server} ${nonce}`) ? 'proven' : 'foreign';
  }

  /** Return the answer to a request; an empty object if it is not the desk's, and `null` if there is none. */
  async #ask(path: string, options: RequestInit): Promise<Record<string, unknown> | null> {
    this.#isMute = false;
    const abort = new AbortController();
    const timer = this.#environment.setTimeout(() => {
      this.#isMute = true;
      abort.abort();
    }, DESK_TIMEOUT * 1000);
    try {
      const response = await this.#environment.fetch(`${this.#url}/${path}`, { ...options, signal: abort.signal });
      if (response.status >= 500) {
        return null; // A proxy answers so if nothing listens on the port.
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
