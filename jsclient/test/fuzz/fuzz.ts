/** How long properties are searched for counterexamples: the same few in every run, or new ones for some seconds. */

import fc from 'fast-check';

/** A number: search so many seconds for each property, with new examples. Empty: the suite's own, always the same. */
const SECONDS = Number(process.env['JCHANNEL_FUZZ_SECONDS'] ?? '0');

/** The milliseconds that a test of a property may take. */
export const TIMEOUT = 60_000 + SECONDS * 1000;

/** Check a property. What is found is reported with its seed, which repeats it. */
export function check(property: fc.IRawProperty<unknown>, numRuns = 300): void {
  void fc.assert(
    property,
    SECONDS === 0
      ? { seed: 1, numRuns }
      : {
          seed: Number(process.env['JCHANNEL_FUZZ_SEED'] ?? Date.now() % 2 ** 31),
          numRuns: Number.MAX_SAFE_INTEGER,
          interruptAfterTimeLimit: SECONDS * 1000,
        },
  );
}
