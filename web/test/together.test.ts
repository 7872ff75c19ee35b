import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Has } from '../src/growing';
import type { Clock } from '../src/pace';
import type { Listener, Rewind } from '../src/rewind';
import type { Timelines } from '../src/timelines';
import { Together } from '../src/together';

const step = 50; // ms between two looks
let now = 0;
const ticks = new Set<() => void>();

/** A camera with footage of these times, in ms. Its player needs some time to seek and to start. */
class Camera {
  broken = false;
  loads = 200; // ms until a picture that was sought is there
  starts = 0; // ms until it runs
  speed = 1; // of what it is asked for, as on a machine that is too slow
  said = '';
  playing = false;
  private target: number | undefined;
  private ready = 0;
  private shown = 0;
  private rate = 1;
  private since = 0;

  constructor(readonly footage: [number, number][]) {}

  run(): void {
    if (this.target !== undefined && now >= this.ready) [this.shown, this.target] = [this.target, undefined];
    if (!this.playing || this.target !== undefined || now - this.since < this.starts) return;
    const end = this.footage.find(([from, to]) => from <= this.shown && this.shown < to)?.[1] ?? this.shown;
    this.shown = Math.min(end, this.shown + step * this.rate * this.speed);
  }

  has(time: number): Has | undefined {
    if (this.broken) return undefined;
    if (this.footage.some(([from, to]) => from <= time && time < to)) return { is: 'here', time };
    const next = this.footage.find(([from]) => from > time)?.[0];
    return next === undefined ? { is: 'beyond', end: Math.max(...this.footage.map(([, to]) => to)) } : { is: 'none', next };
  }

  time(): number | undefined { return this.broken || this.target !== undefined ? undefined : this.shown; }
  position(): number | undefined { return this.target ?? this.shown; }
  waitsFor(time: number): boolean { return this.target === time; }
  ahead(): number { return 5; }
  seek(time: number): void { [this.target, this.ready, this.said] = [time, now + this.loads, '']; }
  attach(time: number): void { this.seek(time); }
  tell(says: string): void { this.said = says; }
  wait(): void { /* a spinner */ }
  leave(): void { this.playing = false; }
  report() { return { firstPictureMs: null, errors: [] as string[] }; }
  step(by: number, frame: number): void { this.shown += by * frame * 1000; }

  drive(rate: number): void {
    if (rate > 0 && !this.playing) this.since = now;
    this.playing = rate > 0;
    this.rate = rate;
  }
}

/** Several cameras together; at is the time in which now is. */
function together(at: number, ...cameras: Camera[]) {
  const heard: string[] = [];
  const to: Listener = {
    changed: () => undefined, skipped: (_, shown) => heard.push(`skipped to ${shown}`),
    nothing: () => heard.push('nothing'), caughtUp: () => heard.push('live'),
  };
  globalThis.setInterval = ((f: () => void) => (ticks.add(f), f)) as unknown as typeof setInterval;
  performance.now = () => now;
  ticks.clear();
  const all = cameras.map((c, i) => ({
    id: `c${i}`, rewind: c as unknown as Rewind,
    timelines: { next: (t: number) => Promise.resolve(c.footage.map(([from, end]) => (end > t ? Math.max(from, t) : Infinity)).find((x) => x < Infinity)) } as unknown as Timelines,
  }));
  const past = new Together(all, { now: () => at } as Clock, to);
  const play = async (ms: number, each?: () => void) => {
    for (let i = 0; i < ms / step; i++) {
      now += step;
      for (const c of cameras) c.run();
      for (const f of ticks) f();
      await Promise.resolve();
      each?.();
    }
  };
  const apart = () => Math.max(...cameras.map((c) => c.time() ?? NaN)) - Math.min(...cameras.map((c) => c.time() ?? NaN));
  const states = () => past.report().beside!.map((b) => b.state).join(' ');
  return { past, play, apart, states, heard };
}

const hour = 3_600_000;

test('cameras play in step', async () => {
  for (const rate of [0.5, 1, 4]) {
    const a = new Camera([[0, hour]]), b = new Camera([[0, hour]]);
    b.starts = 300;
    const t = together(10 * hour, a, b);
    t.past.speed(rate);
    t.past.seek(60_000, true);
    await t.play(3000);
    let worst = 0;
    await t.play(5000, () => { worst = Math.max(worst, t.apart()); });
    assert.ok(worst <= 100, `at ${rate}×: ${worst} ms apart`);
    assert.ok(Math.abs(t.past.at()! - 60_000 - 8000 * rate) < 2000 * rate, `at ${rate}×: the clock is at ${t.past.at()}`);
    t.past.pause();
    await t.play(1000);
    assert.ok(t.apart() <= 10 && Math.abs(a.time()! - t.past.at()!) <= 5);
  }
});

