/** The public names of both the ES module and the injected script. */

import { Channel } from './channels/channel.js';
import { Latest } from './channels/latest.js';
import { Client, connect } from './connection/client.js';
import {
  ClosedError,
  ConnectionLostError,
  KernelError,
  ProtocolError,
  RemoteCancelledError,
  StateError,
} from './errors.js';
import { shareClasses } from './shared-classes.js';
import { MetaGenerator } from './streams/reader.js';

shareClasses({ Channel, Client, Latest, MetaGenerator });
shareClasses({ ClosedError, ConnectionLostError, KernelError, ProtocolError, RemoteCancelledError, StateError });

export {
  Channel,
  Client,
  ClosedError,
  connect,
  ConnectionLostError,
  KernelError,
  Latest,
  MetaGenerator,
  ProtocolError,
  RemoteCancelledError,
  StateError,
};
