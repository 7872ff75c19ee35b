import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { silence, silentType } from '../src/silent';

const read = (name: string) => new Uint8Array(readFileSync(`../internal/cmaf/testdata/${name}.golden`));

/** How often each box is there, also inside of others. */
function count(data: Uint8Array, types: string[]): Record<string, number> {
  const text = Buffer.from(data).toString('latin1');
  return Object.fromEntries(types.map((t) => [t, text.split(t).length - 1]));
}

test('sound is taken out where it stands', () => {
  for (const [name, types, before, after] of [
    ['m1-init-h264-aac', ['trak', 'trex', 'free'], [2, 2, 0], [1, 1, 2]],
    ['m1-segment', ['moof', 'traf', 'free'], [5, 10, 0], [5, 5, 5]],
  ] as [string, string[], number[], number[]][]) {
    const whole = read(name), data = read(name);
    assert.deepEqual(Object.values(count(whole, types)), before, name);
    silence(data);
    assert.deepEqual(Object.values(count(data, types)), after, name);
    assert.equal(data.length, whole.length);
    const changed = [...data.keys()].filter((i) => data[i] !== whole[i]);
    assert.ok(changed.length <= 4 * after[2]!, `${name}: ${changed.length} bytes have changed`);
    const again = new Uint8Array(data);
    silence(again);
    assert.deepEqual(again, data, name);
  }
});

test('what is no MP4 stays', () => {
  for (const bytes of [[], [0, 0, 0, 4], [0, 0, 0, 99, 0x6d, 0x6f, 0x6f, 0x76], [0, 0, 0, 16, 0x6d, 0x6f, 0x6f, 0x66, 0, 0, 0, 8, 0x74, 0x72, 0x61, 0x66]]) {
    const data = new Uint8Array(bytes);
    silence(data);
    assert.deepEqual([...data], bytes);
  }
});

test('the type without sound', () => {
  for (const [mime, want] of [
    ['video/mp4; codecs="avc1.64001E,mp4a.40.2"', 'video/mp4; codecs="avc1.64001E"'], ['video/mp4; codecs="hvc1.1.6.L93.B0, opus"', 'video/mp4; codecs="hvc1.1.6.L93.B0"'], ['video/mp4; codecs="avc1.64001E"', 'video/mp4; codecs="avc1.64001E"'],
  ] as const) assert.equal(silentType(mime), want);
});
