import { describe, expect, test } from 'vitest';
import { currentSignal, Invocation, runDuring } from '../src/invocation.js';

describe('the signal of an invocation', () => {
  test('is that of the innermost invocation, and the outer one comes back', () => {
    const outer = new Invocation(1, 1);
    const inner = new Invocation(2, 1);
    runDuring(outer, () => {
      runDuring(inner, () => {
        expect(currentSignal(1)).toBe(inner.signal);
      });
      expect(currentSignal(1)).toBe(outer.signal);
    });
  });

  test('is not that of another channel', () => {
    runDuring(new Invocation(1, 1), () => {
      expect(() => currentSignal(2)).toThrow('channel.signal can be read only while');
    });
  });

  test('aborts once, with the first reason', () => {
    const invocation = new Invocation(1, 1);
    const { signal } = invocation;
    invocation.abort('cancelled', 'first');
    invocation.abort('ended', 'second');
    expect(signal.reason).toMatchObject({ name: 'AbortError', message: 'first' });
    expect(invocation.end).toStrictEqual({ kind: 'cancelled', message: 'first' });
  });
});
