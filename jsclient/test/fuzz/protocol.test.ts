/** Fuzzing of the protocol's code: whatever comes, it breaks no promise. `scripts/fuzz` searches for longer. */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ProtocolError, StateError } from '../../src/errors.js';
import { Connection } from '../../src/protocol/connection.js';
import { decodeFrame } from '../../src/protocol/frames.js';
import { encodeMessage, type Message, type StreamInfo } from '../../src/protocol/messages.js';
import { decodePart } from '../../src/protocol/parts.js';
import { pack } from '../../src/protocol/values.js';
import { encodeFrame, joinFrame } from '../frames.js';
import { check, TIMEOUT } from './fuzz.js';

interface Vector {
  readonly frame: string;
  readonly binary: boolean;
}

function readVectors(name: string): Vector[] {
  return JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url), 'utf8')) as Vector[];
}

const VECTORS = [...readVectors('frames'), ...readVectors('invalid')].filter(({ frame }) => frame.length < 3000);

const WORDS = ['null', '[]', '{}', '{', '}', '[', ']', ',', '"type"', '"stream"', '"attachments"', '"__proto__"']
  .concat(['"path"', '1e400', '-0', '9007199254740992', '9'.repeat(401), '\\ud800', '"', ':', '\u0000', '-1', '0.5'])
  .map((word) => new TextEncoder().encode(word));

/** What is done to bytes at a place: replaced, deleted, inserted or repeated. */
const edits = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    size: fc.integer({ min: 0, max: 30 }),
    put: fc.oneof(fc.constantFrom(...WORDS), fc.uint8Array({ maxLength: 6 })),
    times: fc.constantFrom(0, 1, 1, 2, 30),
  }),
  { minLength: 1, maxLength: 4 },
);

type Edits = typeof edits extends fc.Arbitrary<infer Changes> ? Changes : never;

function edit(bytes: Uint8Array, changes: Edits): Uint8Array {
  let edited = [...bytes];
  for (const { at, size, put, times } of changes) {
    const begin = Math.floor(at * edited.length);
    edited = [...edited.slice(0, begin), ...Array.from({ length: times }, () => [...put]).flat(), ...edited.slice(begin + size)];
  }
  return Uint8Array.from(edited);
}

function toFrame(bytes: Uint8Array, binary: boolean): string | ArrayBuffer {
  return binary ? Uint8Array.from(bytes).buffer : new TextDecoder().decode(bytes);
}

const frames = fc.oneof(
  fc.tuple(fc.constantFrom(...VECTORS), edits).map(([{ frame, binary }, changes]) =>
    toFrame(edit(Buffer.from(frame, binary ? 'base64' : 'utf8'), changes), binary),
  ),
  fc.string({ unit: 'binary' }),
  fc.uint8Array({ maxLength: 60 }).map((bytes) => toFrame(bytes, true)),
  fc.json().map((json) => `[${json}]`),
);

/** Return what a function returns; `undefined` if it throws an error of one of some classes. */
function attempt<Value>(act: () => Value, ...classes: (new (...args: never[]) => Error)[]): Value | undefined {
  try {
    return act();
  } catch (error) {
    if (classes.some((known) => error instanceof known)) {
      expect((error as Error).message).not.toBe('');
      return undefined;
    }
    throw error;
  }
}

function write(messages: readonly Message[]): string | ArrayBuffer {
  return joinFrame(encodeFrame(messages.map(encodeMessage)));
}

test(
  'any frame is messages or a protocol error, and the messages can be written and read again',
  () => {
    check(
      fc.property(frames, (frame) => {
        const messages = attempt(() => decodeFrame(frame), ProtocolError);
        // A number such as 1e400 can be read and not be written.
        const written = messages && attempt(() => write(messages), RangeError);
        if (written !== undefined) {
          expect(write(decodeFrame(written))).toStrictEqual(written);
        }
      }),
      2000,
    );
  },
  TIMEOUT,
);

test(
  'any body is a part of a stream or a protocol error',
  () => {
    const bodies = fc.tuple(fc.constantFrom('more', 'last', 'fail', 'none'), fc.uint8Array({ maxLength: 30 }), edits);
    check(
      fc.property(bodies, fc.boolean(), ([mark, data, changes], isWhole) => {
        const body = new Uint8Array(8 + data.length);
        new DataView(body.buffer).setUint32(0, data.length, true);
        body.set(new TextEncoder().encode(mark), 4);
        body.set(data, 8);
        const given = isWhole ? body : Uint8Array.from(edit(body, changes));
        const part = attempt(() => decodePart(given.buffer), ProtocolError);
        if (isWhole && mark !== 'none') {
          expect(part?.data).toStrictEqual(Uint8Array.from(data));
        }
      }),
    );
  },
  TIMEOUT,
);

function travel(value: unknown): unknown {
  const [message] = decodeFrame(write([{ type: 'result', id: 1, value }]));
  return message?.type === 'result' ? message.value : undefined;
}

const values = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
    withObjectString: true,
    withSparseArray: true,
    withTypedArray: true,
    maxDepth: 4,
  }),
  fc.json().map((json): unknown => JSON.parse(json)),
  fc.integer({ min: 1, max: 400 }).map((depth) => {
    let value: unknown = 1;
    for (let level = 0; level < depth; level++) {
      value = level % 2 ? [value] : { a: value };
    }
    return value;
  }),
);

