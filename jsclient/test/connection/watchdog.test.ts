import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Watchdog } from '../../src/connection/watchdog.js';
import { FakeEnvironment } from '../fakes.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('the watchdog', () => {
  test('tells of three beats of silence', () => {
    const onSilence = vi.fn();
    new Watchdog(new FakeEnvironment(), 10, onSilence);
    vi.advanceTimersByTime(29_999);
    expect(onSilence).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onSilence).toHaveBeenCalledOnce();
  });

  test('waits also for a beat that no timer can wait for', () => {
    const delays: number[] = [];
    const environment = new FakeEnvironment();
    const onSilence = vi.fn();
    environment.setTimeout = (callback, delay) => {
      delays.push(delay);
      return setTimeout(callback, delay);
    };
    new Watchdog(environment, 1_000_000, onSilence);
    vi.advanceTimersByTime(2_999_999_999);
    expect(onSilence).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onSilence).toHaveBeenCalledOnce();
    expect(delays).toStrictEqual([2_147_483_647, 852_516_353]);
  });

  test('counts from the last sign', () => {
    const onSilence = vi.fn();
    const watchdog = new Watchdog(new FakeEnvironment(), 10, onSilence);
    vi.advanceTimersByTime(20_000);
    watchdog.reset();
    vi.advanceTimersByTime(29_999);
    expect(onSilence).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onSilence).toHaveBeenCalledOnce();
  });

  test('is not confused by a clock that is set back', () => {
    const onSilence = vi.fn();
    new Watchdog(new FakeEnvironment(), 10, onSilence);
    vi.setSystemTime(Date.now() - 100_000);
    vi.advanceTimersByTime(30_000);
    expect(onSilence).not.toHaveBeenCalled();
  });

  test('excuses the silence of a time that this side slept through, once', () => {
    const onSilence = vi.fn();
    new Watchdog(new FakeEnvironment(), 10, onSilence);
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(30_000);
    expect(onSilence).not.toHaveBeenCalled();
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(30_000);
    expect(onSilence).toHaveBeenCalledOnce();
  });

  test('excuses it again after a sign', () => {
    const onSilence = vi.fn();
    const watchdog = new Watchdog(new FakeEnvironment(), 10, onSilence);
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(30_000);
    watchdog.reset();
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(30_000);
    expect(onSilence).not.toHaveBeenCalled();
  });

  test('is quiet when it is stopped', () => {
    const onSilence = vi.fn();
    new Watchdog(new FakeEnvironment(), 10, onSilence).stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
