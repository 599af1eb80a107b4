/** Connections over the messages of a comm, by the golden vectors that the Python suite reads, too. */

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { CommConnection, decodeCommMessage, isOfConnection } from '../../src/protocol/comm.js';

interface Shown {
  readonly base64: string;
  readonly zeros: number;
}

interface ShownFrame {
  readonly text?: string;
  readonly data?: Shown;
}

interface Step {
  readonly do: 'send' | 'next' | 'wait' | 'take' | 'close' | 'end' | 'why' | 'receive';
  readonly frame: ShownFrame;
  readonly frames: ShownFrame[];
  readonly waiting: number;
  readonly now: number;
  readonly seconds: number | null;
  readonly message: { readonly content: object; readonly buffers: Shown[] } | null;
  readonly content: Record<string, unknown>;
  readonly buffers: Shown[];
  readonly error: boolean;
  readonly reason: string;
  readonly why: string;
  readonly state?: string;
  readonly whyEnded?: string;
}

interface Vector {
  readonly name: string;
  readonly opens: boolean;
  readonly frameLimit: number;
  readonly steps: Step[];
}

const VECTORS = JSON.parse(
  readFileSync(new URL('../../../tests/vectors/comm.json', import.meta.url), 'utf8'),
) as Vector[];

function toBytes({ base64, zeros }: Shown): Uint8Array<ArrayBuffer> {
  const head = Buffer.from(base64, 'base64');
  const bytes = new Uint8Array(head.length + zeros);
  bytes.set(head);
  return bytes;
}

/** Return frames or buffers as texts: to compare large arrays takes seconds. */
function toTexts(frames: readonly (string | ArrayBuffer | Uint8Array<ArrayBuffer>)[]): string[] {
  return frames.map((frame) =>
    typeof frame === 'string'
      ? `text ${frame}`
      : Buffer.from(frame instanceof ArrayBuffer ? new Uint8Array(frame) : frame).toString('base64'),
  );
}

const toFrame = ({ text, data }: ShownFrame): string | Uint8Array<ArrayBuffer> =>
  text ?? toBytes(data ?? { base64: '', zeros: 0 });

function take(connection: CommConnection): (string | ArrayBuffer)[] {
  const frames = [];
  for (let frame = connection.nextFrame(); frame !== null; frame = connection.nextFrame()) {
    frames.push(frame);
  }
  return frames;
}

function runStep(connection: CommConnection, step: Step): void {
  switch (step.do) {
    case 'send':
      connection.send(toFrame(step.frame));
      expect(connection.waitingBytes).toBe(step.waiting);
      break;
    case 'next': {
      const message = connection.nextMessage(step.now);
      const buffers = message?.data === undefined ? [] : [message.data];
      expect(message === null ? null : JSON.stringify(message.content)).toBe(
        step.message === null ? null : JSON.stringify(step.message.content),
      );
      expect(toTexts(buffers)).toStrictEqual(toTexts((step.message?.buffers ?? []).map(toBytes)));
      break;
    }
    case 'wait': {
      const seconds = connection.wait(step.now);
      if (step.seconds === null) {
        expect(seconds).toBeNull();
      } else {
        expect(seconds).toBeCloseTo(step.seconds, 9);
      }
      break;
    }
    case 'take':
      expect(toTexts(take(connection))).toStrictEqual(toTexts(step.frames.map(toFrame)));
      break;
    case 'close':
      connection.close(step.reason);
      break;
    case 'end':
      connection.end(step.why);
      break;
    case 'receive': {
      const receive = (): void => {
        connection.receive(decodeCommMessage(step.content, step.buffers.map(toBytes)));
      };
      if (step.error) {
        expect(receive).toThrow(ProtocolError);
      } else {
        receive();
      }
      break;
    }
    case 'why':
  }
  expect(connection.state).toBe(step.state ?? connection.state);
  if (step.whyEnded !== undefined) {
    expect(connection.whyEnded).toBe(step.whyEnded);
  }
}

describe('what goes over a comm is as it is written', () => {
  test.each(VECTORS.map((vector) => [vector.name, vector] as const))('%s', (_, { opens, frameLimit, steps }) => {
    const connection = new CommConnection('c1', opens, frameLimit);
    expect(connection.name).toBe('c1');
    for (const step of steps) {
      runStep(connection, step);
    }
  });
});

test('a content belongs to a connection, to another one, or to none', () => {
  expect(isOfConnection({ connection: 'c1' }, 'c1')).toBe(true);
  expect(isOfConnection({ connection: 'c2' }, 'c1')).toBe(false);
  expect(isOfConnection(null, 'c1')).toBe(false);
  expect(isOfConnection('text', 'c1')).toBe(false);
});
