/** The errors that the client raises, each named after who is to blame. Refused values are TypeError and RangeError. */

/** What was asked cannot be done in the present state of the connection or the channel. */
export class StateError extends Error {
  static {
    this.prototype.name = 'StateError';
  }
}

/** The other side sent what the protocol does not allow. The connection ends with it. */
export class ProtocolError extends Error {
  static {
    this.prototype.name = 'ProtocolError';
  }
}

/**
 * Python answered a call with an error: its method raised, or its handler has nothing to call under that name.
 *
 * `name` is the name of the exception's Python type, such as `ValueError`, and `message` is the exception's message.
 */
export class KernelError extends Error {
  /**
   * What went wrong, in one word: `exception` when the method raised; `handler`, `method`, `callable` or `private` when
   * there was nothing to call; `value` when what the method returned cannot be sent.
   */
  readonly kind: string;

  /** The Python traceback, where the server was told to send it. */
  readonly traceback: string | undefined;

  constructor(kind: string, name: string, message: string, traceback?: string) {
    super(message);
    this.name = name;
    this.kind = kind;
    this.traceback = traceback;
  }
}
