/**
 * The messages of the protocol: which types there are, who sends them, and how they are encoded and parsed.
 *
 * The tables here are those of `docs/protocol.md`. `connection.ts` decides whether a message is allowed at a given
 * time.
 */

import { ProtocolError } from '../errors.js';
import { ALIGNMENT, type Attachment, type AttachmentField, type ValueField } from './attachments.js';
import { shorten } from './shorten.js';
import { pack, Packed, type Nan } from './values.js';

/** The two sides of a connection: `server` listens (Python), `page` connects. */
export type Role = 'page' | 'server';

const GOODBYE_REASONS = ['closed', 'token', 'origin', 'version', 'taken', 'replaced', 'protocol', 'away'] as const;

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

/**
 * The ways of a notebook's page to the server, best first: its port, a proxy of the page's own origin, the kernel's own
 * messages.
 */
export const DOORS = ['port', 'proxy', 'comm'] as const;
export type Door = (typeof DOORS)[number];

/** The smallest frame limit of a page, in bytes. The messages of the handshake fit into it. */
export const MIN_FRAME_LIMIT = 4096;

/**
 * The page's first message. `client` is the name of the page, which stays the same after a reconnect or a reload.
 * `frame_limit` is the largest frame in bytes that comes through between the two sides, if there is such a limit.
 * `door` is the page's way to the server, and `why` says why no better one could be used, if there is more than one.
 */
export interface Hello {
  readonly type: 'hello';
  readonly client: string;
  readonly frame_limit?: number;
  readonly door?: Door;
  readonly why?: string;
}

/**
 * The server's answer to `hello`: its beat in seconds, its frame limit in bytes, the longest time in seconds to wait
 * for a cancelled request, the channels that it still has, and the most streams that may travel over HTTP at once, if
 * there is such a limit.
 */
export interface Welcome {
  readonly type: 'welcome';
  readonly beat: number;
  readonly frame_limit: number;
  readonly cancel_wait: number;
  readonly channels: readonly number[];
  readonly http_streams?: number;
}

/** The last message of a side that ends the connection on purpose. */
export interface Goodbye {
  readonly type: 'goodbye';
  readonly reason: GoodbyeReason;
  readonly message: string;
}

/** The server's sign of life, and the page's, which answers each. */
export interface Beat {
  readonly type: 'beat';
}

/**
 * Asks the page to open a channel. `code` is the initialization function, or `module` names the module of the page
 * whose default export it is: there is one of the two.
 */
export interface Open {
  readonly type: 'open';
  readonly id: number;
  readonly channel: number;
  readonly code?: string;
  readonly module?: string;
  /** What becomes of NaN and the infinities in what the page sends in the channel. Without it they are refused. */
  readonly nan?: Nan;
}

/** Asks the page to forget a channel. */
export interface Close {
  readonly type: 'close';
  readonly id: number;
  readonly channel: number;
}

/** Asks the other side to return the arguments. */
export interface Echo {
  readonly type: 'echo';
  readonly id: number;
  readonly channel: number;
  readonly args: readonly unknown[];
}

/** The announcement of a stream by its sender. */
export interface StreamInfo {
  /** The stream's number. */
  readonly id: number;
  /** The length in bytes, if the source knows it. */
  readonly total?: number;
  /** The whole stream, if it is short and ready. */
  readonly data?: Uint8Array<ArrayBuffer>;
  /** The ticket for fetching a stream of the server that is not in `data`. */
  readonly ticket?: string;
}

/** The context of a request: its time, and its parent. */
export interface RequestContext {
  /** The time that was left when the request was sent, in seconds. */
  readonly timeout?: number;
  /** The id of the receiver's request that the sender runs and on whose behalf it sends this one. */
  readonly parent?: number;
}

/** Asks the other side to call a method of the channel's handler. A stream is the method's first argument. */
export interface Call extends RequestContext {
  readonly type: 'call';
  readonly id: number;
  readonly channel: number;
  readonly name: string;
  readonly args: readonly unknown[];
  readonly stream?: StreamInfo;
}

/** Asks the other side to return a stream. */
export interface Pipe extends RequestContext {
  readonly type: 'pipe';
  readonly id: number;
  readonly channel: number;
  readonly stream: StreamInfo;
}

/** The answer to the request `id`: a value, or a stream, with null as the value. */
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

/** Cancels the sender's request `id`, which is still answered. */
export interface Cancel {
  readonly type: 'cancel';
  readonly id: number;
}

/**
 * The ticket for posting a stream of the page. It is sent when the reader begins to read. `credit` is the number of
 * bytes that may be sent as pieces instead, if they may. `near` is whether the round trip is so short that pieces are the
 * faster way.
 */
