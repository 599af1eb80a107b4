/** Describing thrown values. Anything can be thrown in JavaScript, and describing it must not throw. */

/** What stands in stacks for the code of a channel whose browser does not name it. */
const CODE_NAME = 'jchannel-channel.js';

/** The name, the message and the stack of a thrown value. */
export interface Thrown {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
}

/**
 * Return the name, the message and the stack of a thrown value.
 *
 * @param thrown - Any value, usually an Error.
 * @param limit - The most characters of each text.
 */
export function describeThrown(thrown: unknown, limit: number): Thrown {
  const isError = attempt(() => thrown instanceof Error || Object.prototype.toString.call(thrown) === '[object Error]');
  const error = isError === true ? (thrown as Error) : undefined;
  const name = textOf(() => (error === undefined ? nameType(thrown) : error.name)) ?? 'Error';
  const message = textOf(() => (error === undefined ? thrown : error.message)) ?? 'It cannot be shown as a text.';
  const stack = attempt(() => locate(error?.stack, error));
  return {
    name: name.slice(0, limit),
    message: message.slice(0, limit),
    ...(typeof stack === 'string' ? { stack: stack.slice(0, limit) } : {}),
  };
}

/**
 * Return a stack with the place of the innermost call, where the browser has left it out: JavaScriptCore does in code that was
 * evaluated, such as that of a channel, and tells the place in the error alone.
 */
function locate(stack: unknown, error: unknown): unknown {
  const { line, column } = (error ?? {}) as { readonly line?: unknown; readonly column?: unknown };
  return typeof stack === 'string' && typeof line === 'number' && typeof column === 'number'
    ? stack.replace(/^[^@\n]*@(?=\n|$)/u, `$&${CODE_NAME}:${String(line)}:${String(column)}`)
    : stack;
}

/** Return the name of a thrown value if it is a DOMException. */
export function domNameOf(thrown: unknown): string | undefined {
  return attempt(() =>
    Object.prototype.toString.call(thrown) === '[object DOMException]' ? (thrown as DOMException).name : undefined,
  );
}

function nameType(value: unknown): string {
  if (typeof value !== 'object' || value === null) {
    return value === null ? 'null' : typeof value;
  }
  return value.constructor.name;
}

function textOf(read: () => unknown): string | undefined {
  return attempt(() => String(read()));
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
