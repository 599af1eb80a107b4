/** Importing the module of a channel, whose default export is the initialization function. */

import type { Initialize } from './evaluate.js';
import { locateSyntaxError } from './syntax.js';

/** What a stack has in it that leads anywhere. */
const PLACE = /:\d+:\d+/u;

/**
 * Import the module of a channel, as an inline script of the page would: a relative URL is relative to the page's, and
 * the page's import map holds. Browsers load a module once, so that every channel of it shares its variables.
 *
 * @param module - The module's specifier.
 * @returns The function, in an object: one with a method `then` of its own would be awaited.
 * @throws TypeError if the module cannot be loaded, or its default export is not a function; and whatever it throws.
 */
export async function importModule(module: string): Promise<{ readonly initialize: Initialize }> {
  const { default: initialize } = await importLocated(resolve(module));
  if (typeof initialize !== 'function') {
    throw new TypeError(
      `The default export of the module ${module} must be a function that takes the channel, such as ` +
        `export default (channel) => { … }. It is ${initialize === null ? 'null' : typeof initialize}.`,
    );
  }
  return { initialize: initialize as Initialize };
}

async function importLocated(url: string): Promise<{ readonly default?: unknown }> {
  try {
    return (await import(/* @vite-ignore */ url)) as { default?: unknown };
  } catch (error) {
    // What a module throws itself has a stack that leads into it.
    if (!PLACE.test(String((error as Partial<Error> | undefined)?.stack))) {
      locateSyntaxError(error, url);
    }
    throw isNameless(error) ? new TypeError(`${error.message} It is ${url}.`) : error;
  }
}

/** Return whether a module could not be loaded, and the error does not name it: WebKit's do not. */
function isNameless(error: unknown): error is TypeError {
  return error instanceof TypeError && error.message === 'Importing a module script failed.';
}

/** Return a specifier that does not depend on where this script comes from. */
function resolve(module: string): string {
  if (!/^\.{0,2}\//u.test(module)) {
    return module;
  }
  const { document } = globalThis as Partial<Pick<typeof globalThis, 'document'>>;
  if (document === undefined) {
    throw new TypeError(
      `The module ${module} is relative to a page, and there is none here. Open the channel with the URL of a file, ` +
        'such as file:///home/me/channel.js, or with the name of a package.',
    );
  }
  return new URL(module, document.baseURI).href;
}
