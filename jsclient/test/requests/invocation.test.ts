import { describe, expect, test } from 'vitest';
import { findBySignal, findCurrent, getCurrent, Invocation, runDuring, type InvocationHost } from '../../src/requests/invocation.js';
import { FakeEnvironment } from '../fakes.js';

function makeHost(): InvocationHost {
  return { environment: new FakeEnvironment(), expire: () => undefined, answerEnded: () => undefined };
}

const host = makeHost();

describe('the invocation that runs', () => {
  test('is the innermost one, and the outer one comes back', () => {
    const outer = new Invocation(1, 1, host);
    const inner = new Invocation(2, 1, host);
    runDuring(outer, () => {
      runDuring(inner, () => {
        expect(getCurrent(1)).toBe(inner);
      });
      expect(getCurrent(1)).toBe(outer);
    });
  });

  test('is not that of another channel', () => {
    runDuring(new Invocation(1, 1, host), () => {
      expect(() => getCurrent(2)).toThrow('channel.signal and channel.timeLeft can be read only while');
    });
  });

  test('is not that of another session', () => {
    const invocation = new Invocation(1, 1, host);
    runDuring(invocation, () => {
      expect(findCurrent(host)).toBe(invocation);
      expect(findCurrent(makeHost())).toBeUndefined();
    });
    expect(findCurrent(host)).toBeUndefined();
  });
});

describe('the signal of an invocation', () => {
  test('tells which invocation it belongs to, and only in its session', () => {
    const invocation = new Invocation(1, 1, host);
    expect(findBySignal(invocation.signal, host)).toBe(invocation);
    expect(findBySignal(invocation.signal, makeHost())).toBeUndefined();
    expect(findBySignal(new AbortController().signal, host)).toBeUndefined();
  });

  test('aborts once, with the first reason', () => {
    const invocation = new Invocation(1, 1, host);
    const { signal } = invocation;
    invocation.abort('cancelled', 'first');
    invocation.abort('ended', 'second');
    expect(signal.reason).toMatchObject({ name: 'AbortError', message: 'first' });
    expect(invocation.end).toStrictEqual({ kind: 'cancelled', message: 'first' });
  });
});
