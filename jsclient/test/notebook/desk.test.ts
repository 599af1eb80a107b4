/** How a page judges the answers of whatever listens at the server's address. */

import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Desk, DESK_TIMEOUT } from '../../src/notebook/desk.js';
import { FakeEnvironment } from '../fakes.js';
import { TICKET, TOKEN } from './fakes.js';

let environment: FakeEnvironment;
let desk: Desk;

beforeEach(() => {
  vi.useFakeTimers();
  environment = new FakeEnvironment();
  desk = new Desk('http://localhost:8889', 'server', environment);
});

afterEach(() => {
  vi.useRealTimers();
});

const proofWith = (key: string): string =>
  JSON.stringify({ proof: createHmac('sha256', key).update('jchannel server random-name').digest('hex') });

describe('a proof', () => {
  test('is asked for by a nonce, and by nothing that is secret', async () => {
    const finding = desk.proveToken(TOKEN);
    expect(environment.exchange.url).toBe('http://localhost:8889/jchannel/notebook/server/proof?nonce=random-name');
    environment.exchange.answer(200, proofWith(TOKEN));
    expect(await finding).toBe('proven');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('by a ticket names the ticket, and does not tell it', async () => {
    const finding = desk.proveTicket(TICKET);
    expect(environment.exchange.url).toMatch(/\?nonce=random-name&ticket=1$/u);
    environment.exchange.answer(200, proofWith(TICKET));
    expect(await finding).toBe('proven');
  });

  test.each([
    ['another key', 200, proofWith('other'), 'foreign'],
    ['another server', 404, null, 'foreign'],
    ['no JSON', 200, '<html>', 'foreign'],
    ['JSON of another form', 200, 'null', 'foreign'],
    ['no object', 200, '"proof"', 'foreign'],
    ['a ticket that is used', 200, '{"refused":"ticket"}', 'refused'],
    ['a proxy without a server behind it', 500, 'no', 'silent'],
    ['a proxy that gave up', 599, 'no', 'silent'],
  ])('from %s is %s', async (_, status, body, expected) => {
    const finding = desk.proveToken(TOKEN);
    environment.exchange.answer(status, body);
    expect(await finding).toBe(expected);
  });

  test('that does not come is none', async () => {
    const failed = desk.proveToken(TOKEN);
    environment.exchange.fail(new TypeError('Failed to fetch'));
    expect(await failed).toBe('silent');

    const late = desk.proveToken(TOKEN);
    await vi.advanceTimersByTimeAsync(DESK_TIMEOUT * 1000);
    expect(await late).toBe('mute');
    expect(environment.exchange.signal.aborted).toBe(true);
  });
});

describe('a claim', () => {
  test('gives the token', async () => {
    const token = desk.claim(TICKET);
    expect(environment.exchange.method).toBe('POST');
    expect(environment.exchange.body).toBe(TICKET);
    environment.exchange.answer(200, JSON.stringify({ token: TOKEN }));
    expect(await token).toBe(TOKEN);
  });

  test.each(['{"refused":"ticket"}', '{"token":1}', 'x'])('that is answered with %s gives none', async (body) => {
    const token = desk.claim(TICKET);
    environment.exchange.answer(200, body);
    expect(await token).toBeNull();
  });

  test('that is not answered gives none', async () => {
    const token = desk.claim(TICKET);
    environment.exchange.fail(new TypeError('Failed to fetch'));
    expect(await token).toBeNull();
  });
});

describe('panels', () => {
  test('are asked for by a key that is not the token', async () => {
    const reports = desk.reportPanels(TOKEN, ['1', '2']);
    const { url, method, body } = environment.exchange;
    const key = createHmac('sha256', TOKEN).update('jchannel panels server').digest('hex');
    expect(url).toBe('http://localhost:8889/jchannel/notebook/server/panels');
    expect(method).toBe('POST');
    expect(body).toBe(`${key} 1 2`);
    environment.exchange.answer(200, JSON.stringify({ panels: { 1: { mood: 'good', texts: {}, note: '' } } }));
    expect(Object.keys((await reports) ?? {})).toStrictEqual(['1']);
  });

  test('are not there where the server refuses, or nobody answers', async () => {
    const refused = desk.reportPanels(TOKEN, ['1']);
    environment.exchange.answer(200, JSON.stringify({ refused: 'key' }));
    expect(await refused).toBeNull();
    const silent = desk.reportPanels(TOKEN, ['1']);
    environment.exchange.fail(new TypeError('Failed to fetch'));
    expect(await silent).toBeNull();
  });
});
