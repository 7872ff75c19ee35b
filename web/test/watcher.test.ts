import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import type { Clock } from '../src/pace';
import { Recall } from '../src/watcher';
import { time } from './server';

const t0 = Date.parse('2030-01-02T03:00:00Z');

/** A page that draws the boxes of a past picture, ago ms ago, again and again. */
function picture(t: TestContext, ago: number, answer: (signal: AbortSignal, url: string) => Promise<Response>) {
  const pass = time(t), begun = performance.now(), asked: number[] = []; // the seconds at which the server was asked
  const now = () => t0 + performance.now() - begun;
  t.mock.method(globalThis, 'fetch', (url: string, { signal }: { signal: AbortSignal }) => {
    asked.push(Math.round((now() - t0) / 1000));
    return answer(signal, url);
  });
  const recall = new Recall('yard', { now } as Clock, () => undefined);
  const draw = async (seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      recall.at(t0 - ago);
      await pass(1000);
    }
  };
  return { recall, draw, asked };
}

test('boxes that a processor has not made yet are asked for again', async (t) => {
  const { recall, draw, asked } = picture(t, 100_000, () => Promise.resolve(new Response(null, { status: 404 })));
  recall.follow(['objects'], 120);
  await draw(25);
  recall.follow(['objects'], 5); // it has caught up
  await draw(60);
  assert.deepEqual(asked, [0, 11, 22, 33]);
});

test('a server that says nothing is asked again', async (t) => {
  const { recall, draw, asked } = picture(t, 100_000, (signal) => new Promise((_, fails) => { signal.addEventListener('abort', () => fails(new Error('aborted'))); }));
  recall.follow(['objects'], 0);
  await draw(30);
  assert.deepEqual(asked, [0, 16]);
});

test('a rendition that cannot be read is asked for again, and hides no other', async (t) => {
  const { recall, draw, asked } = picture(t, 100_000, (_, url) => Promise.resolve(new Response(null, { status: url.includes('objects') ? 404 : 503 })));
  recall.follow(['objects', 'plates'], 0);
  await draw(20);
  assert.deepEqual(asked, [0, 0, 11, 11]);
});
