import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Camera } from '../src/camera';
import { choose, streamsOf, tooWide, variantsOf, type Stream } from '../src/choice';
import { stillName } from '../src/format';
import { substream } from '../src/model';

const h264 = (codec: string) => codec === 'h264';
const raw: Stream = { name: 'raw', width: 1920, video: 'h264' }, sub: Stream = { name: 'sub', width: 640, video: 'h264' };

test('the stream of a tile', () => {
  for (const [name, all, tile, want] of [
    ['one stream', [raw], 300, 'raw'],
    ['a small tile', [raw, sub], 300, 'sub'],
    ['stretched a little', [raw, sub], 1060, 'sub'],
    ['stretched too far', [raw, sub], 1080, 'raw'],
    ['larger than all', [raw, sub], 9000, 'raw'],
    ['the narrowest that is enough', [raw, sub, { name: '360p', width: 320 }], 400, '360p'],
    ['a tile that is not laid out', [raw, sub], 0, 'sub'],
    ['widths are not known', [{ ...raw, width: 0 }, { ...sub, width: 0 }], 300, 'raw'],
    ['that of raw is not known', [{ ...raw, width: 0 }, sub], 300, 'sub'],
    ['and the other is too narrow', [{ ...raw, width: 0 }, sub], 1200, 'raw'],
    ['a codec that does not play', [raw, { ...sub, video: 'h265' }], 300, 'raw'],
    ['of the large one', [{ ...raw, video: 'h265' }, sub], 1900, 'sub'],
    ['of all', [{ ...raw, video: 'h265' }, { ...sub, video: 'mjpeg' }], 1900, 'raw'],
    ['none', [], 300, 'raw'],
  ] as [string, Stream[], number, string][]) assert.equal(choose([...all], tile, h264), want, name);
});

const camera = (more: object): Camera => ({
  id: 'yard', url: 'rtsp://h/1', source: 'api', delay_ms: null, playlist: '/hls/yard/index.m3u8',
  status: { state: 'live', owner: '', host: '', since: '', updated: '', stale: false, video: 'h264', width: 1920, ...more },
});

test('the streams of a camera', () => {
  const live = { state: 'live', since: '', video: 'h264', width: 640 };
  assert.deepEqual(streamsOf(camera({})), [raw]);
  assert.deepEqual(streamsOf(camera({ substream: live })), [raw, sub]);
  assert.deepEqual(streamsOf(camera({ substream: { ...live, state: 'away' } })), [raw]);
  assert.deepEqual(streamsOf({ ...camera({}), status: null }), [{ name: 'raw', width: 0, video: undefined }]);
  // Who may not watch raw sees what they may.
  assert.deepEqual(streamsOf({ ...camera({ substream: live }), playlist: '/hls/yard/redacted/index.m3u8' }), [{ name: 'redacted', width: 0 }]);
});

test('variants', () => {
  for (const [all, tile, want] of [
    [[raw], 1590, true], [[raw], 1610, false], [[raw, sub], 350, false], [[{ ...raw, width: 0 }], 10, false], [[{ name: 'redacted', width: 1920 }], 10, false],
  ] as [Stream[], number, boolean][]) assert.equal(tooWide(all, tile), want, `${JSON.stringify(all)} in ${tile}`);
  const of = (more: object) => ({ name: '360p', role: 'variant', processor: 'transcode', width: 640, behind_s: 1, ...more } as const);
  assert.deepEqual(variantsOf([of({}), of({ role: 'alternative' }), of({ width: undefined }), of({ behind_s: null }), of({ behind_s: 60 })]), [{ name: '360p', width: 640 }]);
});

test('what is wrong with a second stream', () => {
  for (const [sub, want] of [
    [undefined, ''], [{ state: 'live' }, ''], [{ state: 'live', problem: 'no keyframe' }, 'Second stream: no keyframe'],
    [{ state: 'away', error: 'no route' }, 'Second stream: away, no route'], [{ state: 'connecting' }, 'Second stream: connecting'],
  ] as const) assert.equal(substream(camera({ substream: sub })), want);
  assert.equal(substream(camera({ stale: true, substream: { state: 'away', error: 'no route' } })), '');
});

test('the name of a picture', () => {
  assert.equal(stillName('yard', Date.UTC(2030, 0, 31, 8, 5, 9, 120)), 'yard-2030-01-31T08-05-09.120Z.jpg');
});
