/**
 * The classic script that the server puts into its pages. It connects the page to the server that the script came from,
 * and defines the global `jchannel` with the client and the public names. In a frame of such a page it connects nothing.
 */

import * as names from './exports.js';
import { connectWindow, findBase, findClient } from './page.js';

// It is defined only while the script runs.
const script = document.currentScript as HTMLScriptElement | null;

const base = findBase(script?.src ?? '');
connectWindow(base, globalThis);

Object.assign(globalThis, {
  jchannel: {
    ...names,
    // The module's connectPage replaces one that has stopped.
    get client() {
      return findClient(base, globalThis);
    },
  },
});
