/** Two connections, a page's and a server's, joined in memory. */

import { beforeEach, describe, expect, test } from 'vitest';
import { ProtocolError, StateError } from '../../src/errors.js';
import {
  Connection,
  PIECE_LIMIT,
  PIECES_BESIDE_MESSAGES,
  PIECES_UNDER_WAY,
  QUIET_BYTES,
  QUIET_TIME,
} from '../../src/protocol/connection.js';
import { APART_FROM, MAX_ATTACHMENTS } from '../../src/protocol/attachments.js';
import { BATCH_LIMIT, decodeFrame } from '../../src/protocol/frames.js';
import { encodeMessage, type Message } from '../../src/protocol/messages.js';
import { encodeFrame, joinFrame } from '../frames.js';

let page: Connection;
let server: Connection;

function deliver(from: Connection, to: Connection): Message[] {
  const messages = [];
  for (let frame = from.nextFrame(); frame !== null; frame = from.nextFrame()) {
    messages.push(...to.receive(joinFrame(frame)));
  }
  return messages;
}

function shakeHands(frameLimit = 67_108_864): void {
  page.send({ type: 'hello', client: 'c' });
  deliver(page, server);
  server.send({ type: 'welcome', beat: 15, frame_limit: frameLimit, cancel_wait: 5, channels: [] });
  deliver(server, page);
}

beforeEach(() => {
  page = new Connection('page');
  server = new Connection('server');
});

describe('the handshake', () => {
  test('makes both sides ready', () => {
    shakeHands();
    expect([page.state, server.state]).toStrictEqual(['ready', 'ready']);
  });

  test('gives the page the limit of the server', () => {
    shakeHands(5000);
    expect(page.frameLimit).toBe(5000);
  });

  test.each([
    [5000, 6000],
    [6000, 5000],
  ])('gives both sides the smaller limit of the way and of the server: %d, %d', (way, limit) => {
    server = new Connection('server', limit);
    page.send({ type: 'hello', client: 'c', frame_limit: way });
    deliver(page, server);
    server.send({ type: 'welcome', beat: 15, frame_limit: server.frameLimit, cancel_wait: 5, channels: [] });
    deliver(server, page);
    expect([page.frameLimit, server.frameLimit]).toStrictEqual([5000, 5000]);
  });

  test('leaves a page with the limit of its way where the server does not know of it', () => {
    page.send({ type: 'hello', client: 'c', frame_limit: 5000 });
    page.receive('[{"type":"welcome","beat":15,"frame_limit":67108864,"cancel_wait":5,"channels":[]}]');
    expect(page.frameLimit).toBe(5000);
  });

  test('may be ended by a goodbye', () => {
    page.send({ type: 'hello', client: 'c' });
    deliver(page, server);
    server.send({ type: 'goodbye', reason: 'taken', message: 'Another page is connected.' });
    expect(deliver(server, page)).toStrictEqual([
      { type: 'goodbye', reason: 'taken', message: 'Another page is connected.' },
    ]);
    expect([page.state, server.state]).toStrictEqual(['ended', 'ended']);
  });
});

describe('what a side may not send is refused there', () => {
  test('in the wrong state', () => {
    expect(() => page.request({ type: 'echo', channel: 1, args: [] })).toThrow(
      new StateError('A page cannot send echo while its connection is opening.'),
    );
  });

  test('in the wrong direction', () => {
    shakeHands();
    expect(() => {
      page.send({ type: 'close', id: 1, channel: 1 });
    }).toThrow(StateError);
  });

  test('as an answer to what was not asked', () => {
    shakeHands();
    expect(() => {
      page.send({ type: 'result', id: 1, value: null });
    }).toThrow(new StateError('There is no request 1 to answer.'));
  });

  test('as a second answer', () => {
    shakeHands();
    const id = server.request({ type: 'echo', channel: 1, args: [] });
    deliver(server, page);
    page.send({ type: 'result', id, value: [] });
    expect(() => {
      page.send({ type: 'result', id, value: [] });
    }).toThrow(StateError);
  });

  test('when it is larger than the other side takes', () => {
    shakeHands(5000);
    expect(() => page.request({ type: 'echo', channel: 1, args: ['x'.repeat(5000)] })).toThrow(
      new RangeError(
        'The message takes 5054 bytes, and the connection takes at most 5000 bytes at once. Send less at a time, or bytes as a stream.',
      ),
    );
  });

  test('and takes no id', () => {
    shakeHands();
    expect(() => page.request({ type: 'echo', channel: 1, args: [NaN] })).toThrow(RangeError);
    expect(page.request({ type: 'echo', channel: 1, args: [] })).toBe(1);
    expect(page.unanswered).toBe(1);
  });
});

