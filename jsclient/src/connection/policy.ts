/** Why the page's Content Security Policy keeps it from its server, and what to add to it. */

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
