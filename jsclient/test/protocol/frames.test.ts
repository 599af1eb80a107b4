import { describe, expect, test } from 'vitest';
import { BATCH_LIMIT, countBatch, decodeFrame, encodeFrame } from '../../src/protocol/frames.js';
import { encodeMessage, type Message } from '../../src/protocol/messages.js';
import { pack } from '../../src/protocol/values.js';
import { joinFrame } from '../join-frame.js';

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

describe('a large array that is sent', () => {
  const large = new Uint8Array(64 * 1024).fill(7);

  function encode(message: object): Uint8Array<ArrayBuffer> {
    return encodeFrame([encodeMessage({ type: 'result', id: 1, ...message } as Message)]) as Uint8Array<ArrayBuffer>;
  }

  test('is copied once: the rest of its frame is written before the copy', () => {
    const value = pack([large], 'value');
    const frame = encode({ value });
    expect(frame.buffer).toBe(value.attachments[0]?.data.buffer);
    expect(decodeFrame(joinFrame(frame))).toStrictEqual([{ type: 'result', id: 1, value: [large] }]);
  });

  test('leaves nothing of the frame before where it is sent again', () => {
    const value = pack([large], 'value');
    encode({ value, id: 123_456_789_012 });
    expect(encode({ value })).toStrictEqual(encode({ value: [large] }));
  });

  test.each([
    ['behind much else', ['x'.repeat(1024), large]],
    ['beside another one', [large, new Float64Array([1]), large]],
  ])('is copied into its frame %s', (_, value) => {
    expect(decodeFrame(joinFrame(encode({ value })))).toStrictEqual([{ type: 'result', id: 1, value }]);
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
