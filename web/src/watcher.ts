// The boxes of one camera, from its data renditions.
import { samples, seen, segments, type Seen } from './metadata';
import type { Box } from './events';

const every = 700; // ms between two looks at a playlist
const kept = 60_000; // ms for which boxes are kept
const begin = 10_000; // ms before the end of the newest segment that are read at first, and after a pause
const patience = 10_000;

const slack = 2500; // ms for which boxes are shown beyond their time if what follows them is not known yet

/** Follows one data rendition. */
class Follower {
  private readonly all: Seen[] = [];
  private edge = 0; // up to here everything is known, in ms since the epoch
  private stopped = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private abort = new AbortController();

  constructor(private readonly playlist: string, private readonly changed: () => void) { void this.look(); }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.abort.abort();
  }

  /** The boxes at a time, and whether they are older than it. */
  at(time: number): { boxes: Box[]; late: boolean } {
    const boxes = this.all.filter((s) => s.start <= time && time < s.end).flatMap((s) => s.boxes);
    if (boxes.length || time < this.edge) return { boxes, late: false };
    // What stands in this picture is told when its fragment is complete.
    const newest = this.all[this.all.length - 1];
    if (!newest || newest.end < this.edge - 250 || time - newest.end > slack) return { boxes: [], late: false };
    return { boxes: newest.boxes, late: true };
  }

  private async look(): Promise<void> {
    try {
      if (!document.hidden) await this.read();
    } catch {
      // The rendition or the server is away: the next look may find it.
    }
    if (!this.stopped) this.timer = setTimeout(() => void this.look(), every);
  }

  private async read(): Promise<void> {
    const playlist = await this.fetch(this.playlist).then((r) => r.text());
    const all = segments(playlist);
    const newest = all[all.length - 1];
    if (!newest) return;
    this.edge = Math.max(this.edge, newest.end - begin);
    for (const s of all.filter((x) => x.end > this.edge)) {
      const segment = await this.fetch(new URL(s.uri, new URL(this.playlist, location.href)).href).then((r) => r.arrayBuffer());
      this.all.push(...seen(samples(segment), s.start));
      this.edge = s.end;
    }
    while (this.all[0] && this.all[0].end < this.edge - kept) this.all.shift();
    this.changed();
  }

  private async fetch(url: string): Promise<Response> {
    if (this.stopped) throw new Error('stopped');
    const abort = this.abort = new AbortController();
    const late = setTimeout(() => abort.abort(), patience);
    try {
      const r = await fetch(url, { signal: abort.signal });
      if (!r.ok) throw new Error(`${url}: ${r.status}`);
      return r;
    } finally {
      clearTimeout(late);
    }
  }
}

/** Follows the data renditions of a camera. */
export class Watcher {
  private readonly followers = new Map<string, Follower>();

  constructor(private readonly camera: string, private readonly changed: () => void) {}

  /** Follows these renditions, and no others. */
  follow(renditions: string[]): void {
    for (const [name, f] of this.followers) {
      if (renditions.includes(name)) continue;
      f.stop();
      this.followers.delete(name);
    }
    for (const name of renditions) {
      if (!this.followers.has(name)) this.followers.set(name, new Follower(`/hls/${this.camera}/${name}.m3u8`, this.changed));
    }
  }

  /** All boxes at a time, in ms since the epoch. */
  at(time: number): { boxes: Box[]; late: boolean } {
    const all = [...this.followers.values()].map((f) => f.at(time)).filter((x) => x.boxes.length);
    return { boxes: all.flatMap((x) => x.boxes), late: all.length > 0 && all.every((x) => x.late) };
  }
}
