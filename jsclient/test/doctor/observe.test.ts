import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { observe, TIMEOUT, type ObservedPage } from '../../src/doctor/observe.js';
import { findEngine, findPermission } from '../../src/notebook/obstacles.js';
import { hmac } from '../../src/notebook/sha256.js';
import { FakeEnvironment } from '../fakes.js';

const URL = 'http://localhost:8889/proxy/#jchannel=the-token';
const BASE = 'http://localhost:8889/proxy';
const GOODBYE = '[{"type":"goodbye","reason":"version","message":"no version"}]';

const page: ObservedPage = { location: { href: 'http://localhost:8888/lab' }, navigator: {} };

function pageWith(query: (name: string) => Promise<{ state: string }>): ObservedPage {
  return {
    ...page,
    navigator: { permissions: { query: ({ name }) => query(name) as Promise<PermissionStatus> } },
  };
}

let environment: FakeEnvironment;

beforeEach(() => {
  vi.useFakeTimers();
  environment = new FakeEnvironment();
});

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
});

describe('a server', () => {
  test('is asked for its status with a key, and for a WebSocket that it refuses', async () => {
    const observed = observe(URL, page, environment);
    expect(environment.exchange.url).toBe(`${BASE}/jchannel/status`);
    expect(environment.exchange.method).toBe('POST');
    expect(environment.exchange.body).toBe(hmac('the-token', 'jchannel status'));
    environment.exchange.answer(200, '{"jchannel": "status"}');
    await vi.advanceTimersByTimeAsync(0);
    expect(environment.socket.url).toBe('ws://localhost:8889/proxy/socket');
    expect(environment.socket.protocols).toEqual(['jchannel.doctor', 'jchannel.token.the-token']);
    environment.socket.open();
    environment.socket.arrive(GOODBYE);
    expect(await observed).toEqual({
      page: 'http://localhost:8888/lab',
      base: BASE,
      isBlocked: false,
      permission: null,
      engine: 'chromium',
      answer: { status: 200, body: { jchannel: 'status' } },
      goodbye: { reason: 'version', message: 'no version' },
    });
    expect(environment.socket.isClosed).toBe(true);
  });

  test('may give no answer, and no WebSocket', async () => {
    const observed = observe('http://localhost:8889', page, environment);
    environment.exchange.fail(new TypeError('Failed to fetch'));
    await vi.advanceTimersByTimeAsync(0);
    environment.socket.lose();
    expect(await observed).toMatchObject({ base: 'http://localhost:8889', answer: null, goodbye: null });
  });

  test('has its time for each', async () => {
    const observed = observe(URL, page, environment);
    await vi.advanceTimersByTimeAsync(TIMEOUT * 1000);
    await vi.advanceTimersByTimeAsync(TIMEOUT * 1000);
    expect(await observed).toMatchObject({ answer: null, goodbye: null });
  });

  test.each(['{"jchannel"', '[]', '5'])('may say on the WebSocket what is no goodbye: %s', async (frame) => {
    const observed = observe(URL, page, environment);
    environment.exchange.answer(404, 'no JSON');
    await vi.advanceTimersByTimeAsync(0);
    environment.socket.arrive(frame);
    const { answer, goodbye } = await observed;
    expect(answer).toEqual({ status: 404, body: null });
    expect(goodbye?.reason).toBe(frame === '[]' ? 'undefined' : undefined);
  });

  test('may be blocked by the policy of the page', async () => {
    const observed = observe(URL, page, environment);
    environment.block('http://localhost:9999/another');
    environment.block(`${BASE}/jchannel/status`);
    environment.exchange.fail(new TypeError('Failed to fetch'));
    expect(await observed).toMatchObject({ isBlocked: true, answer: null, goodbye: null });
    await vi.advanceTimersByTimeAsync(TIMEOUT * 1000);
  });

  test('may be one that browsers make no WebSocket to', async () => {
    const openSocket = (): never => {
      throw new DOMException('insecure', 'SecurityError');
    };
    const observed = observe(URL, page, Object.assign(environment, { openSocket }));
    environment.exchange.fail(new TypeError('Failed to fetch'));
    expect(await observed).toMatchObject({ answer: null, goodbye: null, isBlocked: false });
  });
});

describe('a WebSocket', () => {
  test('may be one that Firefox throws at, because of the policy of the page', async () => {
    const environment = new FakeEnvironment();
    const openSocket = (): never => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- Firefox's is none, either
      throw { name: 'NS_ERROR_CONTENT_BLOCKED' };
    };
    const observed = observe(URL, page, Object.assign(environment, { openSocket }));
    environment.exchange.fail(new TypeError('NetworkError'));
    expect(await observed).toMatchObject({ isBlocked: true, answer: null, goodbye: null });
  });
});

describe('the permission', () => {
  test('has the newest name that the browser knows', async () => {
    expect(await findPermission(pageWith((name) => Promise.resolve({ state: name })).navigator)).toBe('loopback-network');
    const older = pageWith((name) =>
      name === 'local-network-access' ? Promise.resolve({ state: 'prompt' }) : Promise.reject(new TypeError('unknown')),
    );
    expect(await findPermission(older.navigator)).toBe('prompt');
  });

  test('is not known to every browser', async () => {
    expect(await findPermission(pageWith(() => Promise.reject(new TypeError('unknown'))).navigator)).toBeNull();
    expect(await findPermission(page.navigator)).toBeNull();
  });
});

test.each([
  ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15', 'webkit'],
  ['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36', 'chromium'],
  ['Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0', 'firefox'],
  [undefined, 'chromium'],
])('the engine of %s is %s', (userAgent, expected) => {
  expect(findEngine(userAgent === undefined ? {} : { userAgent })).toBe(expected);
});
