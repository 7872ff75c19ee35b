// The boxes of one camera, from its data renditions: the newest, and those of the past.
import { iso } from './address';
import { samples, seen, segments, type Seen } from './metadata';
import type { Box } from './events';
import type { Clock } from './pace';

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

  private fetch(url: string): Promise<Response> {
    if (this.stopped) throw new Error('stopped');
    return get(url, this.abort = new AbortController());
  }
}

async function ask(url: string, abort: AbortController): Promise<Response> {
  const late = setTimeout(() => abort.abort(), patience);
  try {
    return await fetch(url, { signal: abort.signal });
  } finally {
    clearTimeout(late);
  }
}

/** Fetches what has to be there. */
async function get(url: string, abort: AbortController): Promise<Response> {
  const r = await ask(url, abort);
  if (!r.ok) throw new Error(`${url}: ${r.status}`);
  return r;
}

const playlistOf = (camera: string, rendition: string): string => `/hls/${camera}/${rendition}.m3u8`;

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
      if (!this.followers.has(name)) this.followers.set(name, new Follower(playlistOf(this.camera, name), this.changed));
    }
  }

  /** All boxes at a time, in ms since the epoch. */
  at(time: number): { boxes: Box[]; late: boolean } {
    const all = [...this.followers.values()].map((f) => f.at(time)).filter((x) => x.boxes.length);
    return { boxes: all.flatMap((x) => x.boxes), late: all.length > 0 && all.every((x) => x.late) };
  }
}

const block = 20_000; // ms of the past that are read at a time
const second = 1000; // ms
const soon = 8000; // ms before the end of a block from which on the next one is read too
const blocks = 30; // that are kept
const again = 5000; // ms after a failure until a block is asked for again
const growing = 10_000; // ms after the end of a block in which more may come to it
const anew = 2000; // ms after which such a block is read again
const later = 10_000; // ms after which one is read again to which a processor has not come yet

/** Reads the boxes of past pictures when they are asked for: one block at a time. */
export class Recall {
  private names: string[] = [];
  private behind = Infinity; // ms that the last of them is behind the camera
  private known = new Map<number, { seen: Seen[]; until: number }>(); // by the number of the block; until: performance.now()
  private abort: AbortController | undefined; // of the block that is being read
  private failed = -Infinity; // performance.now() of the latest failure

  constructor(private readonly camera: string, private readonly clock: Clock, private readonly changed: () => void) {}

  /** Reads these renditions, and no others. One of them is so many seconds behind, the others less. */
  follow(renditions: string[], behind: number): void {
    this.behind = 1000 * behind;
    if (renditions.join() === this.names.join()) return;
    this.names = renditions;
    this.known.clear();
    this.abort?.abort();
    this.abort = undefined;
  }

  /** The boxes at a time, in ms since the epoch, as far as they are known. */
  at(time: number): Box[] {
    const n = Math.floor(time / block), now = performance.now();
    const begun = Math.floor((this.clock.now() - second) / block); // the server refuses a range that begins in the future
    const wanted = [n, Math.floor((time + soon) / block)].find((x) => x <= begun && (this.known.get(x)?.until ?? 0) < now);
    if (wanted !== undefined && this.names.length && !this.abort && now - this.failed > again) void this.read(wanted);
    return (this.known.get(n)?.seen ?? []).filter((s) => s.start <= time && time < s.end).flatMap((s) => s.boxes);
  }

  private async read(n: number): Promise<void> {
    const abort = this.abort = new AbortController();
    const range = `?start=${iso(n * block)}&end=${iso((n + 1) * block)}`;
    try {
      const all = await Promise.allSettled(this.names.map((name) => this.rendition(playlistOf(this.camera, name) + range, abort)));
      if (this.abort !== abort) return;
      const came = all.filter((x) => x.status === 'fulfilled'); // one that cannot be read hides no other
      if (!came.length) throw new Error('the server is away');
      this.known.delete(n); // the newest stands last
      const quiet = this.clock.now() - (n + 1) * block - growing; // ms
      const wait = quiet < 0 ? anew : quiet < this.behind || came.length < all.length ? later : Infinity;
      this.known.set(n, { seen: came.flatMap((x) => x.value), until: performance.now() + wait });
      if (wait < Infinity) setTimeout(this.changed, wait + 50); // a picture that stands gets what comes
      for (const old of this.known.keys()) {
        if (this.known.size <= blocks) break;
        this.known.delete(old);
      }
    } catch {
      if (this.abort === abort) this.failed = performance.now();
    } finally {
      if (this.abort === abort) this.abort = undefined;
    }
    this.changed();
  }

  private async rendition(playlist: string, abort: AbortController): Promise<Seen[]> {
    const res = await ask(playlist, abort);
    if (res.status === 404 || res.status === 410) return []; // nothing was seen then, or it has expired
    if (!res.ok) throw new Error(`${playlist}: ${res.status}`);
    const all: Seen[] = [];
    for (const s of segments(await res.text())) {
      const segment = await get(new URL(s.uri, new URL(playlist, location.href)).href, abort).then((r) => r.arrayBuffer());
      all.push(...seen(samples(segment), s.start));
    }
    return all;
  }
}
