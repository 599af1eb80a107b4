/**
 * The script inside an output. It passes the outputs of this page to the client's script, and loads that from the
 * server if the page does not have it yet. It is saved with the notebook, so it is small. It loads only a script whose
 * hash it knows.
 */

import { findBases } from './bases.js';
import { isWorthTrying, type OutputConfig } from './config.js';
import { findRegistry } from './registry.js';

const registry = findRegistry();

/** Load the client's script from the first of several base URLs that has the right one. */
function load({ server, integrity }: OutputConfig, [base, ...others]: readonly string[]): Promise<void> {
  return new Promise((resolve, reject: (error: Error) => void) => {
    if (base === undefined) {
      reject(new Error('There is no other address.'));
      return;
    }
    const script = document.createElement('script');
    script.src = `${base}/jchannel/notebook/${server}/client.js`;
    script.integrity = integrity;
    script.crossOrigin = 'anonymous';
    script.onload = () => {
      resolve();
    };
    script.onerror = () => {
      load({ server, integrity } as OutputConfig, others).then(resolve, reject);
    };
    document.head.append(script);
    script.remove();
  });
}

function connect(element: HTMLElement): void {
  const config = JSON.parse(element.dataset['jchannel'] ?? '') as OutputConfig;
  const { integrity, server } = config;
  const script = registry.scripts.get(integrity);
  if (script !== undefined) {
    script(element, config);
    return;
  }
  if (!isWorthTrying(config)) {
    return;
  }
  const loading = registry.loads.get(server) ?? load(config, findBases(config, globalThis));
  registry.loads.set(server, loading);
  loading.then(
    () => registry.scripts.get(integrity)?.(element, config),
    () => {
      registry.loads.delete(server);
      element.textContent =
        'jchannel: the kernel behind this output is not running any more, or this page cannot reach it. Run the cell ' +
        'again; where Jupyter is on another machine, it needs jupyter-server-proxy.';
    },
  );
}

for (const element of document.querySelectorAll<HTMLElement>('[data-jchannel]')) {
  if (!registry.seen.has(element)) {
    registry.seen.add(element);
    connect(element);
  }
}
