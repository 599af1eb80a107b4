import { describe, expect, test } from 'vitest';
import { diagnose, type Observations } from '../../src/doctor/diagnosis.js';

const STATUS = { jchannel: 'status', page_seconds: null };
const VERSION = { reason: 'version', message: 'no version of it' };

/** What a page observes that can connect. */
const GOOD: Observations = {
  page: 'http://localhost:8888/lab',
  base: 'http://localhost:8889',
  isBlocked: false,
  permission: null,
  engine: 'chromium',
  answer: { status: 200, body: STATUS },
  goodbye: VERSION,
};
const SILENT = { ...GOOD, answer: null, goodbye: null };
const HUB = 'https://hub.example.com/user/me/lab';

describe('the cause', () => {
  test.each<[string, Observations, string]>([
    ['policy', { ...SILENT, isBlocked: true }, 'Add http://localhost:8889 and ws://localhost:8889 to the policy'],
    ['mixed-content', { ...SILENT, page: HUB, base: 'http://10.0.0.5:8889' }, 'This page came over HTTPS'],
    ['mixed-content', { ...SILENT, page: HUB, engine: 'webkit' }, 'which this browser does not let it reach'],
    ['local-network', { ...SILENT, page: HUB, permission: 'denied' }, 'its permission for the local network is denied'],
    ['local-network', { ...SILENT, page: HUB, permission: 'prompt' }, 'has no answer yet'],
    ['local-network', { ...SILENT, page: 'http://hub.example.com/' }, 'from another machine over plain HTTP'],
    ['local-network', { ...SILENT, page: 'http://hub.example.com/', permission: 'prompt', engine: 'firefox' }, 'has no answer yet'],
    ['refused-port', { ...SILENT, page: 'http://hub.example.com/', engine: 'webkit' }, 'Nothing answers'],
    ['refused-port', SILENT, 'Nothing answers at http://localhost:8889'],
    ['refused-port', { ...SILENT, permission: 'prompt' }, 'Nothing answers'],
    ['refused-port', { ...SILENT, page: HUB, permission: 'granted' }, 'Nothing answers'],
    ['refused-port', { ...SILENT, page: HUB, base: 'https://hub.example.com/proxy/8889' }, 'Nothing answers'],
    ['proxy', { ...GOOD, answer: { status: 502, body: null }, goodbye: null }, 'answers with the status 502'],
    ['proxy', { ...GOOD, goodbye: null }, 'a WebSocket does not'],
    ['foreign', { ...GOOD, answer: { status: 404, body: null } }, 'no jchannel server'],
    ['foreign', { ...GOOD, answer: { status: 200, body: 'hello' } }, 'no jchannel server'],
    [
      'token',
      { ...GOOD, answer: { status: 200, body: { jchannel: 'refused' } }, goodbye: { reason: 'token', message: 'wrong' } },
      'The server says: wrong.',
    ],
    ['origin', { ...GOOD, goodbye: { reason: 'origin', message: 'pass it' } }, 'The server says: pass it.'],
    ['taken', { ...GOOD, answer: { status: 200, body: { ...STATUS, page_seconds: 3.4 } } }, 'Another page is connected'],
    ['no-page', GOOD, 'This page can connect'],
  ])('%s', (cause, observations, words) => {
    const diagnosis = diagnose(observations);
    expect(diagnosis.cause).toBe(cause);
    expect(diagnosis.text).toContain(words);
  });
});
