/** Frames as they arrive. */

import type { Frame } from '../src/protocol/frames.js';

/** Puts the parts of a frame together. */
export function joinFrame(frame: Frame): string | ArrayBuffer {
  if (typeof frame === 'string') {
    return frame;
  }
  const bytes = new Uint8Array(frame.size);
  let offset = 0;
  for (const part of frame.parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes.buffer;
}
