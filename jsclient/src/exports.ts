/** The public names of both the ES module and the injected script. */

export { Channel } from './channels/channel.js';
export { Client, connect } from './connection/client.js';
export {
  ClosedError,
  ConnectionLostError,
  KernelError,
  ProtocolError,
  RemoteCancelledError,
  StateError,
} from './errors.js';
export { MetaGenerator } from './streams/reader.js';
