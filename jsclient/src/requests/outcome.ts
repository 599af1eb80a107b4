/** What the user's code returns. Promises are awaited, and nothing else: an object may have a method `then` of its own. */

/** A value of the user's, boxed. A promise would call the `then` of one that has such a method. */
export interface Outcome {
  readonly value: unknown;
}

/** Call a function now, and return what it returns; where that is a promise, what the promise is fulfilled with. */
export async function outcomeOf(run: () => unknown): Promise<Outcome> {
  const value = run();
  return { value: isPromise(value) ? await value : value };
}

/** Return whether a value is a promise. */
export function isPromise(value: unknown): value is Promise<unknown> {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) {
    return false;
  }
  // The tag is that of the promises of other windows, and of async functions where a library has replaced the class.
  return value instanceof Promise || Object.prototype.toString.call(value) === '[object Promise]';
}
