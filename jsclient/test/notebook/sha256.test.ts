/** SHA-256 and HMAC, compared with Node's. */

import { createHash, createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { hmac, sha256, toHex } from '../../src/notebook/sha256.js';

test.each([0, 1, 3, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000])('hashes %d bytes as Node does', (length) => {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 37 + 11) % 256);
  expect(toHex(sha256(bytes))).toBe(createHash('sha256').update(bytes).digest('hex'));
});

test.each([
  ['key', 'text'],
  ['k'.repeat(64), 'x'.repeat(200)],
  ['token-of_43-characters', ''],
])('signs with the key %s as Node does', (key, text) => {
  expect(hmac(key, text)).toBe(createHmac('sha256', key).update(text).digest('hex'));
});
