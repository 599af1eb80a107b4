/** The public names that the ES module and the injected script have in common. */

export { Channel } from './channel.js';
export { Client, connect } from './client.js';
export {
  ClosedError,
  ConnectionLostError,
  KernelError,
  ProtocolError,
  RemoteCancelledError,
  StateError,
} from './errors.js';
export { MetaGenerator } from './meta-generator.js';
