/** The URLs at which the page of a notebook can try to reach a server on the kernel's machine. */

import type { OutputConfig } from './config.js';

/** The part of a page that is needed. */
export interface PageLike {
  readonly location: Pick<Location, 'protocol' | 'hostname' | 'origin'>;
  readonly document: Pick<Document, 'getElementById' | 'body'>;
}

const LOOPBACK = /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\])$/u;

/** Return whether a URL is one of the machine that the browser runs on. */
export function isLoopback(url: string): boolean {
  return LOOPBACK.test(new URL(url).hostname);
}

/**
 * Return the base URLs to try, in this order.
 *
 * A page of another machine never tries an address of this machine, because browsers ask the user about that or refuse
 * it.
 */
export function findBases({ host, port, url }: OutputConfig, page: PageLike): string[] {
  if (url !== null) {
    return [url];
  }
  const { protocol, hostname, origin } = page.location;
  const bases = [];
  if (host === 'localhost' || host === '') {
    if (LOOPBACK.test(hostname) || (host === '' && protocol === 'http:')) {
      bases.push(`http://${hostname}:${String(port)}`);
    }
  } else if (protocol === 'http:') {
    bases.push(`http://${host}:${String(port)}`);
  }
  const root = findRoot(page.document);
  if (root !== null) {
    bases.push(`${origin}${root}proxy/${String(port)}`);
  }
  return bases;
}

/** Return the path of the Jupyter server, with a slash at the end; `null` if this is not one of its pages. */
function findRoot(document: PageLike['document']): string | null {
  const data = document.getElementById('jupyter-config-data')?.textContent;
  // In NbClassic it is in the body.
  const root = data === undefined ? document.body.dataset['baseUrl'] : (JSON.parse(data) as { baseUrl?: string }).baseUrl;
  return root ?? null;
}
