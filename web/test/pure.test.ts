import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Camera, Status } from '../src/camera';
import * as format from '../src/format';
import * as lag from '../src/lag';
import * as model from '../src/model';
import { onlyGaps, plain, segmentLength } from '../src/playlist';
import { Clock, backoff, onward, pace, startBehindGap, wallLatency } from '../src/pace';

const now = '2030-01-02T03:04:05Z';
const status = (s: Partial<Status>): Status => ({ state: 'live', owner: 'in-1', host: 'h', since: now, updated: now, stale: false, ...s });
const camera = (s: Partial<Status> | null, c: Partial<Camera> = {}): Camera => ({
  id: 'front-door', url: 'rtsp://10.0.0.5/', source: 'api', delay_ms: null, playlist: '/hls/front-door/index.m3u8',
  status: s && status(s), ...c,
});

test('format', () => {
  for (const [got, want] of [
    [format.delay(0.94), '0.9 s'], [format.delay(-1), '0.0 s'], [format.delay(9.97), '9 s'], [format.delay(200), '3 min'],
    [format.span(59.9), '59 s'], [format.span(60), '1 min'], [format.span(3600), '1 h'], [format.span(47 * 3600), '47 h'], [format.span(49 * 3600), '2 days'],
    [format.bitrate(4_120_000), '4.1 Mbit/s'], [format.bitrate(12_400_000), '12 Mbit/s'], [format.bitrate(820_400), '820 kbit/s'], [format.bitrate(3), '1 kbit/s'],
    [format.fps(29.97), '30 fps'], [format.fps(12.5), '12.5 fps'],
    [format.codec('h265'), 'H.265'], [format.codec('vp9'), 'vp9'],
    [format.slug('Front door (left)'), 'front-door-left'], [format.slug('Über—Garage 2!'), 'uber-garage-2'], [format.slug('--'), ''], [format.slug('a'.repeat(62) + ' b'), 'a'.repeat(62)],
  ] as const) assert.equal(got, want);
  assert.equal(format.time('0001-01-01T00:00:00Z'), undefined);
  assert.equal(format.time('nonsense'), undefined);
  assert.equal(format.time(undefined), undefined);
  assert.equal(format.time(now), Date.parse(now));
});

test('view', () => {
  const cases: [Camera, model.Tone, string, 'yes' | 'keep' | 'no'][] = [
    [camera(null), 'wait', 'Waiting', 'no'],
    [camera({}), 'live', 'Live', 'yes'],
    [camera({ stale: true }), 'bad', 'No word', 'keep'],
    [camera({ stale: true, state: 'away' }), 'bad', 'No word', 'no'],
    [camera({ state: 'connecting' }), 'wait', 'Connecting', 'no'],
    [camera({ state: 'away', error: 'no route to host' }), 'bad', 'Away', 'no'],
    [camera({ state: 'refused' }), 'bad', 'Refused', 'no'],
    [camera({ state: 'unusable' }), 'bad', 'Unusable', 'no'],
    [camera({ state: 'disabled' }), 'off', 'Off', 'no'],
    [camera({ state: 'ended' }), 'off', 'Ended', 'no'],
    [camera({}, { disabled: true }), 'off', 'Off', 'no'],
    [camera({ video: 'mjpeg' }), 'live', 'Live', 'yes'], // it may have a variant
  ];
  for (const [c, tone, word, want] of cases) {
    assert.equal(model.view(c).tone, tone);
    assert.equal(model.view(c).word, word);
    assert.equal(model.wanted(c), want);
  }
  assert.equal(model.view(camera({ state: 'away', error: 'no route to host' })).detail, 'no route to host');
  assert.equal(model.view(camera({ problem: 'no keyframe for 20 s' })).warning, 'no keyframe for 20 s');
  assert.match(model.view(camera({ video: 'mjpeg' }), true).detail ?? '', /transcode/);
  assert.match(model.view(camera({ video: 'h265' }), true).detail ?? '', /H\.265/);
  assert.doesNotMatch(model.view(camera({ video: 'h264' }), true, false).detail ?? '', /H\.264/, 'it may have a decoder');
  assert.equal(model.view(camera({ state: 'dreaming' as never, error: 'asleep' })).detail, 'asleep'); // of a newer ingest
});

