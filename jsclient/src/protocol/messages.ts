/**
 * The vocabulary of the wire: the type of each message, who sends it, how it is written and how it is read.
 *
 * The tables here are those of `docs/protocol.md`. Whether a message may come at this time is not decided here but in
 * `connection.ts`.
 */

import { ProtocolError } from '../errors.js';
import { ALIGNMENT, type Attachment, type AttachmentField, type ValueField } from './attachments.js';
import { shorten } from './shorten.js';
import { pack, Packed } from './values.js';

/** The two sides of a connection: `server` listens (Python), `page` connects. */
export type Role = 'page' | 'server';

const GOODBYE_REASONS = ['closed', 'token', 'origin', 'version', 'taken', 'replaced', 'protocol'] as const;

const ERROR_KINDS = [
  'exception',
  'handler',
  'method',
  'callable',
  'private',
  'value',
  'channel',
  'busy',
  'cancelled',
  'timeout',
  'aborted',
  'ended',
] as const;

export type GoodbyeReason = (typeof GOODBYE_REASONS)[number];
export type ErrorKind = (typeof ERROR_KINDS)[number];

/** The least that a page's frame limit may be, in bytes: what the two sides say of themselves fits into it. */
export const MIN_FRAME_LIMIT = 4096;

/**
 * The page's first message. `client` names the page, the same after a reconnect or a reload, and `frame_limit` is the
 * largest frame in bytes that its way to the server carries, where it knows of a limit.
 */
export interface Hello {
  readonly type: 'hello';
  readonly client: string;
  readonly frame_limit?: number;
}

/**
 * The server's answer to `hello`: its beat in seconds, its frame limit in bytes, the most seconds that a cancelled
 * request is waited for, and the channels that are alive.
 */
export interface Welcome {
  readonly type: 'welcome';
  readonly beat: number;
  readonly frame_limit: number;
  readonly cancel_wait: number;
  readonly channels: readonly number[];
}

/** The last message of a side that ends the connection on purpose. */
export interface Goodbye {
  readonly type: 'goodbye';
  readonly reason: GoodbyeReason;
  readonly message: string;
}

/** The server's sign of life. */
export interface Beat {
  readonly type: 'beat';
}

/** Asks the page to open a channel with an initialization function, given as code. */
export interface Open {
  readonly type: 'open';
  readonly id: number;
  readonly channel: number;
  readonly code: string;
}

/** Asks the page to forget a channel. */
export interface Close {
  readonly type: 'close';
  readonly id: number;
  readonly channel: number;
}

/** Asks for the arguments back. */
export interface Echo {
  readonly type: 'echo';
  readonly id: number;
  readonly channel: number;
  readonly args: readonly unknown[];
}

/** The announcement of a stream that its sender has. */
export interface StreamInfo {
  /** The stream's number. */
  readonly id: number;
  /** Its length in bytes, where its source knows it. */
  readonly total?: number;
  /** The whole stream, when it is short and ready. */
  readonly data?: Uint8Array<ArrayBuffer>;
  /** Where to fetch a stream of the server that is not in `data`. */
  readonly ticket?: string;
}

/** The time of a request, and on whose behalf it is made. */
export interface Terms {
  /** What was left of the sender's time, in seconds. */
  readonly timeout?: number;
  /** The request of the receiver's that the sender runs, and on whose behalf this one is sent. */
  readonly parent?: number;
}

/** Asks for a call of a method of the channel's handler. The stream, if there is one, is its first argument. */
export interface Call extends Terms {
  readonly type: 'call';
  readonly id: number;
  readonly channel: number;
  readonly name: string;
  readonly args: readonly unknown[];
  readonly stream?: StreamInfo;
}

/** Gives a stream and asks for it back. */
export interface Pipe extends Terms {
  readonly type: 'pipe';
  readonly id: number;
  readonly channel: number;
  readonly stream: StreamInfo;
}

/** The answer to the request `id`: a value, or a stream beside the value null. */
export interface Result {
  readonly type: 'result';
  readonly id: number;
  readonly value: unknown;
  readonly stream?: StreamInfo;
}

/** The answer to a request that has failed. */
export interface ErrorAnswer {
  readonly type: 'error';
  readonly id: number;
  readonly kind: ErrorKind;
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
}

/** Asks for the end of the sender's request `id`, which is answered all the same. */
export interface Cancel {
  readonly type: 'cancel';
  readonly id: number;
}

/** Tells the page where to post its stream: the reader begins to read. */
export interface Ticket {
  readonly type: 'ticket';
  readonly stream: number;
  readonly ticket: string;
}

/** Tells the source of a stream that its reader wants no more. */
export interface Stop {
  readonly type: 'stop';
  readonly stream: number;
}

