import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Alarm } from '../../src/requests/alarm.js';
import { FakeEnvironment } from '../fakes.js';

const environment = new FakeEnvironment();
let due: number;
let onDue: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  due = environment.clock() + 1000;
  onDue = vi.fn();
});

afterEach(() => {
  vi.useRealTimers();
});

test('an alarm goes off once, when its time has come', () => {
  new Alarm(environment, () => due, onDue);
  vi.advanceTimersByTime(999);
  expect(onDue).not.toHaveBeenCalled();
  vi.advanceTimersByTime(100_000);
  expect(onDue).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
});

test('an alarm whose time has passed goes off by itself, and not at once', () => {
  due -= 5000;
  new Alarm(environment, () => due, onDue);
  expect(onDue).not.toHaveBeenCalled();
  vi.advanceTimersByTime(0);
  expect(onDue).toHaveBeenCalledTimes(1);
});

test('an alarm can be put off', () => {
  new Alarm(environment, () => due, onDue);
  vi.advanceTimersByTime(900);
  due += 500;
  vi.advanceTimersByTime(599);
  expect(onDue).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(onDue).toHaveBeenCalledTimes(1);
});

test('an alarm may be set for later than a timer can', () => {
  due = environment.clock() + 3e9;
  new Alarm(environment, () => due, onDue);
  vi.advanceTimersByTime(3e9 - 1);
  expect(onDue).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(onDue).toHaveBeenCalledTimes(1);
});

test('an alarm that was stopped is silent', () => {
  const alarm = new Alarm(environment, () => due, onDue);
  alarm.stop();
  vi.advanceTimersByTime(5000);
  expect(onDue).not.toHaveBeenCalled();
});
