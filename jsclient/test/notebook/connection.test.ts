/** The connection of a notebook's page to one server: made, kept, made again, closed. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { storageKeyOf, type OutputConfig } from '../../src/notebook/config.js';
import { GRACE, NotebookConnection } from '../../src/notebook/connection.js';
import { DESK_TIMEOUT } from '../../src/notebook/desk.js';
import { LOCK_WAIT } from '../../src/notebook/names.js';
import { PANEL_INTERVAL } from '../../src/notebook/panels.js';
import { FakeEnvironment, FakeServer } from '../fakes.js';
import { Comm } from '../../src/notebook/comm.js';
import { FakeModel } from './fake-comm.js';
import { FakeDesk, FakeElement, FakePage, FakePanel, makeConfig, TOKEN } from './fakes.js';

const PROXY = 'http://localhost:8888/user/me/proxy/8889';

let page: FakePage;
let environment: FakeEnvironment;
let desk: FakeDesk;
let connection: NotebookConnection;

beforeEach(() => {
  vi.useFakeTimers();
  vi.setSystemTime(1_000_000_000);
  begin();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Return a new page. */
function begin(url?: string): void {
  page = new FakePage(url);
  environment = new FakeEnvironment();
  desk = new FakeDesk(environment);
  connection = new NotebookConnection('server', environment);
}

/** Add an output to the page. */
function add(config: Partial<OutputConfig> = {}): FakeElement {
  const element = new FakeElement();
  connection.add(element as unknown as HTMLElement, makeConfig(config));
  return element;
}

function remember(base = 'http://localhost:8889', door = 'port'): void {
  page.stored.set(storageKeyOf('server'), JSON.stringify({ token: TOKEN, base, door, client: 'tab' }));
}

/** Advance the clock, and add an output that is newer than all before. */
function addNewer(config: Partial<OutputConfig> = {}): FakeElement {
  vi.setSystemTime(Date.now() + 1000);
  return add(config);
}

describe('the element of a channel', () => {
  test('is in the output that the server shows for it', async () => {
    add();
    const server = await desk.welcome();
    vi.stubGlobal('drawn', undefined);
    await server.ask({ type: 'open', channel: 2, code: '(c) => { globalThis.drawn = c.element; }' });
    await desk.settle();
    expect(desk.places).toStrictEqual(['2']);

    const place = page.addPlace('server 2');
    page.change();
    expect(place.children).toStrictEqual([(globalThis as { drawn?: unknown }).drawn]);
  });
});

