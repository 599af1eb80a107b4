/** The element in which the code of a channel draws. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { findEnvironment } from '../../src/connection/environment.js';
import { StateError } from '../../src/errors.js';
import { FakeSocket, makeConnected, type Fixture } from '../fakes.js';

const TRANSPORT = { socket: () => new FakeSocket('', []) };

describe('channel.element', () => {
  let fixture: Fixture;

  beforeEach(() => {
    vi.useFakeTimers();
    fixture = makeConnected();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  test('is made when the code asks for it, and is one', async () => {
    const { client, server, environment } = fixture;
    await server.ask({ type: 'open', channel: 4, code: '(c) => null' });
    expect(environment.elements).toStrictEqual([]);
    const channel = client.channels.get(4);
    expect(channel?.element).toBe(channel?.element);
    expect(environment.elements).toMatchObject([{ channel: 4, isRemoved: false }]);
  });

  test('stays when the channel is closed', async () => {
    const { server, environment } = fixture;
    await server.ask({ type: 'open', channel: 4, code: '(c) => { c.element; }' });
    await server.ask({ type: 'close', channel: 4 });
    expect(environment.elements).toMatchObject([{ isRemoved: false }]);
  });

  test('is removed when the channel could not be opened', async () => {
    const { server, environment } = fixture;
    await server.ask({ type: 'open', channel: 4, code: '(c) => { c.element; throw new Error("no"); }' });
    await server.ask({ type: 'open', channel: 5, code: '(c) => { throw new Error("no"); }' });
    expect(environment.elements).toMatchObject([{ channel: 4, isRemoved: true }]);
  });
});

describe('the element of a page', () => {
  /** A part of a page, with what was added to it. */
  const makePart = (): { added: unknown[]; append: (child: unknown) => void } => {
    const added: unknown[] = [];
    return { added, append: (child) => added.push(child) };
  };
  const place = makePart();
  const body = makePart();
  const root = makePart();

  test.each([
    ['in the place that the page has for it', place, body, place],
    ['in the body', null, body, body],
    ['in the document while there is no body', null, null, root],
  ])('is %s', (_, found, pageBody, expected) => {
    vi.stubGlobal('document', {
      body: pageBody,
      documentElement: root,
      querySelector: (selector: string) => (selector === '[data-jchannel-elements]' ? found : undefined),
      createElement: (name: string) => ({ name }),
    });
    expect(findEnvironment(TRANSPORT).makeElement(1)).toStrictEqual({ name: 'div' });
    expect(expected.added.splice(0)).toStrictEqual([{ name: 'div' }]);
  });

  test('is not there where there is no page', () => {
    expect(() => findEnvironment(TRANSPORT).makeElement(1)).toThrow(StateError);
    expect(() => findEnvironment(TRANSPORT).makeElement(1)).toThrow('channel.element is a part of a page');
  });
});
