process.env.TZ = 'Europe/Berlin';
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { format, parse } from '../src/address';
import { bars, covered, firstFrom, merge, missingAt, read, whyMissing, type Footage } from '../src/footage';
import { Growing, locate, look, opened, places, timeOf } from '../src/growing';
import { catchUp } from '../src/together';
import { following, length, lengthText, limit, longest, pan, placeOf, shortest, stepFor, ticks, timeAt, zoom } from '../src/timescale';

const at = (s: string) => Date.parse(s);
const minute = 60_000, hour = 60 * minute, day = 24 * hour;

test('address', () => {
  const t = at('2030-01-02T03:04:05Z');
  assert.deepEqual(parse('#front-door'), { ids: ['front-door'] });
  assert.deepEqual(parse('#front-door?t=2030-01-02T03:04:05Z'), { ids: ['front-door'], at: t });
  assert.deepEqual(parse('#front-door?t=yesterday'), { ids: ['front-door'] });
  assert.deepEqual(parse('#cam?t=2030-01-02T03:04:05Z&to=2030-01-02T03:04:05Z'), { ids: ['cam'], at: t }); // an empty range
  assert.deepEqual(parse('#cam,yard,cam,,c,d,e'), { ids: ['cam', 'yard', 'c', 'd'] }); // each once, and four at most
  assert.deepEqual(parse(''), { ids: [] });
  assert.deepEqual(parse('#/lag'), { ids: ['/lag'] });
  for (const a of [{ ids: ['cam'] }, { ids: ['cam', 'yard'], at: t }, { ids: ['cam'], at: t }, { ids: ['cam'], at: t + 120, to: t + 5000 }]) assert.deepEqual(parse(format(a)), a);
  assert.equal(format({ ids: ['cam'], at: t }), '#cam?t=2030-01-02T03:04:05Z');
});

test('what a playlist has of a time', () => {
  const t = at('2030-01-02T03:04:05Z');
  const all = [
    { time: t, start: 0, duration: 2, gap: false }, { time: t + 2000, start: 2, duration: 2, gap: true },
    { time: t + 4000, start: 4, duration: 2, gap: false }, { time: t + 6100, start: 6, duration: 2, gap: false },
  ];
  assert.deepEqual(look(all, t + 1500), { is: 'here', time: t + 1500 });
  assert.deepEqual(look(all, t + 2500), { is: 'none', next: t + 4000 });
  assert.deepEqual(look(all, t + 6050), { is: 'here', time: t + 6100 }); // a seam
  assert.deepEqual(look(all, t - 1000), { is: 'none', next: t });
  assert.deepEqual(look(all, t + 9000), { is: 'beyond', end: t + 8100 });
  assert.equal(look([], t), undefined);
  assert.equal(look([{ ...all[0]!, gap: true }], t), undefined);
  for (const x of [t + 500, t + 4000, t + 7000]) assert.equal(timeOf(all, locate(all, x)!.position), x);
  assert.equal(timeOf([], 1), undefined);
});

test('a camera comes to the clock', () => {
  for (const rate of [0.5, 1, 2, 8]) {
    assert.equal(catchUp(rate, 10), rate); // near enough
    let off = 240 * rate; // ms of footage behind it, with looks every 50 ms
    for (let i = 0; i < 100 && Math.abs(off) > 20; i++) off -= 50 * (catchUp(rate, off) - rate);
    assert.ok(Math.abs(off) <= 20, `at ${rate}×: ${off} ms`);
    assert.ok(catchUp(rate, -5000) > 0);
  }
});

test('the scale of a view', () => {
  const v = { from: 1000 * hour, to: 1001 * hour };
  assert.equal(placeOf(v, 600, v.from + 6 * minute), 60);
  assert.equal(timeAt(v, 600, 60), v.from + 6 * minute);
  for (const factor of [0.5, 2, 0.001, 1e6]) {
    const around = v.from + 12 * minute, z = zoom(v, factor, around);
    assert.ok(Math.abs(placeOf(z, 600, around) - 120) < 0.01, `zoom by ${factor} moves what is under the pointer`);
    assert.ok(length(z) >= shortest - 1 && length(z) <= longest + 1);
  }
  const now = v.from + hour / 2;
  assert.deepEqual(limit(v, v.from, now), v);
  assert.equal(limit(pan(v, 5 * hour), v.from, now).from, v.from); // half of it may lie behind now
  assert.equal(limit(pan(v, -5 * hour), v.from, now).to, v.from + hour / 2);
  assert.ok(Math.abs(placeOf(following(hour, now), 100, now) - 96) < 0.001);
  for (const [ms, width, step] of [[minute, 1000, 1000], [hour, 1000, 10_000], [3 * hour, 1000, minute], [day, 1000, 3 * minute], [30 * day, 1000, 2 * hour], [365 * day, 1000, day]] as const) {
    const s = stepFor({ from: 0, to: ms }, width);
    assert.ok(s >= step * 0.5 && s <= step * 2, `step ${s} for ${ms}`);
    assert.equal(s < minute ? s % 1000 : s % minute, 0);
  }
});

