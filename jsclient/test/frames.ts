/** Frames as they leave and arrive. */

import { encodeFrames, type Frame } from '../src/protocol/frames.js';
import type { Encoded } from '../src/protocol/messages.js';

/** Return a frame as it arrives, in a buffer of its own. */
export function joinFrame(frame: Frame): string | ArrayBuffer {
  return typeof frame === 'string' ? frame : frame.slice().buffer;
}

/** Encode messages as one frame, with their attachments inside. */
export function encodeFrame(messages: readonly Encoded[]): Frame {
  return encodeFrames(messages, Infinity)[0];
}
