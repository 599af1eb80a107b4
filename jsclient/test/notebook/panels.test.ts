/** The panels in a notebook's page: visible, invisible, of a server that is gone. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PANEL_INTERVAL, Panels, type AskPanels, type PanelReport } from '../../src/notebook/panels.js';
import { FakeEnvironment } from '../fakes.js';
import { FakePage, FakePanel, type FakeSight } from './fakes.js';

const GREEN = 'var(--jp-success-color1, #2f8f5b)';
const QUIET = 'var(--jp-content-font-color2, inherit)';

let page: FakePage;
let panels: Panels;
let answer: Record<string, PanelReport> | null;
let ask: ReturnType<typeof vi.fn<AskPanels>>;

beforeEach(() => {
  vi.useFakeTimers();
  page = new FakePage();
  panels = new Panels('server', new FakeEnvironment());
  answer = { 1: { mood: 'good', texts: { state: 'fine', calls: '2' }, note: 'as of one' } };
  ask = vi.fn<AskPanels>(() => Promise.resolve(answer));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function addPanel(name?: string): FakePanel {
  const panel = new FakePanel(name);
  page.panels.push(panel);
  return panel;
}

function sight(): FakeSight {
  if (page.sight === undefined) {
    throw new Error('Nobody observes what is in sight.');
  }
  return page.sight;
}

/** Wait for the next update, and run everything that can run. */
async function pass(intervals = 1): Promise<void> {
  await vi.advanceTimersByTimeAsync(intervals * PANEL_INTERVAL * 1000);
}

/** Return a visible panel that is live. */
async function show(name = 'server 1'): Promise<FakePanel> {
  const panel = addPanel(name);
  panels.start(ask);
  await pass();
  sight().see(panel);
  await vi.advanceTimersByTimeAsync(0);
  return panel;
}

describe('a panel in sight', () => {
  test('is live from the moment it is seen', async () => {
    const panel = await show();

    expect(panel.says).toBe('fine, 2, live');
    expect(panel.part('dot').style.color).toBe(GREEN);
    expect(ask.mock.calls).toStrictEqual([[['1']]]);
  });

  test('is brought up to date again and again', async () => {
    const panel = await show();
    answer = { 1: { mood: 'off', texts: { state: 'closed', calls: '3' }, note: 'as of two' } };
    await pass();

    expect(panel.says).toBe('closed, 3, live');
    expect(panel.part('dot').style.color).toBe(QUIET);
  });

  test('is asked for together with the others, each name once', async () => {
    await show();
    const [same, other] = [addPanel('server 1'), addPanel('server 2')];
    await pass();
    sight().see(same);
    sight().see(other);
    ask.mockClear();
    await pass();

    expect(ask.mock.calls).toStrictEqual([[['1', '2']]]);
    expect(same.says).toBe('fine, 2, live');
    expect(other.says).toBe('open, 1, as of noon');
  });

  test('is not asked for while an answer is still on its way', async () => {
    ask.mockReturnValue(new Promise(() => undefined));
    await show();
    await pass(3);
    expect(ask).toHaveBeenCalledTimes(1);
  });

  test('is not asked for while the page is hidden', async () => {
    await show();
    page.document.hidden = true;
    ask.mockClear();
    await pass(2);
    expect(ask).not.toHaveBeenCalled();
  });

  test('keeps the elements whose text has not changed', async () => {
    const panel = await show();
    const write = vi.spyOn(panel.part('calls'), 'textContent', 'set');
    await pass();
    expect(write).not.toHaveBeenCalled();
  });

  test('says of when it is where there is no answer, and is live again with the next', async () => {
    const panel = await show();
    answer = null;
    await pass();
    expect(panel.says).toBe('fine, 2, as of one');
    expect(panel.part('dot').style.color).toBe(QUIET);

    answer = { 1: { mood: 'good', texts: { calls: '4' }, note: 'as of two' } };
    await pass();
    expect(panel.says).toBe('fine, 4, live');
  });

  test('need not have all parts', async () => {
    const panel = addPanel('server 1');
    panel.parts.clear();
    panels.start(ask);
    sight().see(panel);
    await pass();
    expect(ask).toHaveBeenCalled();
  });
});

describe('a panel that is not live', () => {
  test('costs nothing while it is out of sight, and says of when it is', async () => {
    const panel = await show();
    sight().see(panel, false);
    ask.mockClear();
    await pass(3);

    expect(ask).not.toHaveBeenCalled();
    expect(panel.says).toBe('fine, 2, as of one');
  });

  test('stays as Python has made it while it was never in sight', async () => {
    const panel = addPanel('server 1');
    panels.start(ask);
    sight().see(panel, false);
    await pass();
    expect(panel.says).toBe('open, 1, as of noon');
  });

  test('of another server, or of none, is left alone', async () => {
    addPanel('other 1');
    addPanel('');
    addPanel();
    panels.start(ask);
    await pass();
    expect(sight().observed).toStrictEqual([]);
  });
});

describe('when the page is not connected any more', () => {
  test('panels say so, and nobody is asked', async () => {
    const panel = await show();
    ask.mockClear();
    panels.stop('not connected');
    await pass(2);

    expect(panel.says).toBe('not connected, 2, as of one');
    expect(ask).not.toHaveBeenCalled();
  });

  test('a late answer changes nothing', async () => {
    let give: (reports: null) => void = () => undefined;
    const panel = await show();
    ask.mockReturnValue(new Promise((resolve) => (give = resolve)));
    await pass();
    panels.stop('not connected');
    give(null);
    await vi.advanceTimersByTimeAsync(0);
    expect(panel.says).toBe('not connected, 2, as of one');
  });

  test('panels are live again as soon as it is', async () => {
    const panel = await show();
    panels.stop('connection lost');
    panels.start(ask);
    panels.start(ask);
    await vi.advanceTimersByTimeAsync(0);

    expect(panel.says).toBe('fine, 2, live');
    expect(sight().observed).toHaveLength(1);
  });
});
