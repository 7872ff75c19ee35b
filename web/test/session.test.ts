import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Camera } from '../src/camera';
import { Clock } from '../src/pace';
import { rendition, seenAs, whoAmI, type Me } from '../src/session';

const viewer = (...renditions: string[]): Me => ({ required: true, oidc: false, user: { name: 'anna', role: 'viewer', renditions } });

test('the rendition that somebody sees', () => {
  for (const [me, want] of [
    [viewer('*'), 'raw'],
    [viewer('redacted'), 'redacted'],
    [viewer('motion', 'raw'), 'raw'],
    [viewer('r?w'), 'raw'],
    [viewer('re*', 'redacted'), 'redacted'],
    [viewer('raw-2'), 'raw-2'],
    [{ required: true, oidc: false, user: { name: 'root', role: 'admin' } }, 'raw'],
    [{ required: false, oidc: false, user: null }, 'raw'],
  ] as [Me, string][]) assert.equal(rendition(me), want, JSON.stringify(me));
});

test('its playlist', () => {
  const camera = { id: 'yard', playlist: '/hls/yard/index.m3u8' } as Camera;
  assert.equal(seenAs(camera, 'raw').playlist, '/hls/yard/index.m3u8');
  assert.equal(seenAs(camera, 'redacted').playlist, '/hls/yard/redacted/index.m3u8');
});

test('who asks who looks at the page hears the server\'s clock', async (t) => {
  const day = 86_400_000;
  const here = Date.parse('2030-01-02T03:04:05Z');
  let now: number | undefined = here + day;
  t.mock.method(globalThis, 'fetch', () => Promise.resolve(Response.json({ required: true, oidc: false, user: null, now })));
  t.mock.method(Date, 'now', () => here);
  const clock = new Clock();
  await whoAmI(clock);
  assert.equal(clock.now(), here + day);
  now = undefined; // a server of an older version
  await whoAmI(clock);
  assert.equal(clock.now(), here + day);
});
