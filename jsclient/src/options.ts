/** Checking the names of options: one that is misspelt would have no effect, and nobody would notice. */

/**
 * Refuse options that do not exist.
 *
 * @param what - What has the options, as the beginning of a sentence.
 * @param options - The options, from JavaScript callers who can pass anything.
 * @param names - The names of those that exist.
 * @throws TypeError if they are not an object, or if one of them is unknown.
 */
export function checkNames(what: string, options: unknown, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`The options of ${what} must be an object. They are ${String(options)}.`);
  }
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`${what} has no option ${unknown}. Its options are ${names.join(', ')}.`);
  }
}
