import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Camera } from '../src/camera';
import { rendition, seenAs, type Me } from '../src/session';

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
