import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Buffer } from '../src/buffer';
import { Edge, dateAt, place, removable, stuck, stuckSparse } from '../src/edge';
import { media, renditionOf } from '../src/protocol';
import { bytes } from './server';

test('media', () => {
  assert.deepEqual(media(bytes(1, 1, 2, 3, 9, 8)), { channel: 0x203, data: new Uint8Array([9, 8]) });
  const part = media(bytes(1, 2, 0, 7, 0, 0, 1, 2, 0, 0, 0, 0, 0x6a, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 3, 42));
  assert.deepEqual(part, { channel: 7, at: { part: 258, seq: 0x6a000005, epoch: 2 ** 32 + 3 }, data: new Uint8Array([42]) });
  for (const other of [bytes(), bytes(2, 1, 0, 1), bytes(1, 3, 0, 1), bytes(1, 2, 0, 1, 0)]) assert.equal(media(other), undefined);
});

test('the rendition of a playlist', () => {
  for (const [playlist, want] of [
    ['/hls/yard/index.m3u8', 'raw'], ['/hls/yard/720p/index.m3u8', '720p'], ['http://a/s/x/hls/yard/redacted/index.m3u8', 'redacted'],
  ] as const) assert.equal(renditionOf(playlist), want);
});

// 30 s of parts of 0.2 s, each late by up to jitter seconds; gives the cushion and the rates at the end.
function play(jitter: number, ahead: number, seconds = 30): { edge: Edge; low: number; rates: number[] } {
  const edge = new Edge();
  edge.begin(0);
  let end = ahead, at = 0, low = ahead, before = 0;
  const rates: number[] = [];
  for (let i = 1; i <= seconds * 5; i++) {
    const now = i * 200 + (i % 3) * jitter * 500;
    at += (now - before) / 1000 * edge.rate();
    before = now;
    if (at > end) {
      edge.stands(now - (at - end) * 1000);
      at = end;
      edge.stalled(now);
    }
    low = end - at;
    edge.arrived(low, now);
    end += 0.2;
    rates.push(edge.rate());
  }
  return { edge, low, rates };
}

test('a player comes to the edge, and stays there', () => {
  for (const [name, jitter, ahead] of [['far behind', 0, 8], ['near', 0, 1], ['too near', 0, 0.05], ['jitter', 0.15, 1]] as const) {
    const { edge, low, rates } = play(jitter, ahead);
    assert.ok(Math.abs(low - edge.cushion) < 0.3, `${name}: ${low} s are ahead in the end, aim ${edge.cushion}`);
    assert.ok(rates.slice(-25).every((r) => r > 0.9 && r < 1.1), `${name}: it plays at ${rates.slice(-5)} in the end`);
  }
  assert.ok(play(0, 8, 6).low < 1, '8 s are made up in 6 s');
});

// A player that was at the edge until 0.6 s.
function atEdge(): Edge {
  const edge = new Edge();
  edge.begin(0);
  for (const t of [0, 600]) edge.arrived(edge.cushion, t);
  return edge;
}

test('who was at the edge, and has seen the picture stand, jumps to the edge', () => {
  const at = (ahead: number, stood?: number, now = 1500, reached = true) => {
    const edge = reached ? atEdge() : new Edge();
    edge.begin(700);
    if (stood !== undefined) edge.stands(stood);
    for (const t of [now - 600, now - 400, now - 50]) edge.arrived(ahead, t);
    return { jump: edge.skip(ahead + 0.2, now), cushion: edge.cushion, edge };
  };
  assert.equal(at(9).jump, 0, '9 s are made up by playing faster');
  const far = at(11);
  assert.equal(far.jump, 11 - far.cushion);
  assert.equal(at(0.5, 500).jump, 0, 'a little is made up by playing faster');
  const after = at(0.9, 500);
  assert.equal(after.jump, 0.9 - after.cushion);
  assert.equal(after.edge.skip(0.5, 1500), 0, 'the buffer has become empty since');
  assert.equal(at(4, 500, 12_000).jump, 0, 'that was long ago');
  assert.equal(at(7, 500, 1500, false).jump, 0, 'who was never at the edge leaves nothing out');
  assert.ok(at(11, 500, 1500, false).jump > 10);

  // Parts of 0.6 s that come three at a time: after the last of them much is ahead, and is needed.
  const edge = atEdge();
  edge.stands(900);
  edge.arrived(0.3, 1000);
  edge.stalled(1000);
  for (const ahead of [0.9, 1.5]) edge.arrived(ahead, 1001);
  assert.equal(edge.skip(2.1, 1002), 0, 'this is one burst');
});

