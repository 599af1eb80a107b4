/**
 * SHA-256 and HMAC, from FIPS 180-4 and RFC 2104. Browsers have them only in pages of secure origins, and the page of a
 * notebook may come from another machine over plain HTTP.
 */

const BLOCK = 64;

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes, and of the square roots of 8. */
const [K, START] = (() => {
  const primes: number[] = [];
  for (let n = 2; primes.length < 64; n++) {
    if (primes.every((prime) => n % prime !== 0)) {
      primes.push(n);
    }
  }
  const fraction = (root: number): number => Math.floor((root - Math.floor(root)) * 2 ** 32);
  return [primes.map((prime) => fraction(Math.cbrt(prime))), primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)))];
})();

/** Return the SHA-256 of bytes. */
export function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const padded = new DataView(new ArrayBuffer(Math.ceil((bytes.length + 9) / BLOCK) * BLOCK));
  new Uint8Array(padded.buffer).set(bytes);
  padded.setUint8(bytes.length, 0x80);
  padded.setBigUint64(padded.byteLength - 8, BigInt(bytes.length) * 8n);
  const hash = Uint32Array.from(START);
  const words = new Uint32Array(64);
  for (let offset = 0; offset < padded.byteLength; offset += BLOCK) {
    for (let i = 0; i < 64; i++) {
      words[i] = i < 16 ? padded.getUint32(offset + i * 4) : extend(words, i);
    }
    const rounds = new Uint32Array(hash);
    for (let i = 0; i < 64; i++) {
      mix(rounds, at(K, i) + at(words, i));
    }
    for (let i = 0; i < 8; i++) {
      hash[i] = at(hash, i) + at(rounds, i);
    }
  }
  const result = new DataView(new ArrayBuffer(32));
  hash.forEach((word, i) => {
    result.setUint32(i * 4, word);
  });
  return new Uint8Array(result.buffer);
}

/** Return the HMAC-SHA-256 of a text, with a key of at most 64 characters, as hexadecimal digits. Both are ASCII. */
export function hmac(key: string, text: string): string {
  const encoder = new TextEncoder();
  const block = new Uint8Array(BLOCK);
  block.set(encoder.encode(key));
  const inner = sha256(Uint8Array.of(...block.map((byte) => byte ^ 0x36), ...encoder.encode(text)));
  const outer = sha256(Uint8Array.of(...block.map((byte) => byte ^ 0x5c), ...inner));
  return toHex(outer);
}

/** Return bytes as lower-case hexadecimal digits. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function at(words: Readonly<Record<number, number>>, index: number): number {
  return Number(words[index]);
}

function rotate(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}

function extend(words: Uint32Array, i: number): number {
  const early = at(words, i - 15);
  const late = at(words, i - 2);
  return (
    at(words, i - 16) +
    (rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3)) +
    at(words, i - 7) +
    (rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10))
  );
}

/** Apply one round: shift the eight words by one, and change two of them. */
function mix(words: Uint32Array, input: number): void {
  const [a, b, c, d, e, f, g, h] = words as unknown as [number, number, number, number, number, number, number, number];
  const first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + input;
  const second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
  words.set([first + second, a, b, c, d + first, e, f, g]);
}
