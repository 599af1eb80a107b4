/**
 * A page of the fake host: as much of a browser as the module of a widget needs, and as much of anywidget.
 *
 * Each line of its input is a command as JSON, each line of its output a report. `buffers` (the argument) says what the
 * page's side of the host hands to widgets as a buffer. Time can be skipped: timers that would have been due meanwhile
 * then fire, one after the other.
 */

import { createInterface } from 'node:readline';
import { runInNewContext } from 'node:vm';

const [, , buffers, stored] = process.argv;

function report(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

/** The time of the page. */
class Clock {
  #skipped = 0;
  #last = 0;
  #timers = new Map();
  #setTimeout = setTimeout;
  #clearTimeout = clearTimeout;
  #now = performance.now.bind(performance);

  install() {
    const start = Date.now() - this.#now();
    performance.now = () => this.now();
    Date.now = () => start + this.now();
    globalThis.setTimeout = (callback, delay = 0, ...args) => this.#set(() => callback(...args), delay);
    globalThis.clearTimeout = (id) => {
      this.#clearTimeout.call(globalThis, this.#timers.get(id)?.timer);
      this.#timers.delete(id);
    };
  }

  now() {
    return this.#now() + this.#skipped;
  }

  async skip(time) {
    const end = this.now() + time;
    for (let next = this.#first(end); next !== undefined; next = this.#first(end)) {
      const [id, { due }] = next;
      this.#skipped += Math.max(0, due - this.now());
      this.#fire(id);
      await new Promise(setImmediate); // What is done about it.
    }
    this.#skipped += Math.max(0, end - this.now());
    for (const [id, timer] of this.#timers) {
      this.#clearTimeout.call(globalThis, timer.timer);
      this.#arm(id, timer);
    }
  }

  #first(end) {
    const [first] = [...this.#timers].sort(([, one], [, other]) => one.due - other.due);
    return first !== undefined && first[1].due <= end ? first : undefined;
  }

  #set(callback, delay) {
    const id = ++this.#last;
    const timer = { callback, due: this.now() + delay };
    this.#timers.set(id, timer);
    this.#arm(id, timer);
    return id;
  }

  #arm(id, timer) {
    timer.timer = this.#setTimeout.call(globalThis, () => this.#fire(id), timer.due - this.now());
  }

  #fire(id) {
    const timer = this.#timers.get(id);
    this.#timers.delete(id);
    this.#clearTimeout.call(globalThis, timer?.timer);
    timer?.callback();
  }
}

const clock = new Clock();
clock.install();

/** An element. One that is the line of an output reports its text. */
class Element {
  dataset = {};
  style = {};
  isConnected = true;
  parentNode = null;
  onText = () => undefined;
  #parts = [];

  set textContent(text) {
    this.#parts = [text];
  }

  get textContent() {
    return this.#parts.map((part) => (typeof part === 'string' ? part : part.textContent)).join('');
  }

  append(...parts) {
    this.#parts.push(...parts);
  }

  replaceChildren(...parts) {
    this.#parts = parts;
    this.onText(this.textContent);
  }

  closest() {
    return null;
  }
}

class Observer {
  observe() {}
  disconnect() {}
}

const storage = new Map(Object.entries(JSON.parse(stored)));
const scope = {
  document: Object.assign(new EventTarget(), {
    body: new Element(),
    createElement: () => new Element(),
    getElementById: () => null,
    getElementsByClassName: () => [],
  }),
  location: { protocol: 'https:', hostname: 'host.test', origin: 'https://host.test' },
  navigator: { userAgent: 'the fake host' },
  sessionStorage: {
    getItem: (key) => storage.get(key) ?? null,
    setItem: (key, value) => {
      storage.set(key, value);
      report({ op: 'stored', key, value });
    },
    removeItem: (key) => storage.delete(key),
  },
  MutationObserver: Observer,
  IntersectionObserver: Observer,
  addEventListener: () => undefined,
  removeEventListener: () => undefined,
  WebSocket: class {
    constructor() {
      throw new Error('the page reaches no port');
    }
  },
};
for (const [name, value] of Object.entries(scope)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** What hosts hand to widgets as a buffer. */
const FORMS = {
  DataView: (bytes) => new DataView(wholeOf(bytes)),
  Uint8Array: (bytes) => new Uint8Array(wholeOf(bytes)),
  // A part of what the host has received.
  part: (bytes) => {
    const all = new Uint8Array(bytes.length + 20).fill(255);
    all.set(bytes, 7);
    return all.subarray(7, 7 + bytes.length);
  },
  // Of another window: that of a frame.
  foreign: (bytes) => {
    const buffer = runInNewContext('(length) => new ArrayBuffer(length)')(bytes.length);
    new Uint8Array(buffer).set(bytes);
    return buffer;
  },
  base64: (bytes) => bytes.toString('base64'),
};

function wholeOf(bytes) {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
}

/** A widget's model, as anywidget has it. */
class Model {
  isDead = false;
  #id;
  #state;
  #listeners = [];

  constructor(id, state) {
    this.#id = id;
    this.#state = state;
  }

  get(name) {
    return this.#state[name];
  }

  set(state) {
    Object.assign(this.#state, state);
  }

  on(event, handler) {
    this.#listeners.push([event, handler]);
  }

  off(event, handler) {
    this.#listeners = this.#listeners.filter(([meant, other]) => meant !== event || other !== handler);
  }

  send(content, _, sent = []) {
    if (this.isDead) {
      throw new Error('Cannot send');
    }
    if (!sent.every((buffer) => buffer instanceof ArrayBuffer)) {
      throw new RangeError('only whole buffers can be sent');
    }
    report({ op: 'send', model: this.#id, content, buffers: sent.map((buffer) => Buffer.from(buffer).toString('base64')) });
  }

  fire(event, ...args) {
    for (const [meant, handler] of [...this.#listeners]) {
      if (meant === event) {
        handler(...args);
      }
    }
  }
}

const models = new Map();

const commands = {
  async open({ model: id, state }) {
    const model = new Model(id, state);
    const module = `data:text/javascript;base64,${Buffer.from(state._esm).toString('base64')}#${id}`;
    const { default: widget } = await import(module);
    models.set(id, { model, widget });
    await widget.initialize({ model });
  },

  show({ model: id, output }) {
    const { model, widget } = models.get(id);
    const append = (line) => {
      line.onText = (text) => {
        report({ op: 'line', output, text });
      };
    };
    return widget.render({ model, el: { append } });
  },

  update({ model: id, state }) {
    models.get(id).model.set(state);
  },

  message({ model: id, content, buffers: texts }) {
    const handed = texts.map((text) => FORMS[buffers](Buffer.from(text, 'base64')));
    models.get(id)?.model.fire('msg:custom', content, handed);
  },

  /** The front end has heard that the kernel is gone. */
  lose() {
    for (const { model } of models.values()) {
      model.isDead = true;
      model.fire('comm_live_update');
    }
  },

  async skip({ seconds }) {
    await clock.skip(seconds * 1000);
    report({ op: 'skipped' });
  },
};

process.on('uncaughtException', (error) => {
  report({ op: 'failed', text: error.stack });
  process.exit(1);
});

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  await commands[command.op](command);
}