/** Tells the reader of a stream that its source has failed. */
export interface Broken {
  readonly type: 'broken';
  readonly stream: number;
  readonly name: string;
  readonly message: string;
}

export type Request = Open | Close | Echo | Call | Pipe;
export type Answer = Result | ErrorAnswer;
export type StreamMessage = Ticket | Stop | Broken;
export type Message = Hello | Welcome | Goodbye | Beat | Request | Answer | Cancel | StreamMessage;

/** A message as it leaves: its JSON, what is attached to it, and the bytes it takes in a frame, at most. */
export interface Encoded {
  readonly text: string;
  readonly attachments: readonly Attachment[];
  readonly size: number;
}

interface Field {
  readonly name: string;
  readonly check: (value: unknown) => boolean;
  readonly optional?: true;
  readonly values?: ValueField;
  /** Whether the field announces a stream. */
  readonly announces?: true;
}

interface Definition {
  readonly sender: Role | 'both';
  readonly fields: readonly Field[];
}

const isText = (value: unknown): boolean => typeof value === 'string';
const isClient = (value: unknown): boolean => typeof value === 'string' && /^.{1,64}$/su.test(value);
const isId = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1;
const isFrameLimit = (value: unknown): boolean => isId(value) && (value as number) >= MIN_FRAME_LIMIT;
const isPeriod = (value: unknown): boolean => Number.isFinite(value) && (value as number) > 0;
const isTimeout = (value: unknown): boolean => Number.isFinite(value) && (value as number) >= 0;
const isReason = (value: unknown): boolean => GOODBYE_REASONS.includes(value as GoodbyeReason);
const isKind = (value: unknown): boolean => ERROR_KINDS.includes(value as ErrorKind);
const isPresent = (value: unknown): boolean => value !== undefined;
const isIds = (value: unknown): boolean => Array.isArray(value) && value.every(isId);

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isTicket = (value: unknown): boolean => typeof value === 'string' && /^[\w-]{22}$/.test(value);

function isStream(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return false;
  }
  const { id, total, data, ticket } = value as Record<string, unknown>;
  return (
    isId(id) &&
    (total === undefined || isCount(total)) &&
    // Nothing but an attachment puts bytes here.
    (data === undefined || data instanceof Uint8Array) &&
    (ticket === undefined || isTicket(ticket))
  );
}

const ID: Field = { name: 'id', check: isId };
const CHANNEL: Field = { name: 'channel', check: isId };
const ARGS: Field = { name: 'args', check: Array.isArray, values: 'args' };
const MESSAGE: Field = { name: 'message', check: isText };
const STREAM: Field = { name: 'stream', check: isStream, announces: true };
const TERMS: readonly Field[] = [
  { name: 'timeout', check: isTimeout, optional: true },
  { name: 'parent', check: isId, optional: true },
];
const NUMBER: Field = { name: 'stream', check: isId };

const VOCABULARY: ReadonlyMap<unknown, Definition> = new Map<Message['type'], Definition>([
  [
    'hello',
    {
      sender: 'page',
      fields: [
        { name: 'client', check: isClient },
        { name: 'frame_limit', check: isFrameLimit, optional: true },
      ],
    },
  ],
  [
    'welcome',
    {
      sender: 'server',
      fields: [
        { name: 'beat', check: isPeriod },
        { name: 'frame_limit', check: isId },
        { name: 'cancel_wait', check: isPeriod },
        { name: 'channels', check: isIds },
      ],
    },
  ],
  ['goodbye', { sender: 'both', fields: [{ name: 'reason', check: isReason }, MESSAGE] }],
  ['beat', { sender: 'server', fields: [] }],
  ['open', { sender: 'server', fields: [ID, CHANNEL, { name: 'code', check: isText }] }],
  ['close', { sender: 'server', fields: [ID, CHANNEL] }],
  ['echo', { sender: 'both', fields: [ID, CHANNEL, ARGS] }],
  [
    'call',
    {
      sender: 'both',
      fields: [ID, CHANNEL, { name: 'name', check: isText }, ARGS, { ...STREAM, optional: true }, ...TERMS],
    },
  ],
  ['pipe', { sender: 'both', fields: [ID, CHANNEL, STREAM, ...TERMS] }],
  [
    'result',
    {
      sender: 'both',
      fields: [ID, { name: 'value', check: isPresent, values: 'value' }, { ...STREAM, optional: true }],
    },
  ],
  [
    'error',
    {
      sender: 'both',
      fields: [
        ID,
        { name: 'kind', check: isKind },
        { name: 'name', check: isText },
        MESSAGE,
        { name: 'stack', check: isText, optional: true },
      ],
    },
  ],
  ['cancel', { sender: 'both', fields: [ID] }],
  ['ticket', { sender: 'server', fields: [NUMBER, { name: 'ticket', check: isTicket }] }],
  ['stop', { sender: 'both', fields: [NUMBER] }],
  ['broken', { sender: 'both', fields: [NUMBER, { name: 'name', check: isText }, MESSAGE] }],
]);

