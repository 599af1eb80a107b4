/** Cancelling requests when a user's signal aborts. Each signal has one listener, for any number of requests. */

/** What a signal can cancel. */
export interface Cancellable {
  cancel(reason: unknown): void;
}

interface Entry {
  readonly followers: Set<Cancellable>;
  readonly listener: () => void;
}

const entries = new WeakMap<AbortSignal, Entry>();

/** Cancel something when a signal aborts, until `unfollow`. */
export function follow(signal: AbortSignal, follower: Cancellable): void {
  (entries.get(signal) ?? listen(signal)).followers.add(follower);
}

/** Undo `follow`. The listener is removed with the last follower. */
export function unfollow(signal: AbortSignal, follower: Cancellable): void {
  const entry = entries.get(signal);
  if (entry?.followers.delete(follower) && entry.followers.size === 0) {
    entries.delete(signal);
    signal.removeEventListener('abort', entry.listener);
  }
}

function listen(signal: AbortSignal): Entry {
  const followers = new Set<Cancellable>();
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
