/**
 * The name of a page, which no other page has.
 *
 * A tab remembers its name over a reload, and a duplicated tab remembers it, too. Two pages of one name would push each
 * other out of the server, so a page holds a lock of its name for as long as it uses it.
 */

import type { Environment } from '../environment.js';

/** The time in seconds that a page waits for the lock, which a page that is being reloaded may still hold. */
export const LOCK_WAIT = 1;

/** A name, and what gives it back. */
export interface HeldName {
  readonly name: string;
  readonly release: () => void;
}

/**
 * Takes a name.
 *
 * @param remembered - The name that the tab remembers.
 * @param locks - The browser's locks, which only pages of secure origins have. Without them the remembered name is taken.
 */
export async function holdName(
  remembered: string | null,
  locks: Pick<LockManager, 'request'> | undefined,
  environment: Environment,
): Promise<HeldName> {
  const name = remembered ?? environment.newName();
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
      resolve(null);
    });
  });
  environment.clearTimeout(timer);
  return release === null ? holdName(null, locks, environment) : { name, release };
}
