/** The URLs under which a notebook's page may reach a server that listens where the kernel runs. */

import type { OutputConfig } from './config.js';

/** The part of a page that is looked at. */
export interface PageLike {
  readonly location: Pick<Location, 'protocol' | 'hostname' | 'origin'>;
  readonly document: Pick<Document, 'getElementById' | 'body'>;
}

const LOOPBACK = /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\])$/u;

/** Whether a URL leads to the machine that the browser runs on. */
export function isLoopback(url: string): boolean {
  return LOOPBACK.test(new URL(url).hostname);
}

/**
 * The base URLs to try, in this order.
 *
 * A page of another machine never tries this machine's own address: browsers ask people about that, or refuse it.
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

/** The path of the Jupyter server, with a slash at its end; `null` where this is none of its pages. */
function findRoot(document: PageLike['document']): string | null {
  const data = document.getElementById('jupyter-config-data')?.textContent;
  // NbClassic has it in the body.
  const root = data === undefined ? document.body.dataset['baseUrl'] : (JSON.parse(data) as { baseUrl?: string }).baseUrl;
  return root ?? null;
}
