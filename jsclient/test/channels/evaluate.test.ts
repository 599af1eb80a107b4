import { afterEach, describe, expect, test, vi } from 'vitest';
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

describe('code that cannot be parsed', () => {
  /** Stub a browser that tells where the last SyntaxError was. */
  function stubBrowser(place: Partial<ErrorEvent>): Event[] {
    const target = new EventTarget();
    const events: Event[] = [];
    vi.stubGlobal('addEventListener', target.addEventListener.bind(target));
    vi.stubGlobal('removeEventListener', target.removeEventListener.bind(target));
    vi.stubGlobal('reportError', () => {
      const event = Object.assign(new Event('error', { cancelable: true }), place);
      target.dispatchEvent(event);
      events.push(event);
    });
    return events;
  }

  function stackOf(code: string): string | undefined {
    try {
      evaluateCode(code, 7);
    } catch (error) {
      return (error as Error).stack;
    }
    return undefined;
  }

  test('has its place in the stack, as the browser tells, and is no error of the page’s', () => {
    const events = stubBrowser({ lineno: 2, colno: 9, filename: 'x' });
    expect(stackOf('c => {\n  let a = ;\n}')).toMatch(/^SyntaxError: .*\n {4}at jchannel-channel-7.js:2:9$/u);
    expect(events.map(({ defaultPrevented }) => defaultPrevented)).toStrictEqual([true]);
  });

  test.each([
    ['c => {', 2, 1, '1:8'],
    ['c => {\n  f(', 9, 1, '2:5'],
    ['c => {', 1, 99, '1:8'],
    ['', 2, 1, '1:2'],
  ])('that ends too early is wrong at its end: %s', (code, lineno, colno, place) => {
    stubBrowser({ lineno, colno, filename: '' });
    expect(stackOf(code)).toContain(`at jchannel-channel-7.js:${place}`);
  });

  test('has no place where the browser knows none', () => {
    expect(stackOf('c => {')).not.toContain('jchannel-channel-7.js:');
    stubBrowser({ lineno: 0, colno: 0, filename: '' });
    expect(stackOf('c => {')).not.toContain('jchannel-channel-7.js:');
    vi.stubGlobal('reportError', () => undefined);
    expect(stackOf('c => {')).not.toContain('jchannel-channel-7.js:');
  });

  test('is not what throws a SyntaxError when it runs', () => {
    const events = stubBrowser({ lineno: 2, colno: 9, filename: '' });
    expect(stackOf('JSON.parse("{")')).toContain('at JSON.parse');
    expect(events).toStrictEqual([]);
  });
});

describe('code that imports', () => {
  const importing = '() => ({ where: globalThis.where, load: () => import("./x.js") })';

  afterEach(() => {
    Reflect.deleteProperty(globalThis, Symbol.for('jchannel.evaluate'));
  });

  /** Stub a page, and return the scripts that were put into it. */
  function stubPage(run: (text: string) => void, nonce?: string): { textContent: string; nonce: string }[] {
    const scripts: { textContent: string; nonce: string }[] = [];
    vi.stubGlobal('document', {
      createElement: () => ({ remove: () => undefined }),
      querySelector: () => (nonce === undefined ? null : { nonce }),
      documentElement: {
        append: (script: { textContent: string; nonce: string }) => {
          scripts.push(script);
          run(script.textContent);
        },
      },
    });
    return scripts;
  }

  test.each([
    [undefined, ''],
    ['secret', 'secret'],
  ])('is evaluated by a script of the page, once there is one: nonce %s', (nonce, expected) => {
    const scripts = stubPage((text) => {
      (0, eval)(text);
    }, nonce);
    expect(evaluateCode(importing, 1)({} as never)).toMatchObject({ where: undefined });
    evaluateCode(importing, 2);
    expect(scripts.map((script) => script.nonce)).toStrictEqual([expected]);
  });

  test.each([
    ['that does not run it', () => undefined],
    [
      'that refuses it',
      () => {
        throw new TypeError('This document requires TrustedScript assignment.');
      },
    ],
  ])('is evaluated by the client in a page %s', (_, run) => {
    stubPage(run);
    expect(evaluateCode(importing, 1)).toBeTypeOf('function');
  });

  test('is evaluated by the client where there is no page', () => {
    expect(evaluateCode(importing, 1)).toBeTypeOf('function');
  });

  test('is the only one that needs it', () => {
    const scripts = stubPage(() => undefined);
    evaluateCode('() => "important"', 1);
    expect(scripts).toStrictEqual([]);
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
