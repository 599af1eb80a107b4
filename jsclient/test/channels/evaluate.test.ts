import { describe, expect, test, vi } from 'vitest';
import { evaluateCode } from '../../src/channels/evaluate.js';

describe('the code of a channel', () => {
  test.each([
    ['an arrow function', '(channel) => channel'],
    ['a function expression', 'function (channel) { return channel; }'],
    ['a named async function', 'async function open(channel) { return channel; }'],
    ['white space round it', '\n\n  (c) => c \n '],
    ['one semicolon', 'c => c;'],
    ['a semicolon and white space', 'c => c ;\n  '],
    ['comments before it', '// first\n/* second */ c => c'],
    ['comments after it', 'c => c // last; really'],
    ['a semicolon and comments after it', 'c => { ; } ; /* one * ; */ // two ;\n // three'],
    ['a semicolon that ends a comment', 'c => c // a comment;'],
    ['a text that ends in what looks like a comment', '((s) => c => c)("; // no comment")'],
  ])('may be %s', (_, code) => {
    expect(evaluateCode(code, 1)).toBeTypeOf('function');
  });

  test.each([
    ['a number', '42', 'It gives a value of the type number.'],
    ['null', 'null', 'It gives null.'],
    ['an object', '{ handler: 1 }', 'It gives a value of the type object.'],
  ])('must not give %s', (_, code, message) => {
    expect(() => evaluateCode(code, 1)).toThrow(TypeError);
    expect(() => evaluateCode(code, 1)).toThrow(message);
  });

  test.each(['', 'c => {', 'c => c;;', 'const f = 1;', 'a; b => c'])('must be one expression: %s', (code) => {
    expect(() => evaluateCode(code, 1)).toThrow(SyntaxError);
  });

  test('may throw what it likes', () => {
    expect(() => evaluateCode('missing.f', 1)).toThrow(ReferenceError);
  });

  test('that throws an EvalError of its own has no refusal to explain', () => {
    expect(() => evaluateCode('(() => { throw new EvalError("mine") })()', 1)).toThrow(/^mine$/);
  });

  test('sees the global scope and no other', () => {
    vi.stubGlobal('onlyGlobal', 5);
    expect(evaluateCode('() => [typeof onlyGlobal, typeof evaluateGlobally]', 1)({} as never)).toStrictEqual([
      'number',
      'undefined',
    ]);
  });

  test('is named in stacks, with its own lines', () => {
    const fail = evaluateCode('() => {\n  throw new Error("x");\n}', 7);
    let stack: string | undefined;
    try {
      fail({} as never);
    } catch (error) {
      stack = (error as Error).stack;
    }
    expect(stack).toContain('jchannel-channel-7.js:2:');
  });
});

describe('a page whose policy forbids to evaluate code', () => {
  test.each([
    ['Refused.', "add 'unsafe-eval' to the policy's script-src"],
    ["This document requires 'TrustedScript' assignment.", "remove require-trusted-types-for 'script' from the policy"],
  ])('says so, and what to do: %s', async (refusal, advice) => {
    vi.resetModules();
    vi.stubGlobal('eval', () => {
      throw new EvalError(refusal);
    });
    const { evaluateCode: evaluate } = await import('../../src/channels/evaluate.js');
    expect(() => evaluate('c => c', 1)).toThrow(EvalError);
    expect(() => evaluate('c => c', 1)).toThrow(
      "The page's Content Security Policy does not let it evaluate the code of a channel. Open the channel with a " +
        `module of the page, such as open(module="./channel.js"), or ${advice}. The browser says: EvalError: ${refusal}`,
    );
  });
});
