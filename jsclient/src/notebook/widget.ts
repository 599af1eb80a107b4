/**
 * The module of a widget: the output of a cell whose page is connected by the client within it. The kernel's own
 * messages reach it in every host, so it connects also if no port can be reached.
 */

import { findEnvironment } from '../connection/environment.js';
import { Comm, type Model } from './comm.js';
import type { OutputConfig } from './config.js';
import { NotebookConnection } from './connection.js';
import { findRegistry } from './registry.js';

/** What the front end passes to a view of the widget. */
interface View {
  readonly model: Model;
  readonly el: HTMLElement;
}

function render({ model, el }: View): void {
  const config = model.get('config') as OutputConfig;
  const { servers } = findRegistry();
  const environment = findEnvironment();
  const connection = servers.get(config.server) ?? new NotebookConnection(config.server, environment);
  servers.set(config.server, connection);
  const line = document.createElement('div');
  line.style.cssText = 'color: var(--jp-ui-font-color2, #767676); font-size: var(--jp-ui-font-size1, 13px);';
  el.append(line);
  connection.add(line, config, config.portOnly === undefined ? new Comm(model, environment) : undefined);
}

export default { render };
