/** Showing values in error messages. */

/** The most keys, or elements of an array, that an error message shows. */
export const MAX_SHOWN_KEYS = 12;

/** The most characters of a value that an error message shows. */
const MAX_SHOWN_LENGTH = 40;

/** Return a received value as text for an error message, shortened if it is long or deep. */
export function shorten(value: unknown): string {
  const text = Array.isArray(value) ? `[${value.slice(0, MAX_SHOWN_KEYS).map(showFlat).join(',')}]` : showFlat(value);
  return text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text;
}

function showFlat(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.slice(0, MAX_SHOWN_LENGTH));
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? '[…]' : '{…}';
    default:
      return String(value);
  }
}
