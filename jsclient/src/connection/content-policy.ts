/** Why the page's Content Security Policy keeps it from its server, and what to add to it. */

/**
 * Return whether making a WebSocket has thrown because of the policy. Firefox and WebKit throw, and Chromium reports a
 * violation.
 */
export function isRefusal(thrown: unknown, socketUrl: string): boolean {
  const { location } = globalThis as Partial<Pick<typeof globalThis, 'location'>>;
  // In a page that came over HTTPS it may be that the socket is not secure.
  const mayBeInsecure = location?.protocol !== 'http:' && !socketUrl.startsWith('wss:');
  const name = (thrown as Partial<Error> | null | undefined)?.name;
  return name === 'NS_ERROR_CONTENT_BLOCKED' || (name === 'SecurityError' && !mayBeInsecure);
}

/**
 * Return what a person is to do, in sentences.
 *
 * @param directives - The directives that must name the server.
 */
export function explainPolicy(streamsUrl: string, socketUrl: string, directives = 'connect-src'): string {
  return (
    `The page's Content Security Policy does not let it connect to the server. Add ${new URL(streamsUrl).origin} and ` +
    `${new URL(socketUrl).origin} to the policy's ${directives}.`
  );
}