describe('a request', () => {
  beforeEach(() => {
    shakeHands();
  });

  test('is answered once, and forgotten on both sides', () => {
    const id = page.request({ type: 'call', channel: 1, name: 'add', args: [1, 2] });
    expect(deliver(page, server)).toStrictEqual([{ type: 'call', id, channel: 1, name: 'add', args: [1, 2] }]);
    expect([page.unanswered, server.running]).toStrictEqual([1, 1]);
    server.send({ type: 'result', id, value: 3 });
    expect(deliver(server, page)).toStrictEqual([{ type: 'result', id, value: 3 }]);
    expect([page.unanswered, server.running]).toStrictEqual([0, 0]);
  });

  test('may be answered out of order', () => {
    const ids = [1, 2, 3].map((n) => server.request({ type: 'echo', channel: 1, args: [n] }));
    deliver(server, page);
    for (const id of [...ids].reverse()) {
      page.send({ type: 'result', id, value: null });
    }
    expect(deliver(page, server).map((message) => 'id' in message && message.id)).toStrictEqual([3, 2, 1]);
  });

  test('has ids of its own on each side', () => {
    expect(page.request({ type: 'echo', channel: 1, args: [] })).toBe(1);
    expect(server.request({ type: 'open', channel: 1, code: '' })).toBe(1);
    expect(server.request({ type: 'close', channel: 1 })).toBe(2);
  });

  test('is encoded as its values are when it is made', () => {
    const args = [[1]];
    page.request({ type: 'echo', channel: 1, args });
    args[0]?.push(2);
    expect(deliver(page, server)).toMatchObject([{ args: [[1]] }]);
  });

  test('can be cancelled while it runs', () => {
    const id = page.request({ type: 'echo', channel: 1, args: [] });
    page.send({ type: 'cancel', id });
    expect(deliver(page, server)).toMatchObject([{ type: 'echo' }, { type: 'cancel', id }]);
  });

  test('is not cancelled any more once its answer is there', () => {
    const id = page.request({ type: 'echo', channel: 1, args: [] });
    deliver(page, server);
    server.send({ type: 'result', id, value: [] });
    deliver(server, page);
    page.send({ type: 'cancel', id });
    expect(page.waiting).toBe(0);
  });

  test('that was answered ignores a cancel that crosses the answer', () => {
    const id = page.request({ type: 'echo', channel: 1, args: [] });
    deliver(page, server);
    server.send({ type: 'result', id, value: [] });
    page.send({ type: 'cancel', id });
    expect(deliver(page, server)).toStrictEqual([]);
  });

  test('cannot be answered twice by the other side', () => {
    page.request({ type: 'echo', channel: 1, args: [] });
    page.receive('[{"type":"result","id":1,"value":[]}]');
    expect(() => page.receive('[{"type":"result","id":1,"value":[]}]')).toThrow(ProtocolError);
  });

  test('and its answer share frames with others up to the limit of a batch', () => {
    for (let count = 0; count < 2000; count++) {
      page.request({ type: 'echo', channel: 1, args: ['x'.repeat(1000)] });
    }
    let frames = 0;
    while (page.nextFrame() !== null) {
      frames++;
    }
    expect(frames).toBe(9);
  });
});

