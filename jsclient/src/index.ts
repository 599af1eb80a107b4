/**
 * The ES module. Importing it does nothing: `connect` connects to a server that is given, `connectPage` to the server
 * that served the page.
 */

import type { Client } from './client.js';
import { connectWindow, findBase } from './page.js';

export * from './exports.js';
export type { CallOptions } from './call-options.js';
export type { Calls } from './calls.js';
export type { ClientState, ConnectOptions, StopReason } from './client.js';
export type { SocketClass, SocketLike } from './environment.js';
export type { RecordOptions } from './meta-generator.js';
export type { RetryPolicy } from './retry.js';
export type { Bytes, StreamSource } from './source.js';

/**
 * Connects a page to the server that served it. The token comes from the fragment of the page's address, as
 * `server.page_url` has it, or after a reload from the tab's session storage.
 *
 * @param options - `url` is the server's base URL. Default: that of the server that served this module.
 * @returns The client. Without a token it is stopped, with a reason that says what to do.
 * @throws TypeError when `url` is not given and this module was not served by a server of jchannel.
 */
export function connectPage(options: { readonly url?: string } = {}): Client {
  return connectWindow(options.url ?? findBase(import.meta.url), globalThis);
}