/** Tells whether messages of this type are for this side to send. */
export function maySend(role: Role, type: Message['type']): boolean {
  const sender = VOCABULARY.get(type)?.sender;
  return sender === 'both' || sender === role;
}

/** The field that holds the values of messages of this type, if they have any. */
export function valueFieldOf(type: unknown): ValueField | undefined {
  return VOCABULARY.get(type)?.fields.find((field) => field.values !== undefined)?.values;
}

// Looked up for every message that comes, so it is not computed there.
const ATTACHMENT_FIELDS: ReadonlyMap<unknown, readonly AttachmentField[]> = new Map(
  Array.from(VOCABULARY, ([type, { fields }]) => [
    type,
    fields.flatMap(({ values, announces }) => values ?? (announces ? 'stream' : [])),
  ]),
);

/** The fields of messages of this type that can hold attachments. */
export function attachmentFieldsOf(type: unknown): readonly AttachmentField[] {
  return ATTACHMENT_FIELDS.get(type) ?? [];
}

/**
 * Writes a message. Its values may have been packed before.
 *
 * @throws TypeError, RangeError when its arguments or its value cannot be sent, as `pack` does.
 */
export function encodeMessage(message: Message): Encoded {
  let text = `{"type":"${message.type}"`;
  let attachments: readonly Attachment[] = [];
  for (const { name, values, announces } of definitionOf(message.type).fields) {
    const value = (message as unknown as Record<string, unknown>)[name];
    if (values !== undefined) {
      const packed = value instanceof Packed ? value : pack(value, values);
      text += `,"${name}":${packed.text}`;
      attachments = packed.attachments;
    } else if (announces && value !== undefined) {
      const { id, total, data, ticket } = value as StreamInfo;
      text += `,"${name}":${JSON.stringify({ id, total, data: data && null, ticket })}`;
      if (data !== undefined) {
        attachments = [...attachments, { path: ['stream', 'data'], type: 'bytes', shape: undefined, data }];
      }
    } else if (value !== undefined) {
      text += `,"${name}":${JSON.stringify(value)}`;
    }
  }
  if (attachments.length > 0) {
    text += `,"attachments":${JSON.stringify(attachments.map(describe))}`;
  }
  text += '}';
  const size = attachments.reduce((sum, { data }) => sum + data.length + ALIGNMENT, utf8Length(text));
  return { text, attachments, size };
}

function describe({ path, type, shape, data }: Attachment): unknown {
  return { path, type, shape, size: data.length };
}

// A search for units, not characters: engines do it twice as fast as the loop below counts.
const BEYOND_ASCII = /[\u0080-\uffff]/;

function utf8Length(text: string): number {
  let length = text.length;
  if (!BEYOND_ASCII.test(text)) {
    return length;
  }
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) {
      // A surrogate is half of four bytes.
      length += unit < 0x800 || (unit & 0xf800) === 0xd800 ? 1 : 2;
    }
  }
  return length;
}

/**
 * Reads a message from its JSON object, with its attachments back in their places.
 *
 * @throws ProtocolError when the object is not a message of the protocol.
 */
export function parseMessage(object: Record<string, unknown>): Message {
  const type = object['type'];
  const message: Record<string, unknown> = { type };
  for (const { name, check, optional, announces } of definitionOf(type).fields) {
    const value = Object.hasOwn(object, name) ? object[name] : undefined;
    if (value === undefined && optional) {
      continue;
    }
    if (!check(value)) {
      const problem = value === undefined ? 'is missing' : `cannot be ${shorten(value)}`;
      throw new ProtocolError(`the field ${name} of the message ${String(type)} ${problem}`);
    }
    message[name] = announces ? pickStream(value as StreamInfo) : value;
  }
  return message as unknown as Message;
}

/** The known fields of an announcement, and no others. */
function pickStream({ id, total, data, ticket }: StreamInfo): StreamInfo {
  return {
    id,
    ...(total === undefined ? {} : { total }),
    ...(data === undefined ? {} : { data }),
    ...(ticket === undefined ? {} : { ticket }),
  };
}

function definitionOf(type: unknown): Definition {
  const definition = VOCABULARY.get(type);
  if (definition === undefined) {
    throw new ProtocolError(`there is no message of the type ${shorten(type)}`);
  }
  return definition;
}
