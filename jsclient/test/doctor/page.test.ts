import { expect, test, vi } from 'vitest';

interface Doctor {
  examine(url: string): Promise<{ state: string; cause: string }>;
  examineBrowser(): Promise<unknown[]>;
}

test('the script defines what a page and a console call', async () => {
  vi.stubGlobal('location', { href: 'http://localhost:8888/' });
  vi.stubGlobal('navigator', {});
  vi.stubGlobal(
    'WebSocket',
    class extends EventTarget {
      constructor() {
        super();
        queueMicrotask(() => {
          this.dispatchEvent(new MessageEvent('message', { data: '[{"reason":"version","message":"no"}]' }));
        });
      }

      close(): void {
        // It is no real one.
      }
    },
  );
  const answers = ['{"jchannel": "status", "page_seconds": null}', '{"jchannel": "status", "page_seconds": 3}'];
  vi.stubGlobal('fetch', () => Promise.resolve(new Response(answers.shift())));
  await import('../../src/doctor/page.js');
  const doctor = (globalThis as unknown as { jchannelDoctor: Doctor }).jchannelDoctor;
  expect(await doctor.examine('http://localhost:8889/#jchannel=x')).toMatchObject({ state: 'note', cause: 'no-page' });
  expect(await doctor.examine('http://localhost:8889/#jchannel=x')).toMatchObject({ state: 'problem', cause: 'taken' });
  expect(await doctor.examineBrowser()).toHaveLength(6);
});
