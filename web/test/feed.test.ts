import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Camera, Status } from '../src/camera';
import { Feed } from '../src/feed';

const camera = (id: string, c: Partial<Camera> = {}): Camera => ({
  id, url: 'rtsp://10.0.0.5/', source: 'api', delay_ms: null, playlist: `/hls/${id}/index.m3u8`, status: null, ...c,
});
const live: Status = { state: 'live', owner: 'in-1', host: 'h', since: '', updated: '', stale: false };

test('the list follows the events', () => {
  const feed = new Feed();
  const ids = () => feed.list().map((c) => c.id);
  assert.deepEqual(ids(), []);
  feed.apply('cameras', { now: 1, cameras: [camera('yard'), camera('front', { status: live })] });
  assert.deepEqual(ids(), ['front', 'yard']);
  feed.apply('now', { now: 2 });
  feed.apply('camera', { now: 2, camera: camera('lane') });
  feed.apply('camera', { now: 2, camera: camera('yard', { label: 'The yard' }) });
  assert.deepEqual(ids(), ['front', 'lane', 'yard']);
  assert.equal(feed.list()[2]!.label, 'The yard');
  feed.apply('removed', { now: 3, id: 'lane' });
  feed.apply('removed', { now: 3, id: 'nobody' });
  assert.deepEqual(ids(), ['front', 'yard']);
  feed.apply('cameras', { now: 4, cameras: [camera('gate')] }); // the stream has begun anew
  assert.deepEqual(ids(), ['gate']);
});

test('measures change numbers alone', () => {
  const feed = new Feed();
  feed.apply('cameras', { now: 1, cameras: [camera('front', { status: live, label: 'Front' }), camera('yard')] });
  const before = feed.list();
  feed.apply('measures', { now: 2, measures: {
    front: { delay_ms: 340, fps: 30, bitrate: 4e6 }, yard: { delay_ms: 200, fps: 0, bitrate: 0 }, nobody: { delay_ms: null, fps: 1, bitrate: 1 },
  } });
  assert.deepEqual(feed.list(), [
    camera('front', { label: 'Front', delay_ms: 340, status: { ...live, fps: 30, bitrate: 4e6 } }), camera('yard', { delay_ms: 200 }),
  ]);
  assert.equal(before[0]!.delay_ms, null); // what was given out stays as it was
});
