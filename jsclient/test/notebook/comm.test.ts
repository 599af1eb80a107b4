/** What a page sends and receives over a widget's comm. */

import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { SocketLike } from '../../src/connection/environment.js';
import { ASK_TIMEOUT, Comm } from '../../src/notebook/comm.js';
import { COMM_BURST, COMM_MESSAGE_BYTES, COMM_WINDOW } from '../../src/protocol/comm.js';
import { FakeEnvironment } from '../fakes.js';
import { FakeModel } from './fake-comm.js';

let model: FakeModel;
let comm: Comm;
let socket: SocketLike;
let events: unknown[];

beforeEach(async () => {
  vi.useFakeTimers();
  model = new FakeModel();
  comm = new Comm(model, new FakeEnvironment());
  await open();
});

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

async function open(): Promise<void> {
  socket = comm.openSocket();
  events = [];
  for (const type of ['open', 'close'] as const) {
    socket.addEventListener(type, () => events.push(type));
  }
  socket.addEventListener('message', ({ data }) => events.push(data));
  await vi.advanceTimersByTimeAsync(0);
}

describe('a socket over a comm', () => {
  test('is open when the kernel has answered, and frames go both ways', () => {
    expect(events).toStrictEqual(['open']);
    expect(socket.readyState).toBe(1);
    socket.send('hello');
    socket.send(new Uint8Array([0, 1, 2, 3]).subarray(1, 3));
    expect(model.socket.sent).toStrictEqual(['hello', new Uint8Array([1, 2])]);
    model.socket.arrive('welcome');
    model.socket.arrive(new Uint8Array([3]).buffer);
    expect(events).toStrictEqual(['open', 'welcome', new Uint8Array([3]).buffer]);
    expect(socket.bufferedAmount).toBe(0);
  });

  test('takes buffers in every form that front ends have', () => {
    const frame = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array([0, 1, 0, 0, 0, text.charCodeAt(0)]);
    const content = { connection: model.socket.wire.name, type: 'data', acknowledged: 1 };
    model.deliver({ ...content, number: 2 }, [new DataView(frame('a').buffer)]);
    model.deliver({ ...content, number: 3 }, [frame('b')]);
    model.deliver({ ...content, number: 4 }, [frame('c').buffer]);
    const larger = new Uint8Array([9, 9, ...frame('d'), 9]);
    model.deliver({ ...content, number: 5 }, [larger.subarray(2, 8)]);
    const foreign = runInNewContext('new Uint8Array([0, 1, 0, 0, 0, 101]).buffer') as ArrayBuffer;
    model.deliver({ ...content, number: 6 }, [foreign]);
    model.deliver({ ...content, number: 7 }, [btoa(String.fromCharCode(...frame('f')))]);
    expect(events).toStrictEqual(['open', 'a', 'b', 'c', 'd', 'e', 'f']);
  });

  test.each<[string, unknown]>([
    ['not Base64', '§'],
    ['something else than bytes', null],
  ])('is closed on both sides when the front end hands over %s', (words, buffer) => {
    const name = model.socket.wire.name;
    model.deliver({ connection: name, type: 'data', number: 2, acknowledged: 1 }, [buffer as string]);
    expect(events).toStrictEqual(['open', 'close']);
    expect(model.socket.wire.whyEnded).toContain(words);
  });

  test('does not hear what is for another page', () => {
    model.deliver({ connection: 'another', type: 'close', number: 2, acknowledged: 0, reason: 'x' });
    model.deliver(null);
    expect(socket.readyState).toBe(1);
  });

  test('sends whole buffers of at most one message, and waits for acknowledgements', () => {
    model.isDeaf = true;
    socket.send(new Uint8Array((COMM_WINDOW + 1) * COMM_MESSAGE_BYTES));
    expect(model.sent.filter(({ type }) => type === 'data')).toHaveLength(COMM_WINDOW);
    expect(socket.bufferedAmount).toBe(COMM_MESSAGE_BYTES + 5);
    model.deliver({ connection: model.socket.wire.name, type: 'ack', number: 0, acknowledged: COMM_WINDOW + 1 });
    expect(socket.bufferedAmount).toBe(0);
  });

  test('sends what is too much at once in its time', async () => {
    for (let count = 0; count < COMM_BURST + 1; count++) {
      socket.send('x');
      model.socket.arrive('y');
    }
    expect(model.socket.sent.length).toBeLessThan(COMM_BURST + 1);
    await vi.advanceTimersByTimeAsync(100);
    expect(model.socket.sent).toHaveLength(COMM_BURST + 1);
  });

  test('answers the frames of one message with one message', () => {
    socket.addEventListener('message', ({ data }) => {
      socket.send(`answer to ${String(data)}`);
    });
    model.sent.length = 0;
    model.socket.wire.send('one');
    model.socket.wire.send('two');
    model.socket.flush();
    expect(model.socket.sent).toStrictEqual(['answer to one', 'answer to two']);
    expect(model.sent.filter(({ type }) => type === 'data')).toHaveLength(1);
  });

  test('closes when what was sent has left, and the kernel hears it', () => {
    socket.send('goodbye');
    socket.close();
    expect(model.socket.sent).toStrictEqual(['goodbye']);
    expect(model.socket.wire.whyEnded).toBe('the page has closed the connection');
    expect(events).toStrictEqual(['open', 'close']);
    expect(model.handlers).toStrictEqual([]);
  });

  test('is closed when the kernel closes it', () => {
    model.socket.wire.close('the server was closed');
    model.socket.flush();
    expect(events).toStrictEqual(['open', 'close']);
    expect(socket.readyState).toBe(3);
  });

  test('is closed on both sides when a message was lost', () => {
    const name = model.socket.wire.name;
    model.deliver({ connection: name, type: 'data', number: 5, acknowledged: 1 }, [new ArrayBuffer(0)]);
    expect(events).toStrictEqual(['open', 'close']);
    expect(model.socket.wire.whyEnded).toContain('messages were lost');
  });

  test('is closed when its comm takes nothing any more', () => {
    model.error = new Error('Cannot send');
    socket.send('x');
    expect(events).toStrictEqual(['open', 'close']);
  });

  test('finds out at once when the front end says that the comm may be gone', () => {
    model.socket.arrive('one');
    socket.send('x');
    model.fire('comm_live_update', undefined);
    model.socket.arrive('two');
    socket.send('y');
    expect(events).toStrictEqual(['open', 'one', 'two']);
    expect(model.socket.sent).toStrictEqual(['x', 'y']);
    model.error = new Error('Cannot send');
    model.fire('comm_live_update', undefined);
    expect(events).toStrictEqual(['open', 'one', 'two', 'close']);
  });

  test('that cannot even ask is closed, and says so to those who listen', async () => {
    model.error = new Error('Cannot send');
    await open();
    expect(events).toStrictEqual(['close']);
  });
});

