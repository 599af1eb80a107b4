/** Where the marks of an axis stand, and what is written beside them. */
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MONTH = 30.44 * DAY; // On average.
const CLOCK_STEPS = [
  1000, 5000, 15_000, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
];

/** The least of 1, 2 and 5 times a power of ten that is not less. */
const roundStep = (step) => {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= step);
};

/** The multiples of a step between two values. */
const multiples = (low, high, step) => {
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, index) => (first + index) * step);
};

const formatNumber = (value) => {
  const notation = Math.abs(value) >= 1e6 ? 'compact' : 'standard';
  const options = { maximumSignificantDigits: 6, useGrouping: 'min2', notation }; // Years have no comma.
  return value.toLocaleString('en', options).replace('-', '−');
};

const formatTime = (time, options) => new Date(time).toLocaleString('en', { timeZone: 'UTC', ...options });
const formatDay = (time) => formatTime(time, { day: 'numeric', month: 'short', year: 'numeric' });

/** Marks at round numbers, such as `{value: 0.5, label: '0.5'}`. */
const numberTicks = (low, high, count, least = 0) =>
  multiples(low, high, Math.max(least, roundStep((high - low) / count))).map((value) => ({ value, label: formatNumber(value) }));

/** Marks at round times, which are milliseconds since 1970. */
const timeTicks = (low, high, count) => {
  const pace = (high - low) / count;
  const step = CLOCK_STEPS.find((candidate) => candidate >= pace);
  if (step !== undefined) {
    return multiples(low, high, step).map((value) => {
      const date = { day: 'numeric', month: 'short' };
      const clock = { timeStyle: step < MINUTE ? 'medium' : 'short', hourCycle: 'h23' };
      return { value, label: formatTime(value, value % DAY === 0 ? date : clock) };
    });
  }
  const months = [1, 3, 6].find((count) => count * MONTH >= pace) ?? 12 * Math.ceil(roundStep(pace / MONTH / 12));
  const monthOf = (time) => (new Date(time).getUTCFullYear() - 1900) * 12 + new Date(time).getUTCMonth();
  return multiples(monthOf(low), monthOf(high), months)
    .map((month) => ({ value: Date.UTC(1900, month), isYear: month % 12 === 0 }))
    .filter(({ value }) => value >= low)
    .map(({ value, isYear }) => ({ value, label: formatTime(value, isYear ? { year: 'numeric' } : { month: 'short' }) }));
};