test('what fills the buffer at first does not hide what is ahead', () => {
  const edge = atEdge();
  for (const from of [1000, 50_000]) { // it begins again when its tile comes back into sight
    edge.anew(from - 200);
    edge.stands(from - 100);
    edge.arrived(0, from);
    for (let i = 0; i < 60; i++) {
      edge.arrived(i * 0.2, from + i); // a GOP of 12 s
      assert.equal(edge.skip((i + 1) * 0.2, from + i), 0, 'more may come');
    }
    assert.equal(edge.rate(), 1.5, 'the decoder begins');
    edge.arrived(7, from + 600);
    assert.equal(edge.rate(), 3);
    assert.equal(edge.skip(7.2, from + 600), 0, 'it was not at the edge since');
  }
  edge.anew(60_000);
  edge.arrived(0.1, 60_200);
  edge.arrived(7, 61_000);
  assert.equal(edge.rate(), 3, 'the first part came alone');
});

test('a picture that stops with much ahead plays slower, and jumps when that does not help', () => {
  const edge = new Edge();
  edge.begin(0);
  const rates: number[] = [], jumps: boolean[] = [];
  for (let i = 0; i < 3; i++) {
    for (const t of [0, 500]) edge.arrived(7, i * 1000 + t);
    rates.push(edge.rate());
    edge.stands(i * 1000 + 600);
    edge.tooFast(i * 1000 + 600);
    jumps.push(edge.skip(7, i * 1000 + 700) > 0);
  }
  assert.deepEqual(rates, [3, 1.5, 1.5]);
  assert.deepEqual(jumps, [false, true, true]);
});

test('a network that is too slow does not make the cushion wider', () => {
  const edge = new Edge();
  edge.begin(0);
  const first = edge.cushion;
  for (let at = 0; at < 5000; at += 1000) {
    edge.stands(at);
    edge.stalled(at + 300);
  }
  assert.ok(edge.cushion > first);
  edge.tooSlow();
  assert.equal(edge.cushion, first);
});

test('a picture that stops again and again for long is starved by its network', () => {
  const stalls = (n: number, every: number, stood: number) => {
    const edge = new Edge();
    for (let i = 1; i <= n; i++) {
      edge.stands(i * every - stood);
      edge.stalled(i * every);
    }
    return edge.starved();
  };
  assert.ok(stalls(5, 2000, 1300), 'a fifth of the throughput that it needs');
  assert.ok(!stalls(1, 30_000, 12_000), 'the server was away');
  assert.ok(!stalls(10, 1000, 200), 'jitter: the cushion grows');
  assert.ok(!stalls(20, 8000, 1300), 'now and then');
});

test('stalls make the cushion wider, calm makes it narrower', () => {
  const edge = new Edge();
  edge.begin(0);
  const first = edge.cushion;
  for (let i = 0; i < 20; i++) {
    edge.stands(i * 1000);
    edge.stalled(i * 1000 + 500);
  }
  assert.ok(edge.cushion > first && edge.cushion <= 1.2);
  const wide = edge.cushion;
  const play = (from: number, late: (n: number) => number) => {
    for (let i = 0; i < 80; i++) edge.arrived(edge.cushion - late(i), from + i * 200);
  };
  play(20_000, (n) => (n === 40 ? 1.1 : 0)); // one part was nearly too late
  assert.equal(edge.cushion, wide, 'all of it was needed');
  play(36_000, () => 0.1);
  play(52_000, () => 0.1);
  assert.ok(edge.cushion <= 0.3, `after half a minute of calm it is ${edge.cushion} s`);
});