describe('a stream', () => {
  const ticket = 'AAAAAAAAAAAAAAAAAAAAAA';

  beforeEach(() => {
    shakeHands();
  });

  test('has a number of its own on each side', () => {
    expect([page.nextStream, server.nextStream]).toStrictEqual([1, 1]);
    const id = page.request({ type: 'pipe', channel: 1, stream: { id: 1 } });
    deliver(page, server);
    server.send({ type: 'result', id, value: null, stream: { id: 1, ticket } });
    deliver(server, page);
    expect([page.nextStream, server.nextStream]).toStrictEqual([2, 2]);
  });

  test('can be fetched, posted, stopped and broken', () => {
    page.request({ type: 'pipe', channel: 1, stream: { id: 1 } });
    server.request({ type: 'pipe', channel: 1, stream: { id: 1, ticket } });
    deliver(page, server);
    deliver(server, page);
    const fromServer: Message[] = [
      { type: 'ticket', stream: 1, ticket },
      { type: 'stop', stream: 1 },
      { type: 'broken', stream: 1, name: 'E', message: 'm' },
    ];
    fromServer.forEach((message) => {
      server.send(message);
    });
    page.send({ type: 'stop', stream: 1 });
    page.send({ type: 'broken', stream: 1, name: 'E', message: 'm' });
    expect(deliver(server, page)).toStrictEqual(fromServer);
    expect(deliver(page, server)).toStrictEqual([fromServer[1], fromServer[2]]);
  });

  const data = new Uint8Array(1);
  test.each<[string, 'page' | 'server', Message]>([
    ['of a number that was used', 'page', { type: 'pipe', id: 9, channel: 1, stream: { id: 1 } }],
    ['of the page with a ticket', 'page', { type: 'pipe', id: 9, channel: 1, stream: { id: 9, ticket } }],
    ['of the server without data and ticket', 'server', { type: 'pipe', id: 9, channel: 1, stream: { id: 9 } }],
    [
      'of the server with data and ticket',
      'server',
      { type: 'call', id: 9, channel: 1, name: 'f', args: [], stream: { id: 9, data, ticket } },
    ],
    ['that was not announced cannot be broken', 'page', { type: 'broken', stream: 2, name: 'E', message: 'm' }],
    ['that was not announced cannot be stopped', 'page', { type: 'stop', stream: 2 }],
    ['that was not announced gets no ticket', 'server', { type: 'ticket', stream: 2, ticket }],
    ['beside a value', 'page', { type: 'result', id: 1, value: 0, stream: { id: 2 } }],
    ['as the answer to an echo', 'page', { type: 'result', id: 1, value: null, stream: { id: 2 } }],
    ['must be the answer to a pipe', 'page', { type: 'result', id: 2, value: null }],
  ])('%s is refused on both sides', (_, sender, message) => {
    page.request({ type: 'pipe', channel: 1, stream: { id: 1 } });
    server.request({ type: 'echo', channel: 1, args: [] });
    server.request({ type: 'pipe', channel: 1, stream: { id: 1, data } });
    deliver(page, server);
    deliver(server, page);
    const [from, to] = sender === 'page' ? [page, server] : [server, page];
    expect(() => {
      from.send(message);
    }).toThrow(StateError);
    expect(() => to.receive(joinFrame(encodeFrame([encodeMessage(message)])))).toThrow(ProtocolError);
  });

  test('that an unknown request is answered with is refused for that', () => {
    const frame = `[{"type":"result","id":1,"value":null,"stream":{"id":1,"ticket":"${ticket}"}}]`;
    expect(() => page.receive(frame)).toThrow('there is no request 1 that waits for an answer');
  });
});

test('nothing may come after a goodbye', () => {
  shakeHands();
  server.send({ type: 'goodbye', reason: 'closed', message: 'm' });
  deliver(server, page);
  expect(() => page.receive('[{"type":"beat"}]')).toThrow('the message beat cannot come to a page while its connection');
});

