import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import type { RetryConfig } from 'hls.js';
import type { Clock } from '../src/pace';
import type { library } from '../src/player';
import { Rewind, type Guide } from '../src/rewind';
import { browser } from './dom';
import { time } from './server';

browser();

const t0 = Date.parse('2030-01-02T03:00:00Z');
const second = 1000;

/** A video with one range in its buffer. It plays what is in it. */
class Video {
  range: [number, number] = [0, 0];
  constructor(readonly element: HTMLVideoElement) {
    Object.assign(element, { readyState: 4, seeking: false });
    Object.defineProperty(element, 'buffered', { get: () => ({ length: this.range[1] > this.range[0] ? 1 : 0, start: () => this.range[0], end: () => this.range[1] }) });
  }

  /** Plays for some seconds. */
  play(s: number): void {
    const { element: e, range: [from, end] } = this;
    if (e.currentTime >= from && e.currentTime < end) e.currentTime = Math.min(end, e.currentTime + s);
  }
}

/** As much of hls.js as a Rewind touches. Its playlist has 60 segments of 2 s; those in gaps have no footage. */
class Hls {
  static Events = Object.fromEntries(['FRAG_LOADING', 'FRAG_LOADED', 'FRAG_BUFFERED', 'ERROR', 'LEVEL_LOADED'].map((x) => [x, x]));
  static ErrorTypes = { NETWORK_ERROR: 'network', MEDIA_ERROR: 'media' };
  static ErrorDetails = { MANIFEST_INCOMPATIBLE_CODECS_ERROR: 'codecs' };
  static DefaultConfig = { loader: class { /* nothing is loaded */ }, fragLoadPolicy: { default: {} } };
  static all: Hls[] = [];
  static gaps: number[] = [];
  static get last(): Hls { return Hls.all[Hls.all.length - 1]!; }

  loads = 0; // how often it was told to load
  destroyed = false;
  latestLevelDetails: object | null = null;
  private video: HTMLVideoElement | undefined;
  private readonly heard: [string, (e: string, data: unknown) => void][] = [];
  readonly fragments = Array.from({ length: 60 }, (_, i) => ({
    sn: i, start: 2 * i, duration: 2, gap: Hls.gaps.includes(i), programDateTime: t0 + 2000 * i, endProgramDateTime: t0 + 2000 * i + 2000,
  }));

  constructor(readonly config: { fragLoadPolicy: { default: Record<'errorRetry' | 'timeoutRetry', RetryConfig> } }) { Hls.all.push(this); }

  get playingDate(): Date | null { return this.latestLevelDetails && this.video ? new Date(t0 + this.video.currentTime * second) : null; }
  on(event: string, f: (e: string, data: unknown) => void): void { this.heard.push([event, f]); }
  once(event: string, f: (e: string, data: unknown) => void): void { this.on(event, f); }
  attachMedia(v: HTMLVideoElement): void { this.video = v; }
  loadSource(): void { /* the test answers */ }
  startLoad(): void { this.loads++; }
  recoverMediaError(): void { /* nothing */ }
  destroy(): void { this.destroyed = true; }
  tell(event: string, data: unknown = {}): void { for (const [e, f] of this.heard) if (e === event) f(e, data); }
  open(): void { this.latestLevelDetails = { fragments: this.fragments, edge: 120 }; this.tell('LEVEL_LOADED'); }
  begins(sn: number): void { this.tell('FRAG_LOADING', { frag: this.fragments[sn] }); }
  has(sn: number): void { this.begins(sn), this.tell('FRAG_LOADED', { frag: this.fragments[sn] }), this.tell('FRAG_BUFFERED'); }

  /** A request fails, of a fragment or else of a playlist. */
  fails(code: number, fatal: boolean, sn?: number): void {
    this.tell('ERROR', { type: 'network', details: 'load', fatal, response: { code }, ...(sn === undefined ? {} : { frag: this.fragments[sn] }) });
  }
}

/** A Rewind that plays from t0 on, with s seconds in its buffer. */
async function playing(t: TestContext, s: number, gaps: number[] = [], guide?: Guide) {
  const tick = time(t), heard: string[] = [];
  Hls.all = [];
  Hls.gaps = gaps;
  const to = {
    changed: () => undefined, caughtUp: () => heard.push('live'),
    skipped: (asked: number, shown: number) => heard.push(`${(asked - t0) / second} is ${(shown - t0) / second}`),
    nothing: (from: number) => heard.push(`nothing from ${(from - t0) / second}`),
  };
  const rewind = new Rewind('/hls/yard/index.m3u8', { now: () => t0 + 3600 * second } as Clock, document.createElement('video'), to, guide, (() => Promise.resolve(Hls)) as unknown as typeof library);
  const video = new Video(rewind.video);
  const pass = async (ms: number) => {
    for (let i = 0; i < ms / 250; i++) {
      if (rewind.playing) video.play(0.25);
      await tick(250);
    }
  };
  const shows = () => { const [v, , , , veil] = rewind.element.children as unknown as (HTMLElement & { children: { textContent: string }[] })[]; return v && veil!.hidden ? '' : veil!.children[1]!.textContent; };
  /** The picture of what is asked for is there. */
  const picture = async (place: number) => {
    video.range = [place - 1, place + s];
    rewind.video.currentTime = place;
    rewind.video.dispatchEvent(new Event('seeked'));
    await pass(250);
  };
  rewind.seek(t0, true);
  await tick(0);
  if (s) {
    Hls.last.open();
    for (let i = 0; i < s / 2; i++) Hls.last.has(i);
    await picture(0);
  }
  return { rewind, video, pass, heard, shows, picture };
}

