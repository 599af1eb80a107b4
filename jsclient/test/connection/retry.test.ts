import { describe, expect, test } from 'vitest';
import { makeRetryPolicy, Retry } from '../../src/connection/retry.js';

describe('the policy of connecting again', () => {
  test('has defaults', () => {
    expect(makeRetryPolicy({ cap: 1 })).toStrictEqual({ base: 0.25, factor: 2, cap: 1, spread: 1, giveUpAfter: 600 });
  });

  test.each([{ base: -1 }, { factor: 0.5 }, { cap: -1 }, { spread: -1 }, { spread: 2 }, { giveUpAfter: -1 }])('has limits: %o', (options) => {
    expect(() => makeRetryPolicy(options)).toThrow(RangeError);
  });

  test.each([{ base: NaN }, { factor: '2' }, { cap: null }])('takes numbers only: %o', (options) => {
    expect(() => makeRetryPolicy(options as never)).toThrow(TypeError);
  });

  test('refuses an option that it does not have, and names those that it has', () => {
    const words = 'reconnect has no option giveup. Its options are base, factor, cap, spread, giveUpAfter.';
    expect(() => makeRetryPolicy({ giveup: 1 } as never)).toThrow(words);
    expect(() => makeRetryPolicy(5 as never)).toThrow('The options of reconnect must be an object. They are 5.');
  });

  test('refuses a base that the cap takes back, and takes it with a greater cap', () => {
    expect(() => makeRetryPolicy({ base: 20 })).toThrow(
      'The option reconnect.base is 20, and reconnect.cap limits it to 10. Give a greater reconnect.cap, too.',
    );
    expect(makeRetryPolicy({ base: 20, cap: 30 })).toMatchObject({ base: 20, cap: 30 });
    expect(makeRetryPolicy({ cap: 0.1 })).toMatchObject({ cap: 0.1 });
  });

  test('lets waits grow up to the cap', () => {
    const retry = new Retry(makeRetryPolicy({}), () => 1);
    expect(Array.from({ length: 8 }, () => retry.next())).toStrictEqual([0.25, 0.5, 1, 2, 4, 8, 10, 10]);
  });

  test('draws waits from their whole range', () => {
    const retry = new Retry(makeRetryPolicy({}), () => 0);
    expect(retry.next()).toBe(0);
  });

  test('draws as much of a wait as the spread says', () => {
    expect(new Retry(makeRetryPolicy({ base: 1, spread: 0.5 }), () => 0.5).next()).toBe(0.75);
    expect(new Retry(makeRetryPolicy({ base: 1, spread: 0 }), () => 0.5).next()).toBe(1);
  });

  test('makes waits short again after a connection that has lasted', () => {
    const retry = new Retry(makeRetryPolicy({}), () => 1);
    retry.next();
    retry.markLasting();
    expect(retry.next()).toBe(0.25);
  });

  test('gives up when the time is spent', () => {
    const retry = new Retry(makeRetryPolicy({ giveUpAfter: 10 }), () => 1);
    retry.spend(10);
    expect(retry.next()).toBeNull();
  });

  test('counts the time from the last connection on', () => {
    const retry = new Retry(makeRetryPolicy({ giveUpAfter: 10 }), () => 1);
    retry.spend(10);
    retry.markConnected();
    expect(retry.next()).toBe(0.25);
  });
});