export interface Ticket {
  readonly type: 'ticket';
  readonly stream: number;
  readonly ticket: string;
  readonly credit?: number;
  readonly near?: boolean;
}

/** Asks the sender of a stream to stop it. */
export interface Stop {
  readonly type: 'stop';
  readonly stream: number;
}

/** Informs the reader of a stream that its source has failed. */
export interface Broken {
  readonly type: 'broken';
  readonly stream: number;
  readonly name: string;
  readonly message: string;
}

/** Allows the sender of a stream to send this many more bytes as pieces. The first one begins the stream. */
export interface Credit {
  readonly type: 'credit';
  readonly stream: number;
  readonly bytes: number;
}

/** The next bytes, at least one, of a stream that travels as pieces. */
export interface Piece {
  readonly type: 'piece';
  readonly stream: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Informs the reader of a stream that all pieces have been sent. */
export interface End {
  readonly type: 'end';
  readonly stream: number;
}

/** Informs the other side that this many more bytes of its pieces have arrived. */
export interface Ack {
  readonly type: 'ack';
  readonly bytes: number;
}

export type Request = Open | Close | Echo | Call | Pipe;
export type Answer = Result | ErrorAnswer;
export type StreamMessage = Ticket | Stop | Broken | Credit | Piece | End;
export type Message = Hello | Welcome | Goodbye | Beat | Request | Answer | Cancel | StreamMessage | Ack;

/** An encoded message: its JSON, its attachments, and an upper bound of its size in a frame in bytes. */
export interface Encoded {
  readonly text: string;
  readonly attachments: readonly Attachment[];
  readonly size: number;
}

/** What a field can be besides its name and its check. */
interface FieldOptions {
  readonly optional?: true;
  readonly values?: ValueField;
  /** The most characters of a text. More is cut off. */
  readonly most?: number;
  /** Whether the field announces a stream. */
  readonly announces?: true;
  /** Whether the field is bytes, which are attached. */
  readonly isData?: true;
}

interface Field {
  readonly name: string;
  readonly check: (value: unknown) => boolean;
  readonly optional: boolean;
  readonly values: ValueField | undefined;
  readonly most: number | undefined;
  readonly announces: boolean;
  readonly isData: boolean;
}

interface Definition {
  readonly sender: Role | 'both';
  readonly fields: readonly Field[];
}

/** The most characters of why a page could use no better door. */
export const MAX_WHY = 1000;

/** The most characters of the name of a method. */
export const MAX_METHOD_LENGTH = 1000;

/** The most characters of an error's name. */
export const MAX_ERROR_NAME = 200;

/** The most characters of the other texts of an error, and of a goodbye's. */
export const MAX_ERROR_TEXT = 65_536;

/** Return whether a text has at most so many characters. Some take two code units. */
export function hasAtMost(text: string, characters: number): boolean {
  return text.length <= characters || (text.length <= 2 * characters && Array.from(text).length <= characters);
}

const isText = (value: unknown): boolean => typeof value === 'string';
const isNan = (value: unknown): boolean => value === 'null' || value === 'keep';
const isDoor = (value: unknown): boolean => DOORS.includes(value as Door);
const isMethod = (value: unknown): boolean => typeof value === 'string' && hasAtMost(value, MAX_METHOD_LENGTH);
const isClient = (value: unknown): boolean => typeof value === 'string' && /^.{1,64}$/su.test(value);
const isId = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1;
const isFrameLimit = (value: unknown): boolean => isId(value) && (value as number) >= MIN_FRAME_LIMIT;
const isPeriod = (value: unknown): boolean => Number.isFinite(value) && (value as number) > 0;
const isTimeout = (value: unknown): boolean => Number.isFinite(value) && (value as number) >= 0;
const isReason = (value: unknown): boolean => GOODBYE_REASONS.includes(value as GoodbyeReason);
const isKind = (value: unknown): boolean => ERROR_KINDS.includes(value as ErrorKind);
const isPresent = (value: unknown): boolean => value !== undefined;
const isFlag = (value: unknown): boolean => typeof value === 'boolean';
const isIds = (value: unknown): boolean => Array.isArray(value) && value.every(isId);

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
// Only an attachment can be bytes.
const isData = (value: unknown): boolean => value instanceof Uint8Array && value.length > 0;
const isTicket = (value: unknown): boolean => typeof value === 'string' && /^[\w-]{22}$/.test(value);

function isStream(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return false;
  }
  const { id, total, data, ticket } = value as Record<string, unknown>;
  return (
    isId(id) &&
    (total === undefined || isCount(total)) &&
    // Only an attachment can be bytes.
    (data === undefined || data instanceof Uint8Array) &&
    (ticket === undefined || isTicket(ticket))
  );
}

