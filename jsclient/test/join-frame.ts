/** Frames as they arrive. */

import type { Frame } from '../src/protocol/frames.js';

/** Return a frame as it arrives, in a buffer of its own. */
export function joinFrame(frame: Frame): string | ArrayBuffer {
  return typeof frame === 'string' ? frame : frame.slice().buffer;
}
