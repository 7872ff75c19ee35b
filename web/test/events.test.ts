import { test } from 'node:test';
import assert from 'node:assert/strict';
import { EventList, Marks, typeName, type CameraEvent } from '../src/events';
import { samples, seen, segments } from '../src/metadata';
import { Watcher } from '../src/watcher';

const epoch = Date.parse('2030-01-02T03:04:00Z');
const at = (s: number) => new Date(epoch + 1000 * s).toISOString();
const event = (seq: number, start: number, end: number, e: Partial<CameraEvent> = {}): CameraEvent =>
  ({ type: 'motion', camera: 'yard', rendition: 'motion', seq, start: at(start), end: at(end), ...e });

test('marks', () => {
  const marks = new Marks();
  const text = (s: number, camera = 'yard') => marks.text(camera, epoch + 1000 * s);
  assert.equal(text(0), '');
  marks.heard(event(7, 1, 2), epoch + 2500);
  assert.equal(text(3), 'Motion');
  assert.equal(text(3, 'gate'), '');
  marks.heard(event(7, 1, 2, { type: 'person' }), epoch + 2600);
  assert.equal(text(4), 'Motion · Person');
  assert.equal(text(7.55), 'Person');
  assert.equal(text(8), '');
  marks.heard(event(8, 10, 20), epoch + 20_000); // a fragment of 10 s: the next is told in 10 s
  assert.equal(text(39), 'Motion');
  marks.heard(event(9, 40, 41), epoch + 100_000); // told late
  assert.equal(text(101), '');
  assert.equal(typeName('left-luggage'), 'Left luggage');
});

test('list of events', () => {
  const list = new EventList();
  const show = () => list.newestFirst().map((e) => `${e.type} ${e.seq}-${e.last_seq ?? e.seq} ${(Date.parse(e.start) - epoch) / 1000}-${(Date.parse(e.end) - epoch) / 1000}`);
  [event(10, 20, 22), event(12, 24.2, 26, { last_seq: 14 }),
    event(14, 25, 26), // it has it
    event(15, 26.4, 28), // it goes on
    event(15, 26.4, 28, { type: 'person' }), event(17, 30, 31), event(16, 29, 29.5)].forEach((e) => list.add(e));
  assert.deepEqual(show(), ['motion 17-17 30-31', 'motion 16-16 29-29.5', 'person 15-15 26.4-28', 'motion 12-15 24.2-28', 'motion 10-10 20-22']);
  for (let i = 0; i < 60; i++) list.add(event(100 + 2 * i, 200 + 4 * i, 201 + 4 * i));
  assert.equal(list.newestFirst().length, 50);
  assert.equal(list.newestFirst()[0]!.seq, 218);
});

test('segments of a playlist', () => {
  assert.deepEqual(segments(`#EXTM3U
#EXT-X-TARGETDURATION:2
#EXT-X-MAP:URI="motion/m1/init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:04:00.500Z
#EXTINF:2.000000,
motion/m1/7.m4s
#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:04:02.500Z
#EXT-X-GAP
#EXTINF:2.000000,
motion/m1/8.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:04:09.000Z
#EXTINF:1.500000,
motion/m1/9.m4s
`), [
    { uri: 'motion/m1/7.m4s', start: epoch + 500, end: epoch + 2500 },
    { uri: 'motion/m1/9.m4s', start: epoch + 9000, end: epoch + 10_500 },
  ]);
});

// A chunk as internal/cmaf writes it: one duration for all samples, or one each.
function chunk(tfdt: bigint, all: [number, string][], oneDuration: boolean): Uint8Array {
  const box = (name: string, ...parts: (number | bigint | Uint8Array)[]): Uint8Array => {
    const bodies = parts.map((p) => {
      if (p instanceof Uint8Array) return p;
      const b = new Uint8Array(typeof p === 'bigint' ? 8 : 4), v = new DataView(b.buffer);
      if (typeof p === 'bigint') v.setBigUint64(0, p);
      else v.setUint32(0, p);
      return b;
    });
    const out = new Uint8Array(8 + bodies.reduce((n, b) => n + b.length, 0));
    new DataView(out.buffer).setUint32(0, out.length);
    out.set(new TextEncoder().encode(name), 4);
    bodies.reduce((at, b) => { out.set(b, at); return at + b.length; }, 8);
    return out;
  };
  const text = new TextEncoder().encode(all.map(([, s]) => s).join(''));
  const moof = (offset: number) => box('moof', box('mfhd', 0, 7), box('traf',
    box('tfhd', 0x020000 | (oneDuration ? 0x8 : 0), 3, ...(oneDuration ? [all[0]![0]] : [])),
    box('tfdt', 0x01000000, tfdt),
    box('trun', 0x01000000 | 0x201 | (oneDuration ? 0 : 0x100), all.length, offset, ...all.flatMap(([d, s]) => (oneDuration ? [s.length] : [d, s.length])))));
  const size = moof(0).length;
  return new Uint8Array([...moof(size + 8), ...box('mdat', text)]);
}