/** Return a field. All of them have the same keys, so that engines read them fast. */
function field(name: string, check: Field['check'], options: FieldOptions = {}): Field {
  const { optional = false, values, most, announces = false, isData = false } = options;
  return { name, check, optional, values, most, announces, isData };
}

/** Return a field that may be left out. */
function optional(name: string, check: Field['check'], options?: FieldOptions): Field {
  return field(name, check, { ...options, optional: true });
}

const ID = field('id', isId);
const CHANNEL = field('channel', isId);
const ARGS = field('args', Array.isArray, { values: 'args' });
const NAME = field('name', isText, { most: MAX_ERROR_NAME });
const MESSAGE = field('message', isText, { most: MAX_ERROR_TEXT });
const STREAM = field('stream', isStream, { announces: true });
const MAYBE_STREAM = optional('stream', isStream, { announces: true });
const CONTEXT = [optional('timeout', isTimeout), optional('parent', isId)];
const STREAM_ID = field('stream', isId);
const BYTES = field('bytes', isId);

const DEFINITIONS: ReadonlyMap<unknown, Definition> = new Map<Message['type'], Definition>([
  [
    'hello',
    {
      sender: 'page',
      fields: [
        field('client', isClient),
        optional('frame_limit', isFrameLimit),
        optional('door', isDoor),
        optional('why', isText, { most: MAX_WHY }),
      ],
    },
  ],
  [
    'welcome',
    {
      sender: 'server',
      fields: [
        field('beat', isPeriod),
        field('frame_limit', isFrameLimit),
        field('cancel_wait', isPeriod),
        field('channels', isIds),
        optional('http_streams', isCount),
      ],
    },
  ],
  ['goodbye', { sender: 'both', fields: [field('reason', isReason), MESSAGE] }],
  ['beat', { sender: 'both', fields: [] }],
  [
    'open',
    {
      sender: 'server',
      fields: [ID, CHANNEL, optional('code', isText), optional('module', isText), optional('nan', isNan)],
    },
  ],
  ['close', { sender: 'server', fields: [ID, CHANNEL] }],
  ['echo', { sender: 'both', fields: [ID, CHANNEL, ARGS] }],
  ['call', { sender: 'both', fields: [ID, CHANNEL, field('name', isMethod), ARGS, MAYBE_STREAM, ...CONTEXT] }],
  ['pipe', { sender: 'both', fields: [ID, CHANNEL, STREAM, ...CONTEXT] }],
  ['result', { sender: 'both', fields: [ID, field('value', isPresent, { values: 'value' }), MAYBE_STREAM] }],
  [
    'error',
    {
      sender: 'both',
      fields: [ID, field('kind', isKind), NAME, MESSAGE, optional('stack', isText, { most: MAX_ERROR_TEXT })],
    },
  ],
  ['cancel', { sender: 'both', fields: [ID] }],
  [
    'ticket',
    {
      sender: 'server',
      fields: [STREAM_ID, field('ticket', isTicket), optional('credit', isId), optional('near', isFlag)],
    },
  ],
  ['stop', { sender: 'both', fields: [STREAM_ID] }],
  ['broken', { sender: 'both', fields: [STREAM_ID, NAME, MESSAGE] }],
  ['credit', { sender: 'both', fields: [STREAM_ID, BYTES] }],
  ['piece', { sender: 'both', fields: [STREAM_ID, field('data', isData, { isData: true })] }],
  ['end', { sender: 'both', fields: [STREAM_ID] }],
  ['ack', { sender: 'both', fields: [BYTES] }],
]);

/** Return whether this side can send messages of this type. */
export function maySend(role: Role, type: Message['type']): boolean {
  const sender = DEFINITIONS.get(type)?.sender;
  return sender === 'both' || sender === role;
}

/** Return the field that holds the values of messages of this type, if there is one. */
export function valueFieldOf(type: unknown): ValueField | undefined {
  return DEFINITIONS.get(type)?.fields.find((field) => field.values !== undefined)?.values;
}

// It is needed for every message that comes, so it is computed only once.
const ATTACHMENT_FIELDS: ReadonlyMap<unknown, readonly AttachmentField[]> = new Map(
  Array.from(DEFINITIONS, ([type, { fields }]) => [
    type,
    fields.flatMap(({ values, announces, isData }) => values ?? (announces ? 'stream' : isData ? 'data' : [])),
  ]),
);

/** Return the fields of messages of this type that can hold attachments. */
export function attachmentFieldsOf(type: unknown): readonly AttachmentField[] {
  return ATTACHMENT_FIELDS.get(type) ?? [];
}

/**
 * Encode a message, which leaves in this step. Its values may be packed already.
 *
 * @throws TypeError, RangeError if the values cannot be sent. See `pack`.
 */
