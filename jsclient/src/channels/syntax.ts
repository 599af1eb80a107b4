/** Where code that cannot be parsed is wrong. */

/** A place in code. Lines and columns are counted from 1. */
interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What ends a line of JavaScript. */
const LINE_END = /\r\n|[\n\r\u2028\u2029]/u;

/**
 * Name the place of a SyntaxError in its stack, as the innermost call, if the browser knows it.
 *
 * The stack of such an error leads to who has asked for the code to be parsed, and does not name the place in it. Browsers
 * tell that only to those who listen to the window's errors, of which this makes one that nobody else hears of.
 *
 * @param error - What parsing the code has thrown.
 * @param name - The name of the code, or of the file; where there is no code, the browser's name of the file is preferred.
 * @param code - The code as it was parsed, if it is known. A place behind it becomes its end.
 */
export function locateSyntaxError(error: unknown, name: string, code?: string): void {
  // JavaScriptCore, whose errors have a line, knows only that of who has asked for it.
  if (error instanceof SyntaxError && !('line' in error)) {
    const place = askBrowser(error);
    if (place !== undefined) {
      const { line, column } = code === undefined ? place : limit(place, code.split(LINE_END));
      const file = code === undefined && place.file !== '' ? place.file : name;
      error.stack = `${String(error)}\n    at ${file}:${String(line)}:${String(column)}`;
    }
  }
}

function limit(place: Place, lines: readonly string[]): Place {
  const line = Math.min(place.line, lines.length);
  const end = String(lines[line - 1]).length + 1;
  return { ...place, line, column: line < place.line ? end : Math.min(place.column, end) };
}

function askBrowser(error: SyntaxError): Place | undefined {
  // Outside of pages there is none of these.
  const scope = globalThis as Partial<Pick<typeof globalThis, 'reportError'>>;
  if (scope.reportError === undefined) {
    return undefined;
  }
  let place: Place | undefined;
  const listen = (event: ErrorEvent): void => {
    place = { file: event.filename, line: event.lineno, column: event.colno };
    // It is no error of the page's, and is answered to Python.
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  addEventListener('error', listen, true);
  scope.reportError(error);
  removeEventListener('error', listen, true);
  return place !== undefined && place.line > 0 ? place : undefined;
}