describe('pieces of streams', () => {
  const PIECE = { type: 'piece', stream: 1, data: new Uint8Array(PIECE_LIMIT) } as const;

  beforeEach(() => {
    shakeHands();
    page.request({ type: 'pipe', channel: 1, stream: { id: 1 } });
    deliver(page, server);
  });

  test('are under way until they are acknowledged', () => {
    const rooms = [];
    for (let left = PIECES_BESIDE_MESSAGES; left > 0; left -= PIECE_LIMIT) {
      rooms.push(page.pieceRoom);
      page.send(PIECE);
    }
    expect(rooms).toStrictEqual(rooms.map(() => PIECE_LIMIT));
    expect(page.pieceRoom).toBe(0);
    deliver(page, server);
    server.send({ type: 'ack', bytes: server.ackDue });
    deliver(server, page);
    expect([page.pieceRoom, server.ackDue]).toStrictEqual([PIECE_LIMIT, 0]);
  });

  test('may not be more than can be under way', () => {
    for (let left = PIECES_UNDER_WAY; left > 0; left -= PIECE_LIMIT) {
      page.send(PIECE);
    }
    deliver(page, server);
    page.send({ ...PIECE, data: new Uint8Array(1) });
    expect(() => deliver(page, server)).toThrow(
      new ProtocolError('more than 1048576 bytes of pieces are under way'),
    );
  });

  /** Send as many pieces as can be under way, and return their bytes. */
  function sendPieces(): number {
    let sent = 0;
    for (; page.pieceRoom > 0; sent += PIECE_LIMIT) {
      page.send(PIECE);
    }
    return sent;
  }

  /** Let as many pieces arrive without a message beside them as have to arrive fast, between two points in time. */
  function stayQuiet(begin = 0, end = QUIET_TIME): void {
    page.noteTime(begin);
    for (let left = QUIET_BYTES; left > 0; left -= PIECE_LIMIT) {
      page.send(PIECE);
      deliver(page, server);
      if (server.ackDue > 0) {
        server.send({ type: 'ack', bytes: server.ackDue });
        deliver(server, page);
      }
    }
    page.noteTime(end);
  }

  test('are more under way when many have arrived fast without a message beside them', () => {
    stayQuiet();
    expect(sendPieces()).toBe(PIECES_UNDER_WAY);
  });

  test('are no more under way where they arrive slowly', () => {
    stayQuiet(0, QUIET_TIME + 1);
    expect(sendPieces()).toBe(PIECES_BESIDE_MESSAGES);
  });

  test('are fewer under way again when they arrive slowly', () => {
    stayQuiet();
    stayQuiet(QUIET_TIME, 2 * QUIET_TIME + 1);
    expect(sendPieces()).toBe(PIECES_BESIDE_MESSAGES);
  });

  const ECHO = { type: 'echo', channel: 1, args: [] } as const;

  test.each([
    ['a request of the page', () => page.request({ ...ECHO })],
    ['a request of the server', () => server.request({ ...ECHO })],
  ])('are fewer under way again after %s', (_, request) => {
    stayQuiet();
    request();
    deliver(server, page);
    expect(sendPieces()).toBe(PIECES_BESIDE_MESSAGES);
  });

  test.each([
    ['the page', () => server.request({ ...ECHO }), () => page],
    ['the server', () => page.request({ ...ECHO }), () => server],
  ])('are fewer under way again after an answer of %s', (_, request, answerer) => {
    const id = request();
    deliver(server, page);
    deliver(page, server);
    stayQuiet();
    answerer().send({ type: 'result', id, value: null });
    deliver(server, page);
    expect(sendPieces()).toBe(PIECES_BESIDE_MESSAGES);
  });

  test('are over a comm as many under way beside messages as else', () => {
    const overComm = new Connection('page');
    overComm.send({ type: 'hello', client: 'x', door: 'comm', why: '' });
    expect([page, overComm].map(({ piecesBesideMessages }) => piecesBesideMessages)).toStrictEqual([
      PIECES_BESIDE_MESSAGES,
      PIECES_UNDER_WAY,
    ]);
  });

  test('have no room before the welcome and after the goodbye', () => {
    expect(new Connection('page').pieceRoom).toBe(0);
    page.send({ type: 'goodbye', reason: 'closed', message: '' });
    expect(page.pieceRoom).toBe(0);
  });
});

