/**
 * The classic script that the server puts into its pages. It connects the page to the server that the script came from,
 * and defines the global `jchannel` with the client and the public names. In a frame of such a page it connects nothing,
 * nor in a page that says `<meta name="jchannel" content="manual">` and connects itself, when it is ready.
 */

import * as names from './exports.js';
import { connectOwnPage, findBase, findClient, prepareWindow, whenRead, type PageOptions } from './page.js';

// It is defined only while the script runs.
const script = document.currentScript as HTMLScriptElement | null;

const base = findBase(script?.src ?? '');
const client = prepareWindow(base, globalThis);
// The page's head is read only after this script.
whenRead(globalThis, () => {
  if (document.querySelector('meta[name="jchannel"][content="manual"]') === null) {
    client.begin();
  }
});

Object.assign(globalThis, {
  jchannel: {
    ...names,
    connectPage: (options: PageOptions = {}) => connectOwnPage(options, () => base),
    // The module's connectPage replaces one that has stopped.
    get client() {
      return findClient(base, globalThis);
    },
  },
});
