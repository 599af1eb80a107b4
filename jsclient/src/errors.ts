/** The errors that the client raises, each named after who is to blame. Refused values are TypeError and RangeError. */

/** What was asked cannot be done in the present state of the connection or the channel. */
export class StateError extends Error {
  static {
    this.prototype.name = 'StateError';
  }
}

/** The channel or the client is not open: it was closed on this side or by Python, or the code of the channel failed. */
export class ClosedError extends StateError {
  static {
    this.prototype.name = 'ClosedError';
  }
}

/** The connection was lost while a call waited for its answer. The call may have run; it is not sent again by itself. */
export class ConnectionLostError extends StateError {
  static {
    this.prototype.name = 'ConnectionLostError';
  }
}

/** The Python code that was called was cancelled by its own program. Nobody on this side did. It may have run in part. */
export class RemoteCancelledError extends StateError {
  static {
    this.prototype.name = 'RemoteCancelledError';
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
 * `message` names the exception's Python type before its own message, as in `ValueError: no luck`.
 */
export class KernelError extends Error {
  /**
   * What went wrong, in one word: `exception` when the method raised; `handler`, `method`, `callable` or `private` when
   * there was nothing to call; `value` when what the method returned cannot be sent.
   */
  readonly kind: string;

  /** The name of the exception's Python type, such as `ValueError`; empty when no exception was raised. */
  readonly type: string;

  /** The exception's own message. */
  readonly detail: string;

  /** The Python traceback, where the server was told to send it. */
  readonly traceback: string | undefined;

  static {
    this.prototype.name = 'KernelError';
  }

  constructor(kind: string, type: string, detail: string, traceback?: string) {
    super(type === '' ? detail : `${type}: ${detail}`);
    this.kind = kind;
    this.type = type;
    this.detail = detail;
    this.traceback = traceback;
  }
}