describe('a frame that is received', () => {
  const connected = (): Connection => {
    const server = new Connection('server', 300_000);
    server.receive('[{"type":"hello","client":"x"}]');
    server.send({ type: 'welcome', beat: 15, frame_limit: 300_000, cancel_wait: 0.5, channels: [] });
    return server;
  };
  const echoOf = (bytes: number): string => {
    const [begin, end] = ['[{"type":"echo","id":1,"channel":1,"args":["', '"]}]'];
    const left = bytes - begin.length - end.length;
    return `${begin}${'é'.repeat(left / 2)}${'x'.repeat(left % 2)}${end}`;
  };

  test.each([0, 1])('has as many bytes as may be, and not characters: %d more', (extra) => {
    const frame = echoOf(300_000 + extra);
    expect(frame.length).toBeLessThan(200_000);
    const receive = (): number => connected().receive(frame).length;
    if (extra === 0) {
      expect(receive()).toBe(1);
    } else {
      expect(receive).toThrow(new ProtocolError('a frame of 300001 bytes came, and 300000 are the most'));
    }
  });

  test.each([0, 1])('is as large as a batch when it has several messages: %d more', (extra) => {
    const beat = ',{"type":"beat"}';
    const frame = `${echoOf(BATCH_LIMIT + extra - beat.length).slice(0, -1)}${beat}]`;
    const receive = (): number => connected().receive(frame).length;
    if (extra === 0) {
      expect(receive()).toBe(2);
    } else {
      expect(receive).toThrow(
        new ProtocolError('a frame of several messages has 262145 bytes, and 262144 are the most'),
      );
    }
  });

  test.each([0, 1])('has as many attachments as may be: %d more', (extra) => {
    const count = MAX_ATTACHMENTS + extra;
    const entries = Array.from({ length: count }, (_, index) => `{"path":["args",${String(index)}],"type":"bytes","size":0}`);
    const nulls = new Array(count).fill('null').join(',');
    const text = `[{"type":"echo","id":1,"channel":1,"args":[${nulls}],"attachments":[${entries.join(',')}]}]`;
    const frame = new Uint8Array(Math.ceil((4 + text.length) / 8) * 8);
    new DataView(frame.buffer).setUint32(0, text.length, true);
    frame.set(new TextEncoder().encode(text), 4);
    if (extra === 0) {
      expect(decodeFrame(frame.buffer)).toHaveLength(1);
    } else {
      expect(() => decodeFrame(frame.buffer)).toThrow(new ProtocolError('a frame has more than 65536 attachments'));
    }
  });

  test.each([0, 1])('is not larger than its limit with the attachments behind it: %d less', (less) => {
    shakeHands();
    page.request({ type: 'echo', channel: 1, args: [new Uint8Array(APART_FROM), new Uint8Array(APART_FROM)] });
    const head = page.nextFrame() as string;
    const limit = head.length + 2 * APART_FROM - less;
    server = new Connection('server', limit);
    server.receive('[{"type":"hello","client":"c"}]');
    server.send({ type: 'welcome', beat: 15, frame_limit: limit, cancel_wait: 5, channels: [] });
    if (less === 0) {
      expect(server.receive(head)).toStrictEqual([]);
      expect(deliver(page, server)).toHaveLength(1);
    } else {
      expect(() => server.receive(head)).toThrow(`a frame of ${String(limit + 1)} bytes came`);
    }
  });

  test('of several messages is a batch, with the attachments behind it', () => {
    shakeHands();
    const echo = (id: number): string =>
      `{"type":"echo","id":${String(id)},"channel":1,"args":[null],` +
      `"attachments":[{"path":["args",0],"type":"bytes","size":${String(BATCH_LIMIT / 2)}}]}`;
    server.receive(`[${echo(1)},${echo(2)}]`);
    expect(server.receive(new ArrayBuffer(BATCH_LIMIT / 2))).toStrictEqual([]);
    expect(() => server.receive(new ArrayBuffer(BATCH_LIMIT / 2))).toThrow('a frame of several messages has');
  });

  test('has error texts that are cut', () => {
    const text = 'x'.repeat(70_000);
    const fields = { type: 'error', id: 1, kind: 'exception', name: text, message: text, stack: text };
    expect(decodeFrame(JSON.stringify([fields]))).toStrictEqual([
      { ...fields, name: text.slice(0, 200), message: text.slice(0, 65_536), stack: text.slice(0, 65_536) },
    ]);
  });

  test.each([0, 1])('has a method name as long as may be: %d more', (extra) => {
    const message = { type: 'call', id: 1, channel: 1, name: '😀'.repeat(1000 + extra), args: [] };
    const decode = (): Message[] => decodeFrame(JSON.stringify([message]));
    if (extra === 0) {
      expect(decode()).toStrictEqual([message]);
    } else {
      expect(decode).toThrow('the field name of the message call cannot be');
    }
  });
});

test.each([0, 1])('a message has as many attachments as may be: %d more', (extra) => {
  const args = Array.from({ length: MAX_ATTACHMENTS + extra }, () => new Uint8Array());
  const encode = (): number => encodeMessage({ type: 'echo', id: 1, channel: 1, args }).attachments.length;
  if (extra === 0) {
    expect(encode()).toBe(MAX_ATTACHMENTS);
  } else {
    expect(encode).toThrow('args[65536] is one array too many: 65536 are the most in one message.');
  }
});
