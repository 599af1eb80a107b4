/** Evaluating the code of a channel, which must give its initialization function. */

import type { Channel } from './channel.js';

/** The function that a channel's code gives. */
export type Initialize = (channel: Channel) => unknown;

// One semicolon after which only white space and comments come. No part of it can match the same text in two ways, so
// that matching does not take exponential time.
const TRAILING_SEMICOLON = /;(?=(?:\s|\/\/[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)*$)/u;

// Called by another name, eval sees the global scope and not this module's.
const evaluateGlobally = eval;

/**
 * Evaluates the code of a channel in the global scope, as an expression.
 *
 * @param code - The code. White space and comments round the expression and one semicolon after it do no harm.
 * @param id - The channel's id, which names the code in stacks and debuggers.
 * @throws SyntaxError or whatever else the code itself throws; TypeError when it gives anything but a function.
 */
export function evaluateCode(code: string, id: number): Initialize {
  const value = evaluateExpression(code, `//# sourceURL=jchannel-channel-${String(id)}.js`);
  if (typeof value !== 'function') {
    const given = value === null ? 'null' : `a value of the type ${typeof value}`;
    throw new TypeError(
      `The code of a channel must be a function that takes the channel, such as (channel) => { … }. It gives ${given}.`,
    );
  }
  return value as Initialize;
}

function evaluateExpression(code: string, footer: string): unknown {
  const wrap = (expression: string): string => `(${expression}\n)\n${footer}`;
  const shorter = code.replace(TRAILING_SEMICOLON, '');
  if (shorter === code || isExpression(wrap(code))) {
    return evaluateGlobally(wrap(code)) as unknown;
  }
  return evaluateGlobally(wrap(shorter)) as unknown;
}

/** Whether a text can be parsed. Nothing of it runs. */
function isExpression(text: string): boolean {
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- only this parses code without running it
    new Function(text);
    return true;
  } catch {
    return false;
  }
}
