import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { Lanes } from '../src/lanes';
import type { Clock } from '../src/pace';
import { Search } from '../src/search';
import { Timelines } from '../src/timelines';
import { time } from './server';

const t0 = Date.parse('2030-01-02T03:00:00Z');
const minute = 60_000;

/** A search in the timeline of a camera that has footage from a time on, at t0 + 1 h. */
function search(t: TestContext, from: number) {
  const pass = time(t), answers: number[] = []; // the status of the next ones; then they are right
  t.mock.method(globalThis, 'fetch', (url: string) => {
    const status = answers.shift() ?? 200;
    if (!status) return Promise.reject(new TypeError('no connection'));
    const q = new URL(url, 'http://server').searchParams, start = q.get('start')!, end = q.get('end')!, step = parseInt(q.get('step')!, 10);
    const steps: object[] = [];
    for (let s = Math.floor(Date.parse(start) / step / 1000) * step * 1000; s < Date.parse(end); s += 1000 * step) {
      if (s + 1000 * step > from) steps.push({ start: new Date(s).toISOString(), footage: step });
    }
    return Promise.resolve(Response.json({ start, end, step, oldest: new Date(from).toISOString(), steps, missing: [] }, { status }));
  });
  const lanes = new Lanes([new Timelines({ camera: 'yard', rendition: 'raw' }, () => undefined)]);
  const s = new Search(lanes, { now: () => t0 + 60 * minute } as Clock), told = { away: 0 };
  let wanted = true;
  /** The answer, in minutes from t0; 'waits' if there is none yet. */
  const next = (at: number) => {
    const found: { is: number | 'none' | 'waits' } = { is: 'waits' };
    void s.next(t0 + at * minute, () => wanted, () => told.away++).then((x) => { found.is = x === undefined ? 'none' : (x - t0) / minute; });
    return found;
  };
  const settle = async () => { for (let i = 0; i < 5; i++) await new Promise(setImmediate); };
  return { next, pass: async (ms: number) => { await settle(); await pass(ms); await settle(); }, told, answers, search: s, forget: () => { wanted = false; } };
}

test('a server that does not answer is asked again', async (t) => {
  const s = search(t, t0 + 20 * minute);
  await s.pass(0);
  s.answers.push(0, 503);
  const found = s.next(5);
  await s.pass(0);
  assert.deepEqual([found.is, s.told.away], ['waits', 1]);
  await s.pass(2000);
  assert.deepEqual([found.is, s.told.away], ['waits', 2]);
  await s.pass(2000);
  assert.deepEqual([found.is, s.told.away], [20, 2]);

  s.answers.push(404);
  const removed = s.next(5);
  await s.pass(0);
  assert.deepEqual([removed.is, s.told.away], ['none', 2]);

  s.answers.push(0);
  const left = s.next(5);
  await s.pass(0);
  s.forget();
  await s.pass(2000);
  assert.deepEqual([left.is, s.told.away], ['none', 3]);
});

test('what the timeline tells of and no playlist has is left out', async (t) => {
  const s = search(t, t0);
  const all: unknown[] = [];
  for (let at = 0, i = 0; i < 8; i++) {
    const found = s.next(at);
    await s.pass(0);
    all.push(found.is);
    if (typeof found.is !== 'number') break;
    at = found.is;
  }
  assert.deepEqual(all, [0, 0, 0, 10, 20, 30, 40, 50]);
  s.search.begin();
  const again = s.next(50);
  await s.pass(0);
  assert.equal(again.is, 50);
});
