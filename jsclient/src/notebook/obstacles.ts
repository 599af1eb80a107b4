/**
 * What a browser puts between a page and a server that does not answer: its policy, mixed content, or the permission
 * to reach this machine. It is told from what the page can see, and has a sentence that says what to do.
 */

import { explainPolicy } from '../connection/content-policy.js';
import { isLoopback } from './bases.js';

/** What stands in the way, and what it is in words, with what to do. */
export interface Obstacle {
  readonly cause: 'policy' | 'mixed-content' | 'local-network';
  readonly text: string;
}

/** An attempt to reach a server, that was not answered. */
export interface Attempt {
  /** The page's own URL. */
  readonly page: string;
  /** Whether the browser takes the page for one that nobody has changed on its way. */
  readonly isSecure: boolean;
  /** The server's base URL. */
  readonly base: string;
  /** The directives that must name the server, where the page's policy has blocked the attempt; otherwise empty. */
  readonly blocking: string;
  /** The permission to reach this machine; `null` where the browser knows no such permission. */
  readonly permission: PermissionState | null;
  /** The browser's engine. */
  readonly engine: Engine;
}

/** An engine. What each lets a page reach differs, and no feature tells. */
export type Engine = 'chromium' | 'firefox' | 'webkit';

/** The names of the permission to reach this machine, the newest first. */
const PERMISSIONS = ['loopback-network', 'local-network-access'];

const THROUGH_PROXY = 'or reach the server through a proxy with HTTPS, and pass its address as url=';

/** Return what stands in the way of an attempt; `null` where nothing does that a page can see. */
export function findObstacle({ page, isSecure, base, blocking, permission, engine }: Attempt): Obstacle | null {
  if (blocking !== '') {
    return { cause: 'policy', text: explainPolicy(base, base.replace(/^http/u, 'ws'), blocking) };
  }
  if (page.startsWith('https:') && base.startsWith('http:') && (!isLoopback(base) || engine === 'webkit')) {
    const text = `This page came over HTTPS, and ${base} is plain HTTP, which this browser does not let it reach. Give the`;
    return { cause: 'mixed-content', text: `${text} server TLS (ssl_context=), ${THROUGH_PROXY}.` };
  }
  const isForeign = isLoopback(base) && !isLoopback(page);
  // Firefox asks whether such a page may, and WebKit lets it.
  if (isForeign && !isSecure && engine === 'chromium') {
    const text = `This page came from another machine over plain HTTP, and this browser lets no such page reach ${base}.`;
    return { cause: 'local-network', text: `${text} Open it over HTTPS, ${THROUGH_PROXY}.` };
  }
  if (permission === 'denied') {
    const text = `The browser does not let this page reach ${base}: its permission for the local network is denied. Allow it`;
    return { cause: 'local-network', text: `${text} in the settings of this site, ${THROUGH_PROXY}.` };
  }
  if (isForeign && permission === 'prompt') {
    const text = `The browser asks whether this page may reach ${base}, and has no answer yet. Allow it,`;
    return { cause: 'local-network', text: `${text} ${THROUGH_PROXY}.` };
  }
  return null;
}

/** Return the permission to reach this machine; `null` where the browser knows none. */
export async function findPermission(navigator: {
  readonly permissions?: { query(descriptor: { name: string }): Promise<PermissionStatus> };
}): Promise<PermissionState | null> {
  for (const name of PERMISSIONS) {
    try {
      const status = await navigator.permissions?.query({ name });
      if (status !== undefined) {
        return status.state;
      }
    } catch {
      // It does not know that name.
    }
  }
  return null;
}

/** Return the engine of a browser. One that is not known is taken for Chromium, which refuses most. */
export function findEngine({ userAgent = '' }: { readonly userAgent?: string }): Engine {
  if (userAgent.includes('Firefox/')) {
    return 'firefox';
  }
  return userAgent.includes('AppleWebKit/') && !userAgent.includes('Chrome/') ? 'webkit' : 'chromium';
}

/**
 * Return what stands between this page and a server that has not answered it at any of several base URLs, as the line
 * of an output; `null` where nothing does that a page can see.
 *
 * @param blocked - The URLs that the page's policy has blocked.
 * @param directives - The directives that must name the server.
 */
export async function explainSilence(
  bases: readonly string[],
  blocked: readonly string[],
  directives: string,
): Promise<string | null> {
  const { location, navigator, isSecureContext: isSecure } = globalThis;
  const permission = await findPermission(navigator);
  const attempts = bases.map((base) => ({
    page: location.href,
    isSecure,
    base,
    blocking: blocked.some((url) => url.startsWith(base)) ? directives : '',
    permission: isLoopback(base) ? permission : null,
    engine: findEngine(navigator),
  }));
  const obstacle = attempts.map(findObstacle).find((found) => found !== null);
  return obstacle === undefined ? null : `not connected. ${obstacle.text}`;
}
