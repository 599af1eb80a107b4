/** The URLs at which the page of a notebook can try to reach a server on the kernel's machine. */

import type { Door } from '../protocol/messages.js';
import type { OutputConfig } from './config.js';

/** The part of a page that is needed. */
export interface PageLike {
  readonly location: Pick<Location, 'protocol' | 'hostname' | 'origin' | 'pathname'>;
  readonly document: Pick<Document, 'getElementById' | 'body'>;
}

const LOOPBACK = /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\])$/u;

/** Where code-server shows outputs: in a frame of its own origin, below its own path. It has a proxy there, too. */
const CODE_SERVER = /^(.*\/)[^/]+\/static\/out\/vs\/workbench\/contrib\/webview\//u;

/** Return whether a URL is one of the machine that the browser runs on. */
export function isLoopback(url: string): boolean {
  return LOOPBACK.test(new URL(url).hostname);
}

/** A base URL to try, and which door it is. */
export interface Base {
  readonly door: Door;
  readonly url: string;
}

/** Return the base URLs to try, in this order. See `findDoors`. */
export function findBases(config: OutputConfig, page: PageLike): string[] {
  return findDoors(config, page).map(({ url }) => url);
}

/**
 * Return the doors to try that have a URL, in this order.
 *
 * A page of another machine never tries an address of this machine, because browsers ask the user about that or refuse
 * it.
 */
export function findDoors({ host, port, url, door = null }: OutputConfig, page: PageLike): Base[] {
  return findAllDoors({ host, port, url }, page).filter((base) => door === null || base.door === door);
}

function findAllDoors({ host, port, url }: Pick<OutputConfig, 'host' | 'port' | 'url'>, page: PageLike): Base[] {
  if (url !== null) {
    return [{ door: new URL(url).pathname === '/' ? 'port' : 'proxy', url }];
  }
  const { protocol, hostname, origin } = page.location;
  const bases: Base[] = [];
  if (host === 'localhost' || host === '') {
    if (LOOPBACK.test(hostname) || (host === '' && protocol === 'http:')) {
      bases.push({ door: 'port', url: `http://${hostname}:${String(port)}` });
    }
  } else if (protocol === 'http:') {
    bases.push({ door: 'port', url: `http://${host}:${String(port)}` });
  }
  const root = findRoot(page);
  if (root !== null) {
    bases.push({ door: 'proxy', url: `${origin}${root}proxy/${String(port)}` });
  }
  return bases;
}

/**
 * Return the path of the Jupyter server or the code-server, with a slash at the end; `null` if this is none of their
 * pages.
 */
function findRoot({ document, location }: PageLike): string | null {
  const data = document.getElementById('jupyter-config-data')?.textContent;
  // In NbClassic it is in the body.
  const root = data === undefined ? document.body.dataset['baseUrl'] : (JSON.parse(data) as { baseUrl?: string }).baseUrl;
  return root ?? CODE_SERVER.exec(location.pathname)?.[1] ?? null;
}
