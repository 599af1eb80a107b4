/** Evaluating text in the global scope. */

/** Evaluate a text in the global scope: called by another name, eval does not see this module's. */
export const evaluateHere = eval;

/** What a dynamic import looks like, also one in a comment. */
const IMPORT = /\bimport\s*\(/u;

const KEY = Symbol.for('jchannel.evaluate');

type Evaluate = (text: string) => unknown;

/**
 * Return what evaluates a text in the global scope, so that what it imports is relative to the page.
 *
 * Browsers take the script that evaluates a text for its referrer: a relative import in it would be relative to the
 * client's own script. So a text that imports is evaluated by a script of the page's, where its policy allows one.
 */
export function findEvaluator(text: string): Evaluate {
  return IMPORT.test(text) ? (findInPage() ?? evaluateHere) : evaluateHere;
}

function findInPage(): Evaluate | undefined {
  const scope = globalThis as unknown as { [KEY]?: Evaluate };
  const { document } = globalThis as Partial<Pick<typeof globalThis, 'document'>>;
  if (scope[KEY] === undefined && document !== undefined) {
    try {
      const script = document.createElement('script');
      // A policy that has a nonce allows the scripts that have it, too.
      script.nonce = document.querySelector<HTMLScriptElement>('script[nonce]')?.nonce ?? '';
      script.textContent = `globalThis[Symbol.for('jchannel.evaluate')] = (text) => (0, eval)(text);`;
      document.documentElement.append(script);
      script.remove();
    } catch {
      // A policy demands trusted types.
    }
  }
  return scope[KEY];
}
