/** One request of the server that runs here, and the AbortSignal that tells its handler method of the end. */

import { StateError } from './errors.js';

/** Why a request ended before its code did; also the kind of the error that answers it. */
export type EndKind = 'cancelled' | 'ended';

/** A request of the server, from its arrival to its answer. */
export class Invocation {
  readonly id: number;
  readonly channel: number;
  #controller: AbortController | undefined;
  #end: { kind: EndKind; message: string } | undefined;

  constructor(id: number, channel: number) {
    this.id = id;
    this.channel = channel;
  }

  /** How the request was ended before its code had, if it was. */
  get end(): { readonly kind: EndKind; readonly message: string } | undefined {
    return this.#end;
  }

  /** Whether the request's code has asked for the signal, and so is expected to end soon when it aborts. */
  get isListening(): boolean {
    return this.#controller !== undefined;
  }

  /** The signal that aborts when the request is ended before its code has. */
  get signal(): AbortSignal {
    // Only when it is asked for, for most methods never ask and a controller costs as much as a short call.
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  /** Aborts the signal. Has no effect after the first time. */
  abort(kind: EndKind, message: string): void {
    if (this.#end === undefined) {
      this.#end = { kind, message };
      this.#controller?.abort(new DOMException(message, 'AbortError'));
    }
  }
}

let current: Invocation | undefined;

/** Calls a function during which `currentSignal` gives the signal of an invocation. */
export function runDuring<T>(invocation: Invocation, run: () => T): T {
  const outer = current;
  current = invocation;
  try {
    return run();
  } finally {
    current = outer;
  }
}

/**
 * The signal of the request of a channel that is being invoked right now.
 *
 * @throws StateError when none is.
 */
export function currentSignal(channel: number): AbortSignal {
  if (current?.channel !== channel) {
    throw new StateError(
      'channel.signal can be read only while a handler method of the channel is being called, before its first ' +
        'await. Read it into a variable at the beginning of the method.',
    );
  }
  return current.signal;
}