test('samples of a segment', () => {
  const first = chunk(161_100_000_000_000n, [[9000, 'null'], [4500, '{"score":1}']], false);
  const second = chunk(161_100_000_013_500n, [[900, '{"boxes":[]}'], [900, 'null']], true);
  assert.deepEqual(samples(new Uint8Array([...first, ...second]).buffer), [
    { start: 0, end: 100, value: null }, { start: 100, end: 150, value: { score: 1 } },
    { start: 150, end: 160, value: { boxes: [] } }, { start: 160, end: 170, value: null },
  ]);
});

test('boxes of a segment', () => {
  const a = [{ x: 0, y: 0, w: 1, h: 1 }], b = [{ x: 0.5, y: 0, w: 0.5, h: 1 }];
  const happens = { event: { type: 'motion', start: at(0), end: at(2), boxes: b } };
  const s = (start: number, end: number, value: unknown) => ({ start, end, value });
  assert.deepEqual(seen([s(0, 200, null), s(200, 400, { boxes: a }), s(400, 500, happens), s(500, 600, { score: 2 }), s(600, 700, { boxes: b }), s(700, 800, null)], epoch), [
    { start: epoch + 200, end: epoch + 500, boxes: a }, { start: epoch + 600, end: epoch + 700, boxes: b },
  ]);
  // A box and events at the same time.
  assert.deepEqual(seen([s(0, 200, null), s(200, 200.01, happens), s(200.01, 200.02, happens), s(200.02, 300, { boxes: a })], epoch), [{ start: epoch + 200, end: epoch + 300, boxes: a }]);
  assert.deepEqual(seen([s(0, 200, happens), s(200, 300, { boxes: a })], epoch), [{ start: epoch + 200, end: epoch + 300, boxes: a }]);
  assert.deepEqual(seen([s(0, 2000, happens)], epoch + 7), [{ start: epoch, end: epoch + 2000, boxes: b }]);
  assert.deepEqual(seen([s(0, 2000, null)], epoch), []);
});

// A page that was hidden reads nothing meanwhile, and then what is new.
test('boxes of a page that is hidden', async (t) => {
  t.mock.timers.enable();
  const fetched: string[] = [];
  const page = { hidden: false };
  let newest = 8;
  const answer = {
    ok: true,
    text: async () => '#EXTM3U\n' + Array.from({ length: newest }, (_, i) => `#EXT-X-PROGRAM-DATE-TIME:${at(2 * i)}\n#EXTINF:2.0,\nmotion/m1/${i + 1}.m4s\n`).join(''),
    arrayBuffer: async () => new ArrayBuffer(0),
  };
  Object.assign(globalThis, {
    document: page, location: { href: 'http://127.0.0.1/' },
    fetch: async (url: string) => { fetched.push(url.replace(/.*\//, '')); return answer; },
  });
  const look = async () => {
    fetched.length = 0;
    t.mock.timers.tick(700);
    for (let i = 0; i < 200; i++) await Promise.resolve();
    return fetched.join(' ');
  };
  const watcher = new Watcher('yard', () => undefined);
  watcher.follow(['motion']);
  await look();
  assert.equal(await look(), 'motion.m3u8');
  page.hidden = true;
  newest = 100;
  assert.equal(await look(), '');
  page.hidden = false;
  assert.equal(await look(), 'motion.m3u8 96.m4s 97.m4s 98.m4s 99.m4s 100.m4s');
  watcher.follow([]);
  newest = 101;
  assert.equal(await look(), '');
});