describe('a page asks over a comm', () => {
  test('for what an output of now would say, for panels and for places', async () => {
    model.answers = { config: { ticket: '2.new' }, panels: { '1': {} }, place: {} };
    expect(await comm.requestConfig()).toStrictEqual({ ticket: '2.new' });
    expect(await comm.reportPanels('', ['1'])).toStrictEqual({ '1': {} });
    await comm.requestPlace('', 3);
    expect(model.asked.map(({ what, names, channel }) => [what, names, channel])).toStrictEqual([
      ['config', undefined, undefined],
      ['panels', ['1'], undefined],
      ['place', undefined, 3],
    ]);
  });

  test('and hears nothing of what others have asked', async () => {
    model.isDeaf = true;
    const config = comm.requestConfig();
    model.deliver({ type: 'told', asked: 'another', answer: 1 });
    model.deliver(null);
    await vi.advanceTimersByTimeAsync(ASK_TIMEOUT * 1000);
    expect(await config).toBeNull();
    expect(await Promise.race([comm.reportPanels('', []), vi.advanceTimersByTimeAsync(ASK_TIMEOUT * 1000)])).not.toBe(1);
  });

  test('and has no answer of a kernel that is gone', async () => {
    model.error = new Error('Cannot send');
    expect(await comm.requestConfig()).toBeNull();
    expect(await comm.reportPanels('', [])).toBeNull();
  });
});
