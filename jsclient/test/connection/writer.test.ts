import { describe, expect, test } from 'vitest';
import { MAX_HOPS, Writer } from '../../src/connection/writer.js';
import { APART_FROM } from '../../src/protocol/attachments.js';
import { Connection } from '../../src/protocol/connection.js';

describe('the writer', () => {
  function make(): { connection: Connection; writer: Writer; frames: unknown[] } {
    const connection = new Connection('page');
    connection.send({ type: 'hello', client: 'c' });
    connection.nextFrame();
    connection.receive('[{"type":"welcome","beat":15,"frame_limit":67108864,"cancel_wait":5,"channels":[]}]');
    const frames: unknown[] = [];
    return { connection, writer: new Writer(connection, (frame) => frames.push(frame)), frames };
  }

  /** Make requests, each in the microtask after the one before, and wait for all microtasks. */
  async function makeRequests(count: number, connection: Connection, writer: Writer): Promise<void> {
    const make = (left: number): void => {
      connection.request({ type: 'echo', channel: 1, args: [] });
      writer.wake();
      if (left > 1) {
        queueMicrotask(() => {
          make(left - 1);
        });
      }
    };
    make(count);
    await new Promise(setImmediate);
  }

  test('sends a single message in the same task', async () => {
    const { connection, writer, frames } = make();
    connection.request({ type: 'echo', channel: 1, args: [] });
    writer.wake();
    expect(frames).toHaveLength(0);
    await Promise.resolve();
    await Promise.resolve();
    expect(frames).toHaveLength(1);
  });

  test('sends together what is made in microtasks that follow each other', async () => {
    const { connection, writer, frames } = make();
    await makeRequests(50, connection, writer);
    expect(frames).toHaveLength(1);
  });

  test('does not let borrowed bytes wait, nor what is queued before them', async () => {
    const { connection, writer, frames } = make();
    connection.request({ type: 'echo', channel: 1, args: [1] });
    writer.wake();
    const large = new Uint8Array(APART_FROM);
    connection.request({ type: 'echo', channel: 1, args: [large] });
    writer.wake();
    expect(frames).toStrictEqual([expect.stringContaining('[1]') as unknown, large]);
    expect((frames[1] as Uint8Array).buffer).toBe(large.buffer);
    connection.request({ type: 'echo', channel: 1, args: [2] });
    writer.wake();
    expect(frames).toHaveLength(2);
    await new Promise(setImmediate); // All microtasks have run then.
    expect(frames).toHaveLength(3);
  });

  test('sends at once what was made while it was held, if that is all there is', () => {
    const { connection, writer, frames } = make();
    writer.hold();
    connection.request({ type: 'echo', channel: 1, args: [] });
    writer.wake();
    connection.request({ type: 'echo', channel: 1, args: [] });
    writer.wake();
    expect(frames).toHaveLength(0);
    writer.release(true);
    expect(frames).toHaveLength(1);
  });

  test('lets what was made while it was held wait for what is to follow', async () => {
    const { connection, writer, frames } = make();
    writer.hold();
    connection.request({ type: 'echo', channel: 1, args: [] });
    writer.wake();
    writer.release(false);
    expect(frames).toHaveLength(0);
    connection.request({ type: 'echo', channel: 1, args: [] });
    writer.wake();
    await new Promise(setImmediate);
    expect(frames).toHaveLength(1);
  });

  test('does not let messages wait for others for ever', async () => {
    const { connection, writer, frames } = make();
    await makeRequests(MAX_HOPS + 10, connection, writer);
    expect(frames).toHaveLength(2);
  });
});
