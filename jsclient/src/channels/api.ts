/**
 * The types of what the two sides of a channel offer each other. They are for the compiler alone: no code of the client
 * depends on them.
 */

import type { MetaGenerator } from '../streams/reader.js';
import type { Bytes } from '../streams/sources.js';

/**
 * What is known of the two sides of a channel, as two interfaces of methods. Of a side that is left out nothing is known,
 * and everything is allowed.
 *
 * A method takes and returns what the page sees: `add(a: number, b: number): number` is called as
 * `await channel.call('add', 2, 3)`. A `MetaGenerator` as its first parameter, or as what it returns, is a byte stream.
 * `python -m jchannel types` writes the interface of a handler in Python.
 */
export interface ChannelApi {
  /** The methods of the handler in Python, which the page calls. */
  readonly python?: object;
  /** The methods of `channel.handler` in the page, which Python calls. */
  readonly page?: object;
}

/** Methods of which nothing is known. */
export type AnyMethods = Readonly<Record<string, (...args: unknown[]) => unknown>>;

/** The methods of the handler in Python. */
export type PythonOf<Api extends ChannelApi> = Api extends { readonly python: infer Python extends object }
  ? Python
  : AnyMethods;

/** The handler of the page: what it may be, and what its methods may return. */
export type HandlerOf<Api extends ChannelApi> = Api extends { readonly page: infer Page extends object }
  ? { [Name in keyof Page]: Implementation<Page[Name]> }
  : object;

type Implementation<Member> = Member extends (...args: infer Args) => infer Result
  ? (...args: Args) => Sent<Awaited<Result>> | Promise<Sent<Awaited<Result>>>
  : Member;

/** What a method returns so that the other side receives a value or a stream. */
type Sent<Value> = Value extends MetaGenerator
  ? AsyncIterable<Bytes> | ReadableStream<Bytes> | Blob | Response
  : Value;

/** Whether a method is called with a stream as its first argument, without one, or in both ways. */
type Use<Member> = Member extends (...args: infer Args) => unknown
  ? unknown extends Args[0]
    ? 'value' | 'stream'
    : [NonNullable<Args[0]>] extends [never]
      ? 'value'
      : NonNullable<Args[0]> extends MetaGenerator
        ? 'stream'
        : 'value'
  : never;

type NameOf<Methods, Wanted> = {
  [Name in keyof Methods & string]: Wanted extends Use<Methods[Name]> ? Name : never;
}[keyof Methods & string];

/** The names of the methods that are called without a stream. */
export type CallName<Methods> = NameOf<Methods, 'value'>;

/** The names of the methods that are called with a stream as their first argument. */
export type StreamCallName<Methods> = NameOf<Methods, 'stream'>;

/** The arguments of a method. */
export type ArgumentsOf<Member> = Member extends (...args: infer Args) => unknown ? Args : never;

/** The arguments of a method without the first one, the stream. */
export type OtherArgumentsOf<Member> =
  ArgumentsOf<Member> extends [unknown?, ...infer Others] ? Others : ArgumentsOf<Member>;

/** What a call of a method gives. */
export type ResultOf<Member> = Member extends (...args: never[]) => infer Result ? Awaited<Result> : never;
