/**
 * The module of a widget: the output of a cell whose page is connected by the client within it. The kernel's own
 * messages reach it in every host, so it connects also if no port can be reached.
 */

import { findEnvironment } from '../connection/environment.js';
import { Comm, type Model } from './comm.js';
import type { OutputConfig } from './config.js';
import { NotebookConnection } from './connection.js';
import { findRegistry } from './registry.js';

/** What the front end passes to a view of the widget. The model forgets its listeners when the view is gone. */
interface View {
  readonly model: Pick<Model, 'get'>;
  readonly el: HTMLElement;
}

/** The comms of the widgets, by the servers' public names. Each lives as long as its widget, whose views come and go. */
const comms = new Map<string, Comm>();

function initialize({ model }: { readonly model: Model }): void {
  const config = model.get('config') as OutputConfig;
  comms.set(config.server, new Comm(model, findEnvironment()));
}

function render({ model, el }: View): void {
  const config = model.get('config') as OutputConfig;
  const { servers } = findRegistry();
  const connection = servers.get(config.server) ?? new NotebookConnection(config.server, findEnvironment());
  servers.set(config.server, connection);
  const line = document.createElement('div');
  line.style.cssText = 'color: var(--jp-ui-font-color2, #767676); font-size: var(--jp-ui-font-size1, 13px);';
  el.append(line);
  connection.add(line, config, comms.get(config.server));
}

export default { initialize, render };
