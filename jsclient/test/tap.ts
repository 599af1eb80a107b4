/** A source of a stream that a test controls. */

import { vi } from 'vitest';

/** A source whose chunks a test yields. */
export class Tap {
  isClosed = false;
  pulls = 0;
  readonly #waiting: ((give: () => IteratorResult<Uint8Array<ArrayBuffer>>) => void)[] = [];

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array<ArrayBuffer>> {
    return {
      next: () => {
        this.pulls++;
        return new Promise((resolve, reject) => {
          this.#waiting.push((give) => {
            new Promise<IteratorResult<Uint8Array<ArrayBuffer>>>((settled) => {
              settled(give());
            }).then(resolve, reject);
          });
        });
      },
      return: () => {
        this.isClosed = true;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  async give(chunk: string | Uint8Array<ArrayBuffer>): Promise<void> {
    const value = typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk;
    this.#waiting.shift()?.(() => ({ done: false, value }));
    await vi.advanceTimersByTimeAsync(0);
  }

  async finish(): Promise<void> {
    this.#waiting.shift()?.(() => ({ done: true, value: undefined }));
    await vi.advanceTimersByTimeAsync(0);
  }

  async fail(error: unknown): Promise<void> {
    this.#waiting.shift()?.(() => {
      throw error;
    });
    await vi.advanceTimersByTimeAsync(0);
  }
}