test(
  'any value is refused by name, or arrives',
  () => {
    check(
      fc.property(values, (value) => {
        const packed = attempt(() => pack(value, 'value'), TypeError, RangeError);
        if (packed !== undefined) {
          const arrived = pack(travel(packed), 'value');
          expect(arrived.text).toBe(packed.text);
          // What has arrived can be sent back, and arrives as the same. (A Uint8ClampedArray arrives as bytes.)
          expect(pack(travel(arrived), 'value')).toStrictEqual(arrived);
        }
      }),
      2000,
    );
  },
  TIMEOUT,
);

/** A step of two connections: an honest message, a delivery, or a lie. */
const steps = fc.array(
  fc.record({
    side: fc.constantFrom(0, 1),
    kind: fc.integer({ min: 0, max: 13 }),
    number: fc.integer({ min: 1, max: 9 }),
    value: fc.constantFrom(null, 1, 'x'.repeat(90), 'x'.repeat(90_000), [1, { a: Uint8Array.of(1) }], Uint8Array.of(1, 2)),
    stream: fc.constantFrom(undefined, 'data', 'open'),
  }),
  { maxLength: 60 },
);

class Pair {
  readonly sides: readonly [Connection, Connection];
  readonly asked = [new Map<number, string>(), new Map<number, string>()] as const;

  constructor() {
    this.sides = [new Connection('server', 100_000), new Connection('page')];
    const [server, page] = this.sides;
    page.send({ type: 'hello', client: 'fuzz' });
    this.deliver(1);
    server.send({ type: 'welcome', beat: 15, frame_limit: 100_000, cancel_wait: 1, channels: [] });
    this.deliver(0);
  }

  get isLive(): boolean {
    return this.sides.every(({ state }) => state === 'ready');
  }

  /** What an honest side sends is understood by an honest one. */
  deliver(sender: 0 | 1): void {
    const [near, far] = [this.sides[sender], this.sides[sender === 0 ? 1 : 0]];
    for (let frame = near.nextFrame(); frame !== null; frame = near.nextFrame()) {
      for (const message of far.receive(joinFrame(frame))) {
        if (message.type === 'call' || message.type === 'pipe' || message.type === 'echo' || message.type === 'open') {
          this.asked[sender].set(message.id, message.type);
        }
      }
    }
    expect(near.waiting).toBe(0);
  }

  /** Announce a stream of a side, as far as the step asks for one. */
  announce(sender: 0 | 1, stream: string | undefined): { stream?: StreamInfo } {
    const id = this.sides[sender].nextStream;
    if (stream === undefined) {
      return {};
    }
    const ticket = sender === 0 ? { ticket: 'x'.repeat(22) } : {};
    return { stream: stream === 'data' ? { id, total: 1, data: Uint8Array.of(1) } : { id, ...ticket } };
  }

  /** Answer the oldest request of the other side. */
  answer(sender: 0 | 1, value: unknown, stream: string | undefined): void {
    const asked = this.asked[sender === 0 ? 1 : 0];
    const [oldest] = asked;
    if (oldest !== undefined) {
      const [id, type] = oldest;
      const isStream = type === 'pipe' || (type === 'call' && stream !== undefined);
      this.sides[sender].send({
        type: 'result',
        id,
        value: isStream ? null : value,
        ...(isStream ? this.announce(sender, stream ?? 'data') : {}),
      });
      asked.delete(id);
    }
  }
}

test(
  'two sides that send what they may understand each other, and a lie is messages or a protocol error',
  () => {
    check(
      fc.property(steps, frames, (list, lie) => {
        const pair = new Pair();
        for (const { side, kind, number, value, stream } of list) {
          const sender = side;
          const near = pair.sides[sender];
          if (!pair.isLive) {
            break;
          }
          attempt(
            () => {
              if (kind <= 1) {
                near.request({ type: 'echo', channel: 1, args: [value] });
              } else if (kind <= 3) {
                near.request({ type: 'call', channel: 1, name: 'f', args: [value], ...pair.announce(sender, stream) });
              } else if (kind === 4) {
                near.request({ type: 'pipe', channel: 1, ...pair.announce(sender, stream ?? 'open') } as never);
              } else if (kind === 5) {
                near.send({ type: 'cancel', id: number });
              } else if (kind === 6) {
                near.send({ type: 'beat' });
              } else if (kind <= 9) {
                pair.answer(sender, value, stream);
              } else if (kind === 10) {
                near.send({ type: 'stop', stream: number });
              } else if (kind === 11) {
                near.send({ type: 'broken', stream: number, name: 'E', message: '' });
              }
            },
            StateError,
            RangeError,
          );
          if (kind >= 12) {
            pair.deliver(sender);
          }
        }
        pair.deliver(0);
        pair.deliver(1);
        const [server, page] = pair.sides;
        expect([server.unanswered, page.unanswered]).toStrictEqual([page.running, server.running]);
        attempt(() => page.receive(lie), ProtocolError);
        attempt(() => server.receive(lie), ProtocolError);
      }),
    );
  },
  TIMEOUT,
);
