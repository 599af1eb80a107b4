/**
 * The classic script that the server puts into its pages: connects the page to the server that the script came from,
 * and shows the client and the public names as the global `jchannel`.
 */

import * as names from './exports.js';
import { connectWindow, findBase } from './page.js';

// Known only while the script itself runs.
const script = document.currentScript as HTMLScriptElement | null;

Object.assign(globalThis, {
  jchannel: { ...names, client: connectWindow(findBase(script?.src ?? ''), globalThis) },
});
