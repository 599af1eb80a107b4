/**
 * Why a page cannot connect to a server: the cause, told from what the page has observed.
 *
 * The causes have the names that `jchannel/_doctor/findings.py` has for them.
 */

import { findObstacle, type Engine } from '../notebook/obstacles.js';

/** Why a page cannot connect; or `no-page`, where nothing prevents it. */
export type Cause =
  | 'policy'
  | 'mixed-content'
  | 'local-network'
  | 'refused-port'
  | 'proxy'
  | 'foreign'
  | 'token'
  | 'origin'
  | 'taken'
  | 'no-page';

/** What a page has observed of a server. */
export interface Observations {
  /** The page's own URL. */
  readonly page: string;
  /** The server's base URL. */
  readonly base: string;
  /** Whether the page's policy has blocked a connection to the server. */
  readonly isBlocked: boolean;
  /** The permission to reach this machine; `null` where the browser knows no such permission. */
  readonly permission: PermissionState | null;
  /** The browser's engine. */
  readonly engine: Engine;
  /** What the server has answered to a request for its status: the HTTP status and the body; `null` for no answer. */
  readonly answer: { readonly status: number; readonly body: unknown } | null;
  /** What the server has said on a WebSocket when it closed it; `null` where there was no WebSocket. */
  readonly goodbye: { readonly reason: string; readonly message: string } | null;
}

/** The cause, and what it is in words, with what to do. */
export interface Diagnosis {
  readonly cause: Cause;
  readonly text: string;
}

/** Return why the page cannot connect, by what it has observed. */
export function diagnose(observations: Observations): Diagnosis {
  const { base, isBlocked, answer } = observations;
  if (answer === null || isBlocked) {
    return explainSilence(observations);
  }
  if (answer.status >= 500) {
    const text = `The proxy at ${base} answers with the status ${String(answer.status)}: it does not reach the server.`;
    return { cause: 'proxy', text };
  }
  return explainAnswer(observations, readStatus(answer.body));
}

function explainSilence({ page, base, isBlocked, permission, engine }: Observations): Diagnosis {
  const text = `Nothing answers at ${base}: the program or the kernel that had the server has ended, or this is another port.`;
  const blocking = isBlocked ? 'connect-src' : '';
  return (
    findObstacle({ page, isSecure: !page.startsWith('http:'), base, blocking, permission, engine }) ?? {
      cause: 'refused-port',
      text: `${text} Start it again, and open the address that it gives.`,
    }
  );
}

function explainAnswer({ base, goodbye }: Observations, status: Record<string, unknown>): Diagnosis {
  const kind = status['jchannel'];
  if (kind !== 'status' && kind !== 'refused') {
    return { cause: 'foreign', text: `What answers at ${base} is no jchannel server, or one of another version.` };
  }
  if (goodbye === null) {
    const text = `HTTP comes through to ${base}, and a WebSocket does not: let the proxy pass on its upgrade.`;
    return { cause: 'proxy', text };
  }
  if (goodbye.reason === 'token' || goodbye.reason === 'origin') {
    return { cause: goodbye.reason, text: `The server says: ${goodbye.message}.` };
  }
  const seconds = status['page_seconds'];
  if (typeof seconds === 'number') {
    const text = `Another page is connected to ${base}, for ${seconds.toFixed(0)} s. Close it, or move to the newest page`;
    return { cause: 'taken', text: `${text} with server.move_to_newest_page().` };
  }
  return { cause: 'no-page', text: `This page can connect to ${base}, and no page is connected.` };
}

function readStatus(body: unknown): Record<string, unknown> {
  return typeof body === 'object' && body !== null ? { ...body } : {};
}