test('a connection that is lost or too slow makes the cushion no wider', () => {
  const edge = new Edge();
  edge.begin(0);
  const first = edge.cushion;
  for (let i = 0; i < 5; i++) {
    edge.stands(i * 5000);
    edge.stalled(i * 5000 + 1500);
  }
  assert.equal(edge.cushion, first);
});

test('a picture that stands', () => {
  const now = 1_000_000;
  for (const [what, s, want] of [
    ['there is footage', { progress: now - 15_000, part: now, partsFrom: 0, has: true }, false],
    ['there is footage, and it does not play', { progress: now - 17_000, part: now - 17_000, partsFrom: 0, has: true }, true],
    ['the camera is away', { progress: now - 40_000, part: now - 40_000, partsFrom: now - 40_000, has: false }, false],
    ['there was no connection for a minute', { progress: now - 61_000, part: now - 61_000, partsFrom: 0, has: false, open: now - 1000 }, false],
    ['there is no connection', { progress: now - 61_000, part: now - 61_000, partsFrom: 0, has: false, open: Infinity }, false],
    ['nothing comes for a minute', { progress: now - 61_000, part: now - 61_000, partsFrom: 0, has: false }, true],
    ['the camera is back', { progress: now - 50_000, part: now, partsFrom: now - 5_000, has: false }, false],
    ['parts come, and nothing of them can be played', { progress: now - 17_000, part: now - 100, partsFrom: now - 16_500, has: false }, true],
    ['the buffer is slow', { progress: now - 17_000, part: now - 14_000, partsFrom: now - 15_500, has: false, waits: now - 15_500 }, false],
    ['the buffer takes nothing, so nothing comes any more', { progress: now - 19_000, part: now - 14_000, partsFrom: now - 16_500, has: false, waits: now - 16_500 }, true],
  ] as const) assert.equal(stuck({ now, open: 0, waits: 0, ...s }), want, what);
});

test('a picture of keyframes alone that stands', () => {
  const now = 1_000_000;
  for (const [what, s, want] of [
    ['the picture is new', { part: now - 500, partsFrom: 0 }, false],
    ['a keyframe comes every half a minute', { part: now - 20_000, partsFrom: now - 20_000 }, false],
    ['the first picture takes its time', { part: now - 500, partsFrom: now - 16_000 }, false],
    ['keyframes come, and nothing of them can be shown', { part: now - 500, partsFrom: now - 17_000 }, true],
    ['the camera is away', { part: now - 50_000, partsFrom: 0 }, false],
    ['nothing comes for a minute', { part: now - 61_000, partsFrom: 0 }, true],
    ['there was no connection for a minute', { part: now - 61_000, partsFrom: 0, since: now - 1000 }, false],
    ['there is no connection', { part: now - 61_000, partsFrom: 0, since: Infinity }, false],
    ['the buffer takes nothing, so nothing comes any more', { part: now - 14_000, partsFrom: now - 16_500, waits: now - 16_500 }, true],
  ] as const) assert.equal(stuckSparse({ now, since: s.part, waits: 0, ...s }), want, what);
});

test('marks', () => {
  const marks = [{ media: 100, date: 1e12 }, { media: 102, date: 1e12 + 2000 }, { media: 200, date: 2e12 }];
  for (const [time, want] of [[99, undefined], [100, 1e12], [103.5, 1e12 + 3500], [200, 2e12], [201, 2e12 + 1000]] as const) assert.equal(dateAt(marks, time), want);
  // A run that plays, or the one before it, is never removed.
  for (const [time, want] of [[101, undefined], [103, 100], [201, 102]] as const) assert.equal(removable(marks, time), want);
});

