import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Boxes } from '../src/boxes';
import { Clock } from '../src/pace';
import type { Rewind } from '../src/rewind';
import type { Screen } from '../src/screen';
import { Timelines } from '../src/timelines';
import { browser } from './dom';
import { time } from './server';

browser();

test('the timeline has the notes of a processor that is found later', async (t) => {
  const pass = time(t);
  let renditions: string[] | undefined; // undefined: the server is away
  t.mock.method(globalThis, 'fetch', (url: string) => {
    const { pathname, searchParams: q } = new URL(url, 'http://server');
    const ok = (answer: object) => Promise.resolve(Response.json(answer));
    if (pathname === '/v1/cameras/yard' && renditions) return ok({ renditions: renditions.map((name) => ({ name, role: 'data', processor: 'p', behind_s: 1 })) });
    if (pathname === '/v1/timeline/yard') return ok({ start: q.get('start'), end: q.get('end'), step: parseInt(q.get('step')!, 10), steps: [], missing: [] });
    return Promise.resolve(new Response(null, { status: 503 }));
  });
  const timelines = new Timelines({ camera: 'yard', rendition: 'raw' }, () => undefined);
  const screen = { video: document.createElement('video'), overlay: { draw: () => undefined }, player: { shown: () => null } };
  const boxes = new Boxes('yard', screen as unknown as Screen, {} as Rewind, new Clock(), (_, data) => timelines.follow(data));
  const settle = async (ms: number) => {
    for (let i = 0; i < ms / 1000; i++) {
      timelines.look({ from: 0, to: 3_600_000 }, 1000); // as each second
      await pass(1000);
      for (let j = 0; j < 5; j++) await new Promise(setImmediate);
    }
  };
  await settle(8000);
  assert.deepEqual([timelines.footage.length, [...timelines.notes.keys()]], [1, []]);
  renditions = ['objects'];
  await settle(8000);
  assert.deepEqual([...timelines.notes.keys()], ['objects']);
  renditions = ['motion'];
  await settle(8000);
  assert.deepEqual([...timelines.notes.keys()], ['motion']);
  boxes.destroy();
});

test('notes that cannot be read hide no others, and are asked for less often', async (t) => {
  const pass = time(t), asked: string[] = [];
  t.mock.method(globalThis, 'fetch', (url: string) => {
    const { searchParams: q } = new URL(url, 'http://server');
    asked.push(q.get('rendition')!);
    if (q.get('rendition') === 'plates') return Promise.resolve(new Response(null, { status: 503 }));
    return Promise.resolve(Response.json({ start: q.get('start'), end: q.get('end'), step: parseInt(q.get('step')!, 10), steps: [], missing: [] }));
  });
  const timelines = new Timelines({ camera: 'yard', rendition: 'raw' }, () => undefined);
  timelines.follow(['plates', 'motion']);
  for (let i = 0; i < 40; i++) {
    timelines.look({ from: 0, to: 3_600_000 }, 1000);
    await pass(1000);
    for (let j = 0; j < 5; j++) await new Promise(setImmediate);
  }
  assert.deepEqual(asked, ['raw', 'plates', 'motion', 'raw', 'plates', 'motion']);
  assert.equal(timelines.notes.get('motion')!.length, 2);
});

test('the newest boxes are not asked of a rendition that the archive alone has', async (t) => {
  const pass = time(t), asked = new Set<string>();
  t.mock.method(globalThis, 'fetch', (url: string) => {
    const { pathname } = new URL(url, 'http://server');
    asked.add(pathname.match(/^.hls.yard.(.*)\.m3u8$/)?.[1] ?? '');
    return Promise.resolve(pathname === '/v1/cameras/yard' ? Response.json({ renditions: [
      { name: 'motion', role: 'data', processor: 'motion', behind_s: 1 },
      { name: 'starts', role: 'data', processor: 'people', behind_s: null },
      { name: 'before', role: 'data', processor: '', behind_s: null },
    ] }) : new Response(null, { status: 404 }));
  });
  const screen = { video: document.createElement('video'), overlay: { draw: () => undefined }, player: { shown: () => null } };
  let listed: string[] = [];
  const boxes = new Boxes('yard', screen as unknown as Screen, {} as Rewind, new Clock(), (_, data) => { listed = data; });
  for (let i = 0; i < 8; i++) {
    await pass(1000);
    for (let j = 0; j < 5; j++) await new Promise(setImmediate);
  }
  assert.deepEqual([['motion', 'starts', 'before'].filter((name) => asked.has(name)), listed], [['motion', 'starts'], ['motion', 'starts', 'before']]);
  boxes.destroy();
});
