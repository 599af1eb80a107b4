/**
 * The script inside an output. It passes the outputs of this page to the client's script, and loads that from the
 * server if the page does not have it yet. It is saved with the notebook, so it is small. It loads only a script whose
 * hash it knows.
 */

import { findBases } from './bases.js';
import { isWorthTrying, type OutputConfig } from './config.js';
import { explainSilence } from './obstacles.js';
import { findRegistry } from './registry.js';

/** The time in seconds after which an output says that nothing has answered so far. It may still come. */
const SLOW = 3;

const registry = findRegistry();
const blocked: string[] = [];

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
    // It stays in the page until then: WebKit collects the callbacks of a script that is removed while it loads.
    script.onload = () => {
      script.remove();
      resolve();
    };
    script.onerror = () => {
      script.remove();
      load({ server, integrity } as OutputConfig, others).then(resolve, reject);
    };
    document.head.append(script);
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
  const bases = findBases(config, globalThis);
  let hasLoaded = false;
  const explain = async (otherwise: string): Promise<void> => {
    const words = (await explainSilence(bases, blocked, 'script-src and connect-src')) ?? otherwise;
    if (!hasLoaded) {
      element.textContent = `jchannel: ${words}`;
    }
  };
  const timer = setTimeout(() => {
    void explain('the server does not answer so far: its kernel is stopped, or runs code that lets no other thread run.');
  }, SLOW * 1000);
  document.addEventListener('securitypolicyviolation', note);
  const loading = registry.loads.get(server) ?? load(config, bases);
  registry.loads.set(server, loading);
  loading
    .then(
      () => {
        hasLoaded = true;
        registry.scripts.get(integrity)?.(element, config);
      },
      () => {
        registry.loads.delete(server);
        return explain(
          'the kernel behind this output is not running any more, or this page cannot reach it. Run the cell again; ' +
            'where Jupyter is on another machine, it needs jupyter-server-proxy.',
        );
      },
    )
    .finally(() => {
      clearTimeout(timer);
      document.removeEventListener('securitypolicyviolation', note);
    });
}

/** Note what the page's policy has blocked. */
function note({ blockedURI, disposition }: SecurityPolicyViolationEvent): void {
  if (disposition === 'enforce') {
    blocked.push(blockedURI);
  }
}

for (const element of document.querySelectorAll<HTMLElement>('[data-jchannel]')) {
  if (!registry.seen.has(element)) {
    registry.seen.add(element);
    connect(element);
  }
}