test('the server gives as many steps as are asked for', () => {
  for (let width = 200; width <= 8000; width += 50) {
    for (let ms = shortest; ms <= longest; ms *= 1.07) {
      const from = 1000.7 * hour, step = stepFor({ from, to: from + ms }, width);
      const steps = Math.ceil((from + 1.5 * ms) / step) - Math.floor((from - ms / 2) / step); // a view, and as much beside it
      assert.ok(steps <= 3000, `${steps} steps for ${lengthText(ms)} in ${width} px`);
    }
  }
});

test('labels stand at whole times of the zone', () => {
  const texts = (from: string, ms: number) => ticks({ from: at(from), to: at(from) + ms }, 1000, 90);
  for (const t of texts('2030-01-02T03:04:05Z', hour)) assert.equal(t.time % (10 * minute), 0);
  // Days are those of Berlin, also when summer begins (31 March 2030) and a day has 23 hours.
  const days = texts('2030-03-28T12:00:00Z', 6 * day).map((t) => new Date(t.time));
  assert.deepEqual(days.map((d) => d.getHours()), days.map(() => 0));
  assert.deepEqual(days.map((d) => d.getDate()), [29, 30, 31, 1, 2, 3]);
  for (const t of texts('2030-03-31T00:00:00Z', 9 * hour)) assert.equal(new Date(t.time).getMinutes(), 0);
  const months = texts('2029-06-15T00:00:00Z', 365 * day).map((t) => new Date(t.time));
  assert.ok(months.length > 3 && months.every((d) => d.getDate() === 1 && d.getHours() === 0));
  const weeks = texts('2030-01-02T00:00:00Z', 50 * day).map((t) => new Date(t.time));
  assert.ok(weeks.length > 4 && weeks.every((d) => d.getDay() === 1));
  for (const [from, ms] of [['2030-01-02T03:04:05Z', minute], ['2030-01-02T03:04:05Z', day], ['2030-01-02T03:04:05Z', longest]] as const) {
    const all = texts(from, ms), v = { from: at(from), to: at(from) + ms };
    all.slice(1).forEach((t, i) => assert.ok(placeOf(v, 1000, t.time) - placeOf(v, 1000, all[i]!.time) > 60));
  }
  assert.deepEqual([400, 5000, 65_000, 2 * hour + 3 * minute, 3 * day + 4 * hour, day].map(lengthText), ['0.4 s', '5 s', '1 min 5 s', '2 h 3 min', '3 days 4 h', '1 day']);
});

const t0 = at('2030-01-02T03:00:00Z');
/** Steps of ten seconds from t0 on: seconds of footage of each. */
const footage = (seconds: number[], more: Partial<Footage> = {}): Footage => ({
  from: t0, to: t0 + seconds.length * 10_000, step: 10_000, oldest: t0 + 2000, newest: t0 + 58_000,
  steps: seconds.map((s, i) => ({ start: t0 + i * 10_000, footage: s * 1000, missing: 0, notes: 0 })), missing: [], ...more,
});

