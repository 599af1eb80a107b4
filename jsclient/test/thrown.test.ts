import { describe, expect, test } from 'vitest';
import { describeThrown } from '../src/thrown.js';

describe('a thrown value', () => {
  class CustomError extends Error {
    override readonly name = 'CustomError';
  }
  const unreadable = {
    get name(): string {
      throw new Error('no');
    },
    toString(): string {
      throw new Error('no');
    },
  };

  test.each([
    ['an Error', new RangeError('r'), 'RangeError', 'r'],
    ['an Error of its own class', new CustomError('c'), 'CustomError', 'c'],
    ['a DOMException', new DOMException('d', 'AbortError'), 'AbortError', 'd'],
    ['an Error without a message', new Error(), 'Error', ''],
    ['a text', 'oops', 'string', 'oops'],
    ['a number', 42, 'number', '42'],
    ['null', null, 'null', 'null'],
    ['undefined', undefined, 'undefined', 'undefined'],
    ['a symbol', Symbol('s'), 'symbol', 'Symbol(s)'],
    ['an object', { a: 1 }, 'Object', '[object Object]'],
    ['an object without a prototype', Object.create(null), 'Error', 'It cannot be shown as a text.'],
    ['an object that cannot be shown', unreadable, 'Object', 'It cannot be shown as a text.'],
    ['an Error that cannot be read', Object.assign(Object.create(new Error('m')) as object, { message: unreadable }), 'Error', 'It cannot be shown as a text.'],
    ['an Error of another realm', Object.assign(Object.create({ [Symbol.toStringTag]: 'Error' }) as object, { name: 'FarError', message: 'far' }), 'FarError', 'far'],
    ['a revoked proxy', ((pair) => { pair.revoke(); return pair.proxy; })(Proxy.revocable({}, {})), 'Error', 'It cannot be shown as a text.'],
  ])('is described: %s', (_, thrown, name, message) => {
    expect(describeThrown(thrown, 100)).toMatchObject({ name, message });
  });

  test.each([
    ['wrong@\n@\nrun@http://localhost/inject.js:1:1', 'wrong@jchannel-channel.js:4:6\n@\nrun@http://localhost/inject.js:1:1'],
    ['@', '@jchannel-channel.js:4:6'],
    ['f@http://localhost/x.js:4:6\n@', 'f@http://localhost/x.js:4:6\n@'],
  ])('has the place of the innermost call in its stack, where JavaScriptCore leaves it out: %s', (stack, expected) => {
    expect(describeThrown(Object.assign(new Error('m'), { stack, line: 4, column: 6 }), 100).stack).toBe(expected);
    expect(describeThrown(Object.assign(new Error('m'), { stack, line: 4 }), 100).stack).toBe(stack);
    expect(describeThrown(Object.assign(new Error('m'), { stack, column: 6 }), 100).stack).toBe(stack);
  });

  test('has its stack told', () => {
    expect(describeThrown(new Error('e'), 1000).stack).toContain('thrown.test');
  });

  test('has no stack where that is no text', () => {
    expect(describeThrown(Object.assign(new Error('e'), { stack: 5 }), 100)).not.toHaveProperty('stack');
  });

  test('is not told at any length', () => {
    const error = Object.assign(new Error('m'.repeat(20)), { name: 'n'.repeat(20), stack: 's'.repeat(20) });
    expect(describeThrown(error, 10)).toStrictEqual({
      name: 'n'.repeat(10),
      message: 'm'.repeat(10),
      stack: 's'.repeat(10),
    });
  });
});
