import { describe, expect, test } from 'vitest';
import { findMethod, NothingToCallError } from '../../src/requests/handlers.js';

describe('the method of a handler', () => {
  class Base {
    inherited(): string {
      return 'inherited';
    }
  }
  class Handler extends Base {
    own = 1;
    arrow = (): string => 'arrow';
    nothing: undefined;
    get computed(): number {
      throw new Error('not to be read');
    }
    add(): string {
      return 'add';
    }
    _hidden(): void {
      throw new Error('private');
    }
  }

  function kindOf(handler: unknown, name: string): string {
    try {
      findMethod(handler, name);
      return 'found';
    } catch (error) {
      return error instanceof NothingToCallError ? error.kind : 'another error';
    }
  }

  test.each(['add', 'inherited', 'arrow'])('is found: %s', (name) => {
    expect(findMethod(new Handler(), name)()).toBe(name);
  });

  test.each([
    ['handler', null, 'add'],
    ['handler', undefined, 'add'],
    ['handler', 'text', 'at'],
    ['private', new Handler(), '_hidden'],
    ['private', new Handler(), '_missing'],
    ['private', new Handler(), '__proto__'],
    ['private', new Handler(), 'constructor'],
    ['private', { constructor: () => 1 }, 'constructor'],
    ['private', new Handler(), 'toString'],
    ['private', new Handler(), 'hasOwnProperty'],
    ['private', () => 1, 'call'],
    ['callable', new Handler(), 'own'],
    ['callable', new Handler(), 'nothing'],
    ['method', new Handler(), 'ad'],
    ['method', Object.create(null), 'toString'],
    ['method', new Handler(), ''],
    ['found', { toString: () => 'x' }, 'toString'],
    ['found', Math, 'sqrt'],
    ['found', Object.assign(() => 1, { go: () => 1 }), 'go'],
  ])('gives the kind %s', (kind, handler, name) => {
    expect(kindOf(handler, name)).toBe(kind);
  });

  test('is looked for with a message that names those that are there, and no private ones', () => {
    expect(() => findMethod(new Handler(), 'ad')).toThrow(
      "The handler has no method 'ad'. It has: arrow, add, inherited.",
    );
  });

  test('is looked for with a message that says when there is none', () => {
    expect(() => findMethod({ _hidden: () => 1 }, 'ad')).toThrow("The handler has no method 'ad'. It has no methods.");
  });

  test('is looked for with a message that does not become too long', () => {
    const handler = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`m${String(index)}`, () => 1]));
    expect(() => findMethod(handler, 'ad')).toThrow(/m18, m19, …\.$/u);
  });
});