test('footage', () => {
  const away = { from: t0 + 13_000, to: t0 + 38_500, kind: 'absence', reason: 'camera' };
  const f = footage([8, 3, 0, 1.5, 10, 8], { missing: [{ ...away, kind: 'gap', reason: 'absent' }, away] });
  assert.deepEqual(covered(f), [{ from: t0 + 2000, to: t0 + 13_000 }, { from: t0 + 38_500, to: t0 + 58_000 }]);
  assert.equal(firstFrom(covered(f), t0), t0 + 2000);
  assert.equal(firstFrom(covered(f), t0 + 5000), t0 + 5000);
  assert.equal(firstFrom(covered(f), t0 + 20_000), t0 + 38_500);
  assert.equal(firstFrom(covered(f), t0 + 58_000), undefined);
  assert.equal(whyMissing(missingAt(f, t0 + 20_000)!), 'the camera was away');
  assert.equal(missingAt(f, t0 + 5000), undefined);

  const newer = { ...footage([10, 10], { missing: [{ from: t0 + 40_000, to: t0 + 42_000, kind: 'gap', reason: 'storage' }] }), from: t0 + 40_000, to: t0 + 60_000 };
  newer.steps = newer.steps.map((s) => ({ ...s, start: s.start + 40_000 }));
  const both = merge(f, newer);
  assert.deepEqual(both.steps.map((s) => s.footage / 1000), [8, 3, 0, 1.5, 10, 10]);
  assert.deepEqual([both.from, both.to, both.missing.length], [t0, t0 + 60_000, 3]);

  const noted = footage([10, 10, 10]);
  noted.steps.forEach((s, i) => { s.notes = i; });
  assert.deepEqual(bars(noted, { from: t0, to: t0 + 30_000 }, 300, 2).map((b) => [b.x, b.width, b.notes]), [[100, 99, 1], [200, 99, 2]]);
  assert.deepEqual(bars(noted, { from: t0, to: t0 + 30_000 }, 3, 2).map((b) => b.notes), [2]); // no two in one place

  const answer = read({ start: '2030-01-02T03:00:04Z', end: '2030-01-02T03:00:11Z', step: 10, steps: [{ start: '2030-01-02T03:00:00Z', footage: 6 }], missing: [] });
  assert.deepEqual([answer.from, answer.to, answer.steps[0]], [t0, t0 + 20_000, { start: t0, footage: 6000, missing: 0, notes: 0 }]);
});

const playlist = `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:4
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-START:TIME-OFFSET=0.500000,PRECISE=YES
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:00:00.000Z
#EXTINF:2.000000,
raw/m1/7.m4s
#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:00:02.000Z
#EXT-X-GAP
#EXTINF:3.000000,
raw/m1/8.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:10:00.000Z
#EXTINF:2.000000,
raw/m1/9.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2030-01-02T03:10:01.000Z
#EXTINF:2.000000,
raw/m1/10.m4s
#EXT-X-ENDLIST
`;

test('a time in a playlist', () => {
  const all = places(playlist);
  assert.equal(all.length, 4);
  for (const [ms, position, time] of [
    [-5000, 0, 0], // before it
    [1250, 1.25, 1250],
    [3000, 5, 600_000], // a gap, then an absence
    [600_500, 5.5, 600_500],
    [601_500, 7.5, 601_500], // the clock was set back: the later session
  ] as const) assert.deepEqual(locate(all, t0 + ms), { position, time: t0 + time });
  assert.equal(locate(all, t0 + 700_000), undefined);

  const open = opened(playlist, 7.5);
  assert.match(open, /^#EXTM3U\n#EXT-X-START:TIME-OFFSET=7\.500000,PRECISE=YES\n#EXT-X-VERSION:9\n/);
  assert.doesNotMatch(open, /ENDLIST|VOD|0\.500000/);
  assert.equal(places(open).length, 4);
});

test('a playlist grows while it is played', () => {
  let here = t0, still = false, now = t0 + hour;
  const g = new Growing(t0, () => now, () => here, () => still);
  const url = 'http://server/hls/cam/raw.m3u8?start=1&end=2';
  const asked = () => {
    const ask = g.ask(url);
    if ('text' in ask) return 'memory';
    ask.got(playlist);
    const q = new URL(ask.url).searchParams;
    return [q.get('start')!, q.get('end')!].map((s) => (at(s) - t0) / minute).join(' to ');
  };
  assert.equal(g.query(), `?start=2030-01-02T02:58:00Z&end=2030-01-02T03:10:00Z`);
  assert.equal(asked(), '-2 to 10');
  here += 5 * minute;
  assert.equal(asked(), 'memory');
  here += 4 * minute;
  assert.equal(asked(), '-1 to 19');
  // At the newest footage it is asked for each time, but not while the picture stands.
  here = now - minute / 2;
  assert.equal(asked(), '49.5 to 60');
  now += 2000;
  still = true;
  assert.equal(asked(), 'memory');
  still = false;
  assert.match(asked(), /^49\.5 to 60\.03/);
});
