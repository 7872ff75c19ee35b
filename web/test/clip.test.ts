import { test } from 'node:test';
import assert from 'node:assert/strict';
import { askClip } from '../src/clip';

test('a clip is asked for before it is downloaded', async (t) => {
  const parts = [{ start: '2030-01-02T03:04:05.123456789Z', end: '2030-01-02T03:04:09Z', seq: 7 }, { start: '2030-01-02T03:05:00Z', end: '2030-01-02T03:06:00Z', seq: 11 }];
  for (const [what, head, get, asked, want] of [
    ['one file', 200, undefined, ['HEAD'], { error: '', parts: [] }],
    ['several', 409, { error: 'the range holds 2 sessions', clips: parts }, ['HEAD', 'GET'], { error: /Each part is a file of its own/, parts }],
    ['too long', 400, { error: 'the range is longer than 24h' }, ['HEAD', 'GET'], { error: /^The range is longer than 24h\.$/, parts: [] }],
    ['a proxy', 502, undefined, ['HEAD', 'GET'], { error: /502/, parts: [] }],
    ['no answer', 0, undefined, ['HEAD'], { error: /does not answer/, parts: [] }],
  ] as const) {
    const all: string[] = [];
    const mock = t.mock.method(globalThis, 'fetch', (_: string, { method = 'GET' }: RequestInit) => {
      all.push(method);
      if (!head) return Promise.reject(new TypeError('network'));
      return Promise.resolve(new Response(method === 'HEAD' ? null : JSON.stringify(get), { status: head }));
    });
    const got = await askClip('/clip/yard.mp4');
    mock.mock.restore();
    assert.deepEqual(all, asked, what);
    assert.deepEqual(got.parts, want.parts, what);
    if (want.error) assert.match(got.error, want.error, what);
    else assert.equal(got.error, '', what);
  }
});
