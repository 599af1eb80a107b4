/**
 * The doctor's script: of its own page, and for the console of any other page that does not connect. It defines
 * `jchannelDoctor`.
 */

import { findEnvironment } from '../connection/environment.js';
import { examineBrowser, type Finding } from './browser.js';
import { diagnose } from './diagnosis.js';
import { observe } from './observe.js';

/** Say why this page does not connect to the server with this page URL. */
async function examine(url: string): Promise<Finding> {
  const { cause, text } = diagnose(await observe(url, globalThis, findEnvironment()));
  return { state: cause === 'no-page' ? 'note' : 'problem', cause, text };
}

Object.assign(globalThis, { jchannelDoctor: { examine, examineBrowser: () => examineBrowser(globalThis) } });
