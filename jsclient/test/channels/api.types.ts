/**
 * Calls that are typed by the interfaces of the two sides. There is nothing to run: the compiler checks this file, and
 * each `@ts-expect-error` is an error that it must find.
 */

import { expectTypeOf } from 'vitest';
import type { Channel, Initialize, MetaGenerator } from '../../src/index.js';

/** As `python -m jchannel types` writes it. */
interface Handler {
  add(a: number, b: number): number;
  describe(name?: string): { name: string; size: number } | null;
  load(): Promise<Uint8Array>;
  collect(...values: number[]): string;
  upload(stream: MetaGenerator, name: string): number;
  keep(stream?: MetaGenerator): null;
  record(seconds: number): MetaGenerator;
  untyped(first: unknown, second: unknown): unknown;
  open(...args: unknown[]): unknown;
}

interface Page {
  draw(step: number, loss: number): void;
  size(): number;
  film(frames: number): MetaGenerator;
  receive(stream: MetaGenerator): number;
}

interface Api {
  python: Handler;
  page: Page;
}

export function callPython(channel: Channel<Api>): void {
  const blob = new Blob();
  expectTypeOf(channel.call('add', 2, 3)).toEqualTypeOf<Promise<number>>();
  expectTypeOf(channel.call('describe')).toEqualTypeOf<Promise<{ name: string; size: number } | null>>();
  expectTypeOf(channel.call('load')).toEqualTypeOf<Promise<Uint8Array>>();
  expectTypeOf(channel.call('collect', 1, 2, 3)).toEqualTypeOf<Promise<string>>();
  expectTypeOf(channel.call('record', 3)).toEqualTypeOf<Promise<MetaGenerator>>();
  expectTypeOf(channel.call('untyped', 1, 'a')).toEqualTypeOf<Promise<unknown>>();
  expectTypeOf(channel.callWithStream('upload', blob, 'film.mp4')).toEqualTypeOf<Promise<number>>();
  expectTypeOf(channel.callWithStream('keep', blob)).toEqualTypeOf<Promise<null>>();
  expectTypeOf(channel.callWithStream('untyped', blob, 5)).toEqualTypeOf<Promise<unknown>>();
  expectTypeOf(channel.callWithStream('open', blob, 5, 6)).toEqualTypeOf<Promise<unknown>>();
  expectTypeOf(channel.with({ timeout: 2 }).call('add', 2, 3)).toEqualTypeOf<Promise<number>>();

  // @ts-expect-error -- there is no such method
  void channel.call('ad', 2, 3);
  // @ts-expect-error -- an argument is missing
  void channel.call('add', 2);
  // @ts-expect-error -- an argument is one too many
  void channel.call('add', 2, 3, 4);
  // @ts-expect-error -- an argument is of another type
  void channel.call('add', 2, '3');
  // @ts-expect-error -- the options do not change what there is
  void channel.with({}).call('ad', 2, 3);
  // @ts-expect-error -- it takes a stream
  void channel.call('upload', blob, 'film.mp4');
  // @ts-expect-error -- it takes no stream
  void channel.callWithStream('add', blob, 3);
  // @ts-expect-error -- what comes behind the stream is of another type
  void channel.callWithStream('upload', blob, 5);
  // @ts-expect-error -- this is no stream
  void channel.callWithStream('upload', 5, 'film.mp4');
}

export function answerPython(channel: Channel<Api>): void {
  channel.handler = {
    draw(step, loss) {
      expectTypeOf(step).toEqualTypeOf<number>();
      expectTypeOf(loss).toEqualTypeOf<number>();
    },
    size: async () => Promise.resolve(5),
    async *film(frames) {
      await Promise.resolve();
      yield new Uint8Array(frames);
    },
    receive: async (stream) => (await stream.join()).length,
  };
  channel.handler = { draw: () => undefined, size: () => 5, film: () => new Blob(), receive: () => 5 };
  channel.handler = null;
  // @ts-expect-error -- methods are missing
  channel.handler = { size: () => 5 };
  // @ts-expect-error -- one returns another type
  channel.handler = { draw: () => undefined, size: () => '5', film: () => new Blob(), receive: () => 5 };
  // @ts-expect-error -- one takes another type
  channel.handler = { draw: (step: string) => step.trim(), size: () => 5, film: () => new Blob(), receive: () => 5 };
  // @ts-expect-error -- one returns what is no stream
  channel.handler = { draw: () => undefined, size: () => 5, film: () => 'frames', receive: () => 5 };
}

export const initialize: Initialize<Api> = (channel) => {
  expectTypeOf(channel).toEqualTypeOf<Channel<Api>>();
  return channel.call('add', 2, 3);
};

/** One side may be known and the other not. */
export function knowOneSide(python: Channel<{ python: Handler }>, page: Channel<{ page: Page }>): void {
  expectTypeOf(python.call('add', 2, 3)).toEqualTypeOf<Promise<number>>();
  expectTypeOf(python.handler).toEqualTypeOf<object | null>();
  expectTypeOf(page.call('anything', 2, [3])).toEqualTypeOf<Promise<unknown>>();
  expectTypeOf(page.handler).not.toEqualTypeOf<object | null>();
}

/** Without types everything is as in JavaScript. */
export function knowNothing(channel: Channel): void {
  expectTypeOf(channel).toEqualTypeOf<Channel<{ python?: object; page?: object }>>();
  expectTypeOf(channel.call('anything', 2, [3])).toEqualTypeOf<Promise<unknown>>();
  expectTypeOf(channel.callWithStream('anything', new Blob(), 3)).toEqualTypeOf<Promise<unknown>>();
  channel.handler = { anything: () => 5 };
  // @ts-expect-error -- a handler is an object
  channel.handler = 5;
}

/** @ts-expect-error -- a side has another name */
export type Misspelled = Channel<{ pyton: Handler }>;
