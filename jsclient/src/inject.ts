/**
 * The classic script that the server puts into its pages. It connects the page to the server that the script came from,
 * and defines the global `jchannel` with the client and the public names.
 */

import * as names from './exports.js';
import { connectWindow, findBase } from './page.js';

// It is defined only while the script runs.
const script = document.currentScript as HTMLScriptElement | null;

Object.assign(globalThis, {
  jchannel: { ...names, client: connectWindow(findBase(script?.src ?? ''), globalThis) },
});