describe('a page', () => {
  test('connects by the ticket of its first output', async () => {
    expect(connection.state).toBe('idle');
    const output = add();
    expect(connection.state).toBe('connecting');
    expect(output.textContent).toBe('● jchannel: connecting.');
    expect(output.dataset['state']).toBe('busy');
    const states: string[] = [];
    connection.addEventListener('statechange', () => states.push(connection.state));

    const server = await desk.welcome();

    expect(connection.state).toBe('connected');
    expect(states).toStrictEqual(['connecting', 'connected']);
    expect(connection.client?.state).toBe('connected');
    expect(output.textContent).toBe('● jchannel: connected to localhost:8889.');
    expect(output.dataset['state']).toBe('good');
    expect(server.socket.url).toBe('ws://localhost:8889/socket');
    expect(server.socket.protocols).toContain(`jchannel.token.${TOKEN}`);
    expect(page.stored.get(storageKeyOf('server'))).toContain(TOKEN);
    expect(page.locks.held.size).toBe(1);
  });

  test('connects once, however many outputs it has', async () => {
    add();
    addNewer();
    await desk.welcome();
    const output = addNewer();
    await desk.settle();

    expect(environment.sockets).toHaveLength(1);
    expect(output.textContent).toContain('connected to');
  });

  test('of a front end that is no Jupyter says so in its own words where the server is not reached', async () => {
    desk.tickets.clear();
    desk.token = 'another';
    const output = add({ gone: 'gone, as marimo says it.', host: '127.0.0.2', door: 'proxy' });
    await desk.settle();
    expect(output.textContent).toBe('● jchannel: gone, as marimo says it.');

    remember();
    const again = addNewer({ gone: 'still gone.' });
    await desk.settle();
    expect(again.textContent).toBe('● jchannel: still gone.');
  });

  test('connects by what its tab remembers, and uses up no ticket', async () => {
    remember();
    add({ issued: 1 });
    await desk.welcome();

    expect(connection.client?.clientId).toBe('tab');
    expect(desk.tickets.size).toBe(1);
  });

  test('looks for the server first where it was, and then elsewhere', async () => {
    remember('http://localhost:1/gone');
    desk.bases = [PROXY];
    add();
    await desk.settle();
    await desk.welcome();

    expect(environment.socket.url).toBe('ws://localhost:8888/user/me/proxy/8889/socket');
    expect(environment.exchanges.map(({ url }) => new URL(url).port)).toStrictEqual(['1', '8889', '8888', '8888']);
    expect(page.stored.get(storageKeyOf('server'))).toContain(PROXY);
    expect(connection.words).toBe('connected to localhost:8888.');
  });

  test('tells by which door it was connected before, and stores it again', async () => {
    remember('http://localhost:1/user/me/proxy/8889', 'proxy');
    desk.bases = ['http://localhost:1/user/me/proxy/8889'];
    add({ door: 'proxy' });
    const server = await desk.welcome();
    expect(server.socket.sent[0]).toContain('"door":"proxy"');
    expect(page.stored.get(storageKeyOf('server'))).toContain('"door":"proxy"');
  });

  test('does not look where it was if another door is asked for', async () => {
    remember('http://localhost:8889', 'port');
    desk.bases = ['http://localhost:8889', PROXY];
    add({ door: 'proxy' });
    await desk.settle();
    await desk.welcome();
    expect(environment.exchanges.map(({ url }) => new URL(url).port)).not.toContain('8889');
    expect(connection.words).toBe('connected to localhost:8888.');
  });

  test('connects where it may not store anything', async () => {
    page.mayStore = false;
    add();
    await desk.welcome();
    expect(connection.state).toBe('connected');
    expect(connection.words).toContain('connected to localhost:8889. The browser lets this page store nothing');
  });

  test('takes another name than that of a page which lives', async () => {
    remember();
    page.locks.held.add('jchannel tab');
    add();
    await desk.settle();
    await vi.advanceTimersByTimeAsync(LOCK_WAIT * 1000);
    await desk.welcome();
    expect(connection.client?.clientId).toBe('random-name');
  });
});

describe('a page that cannot connect says why', () => {
  test('when the ticket is used', async () => {
    desk.tickets.clear();
    const output = add();
    await desk.settle();
    expect(connection.state).toBe('stopped');
    expect(output.textContent).toContain('run server.move_to_newest_page()');
    expect(output.dataset['state']).toBe('bad');
  });

  test('when somebody else is faster to use it', async () => {
    add();
    await vi.advanceTimersByTimeAsync(0);
    const [proof] = environment.exchanges;
    desk.answer(proof as never);
    desk.tickets.clear();
    await vi.advanceTimersByTimeAsync(0);
    desk.answer(environment.exchange);
    await vi.advanceTimersByTimeAsync(0);
    expect(connection.words).toContain('the page that has shown it first');
  });

  test('when nobody answers', async () => {
    desk.bases = [];
    add();
    await desk.settle();
    expect(connection.words).toContain('not running any more');
    expect(environment.exchanges).toHaveLength(2);
  });

  test('when nobody answers where it was connected before', async () => {
    remember();
    desk.bases = [];
    add();
    await desk.settle();
    expect(connection.words).toContain('not running any more');
  });

  test('when it knows no address', async () => {
    begin('https://elsewhere.example');
    page.labConfig = null;
    add();
    await desk.settle();
    expect(connection.words).toContain('jchannel.start(url=…)');
    expect(environment.exchanges).toHaveLength(0);
  });

  test('when another page is connected', async () => {
    remember();
    add();
    await desk.settle();
    const server = new FakeServer(environment.socket);
    server.socket.open();
    server.receive();
    server.send({ type: 'goodbye', reason: 'taken', message: 'another page is connected' });

    expect(connection.words).toContain('run server.move_to_newest_page()');
    await vi.advanceTimersByTimeAsync(0);
    expect(page.locks.held.size).toBe(0);
  });
});

