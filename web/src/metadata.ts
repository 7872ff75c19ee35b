// Timed metadata: what a processor sees in the pictures. It comes as HLS of a data rendition,
// whose segments are fragmented MP4 with a track of JSON.
import type { Box } from './events';

/** A segment of a media playlist. */
export interface Segment {
  uri: string;
  start: number; // ms since the epoch
  end: number;
}

/** The segments of a playlist that are no gaps. Each has its time, as egress writes it. */
export function segments(playlist: string): Segment[] {
  const all: Segment[] = [];
  let start = NaN, seconds = 0, gap = false;
  for (const line of playlist.split(/\r?\n/)) {
    if (line.startsWith('#EXT-X-PROGRAM-DATE-TIME:')) start = Date.parse(line.slice('#EXT-X-PROGRAM-DATE-TIME:'.length));
    else if (line.startsWith('#EXTINF:')) seconds = parseFloat(line.slice('#EXTINF:'.length));
    else if (line === '#EXT-X-GAP') gap = true;
    else if (line && !line.startsWith('#')) {
      if (!gap && !Number.isNaN(start)) all.push({ uri: line, start, end: start + 1000 * seconds });
      gap = false;
    }
  }
  return all;
}

/** A sample of a segment: ms from the segment's start, and its JSON value. */
export interface Sample {
  start: number;
  end: number;
  value: unknown;
}

const timescale = 90; // of tracks of JSON: ticks a millisecond

/** The samples of a segment with one track (ISO/IEC 14496-12 section 8.8). */
export function samples(segment: ArrayBuffer): Sample[] {
  const v = new DataView(segment);
  const all: Sample[] = [];
  let first: number | undefined;
  for (const moof of boxes(v, 0, v.byteLength, 'moof')) {
    const traf = boxes(v, moof.body, moof.end, 'traf')[0];
    const [tfhd, tfdt, trun] = ['tfhd', 'tfdt', 'trun'].map((name) => traf && boxes(v, traf.body, traf.end, name)[0]);
    if (!tfhd || !tfdt || !trun) continue;
    let at = v.getUint8(tfdt.body) === 1 ? Number(v.getBigUint64(tfdt.body + 4)) : v.getUint32(tfdt.body + 4);
    first ??= at;
    const duration = v.getUint32(tfhd.body) & 0x8 ? v.getUint32(tfhd.body + 8) : 0; // egress writes nothing before it
    const flags = v.getUint32(trun.body) & 0xffffff;
    let data = moof.start + v.getInt32(trun.body + 8), entry = trun.body + 12;
    const field = (flag: number, otherwise: number): number => {
      if (!(flags & flag)) return otherwise;
      entry += 4;
      return v.getUint32(entry - 4);
    };
    for (let n = v.getUint32(trun.body + 4); n > 0; n--) {
      const ticks = field(0x100, duration), size = field(0x200, 0);
      field(0x400, 0);
      field(0x800, 0);
      const text = new TextDecoder().decode(new Uint8Array(segment, data, size));
      all.push({ start: (at - first) / timescale, end: (at + ticks - first) / timescale, value: JSON.parse(text) });
      at += ticks;
      data += size;
    }
  }
  return all;
}

interface Atom { start: number; body: number; end: number }

function boxes(v: DataView, from: number, to: number, name: string): Atom[] {
  const all: Atom[] = [];
  for (let at = from; at + 8 <= to;) {
    const size = v.getUint32(at);
    if (size < 8 || at + size > to) break;
    const kind = String.fromCharCode(v.getUint8(at + 4), v.getUint8(at + 5), v.getUint8(at + 6), v.getUint8(at + 7));
    if (kind === name) all.push({ start: at, body: at + 8, end: at + size });
    at += size;
  }
  return all;
}

/** What stands in the picture for a time, in ms since the epoch. */
export interface Seen {
  start: number;
  end: number;
  boxes: Box[];
}

interface Data { boxes?: Box[]; event?: { start: string; end: string; boxes?: Box[] } }

/**
 * What a segment tells of pictures, in order. A sample with an event does not end what the
 * sample before it says of the pictures, and at the same time as another sample it stands
 * before that, for one tick. Without boxes of pictures, those of events count.
 */
export function seen(all: Sample[], start: number): Seen[] {
  const pictures: Seen[] = [], events: Seen[] = [];
  let now: Seen | undefined;
  let from: number | undefined; // where an event of one tick begins
  for (const s of all) {
    const d = s.value as Data | null;
    const end = start + s.end;
    if (d?.event) {
      if (d.event.boxes?.length) events.push({ start: Date.parse(d.event.start), end: Date.parse(d.event.end), boxes: d.event.boxes });
      if (now) now.end = end;
      else from = s.end - s.start < 1 ? from ?? s.start : undefined;
      continue;
    }
    now = d?.boxes?.length ? { start: start + (from ?? s.start), end, boxes: d.boxes } : undefined;
    from = undefined;
    if (now) pictures.push(now);
  }
  return pictures.length ? pictures : events;
}