test('lines', () => {
  const rendition = (r: object) => ({ name: '720p', role: 'variant', processor: 'transcode', behind_s: 1.24, ...r }) as const;
  assert.equal(model.renditionTitle(rendition({})), '720p (transcode)');
  assert.equal(model.renditionTitle(rendition({ name: 'transcode' })), 'transcode');
  assert.equal(model.renditionTitle(rendition({ processor: '' })), '720p');
  assert.equal(model.behind(rendition({})), '1.2 s behind');
  assert.equal(model.behind(rendition({ behind_s: null })), '–');
  assert.equal(model.behind(rendition({ role: 'dead-letter', behind_s: null })), 'has dead letters');
  assert.equal(model.picture(status({ width: 1920, height: 1080, fps: 30, video: 'h264', audio: 'aac', bitrate: 4.1e6 })), '1920×1080 · 30 fps · H.264 + AAC · 4.1 Mbit/s');
  assert.equal(model.picture(status({ video: 'h264' })), 'H.264');
  assert.equal(model.picture(null), '');
  assert.equal(model.summary([camera({}), camera({ state: 'away' }), camera(null), camera({})]), '2 live · 1 connecting · 1 away');
  assert.equal(model.summary([]), '');
  assert.equal(model.title(camera(null, { label: 'Front door' })), 'Front door');
});

test('absence', () => {
  const at = (ms: number) => new Date(ms).toISOString().slice(11, 16);
  const says = (s: Partial<Status>) => model.absence(status({ since: '2026-03-01T10:12:30Z', ...s }), at);
  assert.equal(says({ absent: 15.3, absent_reason: 'restart' }), 'Nothing recorded for 15 s before 10:12 (ingest did not run)');
  assert.equal(says({ absent: 15.3, absent_reason: 'eclipse' }), 'Nothing recorded for 15 s before 10:12 (eclipse)');
  for (const s of [{}, { absent: 0.4, absent_reason: 'camera' }, { absent: 9, absent_reason: 'camera', state: 'away' as const }]) assert.equal(says(s), '');
});

test('announcement', () => {
  const live = camera({}), away = camera({ state: 'away', error: 'no route to host' });
  assert.equal(model.announcement(undefined, live), undefined);
  assert.equal(model.announcement(live, live), undefined);
  assert.equal(model.announcement(live, away), 'front-door: Away, no route to host');
  assert.equal(model.announcement(away, live), 'front-door is live.');
});

test('backoff grows, is bounded and spread', () => {
  assert.equal(backoff(0, 0.5), 500);
  assert.equal(backoff(3, 0.5), 4000);
  assert.equal(backoff(50, 0.5), 15_000);
  assert.ok(backoff(50, 1) <= 18_750 && backoff(0, 0) >= 375);
});

test('wallLatency', () => {
  assert.equal(wallLatency([1, 1, 1], 6), 6);
  assert.equal(wallLatency([8, 8, 8], 36), 17);
  assert.equal(wallLatency([8, 20, 8], 36), 36);
  assert.equal(wallLatency([], 0), 6);
});

test('onlyGaps', () => {
  const head = '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-GAP\n#EXTINF:2.0,\na\n';
  assert.equal(onlyGaps(head), true);
  assert.equal(onlyGaps(head + '#EXTINF:1.0,\nb\n'), false);
  assert.equal(onlyGaps('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nraw.m3u8\n'), false);
});

test('segmentLength', () => {
  const head = '#EXTM3U\n#EXT-X-TARGETDURATION:12\n';
  assert.equal(segmentLength(head + '#EXT-X-GAP\n#EXTINF:2.0,\na\n'), 12);
  assert.equal(segmentLength(head + '#EXTINF:8.0,\na\n' + '#EXTINF:1.0,\na\n'.repeat(2)), 8);
  assert.equal(segmentLength(head + '#EXTINF:8.0,\na\n' + '#EXTINF:1.0,\na\n'.repeat(3)), 1);
  assert.equal(segmentLength('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nraw.m3u8\n'), 0);
});

test('pace', () => {
  assert.deepEqual(pace(0.7, 0.66, 0.5, true), { rate: 1, seek: false });
  assert.equal(pace(1.8, 0.66, 1, true).rate, 1.07);
  assert.equal(pace(4, 0.66, 1, true).rate, 1.08);
  assert.equal(pace(1.8, 0.66, 0.2, true).rate, 1);
  assert.equal(pace(0.5, 0.66, 0.1, true).rate, 0.95);
  assert.equal(pace(8, 0.66, 3, true).seek, true);
  assert.deepEqual(pace(6.5, 6, 4, false), { rate: 1, seek: false });
  assert.equal(pace(12, 6, 4, false).rate, 1.04);
  assert.equal(pace(30, 6, 4, false).seek, true);
});

test('clock takes the quickest message', () => {
  const c = new Clock();
  assert.equal(c.now(1000), 1000);
  c.heard(5000, 1400); // arrived 400 ms late
  c.heard(6000, 2010);
  assert.equal(c.now(2010), 6000);
});