test('place', () => {
  const ranges = [{ start: 10, end: 12 }, { start: 20, end: 23 }];
  for (const [time, want] of [
    [0, { ahead: 0, next: 10 }], [9.95, { ahead: 12 - 9.95, next: 20 }], [11, { ahead: 1, next: 20 }], [12, { ahead: 0, next: 20 }], [22, { ahead: 1, next: undefined }], [24, { ahead: 0, next: undefined }],
  ] as const) assert.deepEqual(place(ranges, time), want);
  // The picture stands a moment before the end, and what follows begins 45 ms behind that.
  const close = [{ start: 0, end: 2 }, { start: 2.045, end: 20 }];
  assert.equal(place(close, 1.9995).next, 2.045);
});

/** A media source whose buffer does what it is told, when the test says so. */
class Source {
  done: string[] = [];
  full = false;
  private end: () => void = () => undefined;
  readonly buffer = {
    updating: false, buffered: { length: 1, start: () => 1, end: () => 2 },
    addEventListener: (name: string, f: () => void) => { if (name === 'updateend') this.end = f; },
    appendBuffer: (b: Uint8Array) => {
      if (this.full) throw new DOMException('full', 'QuotaExceededError');
      this.begin(`append ${b}`);
    },
    remove: (_: number, to: number) => this.begin(`remove to ${to}`),
    changeType: (mime: string) => this.done.push(`type ${mime}`),
  };

  addSourceBuffer(mime: string): object {
    this.done.push(`add ${mime}`);
    return this.buffer;
  }

  private begin(what: string): void {
    assert.equal(this.buffer.updating, false, 'one after the other');
    this.buffer.updating = true;
    this.done.push(what);
  }

  finish(): void {
    this.buffer.updating = false;
    this.end();
  }
}

test('since when a buffer takes nothing', (t) => {
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const source = new Source();
  const buffer = new Buffer(source as unknown as MediaSource, () => undefined, () => undefined);
  const at = (ms: number, what: () => void) => {
    now = ms;
    what();
    return buffer.waits();
  };
  const append = () => buffer.append(new Uint8Array([1]), () => undefined);
  assert.equal(buffer.waits(), 0, 'nothing waits');
  assert.equal(at(2000, () => buffer.type('m')), 2000);
  assert.equal(at(3000, append), 2000, 'the source is not open');
  assert.equal(at(4000, () => buffer.opened()), 4000, 'the type is set');
  assert.equal(at(5000, append), 4000);
  assert.equal(at(6000, () => source.finish()), 6000, 'the next one has waited since then');
  assert.equal(at(7000, () => source.finish()), 0);
});

test('a buffer', () => {
  const source = new Source(), failed: string[] = [], done: number[] = [];
  let room: number | undefined = 7;
  const buffer = new Buffer(source as unknown as MediaSource, () => room, (why) => failed.push(why));
  const append = (n: number) => buffer.append(new Uint8Array([n]), () => done.push(n));
  buffer.type('m1');
  append(1);
  append(2);
  buffer.removeTo(5);
  buffer.removeTo(6); // one is enough
  buffer.type('m2');
  append(3);
  assert.deepEqual(source.done, [], 'the source is not open');
  buffer.opened();
  for (let i = 0; i < 4; i++) source.finish();
  assert.deepEqual(source.done.splice(0), ['add m1', 'append 1', 'append 2', 'remove to 5', 'type m2', 'append 3']);
  assert.deepEqual(done, [1, 2, 3]);
  assert.deepEqual(buffer.ranges(), [{ start: 1, end: 2 }]);

  source.full = true;
  append(4);
  assert.deepEqual(source.done.splice(0), ['remove to 7']);
  source.full = false;
  source.finish();
  source.finish();
  assert.deepEqual(source.done.splice(0), ['append 4']);

  source.full = true;
  room = undefined;
  append(5);
  assert.equal(failed.length, 1);
  buffer.end();
  append(6);
  assert.deepEqual(done, [1, 2, 3, 4, 5, 6], 'what was not used counts as taken');
  assert.deepEqual(buffer.ranges(), []);
});
