/**
 * The unique name of a page.
 *
 * A tab stores its name for a reload, but duplicating the tab copies the name. Two pages with one name would disconnect
 * each other, so a page holds a lock on its name as long as it uses it.
 */

import type { Environment } from '../connection/environment.js';

/** The time in seconds that a page waits for the lock, which the page before the reload may still hold. */
export const LOCK_WAIT = 1;

/** A name whose lock is held, and the function that releases it. */
export interface HeldName {
  readonly name: string;
  readonly release: () => void;
}

/**
 * Return a name, and hold its lock.
 *
 * @param stored - The name that the tab has stored.
 * @param locks - The browser's locks, which only pages of secure origins have. Without them, and where the browser
 *   refuses them, as in a frame that may not store anything, the name is used unlocked.
 */
export async function holdName(
  stored: string | null,
  locks: Pick<LockManager, 'request'> | undefined,
  environment: Environment,
): Promise<HeldName> {
  const name = stored ?? environment.newName();
  if (locks === undefined) {
    return { name, release: () => undefined };
  }
  const abort = new AbortController();
  const timer = environment.setTimeout(() => {
    abort.abort();
  }, LOCK_WAIT * 1000);
  const release = await new Promise<(() => void) | null>((resolve) => {
    const hold = (): Promise<void> =>
      new Promise((end) => {
        resolve(end);
      });
    locks.request(`jchannel ${name}`, { signal: abort.signal }, hold).catch(() => {
      resolve(abort.signal.aborted ? null : () => undefined);
    });
  });
  environment.clearTimeout(timer);
  return release === null ? holdName(null, locks, environment) : { name, release };
}