test('the others wait for a camera that loads, but not for ever', async () => {
  const a = new Camera([[0, hour]]), b = new Camera([[0, hour]]);
  b.loads = 3000;
  const t = together(10 * hour, a, b);
  t.past.seek(60_000, true);
  await t.play(2000);
  assert.equal(t.past.at(), 60_000);
  assert.ok(t.past.waiting);
  await t.play(3000);
  assert.ok(t.past.at()! > 61_000 && t.apart() <= 100);
  b.loads = Infinity;
  t.past.seek(600_000, true);
  await t.play(20_000);
  assert.ok(t.past.at()! > 605_000, `the clock is at ${t.past.at()}`);
  b.broken = true;
  t.past.seek(900_000, true);
  await t.play(5000);
  assert.ok(t.past.at()! > 903_000 && t.states() === 'plays broken', `${t.states()} at ${t.past.at()}`);
});

test('without any picture the clock stands', async () => {
  const a = new Camera([[0, hour]]), b = new Camera([[0, hour]]);
  a.loads = b.loads = Infinity;
  const t = together(10 * hour, a, b);
  t.past.seek(60_000, true);
  for (const broken of [false, true]) {
    b.broken = broken;
    await t.play(60_000);
    assert.deepEqual([t.past.at(), t.past.waiting, t.heard], [60_000, true, []]);
  }
  [b.broken, a.loads, b.loads] = [false, 200, 200];
  await t.play(20_000);
  assert.equal(t.states(), 'plays plays');
});

test('a camera whose player breaks gets another one', async () => {
  const a = new Camera([[0, hour]]), b = new Camera([[0, hour]]), tries: number[] = [];
  b.attach = (time) => { tries.push(now); b.broken = tries.length < 2; b.seek(time); };
  const t = together(10 * hour, a, b);
  t.past.seek(60_000, true);
  await t.play(20_000);
  b.broken = true;
  const at = now;
  await t.play(10_000);
  assert.deepEqual(tries.map((x) => Math.floor((x - at) / 1000)), [0, 8]);
  assert.equal(t.states(), 'plays plays');
});

test('a slow machine slows all cameras down', async () => {
  const a = new Camera([[0, hour]]), b = new Camera([[0, hour]]);
  b.speed = 0.5;
  const t = together(10 * hour, a, b);
  t.past.speed(4);
  t.past.seek(60_000, true);
  await t.play(3000);
  let worst = 0;
  await t.play(10_000, () => { worst = Math.max(worst, t.apart()); });
  assert.ok(worst < 1500, `${worst} ms of footage apart`);
  assert.ok(t.past.at()! > 75_000);
});

test('a camera without footage is not waited for', async () => {
  const a = new Camera([[0, hour]]), b = new Camera([[0, 70_000], [80_000, hour]]);
  const t = together(10 * hour, a, b);
  t.past.seek(68_000, true);
  await t.play(5000);
  assert.equal(t.states(), 'plays absent');
  assert.equal(b.said, 'Nothing recorded');
  await t.play(10_000);
  assert.equal(t.states(), 'plays plays');
  assert.equal(b.said, '');
  assert.ok(t.apart() <= 100 && t.past.at()! > 80_000);
  assert.deepEqual(t.heard, []);
});

test('where no camera has footage, the next one that has it counts', async () => {
  const a = new Camera([[0, 60_000], [900_000, hour]]), b = new Camera([[0, 70_000], [600_000, hour]]);
  const t = together(10 * hour, a, b);
  t.past.seek(65_000, true);
  await t.play(10_000);
  assert.deepEqual(t.heard, ['skipped to 600000']);
  assert.equal(t.states(), 'absent plays');
  assert.ok(t.past.at()! > 601_000 && t.past.at()! < 606_000, `the clock is at ${t.past.at()}`);
});

test('at the newest footage it is shown live, and behind all of it nothing is', async () => {
  const a = new Camera([[0, hour]]), b = new Camera([[0, hour - 2000]]);
  const live = together(hour + 5000, a, b);
  live.past.seek(hour - 4000, true);
  await live.play(6000);
  assert.ok(live.heard.includes('live'), live.heard.join());
  const old = together(10 * hour, a, b);
  old.past.seek(hour - 1000, true);
  await old.play(30_000);
  assert.deepEqual(old.heard, ['nothing']);
});