export function encodeMessage(message: Message): Encoded {
  let text = `{"type":"${message.type}"`;
  let attachments: readonly Attachment[] = [];
  for (const { name, values, announces, isData } of definitionOf(message.type).fields) {
    const value = (message as unknown as Record<string, unknown>)[name];
    if (values !== undefined) {
      const packed = value instanceof Packed ? value : pack(value, values, undefined, true);
      text += `,"${name}":${packed.text}`;
      attachments = packed.attachments;
    } else if (announces && value !== undefined) {
      const { data } = value as StreamInfo;
      text += `,"${name}":${writeStream(value as StreamInfo)}`;
      if (data !== undefined) {
        attachments = [...attachments, { path: ['stream', 'data'], type: 'bytes', shape: undefined, data }];
      }
    } else if (isData) {
      text += `,"${name}":null`;
      attachments = [{ path: [name], type: 'bytes', shape: undefined, data: value as Uint8Array<ArrayBuffer> }];
    } else if (value !== undefined) {
      // All numbers of messages are finite.
      text += `,"${name}":${typeof value === 'number' ? String(value) : JSON.stringify(value)}`;
    }
  }
  if (attachments.length > 0) {
    text += `,"attachments":[${attachments.map(writeEntry).join(',')}]`;
  }
  text += '}';
  let size = utf8Length(text);
  for (const { data } of attachments) {
    size += data.length + ALIGNMENT;
  }
  return { text, attachments, size };
}

// These write their arrays and objects themselves: JSON.stringify would call a toJSON that a page has given to all.

function writeStream({ id, total, data, ticket }: StreamInfo): string {
  const rest = [
    total === undefined ? '' : `,"total":${String(total)}`,
    data === undefined ? '' : ',"data":null',
    ticket === undefined ? '' : `,"ticket":${JSON.stringify(ticket)}`,
  ];
  return `{"id":${String(id)}${rest.join('')}}`;
}

function writeEntry({ path, type, shape, data }: Attachment): string {
  const keys = path.map((key) => JSON.stringify(key)).join(',');
  const dimensions = shape === undefined ? '' : `,"shape":[${shape.join(',')}]`;
  return `{"path":[${keys}],"type":"${type}"${dimensions},"size":${String(data.length)}}`;
}

// It matches code units, not characters. Engines search for them twice as fast as the loop below runs.
const BEYOND_ASCII = /[\u0080-\uffff]/;

/** Return the bytes that a packed value takes in a message, at most. */
export function sizeOfPacked({ text, attachments }: Packed): number {
  return attachments.reduce(
    (sum, attachment) => sum + attachment.data.length + ALIGNMENT + utf8Length(writeEntry(attachment)) + 1,
    utf8Length(text),
  );
}

/** Return the number of bytes of a text in UTF-8. */
export function utf8Length(text: string): number {
  let length = text.length;
  if (!BEYOND_ASCII.test(text)) {
    return length;
  }
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) {
      // Two surrogates take four bytes.
      length += unit < 0x800 || (unit & 0xf800) === 0xd800 ? 1 : 2;
    }
  }
  return length;
}

/**
 * Return the message in a JSON object that already has its attachments in their places.
 *
 * @throws ProtocolError if the object is not a message of the protocol.
 */
export function parseMessage(object: Record<string, unknown>): Message {
  const type = object['type'];
  const message: Record<string, unknown> = { type };
  for (const { name, check, optional, announces, most } of definitionOf(type).fields) {
    const value = Object.hasOwn(object, name) ? object[name] : undefined;
    if (value === undefined && optional) {
      continue;
    }
    if (!check(value)) {
      const problem = value === undefined ? 'is missing' : `cannot be ${shorten(value)}`;
      throw new ProtocolError(`the field ${name} of the message ${String(type)} ${problem}`);
    }
    message[name] = announces
      ? pickStream(value as StreamInfo)
      : most === undefined
        ? value
        : (value as string).slice(0, most);
  }
  if (type === 'open' && (message['code'] === undefined) === (message['module'] === undefined)) {
    throw new ProtocolError('the message open must have one of the fields code and module');
  }
  return message as unknown as Message;
}

/** Return a stream announcement without unknown fields. */
function pickStream({ id, total, data, ticket }: StreamInfo): StreamInfo {
  return {
    id,
    ...(total === undefined ? {} : { total }),
    ...(data === undefined ? {} : { data }),
    ...(ticket === undefined ? {} : { ticket }),
  };
}

function definitionOf(type: unknown): Definition {
  const definition = DEFINITIONS.get(type);
  if (definition === undefined) {
    throw new ProtocolError(`there is no message of the type ${shorten(type)}`);
  }
  return definition;
}
