/** Evaluating the code of a channel, an expression whose value is the initialization function. */

import type { ChannelApi } from './api.js';
import type { Channel } from './channel.js';
import { evaluateHere, findEvaluator } from './evaluators.js';
import { locateSyntaxError } from './syntax.js';

/**
 * The initialization function of a channel: its code, or the default export of its module. Python receives what it
 * returns.
 *
 * ```ts
 * import type { Initialize } from './jchannel/jchannel.js';
 *
 * const initialize: Initialize = (channel) => {
 *   channel.handler = { add: (a: number, b: number) => a + b };
 * };
 * export default initialize;
 * ```
 *
 * `Initialize<{ python: Handler; page: Page }>` says which methods the two sides have.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- with unknown, TypeScript asks each for a return value
export type Initialize<Api extends ChannelApi = ChannelApi> = (channel: Channel<Api>) => any;

// One semicolon after which only white space and comments come. No part of it can match the same text in two ways, so
// that matching does not take exponential time.
const TRAILING_SEMICOLON = /;(?=(?:\s|\/\/[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)*$)/u;

/**
 * Evaluate the code of a channel in the global scope, as an expression.
 *
 * @param code - The code. There may be white space and comments around the expression and one semicolon after it.
 * @param id - The channel's id, which names the code in stack traces and debuggers.
 * @throws TypeError if the value is not a function.
 * @throws EvalError if the page's Content Security Policy does not allow it.
 * @throws SyntaxError if the code cannot be parsed; and whatever the code itself throws.
 */
export function evaluateCode(code: string, id: number): Initialize {
  const value = evaluateAllowed(code, `jchannel-channel-${String(id)}.js`);
  if (typeof value !== 'function') {
    const given = value === null ? 'null' : `a value of the type ${typeof value}`;
    throw new TypeError(
      `The code of a channel must be a function that takes the channel, such as (channel) => { … }. It gives ${given}.`,
    );
  }
  return value as Initialize;
}

function evaluateAllowed(code: string, name: string): unknown {
  try {
    return evaluateExpression(code, name);
  } catch (error) {
    const refusal = findRefusal();
    throw refusal === undefined
      ? error
      : new EvalError(
          "The page's Content Security Policy does not let it evaluate the code of a channel. Open the channel with a " +
            `module of the page, such as open(module="./channel.js"), or ${adviseOn(refusal)}. ` +
            `The browser says: ${refusal}`,
        );
  }
}

/** Return what would let a page evaluate code that it may not evaluate. */
function adviseOn(refusal: string): string {
  return /trusted ?(?:type|script)/iu.test(refusal)
    ? "remove require-trusted-types-for 'script' from the policy"
    : "add 'unsafe-eval' to the policy's script-src";
}

/** Return what the browser says when a page may not evaluate anything. */
function findRefusal(): string | undefined {
  try {
    evaluateHere('0');
    return undefined;
  } catch (error) {
    return String(error);
  }
}

function evaluateExpression(code: string, name: string): unknown {
  const wrap = (expression: string): string => `(${expression}\n)\n//# sourceURL=${name}`;
  const shorter = code.replace(TRAILING_SEMICOLON, '');
  const expression = shorter === code || isExpression(wrap(code)) ? code : shorter;
  const text = wrap(expression);
  try {
    return findEvaluator(text)(text);
  } catch (error) {
    // What the code throws itself has a stack that leads into it.
    if (!isExpression(text)) {
      locateSyntaxError(error, name, `(${expression}`);
    }
    throw error;
  }
}

/** Return whether a text can be parsed, without running it. */
function isExpression(text: string): boolean {
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- only this parses code without running it
    new Function(text);
    return true;
  } catch {
    return false;
  }
}
