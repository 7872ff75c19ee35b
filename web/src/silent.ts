// Takes the sound out of fragmented MP4 (ISO/IEC 14496-12) without moving a byte: boxes of
// other tracks than the first become free space.

const header = 8; // bytes of a box: size, type
const free = 0x66726565;

/** Boxes that hold boxes on the way to a track's number. */
const containers = new Set(['moov', 'mvex', 'moof']);

/** Boxes of one track, and which of their boxes has its number; undefined: they have it themselves. */
const ofTrack: Record<string, string | undefined> = { trak: 'tkhd', trex: undefined, traf: 'tfhd' };

interface Box { type: string; at: number; end: number }

/** The boxes between two places. What is broken ends them. */
function* boxes(v: DataView, at: number, end: number): Generator<Box> {
  while (at + header <= end) {
    const size = v.getUint32(at);
    if (size < header || at + size > end) return;
    yield { type: String.fromCharCode(...[4, 5, 6, 7].map((i) => v.getUint8(at + i))), at, end: at + size };
    at += size;
  }
}

/** The number of a track in a box that has it: behind version and flags, in a tkhd behind two times. */
function track(v: DataView, b: Box): number | undefined {
  const times = b.type === 'tkhd' ? (v.getUint8(b.at + header) === 1 ? 16 : 8) : 0;
  const at = b.at + header + 4 + times;
  return at + 4 <= b.end ? v.getUint32(at) : undefined;
}

function clear(v: DataView, from: number, to: number): void {
  for (const b of boxes(v, from, to)) {
    if (containers.has(b.type)) {
      clear(v, b.at + header, b.end);
    } else if (b.type in ofTrack) {
      const inside = ofTrack[b.type];
      const told = inside ? [...boxes(v, b.at + header, b.end)].find((x) => x.type === inside) : b;
      if (told && track(v, told) !== 1) v.setUint32(b.at + 4, free);
    }
  }
}

/** Changes an init segment or a part so that it has the first track alone. */
export function silence(data: Uint8Array<ArrayBuffer>): void {
  clear(new DataView(data.buffer, data.byteOffset, data.byteLength), 0, data.byteLength);
}

/** A MIME type without the codecs of sound. */
export const silentType = (mime: string): string =>
  mime.replace(/codecs="(.*)"/, (_, all: string) => `codecs="${all.split(',').filter((c) => !/^\s*(mp4a|opus)/i.test(c)).join(',')}"`);