describe('a page that was connected', () => {
  test('tries again after a lost connection, and proves the server each time', async () => {
    add();
    const server = await desk.welcome();
    server.socket.lose();
    expect(connection.words).toBe('the connection was lost. Trying again.');

    await vi.advanceTimersByTimeAsync(1000);
    expect(environment.sockets).toHaveLength(1);
    await desk.settle();
    expect(environment.sockets).toHaveLength(2);
    new FakeServer(environment.socket).welcome();
    expect(connection.state).toBe('connected');
  });

  test('gives up soon when nobody answers on its own machine', async () => {
    add();
    const server = await desk.welcome();
    const asked = environment.exchanges.length;
    desk.bases = [];
    server.socket.lose();
    for (let second = 0; second < 8; second++) {
      await vi.advanceTimersByTimeAsync(1000);
      await desk.settle();
    }
    expect(connection.state).toBe('stopped');
    expect(connection.words).toContain('not running any more');
    expect(environment.exchanges.length - asked).toBeLessThan(6);
    expect(environment.sockets).toHaveLength(1);
  });

  test('gives nothing to another program that listens there, and stops', async () => {
    add();
    const server = await desk.welcome();
    desk.token = 'another';
    server.socket.lose();
    await vi.advanceTimersByTimeAsync(1000);
    await desk.settle();

    expect(environment.sockets).toHaveLength(1);
    expect(connection.state).toBe('stopped');
    expect(connection.words).toContain('not running any more');
  });

  test('is patient with another machine', async () => {
    begin('https://hub.example');
    desk.bases = ['https://hub.example/user/me/proxy/8889'];
    add();
    const server = await desk.welcome();
    desk.bases = [];
    server.socket.lose();
    for (let second = 0; second < 20; second++) {
      await vi.advanceTimersByTimeAsync(1000);
      await desk.settle();
    }
    expect(connection.state).not.toBe('stopped');
  });

  test('shows the words of a goodbye', async () => {
    const output = add();
    const server = await desk.welcome();
    server.send({ type: 'goodbye', reason: 'replaced', message: 'another page has taken over' });
    expect(output.textContent).toContain('another page has taken over');
  });

  test('says what to do when the server is closed', async () => {
    const output = add();
    const server = await desk.welcome();
    server.send({ type: 'goodbye', reason: 'closed', message: 'the server was closed' });
    expect(output.textContent).toContain('Run the cell again.');
  });

  test('connects anew by a newer output, and not by an older one', async () => {
    add();
    const server = await desk.welcome();
    server.send({ type: 'goodbye', reason: 'replaced', message: 'another page has taken over' });
    add({ issued: 1 });
    await desk.settle();
    expect(connection.state).toBe('stopped');

    addNewer();
    await desk.welcome();
    expect(connection.state).toBe('connected');
  });

  test('tries a newer output when an older one was of no use', async () => {
    desk.tickets = new Set(['2.newer']);
    add();
    addNewer({ ticket: '2.newer' });
    await desk.welcome();
    expect(connection.state).toBe('connected');
  });
});

