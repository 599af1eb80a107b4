/** What the signals of users cancel. Each signal has one listener, for however many requests it is. */

/** What ends when a signal aborts. */
export interface Follower {
  cancel(reason: unknown): void;
}

interface Entry {
  readonly followers: Set<Follower>;
  readonly listener: () => void;
}

const entries = new WeakMap<AbortSignal, Entry>();

/** Cancels something when a signal aborts, until `unfollow`. */
export function follow(signal: AbortSignal, follower: Follower): void {
  (entries.get(signal) ?? listen(signal)).followers.add(follower);
}

/** Leaves something alone when a signal aborts. The listener goes with the last one. */
export function unfollow(signal: AbortSignal, follower: Follower): void {
  const entry = entries.get(signal);
  if (entry?.followers.delete(follower) && entry.followers.size === 0) {
    entries.delete(signal);
    signal.removeEventListener('abort', entry.listener);
  }
}

function listen(signal: AbortSignal): Entry {
  const followers = new Set<Follower>();
  const listener = (): void => {
    for (const follower of [...followers]) {
      follower.cancel(signal.reason);
    }
  };
  const entry = { followers, listener };
  entries.set(signal, entry);
  signal.addEventListener('abort', listener);
  return entry;
}
