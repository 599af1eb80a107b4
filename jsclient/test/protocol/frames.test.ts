import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../src/errors.js';
import { APART_FROM, type Attachment } from '../../src/protocol/attachments.js';
import {
  BATCH_LIMIT,
  countBatch,
  decodeFrame,
  encodeFrames,
  HEAD_LIMIT,
  type Frame,
} from '../../src/protocol/frames.js';
import { encodeMessage, type Message } from '../../src/protocol/messages.js';
import { pack } from '../../src/protocol/values.js';
import { encodeFrame, joinFrame } from '../frames.js';

function encodedSize(message: Message): number {
  return encodeMessage(message).size;
}

describe('the size of a message', () => {
  test.each(['plain', 'é', '漢', '😀', '\ud800'])('is that of its UTF-8: %s', (text) => {
    const message = { type: 'result', id: 1, value: text } as const;
    expect(encodedSize(message)).toBe(Buffer.byteLength(encodeMessage(message).text));
  });

  test('counts what is attached, with the most padding there may be', () => {
    const plain = encodedSize({ type: 'result', id: 1, value: null });
    const { text, size } = encodeMessage({ type: 'result', id: 1, value: new Uint8Array(100) });
    expect(size - text.length).toBe(108);
    expect(size).toBeGreaterThan(plain);
  });
});

describe('a batch', () => {
  const small = encodeMessage({ type: 'result', id: 1, value: 'x'.repeat(1000) });
  const large = encodeMessage({ type: 'result', id: 2, value: 'x'.repeat(BATCH_LIMIT) });

  test('holds all messages that fit', () => {
    expect(countBatch([small, small, small])).toBe(3);
  });

  test('ends before it exceeds its limit', () => {
    const messages = Array.from({ length: 1000 }, () => small);
    const count = countBatch(messages);
    expect((encodeFrame(messages.slice(0, count)) as string).length).toBeLessThanOrEqual(BATCH_LIMIT);
    expect((encodeFrame(messages.slice(0, count + 1)) as string).length).toBeGreaterThan(BATCH_LIMIT);
  });

  test('is one message where that alone exceeds it', () => {
    expect(countBatch([large, small])).toBe(1);
  });

  test('ends before it exceeds a smaller limit of a frame', () => {
    const messages = Array.from({ length: 1000 }, () => small);
    const count = countBatch(messages, 5000);
    expect((encodeFrame(messages.slice(0, count)) as string).length).toBeLessThanOrEqual(5000);
    expect(count).toBe(4);
  });

  test('ends before a message that is too large for it', () => {
    expect(countBatch([small, large])).toBe(1);
  });
});