test('a playlist made plain', () => {
  assert.equal(plain([
    '#EXTM3U', '#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,HOLD-BACK=6.0,PART-HOLD-BACK=0.66,CAN-SKIP-UNTIL=12.0', '#EXT-X-PART-INF:PART-TARGET=0.22',
    '#EXT-X-PART:DURATION=0.2,URI="a.0.m4s"', '#EXTINF:1.0,', 'a.m4s', '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="b.0.m4s"', '#EXT-X-RENDITION-REPORT:URI="x"', '',
  ].join('\n')), ['#EXTM3U', '#EXT-X-SERVER-CONTROL:HOLD-BACK=6.0', '#EXTINF:1.0,', 'a.m4s', ''].join('\n'));
  assert.equal(plain('#EXTM3U\n#EXT-X-PARTIAL:1\n'), '#EXTM3U\n#EXT-X-PARTIAL:1\n');
});

test('errors of hls.js tell why', () => {
  for (const [e, want] of [
    [{ details: 'levelLoadError', fatal: true, response: { code: 503 } }, 'levelLoadError (fatal) 503'],
    [{ details: 'fragParsingError', fatal: false, reason: 'no media found in the fragment' }, 'fragParsingError: no media found in the fragment'],
    [{ details: 'fragParsingError', fatal: true, reason: 'a\n  b', error: new Error('c'), response: { code: 0 } }, 'fragParsingError (fatal): a b'],
    [{ details: 'internalException', fatal: false, error: new Error('no such box') }, 'internalException: no such box'],
    [{ details: 'bufferStalledError', fatal: false, error: new Error('bufferStalledError') }, 'bufferStalledError'],
    [{ details: 'x', fatal: false, reason: 'y'.repeat(300) }, 'x: ' + 'y'.repeat(199) + '…'],
  ] as const) assert.equal(format.failure(e), want);
});

test('onward', () => {
  for (const [starts, edge, end, want] of [
    [[8.36, 9.36, 9.4], 10.4, 9.349, 9.4], // the one at 9.36 is loaded, and has no sound
    [[8.36, 9.36, 9.4], 10.4, 9.3, 9.36],
    [[8.36, 9.36], 9.4, 9.349, undefined], // the camera is away
    [[8.36, 9.36, 10.36], 10.36, 10.36, undefined],
    [[], 0, 3, undefined],
  ] as const) assert.equal(onward([...starts], edge, end), want);
});

test('start behind a gap', () => {
  const list = (spec: string) => [...spec].map((c, i) => ({ start: 10 + 2 * i, duration: 2, gap: c === 'g' })); // 2 s each
  for (const [spec, position, want] of [
    ['ffffff', 16.5, 16.5],
    ['fffggf', 17, 20],
    ['ffgggf', 20, 20],
    ['ffgggf', 13, 13],
    ['ffffgg', 19, undefined], // not yet
    ['gggggg', 19, undefined],
    ['', 0, undefined],
  ] as const) assert.equal(startBehindGap(list(spec), position), want, `${spec} ${position}`);
});

test('lag', () => {
  const c = (id: string, behind: number, hops: Record<string, number>, more: Partial<lag.CameraLag> = {}): lag.CameraLag => ({
    id, state: 'live', behind_s: behind, hops: Object.entries(hops).map(([hop, behind_s]) => ({ hop, behind_s })), groups: [], dead_letters: [], ...more,
  });
  const group = (left: number | null) => ({ group: 'g', rendition: 'raw', records: 1, behind_s: 1, retention_left_s: left });
  const cameras = [
    c('yard', 61, { log: 1, motion: 61 }, { groups: [group(7300), group(null), group(90)], dead_letters: [{ processor: 'motion', count: 2 }, { processor: 'people', count: 0 }] }),
    c('gate', 15, { playlist: 0, log: 15, '720p': 3 }, { groups: [group(7300)] }),
    c('hall', 14.9, {}, { problem: 'no keyframe for 20 s' }),
  ];
  assert.deepEqual(lag.columns(cameras), ['log', '720p', 'motion', 'playlist']);
  assert.deepEqual(cameras.map((x) => lag.level(x.behind_s)), ['bad', 'late', 'fresh']);
  assert.equal(lag.notes(cameras[0]!), '1 min until retention · 2 dead letters of motion');
  assert.equal(lag.notes(cameras[1]!), '');
  assert.equal(lag.notes(cameras[2]!), 'no keyframe for 20 s');
  assert.equal(lag.summary({ up: true, at: now, cameras }), '2 of 3 cameras behind by 15 s or more');
  assert.equal(lag.summary({ up: true, at: now, cameras: cameras.slice(2) }), '1 camera, none behind by 15 s or more');
});
