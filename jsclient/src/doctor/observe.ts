/** Observing a server from a page, without becoming its page. */

import type { Environment } from '../connection/environment.js';
import { isRefusal } from '../connection/content-policy.js';
import { findEngine, findPermission } from '../notebook/obstacles.js';
import { hmac } from '../notebook/sha256.js';
import type { Observations } from './diagnosis.js';

/** The time in seconds that the server has for each answer. */
export const TIMEOUT = 5;

/** A subprotocol that no server speaks: it says why it refuses it, and looks at the token and the origin before. */
const SUBPROTOCOL = 'jchannel.doctor';

/** The part of a page that is needed. */
export interface ObservedPage {
  readonly location: Pick<Location, 'href'>;
  readonly navigator: {
    readonly permissions?: { query(descriptor: { name: string }): Promise<PermissionStatus> };
    readonly userAgent?: string;
  };
}

/**
 * Observe a server.
 *
 * @param url - The URL of its page, with the token behind the `#`.
 */
export async function observe(url: string, page: ObservedPage, environment: Environment): Promise<Observations> {
  const { base, token } = splitUrl(url);
  let isBlocked = false;
  let reportBlocked!: (nothing: null) => void;
  const blocked = new Promise<null>((resolve) => {
    reportBlocked = resolve;
  });
  const block = (): void => {
    isBlocked = true;
    reportBlocked(null);
  };
  const stop = environment.onBlocked((other) => {
    if (other.replace(/^ws/u, 'http').startsWith(base)) {
      block();
    }
  });
  try {
    const answer = await askStatus(base, token, environment);
    const goodbye = await Promise.race([blocked, openSocket(base, token, block, environment)]);
    const permission = await findPermission(page.navigator);
    const engine = findEngine(page.navigator);
    return { page: page.location.href, base, isBlocked, permission, engine, answer, goodbye };
  } finally {
    stop();
  }
}

function splitUrl(url: string): { readonly base: string; readonly token: string } {
  const { origin, pathname, hash } = new URL(url);
  const token = new URLSearchParams(hash.slice(1)).get('jchannel') ?? '';
  return { base: origin + pathname.replace(/\/+$/u, ''), token };
}

async function askStatus(base: string, token: string, environment: Environment): Promise<Observations['answer']> {
  const abort = new AbortController();
  const timer = environment.setTimeout(() => {
    abort.abort();
  }, TIMEOUT * 1000);
  try {
    const options = { method: 'POST', body: hmac(token, 'jchannel status'), signal: abort.signal };
    const response = await environment.fetch(`${base}/jchannel/status`, options);
    const body: unknown = await response.json().catch(() => null);
    return { status: response.status, body };
  } catch {
    return null;
  } finally {
    environment.clearTimeout(timer);
  }
}

/** Open a WebSocket, and return what the server says when it refuses it; `null` where there is no WebSocket. */
async function openSocket(
  base: string,
  token: string,
  block: () => void,
  environment: Environment,
): Promise<Observations['goodbye']> {
  const url = `${base.replace(/^http/u, 'ws')}/socket`;
  let timer: unknown;
  let close = (): void => undefined;
  const goodbye = new Promise<Observations['goodbye']>((resolve) => {
    timer = environment.setTimeout(() => {
      resolve(null);
    }, TIMEOUT * 1000);
    try {
      const protocols = [SUBPROTOCOL, `jchannel.token.${token}`];
      const socket = environment.openSocket(url, protocols);
      close = () => {
        socket.close();
      };
      socket.addEventListener('message', ({ data }) => {
        resolve(readGoodbye(data));
      });
      socket.addEventListener('error', () => undefined);
      socket.addEventListener('close', () => {
        resolve(null);
      });
    } catch (error) {
      // Browsers do not even try where the page may not connect to the URL.
      if (isRefusal(error, url)) {
        block();
      }
      resolve(null);
    }
  });
  try {
    return await goodbye;
  } finally {
    environment.clearTimeout(timer);
    close();
  }
}

function readGoodbye(data: unknown): Observations['goodbye'] {
  try {
    const [message] = JSON.parse(data as string) as { reason?: unknown; message?: unknown }[];
    return { reason: String(message?.reason), message: String(message?.message) };
  } catch {
    return null;
  }
}
