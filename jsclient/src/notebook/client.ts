/**
 * The client's script for notebooks, which an output loads. It connects the page for the outputs of its version.
 *
 * `globalThis[Symbol.for('jchannel')].servers` has the connection to each server, by the server's public name.
 */

import { findEnvironment } from '../connection/environment.js';
import { NotebookConnection } from './connection.js';
import { findRegistry } from './registry.js';

const registry = findRegistry();

// It is defined only while the script runs.
const { integrity } = document.currentScript as HTMLScriptElement;

registry.scripts.set(integrity, (element, config) => {
  const connection = registry.servers.get(config.server) ?? new NotebookConnection(config.server, findEnvironment());
  registry.servers.set(config.server, connection);
  connection.add(element, config);
});
