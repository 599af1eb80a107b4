/**
 * The script of notebooks, which an output loads: it takes the outputs of its version.
 *
 * `globalThis[Symbol.for('jchannel')].servers` has the connection of each server by the server's public name.
 */

import { findEnvironment } from '../environment.js';
import { NotebookConnection } from './connection.js';
import { findRegistry } from './config.js';

const registry = findRegistry();

// Known only while the script itself runs.
const { integrity } = document.currentScript as HTMLScriptElement;

registry.scripts.set(integrity, (element, config) => {
  const connection = registry.servers.get(config.server) ?? new NotebookConnection(config.server, findEnvironment());
  registry.servers.set(config.server, connection);
  connection.add(element, config);
});