describe('attachments', () => {
  const large = new Uint8Array(APART_FROM).fill(7);
  const short = large.slice(1);

  function encode(value: unknown, apartFrom?: number): Frame[] {
    const other = encodeMessage({ type: 'cancel', id: 1 });
    return encodeFrames([encodeMessage({ type: 'result', id: 1, value }), other], apartFrom);
  }

  function decode(frames: Frame[]): unknown {
    const [frame = '', ...apart] = frames.map(joinFrame);
    return decodeFrame(frame, ...apart);
  }

  test('leave apart where they are large on average', () => {
    const value = [large, { x: short }, new Uint8Array(1)];
    expect(encode(value)).toHaveLength(1);
    value[2] = new Uint8Array(APART_FROM + 1);
    const frames = encode(value);
    expect(frames.map((frame) => typeof frame)).toStrictEqual(['string', 'object', 'object', 'object']);
    expect(decode(frames)).toStrictEqual([
      { type: 'result', id: 1, value },
      { type: 'cancel', id: 1 },
    ]);
  });

  test.each([
    ['one that is not', short],
    ['one that is not beside one that is', [large, short]],
  ])('stay in their frame where there is %s', (_, value) => {
    const frames = encode(value);
    expect(frames).toHaveLength(1);
    expect(decode(frames)).toMatchObject([{ type: 'result', value }, { type: 'cancel' }]);
  });

  test('do not leave apart from a frame that is large itself, which is refused', () => {
    const words = 'x'.repeat(HEAD_LIMIT);
    expect(encode([large, words])).toHaveLength(1);
    const [head = ''] = encode([large, '']);
    const grown = (head as string).replace('""', JSON.stringify(words));
    expect(() => decode([grown])).toThrow(
      new ProtocolError(`a frame of ${String(grown.length)} bytes has its attachments apart, and 262144 are the most`),
    );
  });

  test('are no attachments in what is no message of the protocol', () => {
    expect(() => decodeFrame('[{"type":"x","attachments":[{"size":1}]}]')).toThrow(
      new ProtocolError('there is no message of the type "x"'),
    );
  });

  test('have a buffer of their own where they come apart', () => {
    const [frame = '', data = ''] = encode(new Int16Array([1, 2]), 0).map(joinFrame);
    const [message] = decodeFrame(frame, data) as unknown as [{ value: Int16Array }];
    expect(message.value).toStrictEqual(new Int16Array([1, 2]));
    expect(message.value.buffer).toBe(data);
  });

  test.each([
    ['missing', [], '2 attachments have not come'],
    ['missing in part', [[1, 2, 3]], '1 attachments have not come'],
    ['too long', [[1, 2, 3, 4]], 'a frame came in the place of an attachment of 3 bytes'],
    ['too short', [[1, 2, 3], []], 'a frame came in the place of an attachment of 1 bytes'],
    ['text', ['abc'], 'a frame came in the place of an attachment of 3 bytes'],
    ['too many', [[1, 2, 3], [4], [5]], 'a frame has come with more than its attachments'],
  ])('that are %s break the protocol', (_, apart, message) => {
    const [frame = ''] = encode([new Uint8Array(3), new Uint8Array(1)], 0).map(joinFrame);
    const frames = apart.map((data) => (typeof data === 'string' ? data : new Uint8Array(data).buffer));
    expect(() => decodeFrame(frame, ...frames)).toThrow(new ProtocolError(message));
  });
});

describe('bytes that leave in this step', () => {
  const borrow = (value: unknown): readonly Attachment[] => pack([value], 'args', undefined, true).attachments;

  test('are not copied where they are large', () => {
    const array = new Float64Array(APART_FROM / 8 + 1).subarray(1);
    const [attachment] = borrow(array);
    expect(attachment?.isBorrowed).toBe(true);
    expect(attachment?.data.buffer).toBe(array.buffer);
    expect([attachment?.data.byteOffset, attachment?.data.length]).toStrictEqual([8, APART_FROM]);
  });

  test.each([
    ['small', new Uint8Array(APART_FROM - 1)],
    ['shared', new Uint8Array(new SharedArrayBuffer(APART_FROM))],
    ['resizable', new Uint8Array(Reflect.construct(ArrayBuffer, [APART_FROM, { maxByteLength: 2 * APART_FROM }]) as ArrayBuffer)],
  ])('are copied where they are %s', (_, array) => {
    const [attachment] = borrow(array);
    expect(attachment?.isBorrowed).toBe(false);
    expect(attachment?.data.buffer).not.toBe(array.buffer);
    expect(attachment?.data.buffer).toBeInstanceOf(ArrayBuffer);
    expect(attachment?.data).toStrictEqual(new Uint8Array(array.length));
  });

  test('are copied where they need not leave in it', () => {
    const large = new Uint8Array(APART_FROM);
    expect(pack([large], 'args').attachments[0]?.data.buffer).not.toBe(large.buffer);
  });
});

describe('a received typed array', () => {
  function receive(value: unknown): { frame: ArrayBuffer; value: Record<string, Uint8Array> } {
    const frame = joinFrame(encodeFrame([encodeMessage({ type: 'result', id: 1, value })])) as ArrayBuffer;
    const [message] = decodeFrame(frame) as unknown as [{ value: Record<string, Uint8Array> }];
    return { frame, value: message.value };
  }

  test('looks at the buffer of its frame where it is the larger part of it', () => {
    const { frame, value } = receive({ a: new Uint8Array(1000) });
    expect(value['a']?.buffer).toBe(frame);
  });

  test('has a buffer of its own where it is not', () => {
    const { value } = receive({ a: new Uint8Array(1000), b: new Uint8Array(900) });
    expect(value['b']?.buffer.byteLength).toBe(900);
  });
});