describe('a page lets go', () => {
  async function remove(...outputs: FakeElement[]): Promise<void> {
    for (const output of outputs) {
      output.isConnected = false;
    }
    page.change();
    page.change();
    await vi.advanceTimersByTimeAsync(GRACE * 1000);
  }

  test('when its last output is gone', async () => {
    const [first, second] = [add(), add()];
    const server = await desk.welcome();
    await remove(first);
    expect(connection.state).toBe('connected');

    await remove(second);
    expect(connection.state).toBe('idle');
    expect(connection.client).toBeNull();
    expect(server.receive()).toMatchObject([{ type: 'goodbye', reason: 'closed' }]);
    page.change();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('not when a new output takes the place of the last', async () => {
    const output = add();
    await desk.welcome();
    output.isConnected = false;
    page.change();
    await vi.advanceTimersByTimeAsync(GRACE * 500);
    add();
    await vi.advanceTimersByTimeAsync(GRACE * 2000);
    expect(connection.state).toBe('connected');
  });

  test('not when its output is only moved', async () => {
    const output = add();
    await desk.welcome();
    output.isConnected = false;
    page.change();
    output.isConnected = true;
    page.change();
    await vi.advanceTimersByTimeAsync(GRACE * 2000);
    expect(connection.state).toBe('connected');
  });

  test('not while its output is collapsed, until the cell is gone', async () => {
    const output = new FakeElement();
    const [area, cell] = [new FakeElement(), new FakeElement()];
    output.ancestors = { '.jp-Cell-outputArea': area, '.jp-Cell': cell };
    connection.add(output as unknown as HTMLElement, makeConfig());
    await desk.welcome();
    area.parentNode = null;
    await remove(output);
    expect(connection.state).toBe('connected');

    cell.isConnected = false;
    await remove(output);
    expect(connection.state).toBe('idle');
  });

  test('not while the output is collapsed that came into its cell after it was added', async () => {
    const output = new FakeElement();
    output.isConnected = false;
    connection.add(output as unknown as HTMLElement, makeConfig());
    const [area, cell] = [new FakeElement(), new FakeElement()];
    output.ancestors = { '.jp-Cell-outputArea': area, '.jp-Cell': cell };
    output.isConnected = true;
    page.change();
    await desk.welcome();
    area.parentNode = null;
    await remove(output);
    expect(connection.state).toBe('connected');
  });

  test('when its output was cleared inside an area that is there', async () => {
    const output = new FakeElement();
    output.ancestors = { '.jp-Cell-outputArea': new FakeElement() };
    connection.add(output as unknown as HTMLElement, makeConfig());
    await desk.welcome();
    await remove(output);
    expect(connection.state).toBe('idle');
  });

  test('while it is still connecting', async () => {
    desk.bases = [];
    const output = add();
    output.isConnected = false;
    await desk.settle();
    await remove(output);
    expect(connection.state).toBe('idle');
  });

  test('and forgets what the notebook has thrown away', async () => {
    const kept: FakeElement[] = [];
    const refs: { element: FakeElement | undefined }[] = [];
    vi.stubGlobal(
      'WeakRef',
      class {
        element: FakeElement | undefined;
        constructor(element: FakeElement) {
          this.element = element;
          refs.push(this);
        }
        deref(): FakeElement | undefined {
          return this.element;
        }
      },
    );
    kept.push(add());
    await desk.welcome();
    for (const ref of refs) {
      ref.element = undefined;
    }
    await remove();
    expect(connection.state).toBe('idle');
  });

  test('and comes back with the next output', async () => {
    const output = add();
    await desk.welcome();
    await remove(output);
    add();
    await desk.welcome();
    expect(connection.state).toBe('connected');
  });
});

describe('the panels of a page', () => {
  /** Return a visible panel after its first update. */
  async function showPanel(): Promise<FakePanel> {
    const panel = new FakePanel('server 1');
    page.panels.push(panel);
    await desk.welcome();
    await vi.advanceTimersByTimeAsync(PANEL_INTERVAL * 1000);
    page.sight?.see(panel);
    await desk.settle();
    return panel;
  }

  test('are live while it is connected', async () => {
    add();
    expect((await showPanel()).says).toBe('open, 2, live');
  });

  test('say that it is not connected when it has let go', async () => {
    const output = add();
    const panel = await showPanel();
    output.isConnected = false;
    page.change();
    await vi.advanceTimersByTimeAsync(GRACE * 1000);
    expect(connection.state).toBe('idle');
    expect(panel.says).toBe('not connected, 2, as of one');
  });

  test('say that the connection is lost when it will try again', async () => {
    add();
    const panel = await showPanel();
    environment.socket.lose();
    expect(connection.state).toBe('waiting');
    expect(panel.says).toBe('connection lost, 2, as of one');
  });

  test('say that it is not connected when it has given up', async () => {
    add();
    const panel = await showPanel();
    connection.client?.close();
    expect(connection.state).toBe('stopped');
    expect(panel.says).toBe('not connected, 2, as of one');
  });
});

describe('a page with a widget', () => {
  let model: FakeModel;

  beforeEach(() => {
    model = new FakeModel();
  });

  function addWidget(config: Partial<OutputConfig> = {}): FakeElement {
    const element = new FakeElement();
    connection.add(element as unknown as HTMLElement, makeConfig(config), new Comm(model, environment));
    return element;
  }

  async function hello(): Promise<Record<string, unknown>> {
    await desk.settle();
    await vi.advanceTimersByTimeAsync(0);
    const [message] = JSON.parse(model.socket.sent.at(-1) as string) as [Record<string, unknown>];
    return message;
  }

  test('takes the port if that can be reached', async () => {
    addWidget();
    const server = await desk.welcome();
    expect(model.sent).toStrictEqual([]);
    expect(server.socket.sent[0]).toContain('"door":"port"');
    expect(server.socket.sent[0]).not.toContain('"why"');
  });

  test('says which better door could not be used', async () => {
    desk.bases = [PROXY];
    addWidget();
    const server = await desk.welcome();
    expect(server.socket.sent[0]).toContain(
      '"door":"proxy","why":"the server did not answer at http://localhost:8889"',
    );
  });

  test('connects over the comm if no port and no proxy can be reached', async () => {
    desk.bases = [];
    const output = addWidget();
    expect(await hello()).toStrictEqual({
      type: 'hello',
      client: 'random-name',
      door: 'comm',
      why: `the server did not answer at http://localhost:8889; the server did not answer at ${PROXY}`,
    });
    const server = model.welcome();
    expect(output.textContent).toBe('● jchannel: connected by the kernel’s own messages.');
    expect(connection.client?.state).toBe('connected');
    expect(page.stored.get(storageKeyOf('server'))).toBe('{"token":"","base":"","door":"comm","client":"random-name"}');

    model.answers = { place: {} };
    vi.stubGlobal('drawn', undefined);
    await server.ask({ type: 'open', channel: 2, code: '(c) => { globalThis.drawn = c.element; }' });
    await vi.advanceTimersByTimeAsync(0);
    expect(model.asked).toMatchObject([{ what: 'place', channel: 2 }]);
  });

  test('takes no notice of what somebody else has stored', async () => {
    page.stored.set(storageKeyOf('server'), 'no JSON');
    addWidget();
    await desk.welcome();
    expect(connection.state).toBe('connected');
  });

  test('keeps its name over a reload', async () => {
    page.stored.set(storageKeyOf('server'), JSON.stringify({ token: '', base: '', door: 'comm', client: 'tab' }));
    desk.bases = [];
    addWidget();
    expect(await hello()).toMatchObject({ client: 'tab', door: 'comm' });
  });

  test('keeps its name when it has a port again', async () => {
    page.stored.set(storageKeyOf('server'), JSON.stringify({ token: '', base: '', door: 'comm', client: 'tab' }));
    addWidget();
    await desk.welcome();
    expect(connection.client?.clientId).toBe('tab');
  });

  test('asks nobody else if the comm was asked for', async () => {
    addWidget({ door: 'comm' });
    expect(await hello()).toMatchObject({ door: 'comm', why: 'it was asked for' });
    expect(environment.exchanges).toStrictEqual([]);
  });

  test.each(['port', 'proxy'] as const)('takes no other door than the %s if that was asked for', async (door) => {
    desk.bases = [];
    addWidget({ door });
    await desk.settle();
    expect(model.sent).toStrictEqual([]);
    expect(connection.words).toContain('not running any more');
  });

  test('says when it is heard, and waits for an hour, where that is between cells only', async () => {
    let names = 0;
    environment.newName = () => `name ${String(names++)}`;
    model.isDeaf = true;
    const output = addWidget({ door: 'comm', betweenCells: 'marimo hears it between cells' });
    await desk.settle();
    expect(output.textContent).toBe('● jchannel: connecting; marimo hears it between cells.');
    await vi.advanceTimersByTimeAsync(3_500_000);
    model.isDeaf = false;
    await vi.advanceTimersByTimeAsync(8000);
    model.welcome();
    expect(output.textContent).toBe(
      '● jchannel: connected by the kernel’s own messages; marimo hears it between cells.',
    );
    model.isDeaf = true;
    model.deliver({ connection: model.socket.wire.name, type: 'close', number: 0, acknowledged: 0, reason: 'lost' });
    expect(output.textContent).toBe(
      '● jchannel: the connection was lost. Trying again; marimo hears it between cells.',
    );
    connection.client?.close();
  });

  test('stays connected while its kernel, as a cell runs, can send acknowledgements only', async () => {
    addWidget({ door: 'comm' });
    await hello();
    new FakeServer(model.socket).welcome([], { beat: 10 });
    for (let beats = 0; beats < 5; beats++) {
      await vi.advanceTimersByTimeAsync(20_000);
      model.deliver(model.socket.wire.makeAck().content);
    }
    expect(connection.state).toBe('connected');
    await vi.advanceTimersByTimeAsync(30_000);
    expect(connection.state).toBe('waiting');
    connection.client?.close();
  });

  test('says so if it knows no address', async () => {
    begin('https://elsewhere.example');
    page.labConfig = null;
    addWidget();
    expect(await hello()).toMatchObject({ why: 'this page knows no address of the server' });
  });

  test('connects over the comm if the server is not where it was any more', async () => {
    remember('http://localhost:1/gone');
    desk.bases = [];
    addWidget();
    expect(await hello()).toMatchObject({ client: 'tab', door: 'comm' });
  });

  test('asks the kernel for another ticket if its own is used', async () => {
    desk.tickets = new Set(['2.new']);
    model.answers = { config: makeConfig({ ticket: '2.new' }) };
    addWidget();
    await desk.welcome();
    expect(connection.state).toBe('connected');
    expect(connection.words).toBe('connected to localhost:8889.');
  });

  test('says that the ticket is used if the kernel gives no other', async () => {
    desk.tickets.clear();
    addWidget();
    await desk.settle();
    await vi.advanceTimersByTimeAsync(0);
    expect(connection.words).toContain('the page that has shown it first');
  });

  test('asks for panels over the comm', async () => {
    const panel = new FakePanel('server 1');
    page.panels.push(panel);
    model.answers = { panels: { '1': { mood: 'good', texts: { calls: '3' }, note: 'as of two' } } };
    addWidget({ door: 'comm' });
    await hello();
    model.welcome();
    page.sight?.see(panel);
    await vi.advanceTimersByTimeAsync(0);
    expect(panel.says).toBe('open, 3, live');
  });

  test('takes the comm if that is asked for, wherever it was connected before', async () => {
    remember();
    addWidget({ door: 'comm' });
    expect(await hello()).toMatchObject({ client: 'tab', door: 'comm' });
    expect(environment.exchanges).toStrictEqual([]);
  });

  test('says what is missing if the comm was asked for and there is no widget', async () => {
    add({ door: 'comm' });
    await desk.settle();
    expect(connection.words).toContain('Install ipywidgets where Jupyter runs');
  });

  test('gives up soon when the kernel is gone', async () => {
    addWidget({ door: 'comm' });
    await hello();
    model.welcome();
    model.error = new Error('Cannot send');
    model.fire('comm_live_update', undefined);
    expect(connection.state).toBe('waiting');
    await vi.advanceTimersByTimeAsync(1000);
    expect(connection.state).toBe('stopped');
    expect(connection.words).toContain('not running any more');
  });

  test('says that the kernel is gone in the words of its front end', async () => {
    const output = addWidget({ door: 'comm', gone: 'gone, as marimo says it.' });
    await hello();
    model.error = new Error('Cannot send');
    model.fire('comm_live_update', undefined);
    await vi.advanceTimersByTimeAsync(1000);
    expect(output.textContent).toBe('● jchannel: gone, as marimo says it.');
  });

  test('says so when its comm has lost its kernel before, and holds no name then', async () => {
    const comm = new Comm(model, environment);
    const addShared = (): FakeElement => {
      const element = new FakeElement();
      vi.setSystemTime(Date.now() + 1000);
      connection.add(element as unknown as HTMLElement, makeConfig({ door: 'comm' }), comm);
      return element;
    };
    addShared();
    await hello();
    model.error = new Error('Cannot send');
    model.fire('comm_live_update', undefined);
    await vi.advanceTimersByTimeAsync(1000);
    expect(connection.state).toBe('stopped');

    const output = addShared();
    await vi.advanceTimersByTimeAsync(0);
    expect(connection.state).toBe('stopped');
    expect(output.textContent).toContain('not running any more');
    expect(page.locks.held.size).toBe(0);
  });

  describe('whose port takes connections and does not answer', () => {
    /** Add a widget to a page of a kernel that has stopped, and wait until it tries the comm. */
    async function addMute(): Promise<void> {
      let names = 0;
      environment.newName = () => `name ${String(names++)}`;
      page.labConfig = null;
      addWidget();
      await vi.advanceTimersByTimeAsync(DESK_TIMEOUT * 1000);
    }

    test('says so when the comm is silent, too', async () => {
      model.isDeaf = true;
      await addMute();
      expect(connection.words).toBe('connecting.');
      await vi.advanceTimersByTimeAsync(90_000);
      expect(connection.words).toContain('takes connections, and does not answer');
    });

    test('says that the kernel is gone when the comm has lost it', async () => {
      model.error = new Error('Cannot send');
      await addMute();
      await vi.advanceTimersByTimeAsync(1000);
      expect(connection.words).toContain('not running any more');
    });

    test('says that the kernel is gone when it was heard over the comm before', async () => {
      await addMute();
      model.welcome();
      expect(connection.state).toBe('connected');
      model.isDeaf = true;
      model.deliver({ connection: model.socket.wire.name, type: 'close', number: 0, acknowledged: 0, reason: 'lost' });
      await vi.advanceTimersByTimeAsync(90_000);
      expect(connection.words).toContain('not running any more');
    });
  });

  test('is patient with a kernel that is silent', async () => {
    let names = 0;
    environment.newName = () => `name ${String(names++)}`;
    addWidget({ door: 'comm' });
    await hello();
    model.isDeaf = true;
    await vi.advanceTimersByTimeAsync(30_000);
    model.isDeaf = false;
    await vi.advanceTimersByTimeAsync(8000);
    model.welcome();
    expect(connection.state).toBe('connected');
  });
});

describe('what stands in the way is named', () => {
  test('a policy that blocks the first request', async () => {
    desk.bases = [];
    page.labConfig = null;
    add();
    environment.block('http://localhost:8889/jchannel/notebook/server/proof');
    environment.block('http://localhost:1/other');
    await desk.settle();
    expect(connection.words).toContain('not connected. The page\'s Content Security Policy does not let it connect');
    expect(environment.blockers).toHaveLength(0);
  });

  test('a policy that blocks the socket alone', async () => {
    add();
    await desk.settle();
    environment.block('ws://localhost:1/other');
    environment.block('ws://localhost:8889/socket');
    expect(connection.words).toContain('ws://localhost:8889 to the policy\'s connect-src');
    expect(environment.blockers).toHaveLength(0);
  });

  test('a permission that was denied', async () => {
    page.permission = 'denied';
    desk.bases = [];
    add();
    await desk.settle();
    expect(connection.words).toContain('its permission for the local network is denied');
  });

  test('plain HTTP beside a page that came over HTTPS', async () => {
    begin('https://hub.example/lab');
    desk.bases = [];
    add({ url: 'http://10.0.0.1:8889' });
    await desk.settle();
    expect(connection.words).toContain('This page came over HTTPS, and http://10.0.0.1:8889 is plain HTTP');
  });

  test.each([true, false])('a server that does not answer, remembered or not', async (isRemembered) => {
    page.labConfig = null;
    if (isRemembered) {
      remember();
    }
    add();
    await vi.advanceTimersByTimeAsync(DESK_TIMEOUT * 1000);
    expect(connection.words).toContain('takes connections, and does not answer');
  });

  test('a server that does not answer is named after one that is not there', async () => {
    add();
    desk.bases = [];
    await vi.advanceTimersByTimeAsync(DESK_TIMEOUT * 1000);
    environment.exchanges[1]?.fail(new TypeError('Failed to fetch'));
    await vi.advanceTimersByTimeAsync(0);
    expect(connection.words).toContain('takes connections, and does not answer');
  });
});
