/**
 * The ES module. Importing it does not connect: `connect` connects to any server, `connectPage` to the server that
 * served the page.
 */

import type { Client } from './connection/client.js';
import { connectOwnPage, findBase, type PageOptions } from './page.js';

export * from './exports.js';
export type { CallOptions } from './requests/call-options.js';
export type { ChannelApi } from './channels/api.js';
export type { Calls } from './channels/calls.js';
export type { ChannelState } from './channels/channel.js';
export type { Initialize } from './channels/evaluate.js';
export type { LatestOptions, LatestStatistics } from './channels/latest.js';
export type { ClientState, ConnectOptions, StopReason } from './connection/client.js';
export type { SocketLike, Transport } from './connection/environment.js';
export type { RecordOptions } from './streams/reader.js';
export type { PageOptions } from './page.js';
export type { RetryPolicy } from './connection/retry.js';
export type { Bytes, StreamSource } from './streams/sources.js';

/**
 * Connect the page to the server that served it. The token is in the fragment of `server.page_url`; after a reload it
 * is in the tab's session storage.
 *
 * It connects when the page has been read and its modules have run, so that the code of channels finds what they define;
 * at once if that is so already.
 *
 * A page has one client: if it is connected already, also by the script that the server has put into it, that client is
 * returned.
 *
 * @param options - `url` is the server's base URL. Default: the URL of the server that served this module. `frame` says
 *   that this window connects also if it is a frame within a page of the server. Default: such a frame is a part of
 *   that page, which connects itself, unless the frame's own address has the token.
 * @returns The client. If it cannot connect it is stopped, and its stop reason says what to do.
 * @throws TypeError if there is no `url` and this module was not served by a jchannel server.
 */
export function connectPage(options: PageOptions = {}): Client {
  return connectOwnPage(options, () => findBase(import.meta.url));
}
