/**
 * The ES module. Importing it does not connect: `connect` connects to any server, `connectPage` to the server that
 * served the page.
 */

import type { Client } from './connection/client.js';
import { checkNames } from './options.js';
import { connectWindow, findBase } from './page.js';

export * from './exports.js';
export type { CallOptions } from './requests/call-options.js';
export type { Calls } from './channels/calls.js';
export type { Initialize } from './channels/evaluate.js';
export type { ClientState, ConnectOptions, StopReason } from './connection/client.js';
export type { SocketClass, SocketLike } from './connection/environment.js';
export type { RecordOptions } from './streams/reader.js';
export type { RetryPolicy } from './connection/retry.js';
export type { Bytes, StreamSource } from './streams/sources.js';

/**
 * Connect the page to the server that served it. The token is in the fragment of `server.page_url`; after a reload it
 * is in the tab's session storage.
 *
 * @param options - `url` is the server's base URL. Default: the URL of the server that served this module.
 * @returns The client. If there is no token it is stopped, and its stop reason says what to do.
 * @throws TypeError if there is no `url` and this module was not served by a jchannel server.
 */
export function connectPage(options: { readonly url?: string } = {}): Client {
  checkNames('connectPage', options, ['url']);
  return connectWindow(options.url ?? findBase(import.meta.url), globalThis);
}
