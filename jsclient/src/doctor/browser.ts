/** What this browser can do for the client, in this page. */

import { findPermission } from '../notebook/obstacles.js';
import type { ObservedPage } from './observe.js';

/** One thing that was found, as `jchannel/_doctor/findings.py` has it. */
export interface Finding {
  readonly state: 'ok' | 'note' | 'problem';
  readonly cause: string | null;
  readonly text: string;
}

/** The part of a page that is needed. */
export interface BrowserPage extends ObservedPage {
  readonly navigator: ObservedPage['navigator'] & Partial<Pick<Navigator, 'locks'>>;
  readonly isSecureContext?: boolean;
  readonly WebSocket?: unknown;
  readonly sessionStorage?: Pick<Storage, 'setItem' | 'removeItem'>;
  readonly eval?: (code: string) => unknown;
}

/** Return what this browser can do. */
export async function examineBrowser(page: BrowserPage): Promise<Finding[]> {
  const permission = await findPermission(page.navigator);
  return [
    ok(page.navigator.userAgent ?? 'no browser'),
    page.WebSocket === undefined
      ? { state: 'problem', cause: 'websocket', text: 'it has no WebSockets, without which nothing connects' }
      : ok('it has WebSockets'),
    canStore(page)
      ? ok('it stores the token for its tab: a page comes back by itself after a reload')
      : note('it lets this page store nothing: after a reload, the page needs the address with the token again'),
    canEvaluate(page)
      ? ok('it evaluates code: channels may have code as well as a module')
      : note("this page's policy lets it evaluate no code: open channels with a module"),
    page.navigator.locks === undefined
      ? note('this page has no Web Locks (it is no secure context): the duplicate of a notebook’s tab may take its place')
      : ok('it tells the duplicate of a tab from the tab'),
    permission === null
      ? ok('it has no permission of its own for the local network')
      : permission === 'denied'
        ? note('its permission for the local network is denied: pages of other machines cannot reach a server of this one')
        : ok(`its permission for the local network is: ${permission}`),
  ];
}

function ok(text: string): Finding {
  return { state: 'ok', cause: null, text };
}

function note(text: string): Finding {
  return { state: 'note', cause: null, text };
}

function canStore(page: BrowserPage): boolean {
  try {
    const { sessionStorage } = page; // In a sandboxed frame, reading it throws.
    sessionStorage?.setItem('jchannel.doctor', '');
    sessionStorage?.removeItem('jchannel.doctor');
    return sessionStorage !== undefined;
  } catch {
    return false;
  }
}

function canEvaluate(page: BrowserPage): boolean {
  try {
    return page.eval?.('1') === 1;
  } catch {
    return false;
  }
}
