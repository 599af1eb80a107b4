/** The errors of the client. Values that cannot be sent are a TypeError or a RangeError. */

/** The operation is not possible in the current state of the connection or the channel. */
export class StateError extends Error {
  static {
    this.prototype.name = 'StateError';
  }
}

/**
 * The channel or the client is not open: it was closed by this side or by Python, or the code of the channel failed.
 */
export class ClosedError extends StateError {
  static {
    this.prototype.name = 'ClosedError';
  }
}

/** The connection was lost before a call was answered. The call may have run, and it is not sent again. */
export class ConnectionLostError extends StateError {
  static {
    this.prototype.name = 'ConnectionLostError';
  }
}

/** The Python code that was called was cancelled by its own program, not by this side. It may have run in part. */
export class RemoteCancelledError extends StateError {
  static {
    this.prototype.name = 'RemoteCancelledError';
  }
}

/** The other side has violated the protocol. This ends the connection. */
export class ProtocolError extends Error {
  static {
    this.prototype.name = 'ProtocolError';
  }
}

/**
 * Python answered a call with an error: the method raised, or the handler has no such method.
 *
 * `message` names the exception's Python type before its own message, as in `ValueError: no luck`.
 */
export class KernelError extends Error {
  /**
   * The kind of the error: `exception` if the method raised; `handler`, `method`, `callable` or `private` if there is
   * no such method to call; `value` if what the method returned cannot be sent.
   */
  readonly kind: string;

  /** The name of the exception's Python type, such as `ValueError`; empty if no exception was raised. */
  readonly type: string;

  /** The exception's own message. */
  readonly detail: string;

  /** The Python traceback, if the server is set to send it. */
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
