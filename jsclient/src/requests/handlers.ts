/** Finding the handler method that a call asks for. Only public methods can be called. */

import type { ErrorKind } from '../protocol/messages.js';

const MAX_LISTED = 20;

/** A method of a handler. */
export type Method = (...args: unknown[]) => unknown;

/** There is no such method to call. `kind` is the reason as the protocol names it. */
export class NothingToCallError extends Error {
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string) {
    super(message);
    this.name = kind === 'handler' ? 'StateError' : 'TypeError';
    this.kind = kind;
  }
}

/**
 * Return the method of a handler that a call asks for.
 *
 * @param handler - The channel's handler; `null` if it has none.
 * @param name - The method's name.
 * @throws NothingToCallError if there is no handler, if the name is private, or if there is no such method.
 */
export function findMethod(handler: unknown, name: string): Method {
  if (!isObject(handler)) {
    throw new NothingToCallError(
      'handler',
      `Cannot call ${name}: the channel has no handler. Set channel.handler to an object with methods.`,
    );
  }
  if (name.startsWith('_')) {
    throw new NothingToCallError('private', `Cannot call ${name}: names that begin with an underscore are private.`);
  }
  const value = (handler as Record<string, unknown>)[name];
  if (isBuiltIn(name, value)) {
    throw new NothingToCallError('private', `Cannot call ${name}: it is no method of the handler's own.`);
  }
  if (typeof value === 'function') {
    return value as Method;
  }
  if (name in handler) {
    throw new NothingToCallError('callable', `Cannot call ${name}: in the handler it is not a function.`);
  }
  throw new NothingToCallError('method', `The handler has no method '${name}'. ${listMethods(handler)}`);
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/** Whether this is a method of every object or function. */
function isBuiltIn(name: string, value: unknown): boolean {
  if (name === 'constructor') {
    return true;
  }
  return (
    name in Function.prototype &&
    [Object.prototype, Function.prototype].some((prototype) => {
      const descriptor = Object.getOwnPropertyDescriptor(prototype, name);
      return descriptor !== undefined && descriptor.value === value;
    })
  );
}

function listMethods(handler: object): string {
  const names = new Set<string>();
  for (
    let owner: unknown = handler;
    isObject(owner) && owner !== Object.prototype && owner !== Function.prototype;
    owner = Object.getPrototypeOf(owner)
  ) {
    for (const [name, descriptor] of Object.entries<PropertyDescriptor>(Object.getOwnPropertyDescriptors(owner))) {
      if (typeof descriptor.value === 'function' && name !== 'constructor' && !name.startsWith('_')) {
        names.add(name);
      }
    }
  }
  if (names.size === 0) {
    return 'It has no methods.';
  }
  const listed = [...names].slice(0, MAX_LISTED).join(', ');
  return `It has: ${listed}${names.size > MAX_LISTED ? ', …' : ''}.`;
}
