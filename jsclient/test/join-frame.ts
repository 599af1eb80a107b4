/** Joining the parts of frames. */

import type { Frame } from '../src/protocol/frames.js';

/** Return a frame as it arrives, in one piece. */
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
