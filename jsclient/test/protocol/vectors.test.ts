/** The golden vectors, which the Python suite reads too. */

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { Connection } from '../../src/protocol/connection.js';
import { APART_FROM } from '../../src/protocol/attachments.js';
import { decodeFrame, encodeFrames } from '../../src/protocol/frames.js';
import { encodeMessage, type Message, type Role } from '../../src/protocol/messages.js';
import { pack } from '../../src/protocol/values.js';
import { decodePart } from '../../src/protocol/parts.js';
import { joinFrame } from '../frames.js';

interface GoodVector {
  readonly name: string;
  readonly frame: string;
  readonly binary: boolean;
  readonly apart?: string[];
  readonly messages: unknown[];
}

interface BadVector {
  readonly name: string;
  readonly role: Role;
  readonly state: 'opening' | 'ready';
  readonly frame: string;
  readonly binary: boolean;
  readonly apart?: string[];
}

interface NumberVector {
  readonly name: string;
  readonly text: string;
  readonly bits: string;
  readonly javascript?: string;
}

interface PartVector {
  readonly name: string;
  readonly body: string;
  readonly data?: string;
  readonly mark?: string;
}

interface VectorAttachment {
  readonly type: string;
  readonly shape?: number[];
  readonly base64: string;
}

const CLASSES = {
  bytes: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;

function readVectors(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url), 'utf8'));
}

function toFrame({ frame, binary }: { frame: string; binary: boolean }): string | ArrayBuffer {
  return binary ? new Uint8Array(Buffer.from(frame, 'base64')).buffer : frame;
}

function toFrames({ apart = [], ...vector }: GoodVector | BadVector): [string | ArrayBuffer, ...ArrayBuffer[]] {
  return [toFrame(vector), ...apart.map((data) => new Uint8Array(Buffer.from(data, 'base64')).buffer)];
}

function isAttachment(value: object): value is { $attachment: VectorAttachment } {
  return '$attachment' in value;
}

/** Return the value that a vector's JSON stands for. */
function toValue(json: unknown, clamp: boolean): unknown {
  if (Array.isArray(json)) {
    return json.map((item) => toValue(item, clamp));
  }
  if (typeof json !== 'object' || json === null) {
    return json;
  }
  if (!isAttachment(json)) {
    const entries = Object.entries(json).map(([key, value]) => [key, toValue(value, clamp)] as const);
    const record: Record<string, unknown> = {};
    for (const [key, value] of entries) {
      Object.defineProperty(record, key, { value, enumerable: true, writable: true, configurable: true });
    }
    return record;
  }
  const { type, shape, base64 } = json.$attachment;
  const { buffer } = new Uint8Array(Buffer.from(base64, 'base64'));
  if (type === 'number') {
    return new Float64Array(buffer)[0];
  }
  // A Uint8ClampedArray is sent as uint8 without a shape, and received as a Uint8Array.
  const Class =
    clamp && type === 'uint8' && shape === undefined ? Uint8ClampedArray : CLASSES[type as keyof typeof CLASSES];
  const array = new Class(buffer);
  return shape === undefined ? array : Object.defineProperty(array, 'shape', { value: shape });
}

/** Pack the values of a message as in a channel that keeps NaN, which changes nothing of others. */
function packKeepingNan(message: Message): Message {
  const packed = { ...message } as Record<string, unknown>;
  for (const field of ['args', 'value'] as const) {
    if (field in message) {
      packed[field] = pack(packed[field], field, 'keep');
    }
  }
  return packed as unknown as Message;
}

describe('a frame of the golden vectors', () => {
  for (const vector of readVectors('frames') as GoodVector[]) {
    test(`is decoded: ${vector.name}`, () => {
      const messages = decodeFrame(...toFrames(vector));
      expect(messages).toStrictEqual(toValue(vector.messages, false));
    });

    test(`is encoded to the byte: ${vector.name}`, () => {
      const messages = (toValue(vector.messages, true) as Message[]).map(packKeepingNan);
      const apartFrom = vector.apart === undefined ? APART_FROM : 0;
      const frames = encodeFrames(messages.map(encodeMessage), apartFrom).map(joinFrame);
      expect(frames).toStrictEqual(toFrames(vector));
    });
  }
});

describe('a frame that breaks the protocol is refused', () => {
  for (const vector of readVectors('invalid') as BadVector[]) {
    test(vector.name, () => {
      const connection = makeConnection(vector.role, vector.state);
      const before: (string | ArrayBuffer)[] = toFrames(vector);
      const last = before.pop() ?? '';
      for (const frame of before) {
        expect(connection.receive(frame)).toStrictEqual([]);
      }
      expect(() => connection.receive(last)).toThrow(ProtocolError);
    });
  }
});

describe('a number', () => {
  for (const { name, text, bits, javascript } of readVectors('numbers') as NumberVector[]) {
    test(`is read as its double, and written as JSON.stringify does: ${name}`, () => {
      const [message] = decodeFrame(`[{"type":"result","id":1,"value":${text}}]`);
      const value = message?.type === 'result' ? message.value : undefined;
      const view = new DataView(new ArrayBuffer(8));
      view.setFloat64(0, value as number);
      expect(view.getBigUint64(0)).toBe(BigInt(`0x${bits}`));
      const write = (): string => pack(value, 'value').text;
      if (javascript === undefined) {
        expect(write).toThrow('a number that JSON does not have');
      } else {
        expect(write()).toBe(javascript);
      }
    });
  }
});

describe('a part of a stream', () => {
  for (const { name, body, data, mark } of readVectors('parts') as PartVector[]) {
    test(`${mark === undefined ? 'is refused' : 'is read'}: ${name}`, () => {
      const read = (): unknown => decodePart(new Uint8Array(Buffer.from(body, 'base64')).buffer);
      if (data === undefined) {
        expect(read).toThrow(ProtocolError);
      } else {
        expect(read()).toStrictEqual({ data: new Uint8Array(Buffer.from(data, 'base64')), mark });
      }
    });
  }
});

function makeConnection(role: Role, state: 'opening' | 'ready'): Connection {
  const connection = new Connection(role);
  const ready = state === 'ready';
  if (role === 'page') {
    connection.send({ type: 'hello', client: 'c' });
    if (ready) {
      connection.receive('[{"type":"welcome","beat":15,"frame_limit":67108864,"cancel_wait":5,"channels":[]}]');
    }
  } else if (ready) {
    connection.receive('[{"type":"hello","client":"c"}]');
    connection.send({ type: 'welcome', beat: 15, frame_limit: 67_108_864, cancel_wait: 5, channels: [] });
  }
  return connection;
}