test('a fragment that does not come is not passed over', async (t) => {
  const { rewind, pass, heard } = await playing(t, 4);
  for (const wait of [1, 2, 4, 8]) {
    Hls.last.begins(2);
    Hls.last.fails(503, false, 2);
    await pass(wait * second);
  }
  assert.ok(rewind.video.currentTime <= 4, `it is at ${rewind.video.currentTime} s`);
  assert.ok(rewind.waiting);
  assert.equal(Hls.all.length, 2, 'after 10 s without a picture there is a new player');
  assert.deepEqual(heard, []);
});

test('a gap, and a fragment that has fewer pictures than it says, are passed over', async (t) => {
  const { rewind, video, pass } = await playing(t, 4, [2, 3]);
  video.range[1] = 3.5;
  await pass(6 * second);
  assert.equal(rewind.video.currentTime, 8);
  Hls.last.has(4);
  video.range = [8, 8.8];
  await pass(2 * second);
  assert.equal(rewind.video.currentTime, 10);
  await pass(5 * second);
  assert.equal(rewind.video.currentTime, 10);
});

test('after a lost request what is in the buffer plays on, and it loads again', async (t) => {
  const { rewind, pass, shows, heard, picture } = await playing(t, 10);
  const first = Hls.last;
  first.fails(0, true); // the playlist, which was to be longer
  await pass(3 * second);
  assert.deepEqual([first.loads, first.destroyed, shows()], [1, false, '']);
  assert.equal(rewind.video.currentTime, 3.25);
  first.fails(0, true); // the playlist, which was to be longer
  await pass(3 * second);
  assert.deepEqual([first.loads, shows()], [2, '']);
  await pass(5 * second);
  first.fails(0, true); // nothing is left to play
  assert.equal(shows(), 'The server does not answer');
  await pass(3 * second);
  assert.ok(first.destroyed && rewind.at() === t0 + 10 * second, `at ${rewind.at()! - t0}`);
  Hls.last.fails(0, true); // the first playlist
  await pass(3 * second);
  assert.equal(shows(), 'The server does not answer');
  Hls.last.open();
  await picture(10);
  assert.deepEqual([shows(), rewind.at(), rewind.waiting, heard], ['', t0 + 10.25 * second, false, []]);
});

test('when the first playlist fails it is asked for again, and at once by who plays', async (t) => {
  const { rewind, pass, shows, picture } = await playing(t, 0);
  Hls.last.fails(503, true);
  assert.equal(shows(), 'The server does not answer');
  rewind.pause();
  await pass(3 * second);
  assert.equal(Hls.all.length, 2, 'a picture that stands is wanted too');
  Hls.last.fails(503, true);
  rewind.play();
  await pass(0);
  assert.equal(Hls.all.length, 3);
  assert.equal(rewind.at(), t0);
  Hls.last.open();
  await picture(0);
  assert.equal(shows(), '');
});

test('a fragment is asked for until it comes, unless it has expired', async (t) => {
  await playing(t, 4);
  const { errorRetry, timeoutRetry } = Hls.last.config.fragLoadPolicy.default;
  const again = (r: RetryConfig, late: boolean, code?: number) => r.maxNumRetry === Infinity && r.shouldRetry!(r, 99, late, code === undefined ? undefined : { url: '', code }, false);
  assert.ok(again(timeoutRetry, true));
  for (const code of [0, 401, 500, 503]) assert.ok(again(errorRetry, false, code), `${code}`);
  for (const code of [404, 410, undefined]) assert.ok(!again(errorRetry, false, code), `${code}`);
});

test('behind footage that has expired it goes on', async (t) => {
  const { rewind, video, pass, shows, heard } = await playing(t, 4);
  const first = Hls.last;
  first.fragments[2]!.gap = true; // hls.js sets it
  first.fails(410, false, 2);
  await pass(5 * second);
  assert.deepEqual([Hls.all.length, rewind.video.currentTime, shows()], [1, 6, '']);

  first.has(3);
  video.range = [6, 8];
  first.fails(410, false, 59); // the last one: hls.js tries for ever
  await pass(second);
  assert.deepEqual([Hls.all.length, rewind.video.currentTime], [1, 7]);
  await pass(second);
  assert.deepEqual([Hls.all.length, rewind.at(), shows(), heard], [2, t0 + 120 * second, '', ['7.75 is 120']]);

  // A time that is asked for meanwhile counts.
  Hls.last.open();
  Hls.last.fails(404, true, 59);
  rewind.seek(t0 + 60 * second, false);
  await pass(second);
  assert.equal(rewind.at(), t0 + 60 * second);
});

test('one of several that is made anew shows no old error', async (t) => {
  const { rewind, pass, shows, picture } = await playing(t, 4, [], { playing: true, at: () => t0 });
  Hls.last.fails(0, true, 2);
  assert.ok(rewind.broken);
  await pass(20 * second);
  assert.deepEqual([Hls.all.length, shows()], [1, 'The server does not answer'], 'the others decide when');
  rewind.attach(t0);
  await pass(0);
  Hls.last.open();
  await picture(0);
  assert.deepEqual([rewind.broken, shows()], [false, '']);
});
