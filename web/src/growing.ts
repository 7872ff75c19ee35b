// Playlists of the past that grow while they are played, up to the newest footage.
//
// The server's playlist of a range has an end. hls.js gets it without that end, as one
// that may grow, and asks for it again and again. Most of these requests are answered from
// memory; a longer range is asked for when what is played comes near the end.
import type Hls from 'hls.js';
import type { Loader, LoaderCallbacks, LoaderConfiguration, LoaderContext, PlaylistLoaderContext } from 'hls.js';
import { iso } from './address';

/** A segment's place in a playlist. */
export interface Place {
  time: number; // public time at its start, in ms since the epoch
  start: number; // s in the player's time
  duration: number; // s
  gap: boolean;
}

/** Where a time is: seconds in the player's time, and the time that is there. */
export interface Spot {
  position: number;
  time: number;
}

/**
 * Finds a time. Where there is no footage, it is the next footage; undefined if there is none.
 * Public time may step back where a session begins; then the later session counts.
 */
export function locate(places: Place[], time: number): Spot | undefined {
  const footage = places.filter((p) => !p.gap);
  const at = footage.filter((p) => p.time <= time && time < p.time + 1000 * p.duration).pop()
    ?? footage.reduce<Place | undefined>((best, p) => (p.time > time && (!best || p.time < best.time) ? p : best), undefined);
  if (!at) return undefined;
  const found = Math.max(time, at.time);
  return { position: at.start + (found - at.time) / 1000, time: found };
}

/** What a playlist has of a time. */
export type Has =
  | { is: 'here'; time: number } // the time that is shown: that of the next picture in a seam
  | { is: 'none'; next: number } // the next footage
  | { is: 'beyond'; end: number }; // the playlist ends before it

const seam = 150; // ms between two segments that are no gap

/** Looks up a time in a playlist; undefined if it lists no footage. */
export function look(places: Place[], time: number): Has | undefined {
  const footage = places.filter((p) => !p.gap);
  if (!footage.length) return undefined;
  const next = locate(footage, time)?.time;
  if (next === undefined) return { is: 'beyond', end: Math.max(...footage.map((p) => p.time + 1000 * p.duration)) };
  return next - time <= seam ? { is: 'here', time: next } : { is: 'none', next };
}

/** The time of a position in the player's time; undefined if the playlist has no segment there. */
export function timeOf(places: Place[], position: number): number | undefined {
  const at = places.filter((p) => p.start <= position + 0.001).pop();
  return at && at.time + 1000 * (position - at.start);
}

/** The segments of a playlist from egress, which gives each its time. */
export function places(playlist: string): Place[] {
  const all: Place[] = [];
  let time = NaN, duration = 0, start = 0, gap = false;
  for (const line of playlist.split(/\r?\n/)) {
    if (line.startsWith('#EXT-X-PROGRAM-DATE-TIME:')) time = Date.parse(line.slice('#EXT-X-PROGRAM-DATE-TIME:'.length));
    else if (line.startsWith('#EXTINF:')) duration = parseFloat(line.slice('#EXTINF:'.length));
    else if (line === '#EXT-X-GAP') gap = true;
    else if (line && !line.startsWith('#')) {
      if (!Number.isNaN(time)) all.push({ time, start, duration, gap });
      start += duration;
      gap = false;
    }
  }
  return all;
}

/** A playlist as hls.js gets it: it begins at a time (in s from its start), and has no end. */
export function opened(playlist: string, position: number): string {
  return playlist
    .replace(/^#EXT-X-(?:ENDLIST|PLAYLIST-TYPE:VOD|START:.*)\r?\n?/gm, '')
    .replace(/^#EXTM3U\r?\n/, (m) => `${m}#EXT-X-START:TIME-OFFSET=${position.toFixed(6)},PRECISE=YES\n`);
}

const before = 2 * 60_000; // ms before the time that is wanted first
const behind = 10 * 60_000; // ms of played footage that a longer playlist keeps
const ahead = 10 * 60_000;
const soon = 90_000; // ms before the end from which on more is asked for

/** What is known of the playlist of one rendition. */
interface Known {
  text: string;
  from: number;
  to: number;
}

export class Growing {
  private readonly known = new Map<string, Known>(); // by path

  /** here is the time that is played; still tells that it does not change. */
  constructor(private readonly at: number, private readonly now: () => number, private readonly here: () => number, private readonly still: () => boolean) {}

  /** The query of the first playlist. */
  query(): string { return query(this.at - before, Math.min(this.at + ahead, this.now())); }

  /** What to ask for instead of a URL: text, or the URL of a range. */
  ask(url: string): { text: string } | { url: string; got: (text: string) => string } {
    const path = url.split('?')[0]!;
    const known = this.known.get(path), here = this.here();
    if (known && (this.still() || known.to > here + soon)) return { text: known.text };
    const from = known ? Math.max(known.from, here - behind) : this.at - before;
    const to = Math.min(here + ahead, this.now());
    return {
      url: path + query(from, to),
      got: (text) => {
        const spot = locate(places(text), this.at);
        const open = opened(text, spot?.position ?? 0);
        this.known.set(path, { text: open, from, to });
        return open;
      },
    };
  }
}

const query = (from: number, to: number) => `?start=${iso(from)}&end=${iso(to)}`;

/** A loader that asks a Growing for media playlists. */
export function growingLoader(Lib: typeof Hls, growing: Growing): new (c: ConstructorParameters<typeof Lib.DefaultConfig.loader>[0]) => Loader<PlaylistLoaderContext> {
  const Base = Lib.DefaultConfig.loader as unknown as new (c: unknown) => Loader<PlaylistLoaderContext>;
  return class extends Base {
    override load(context: PlaylistLoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<PlaylistLoaderContext>): void {
      if (String(context.type) === 'manifest') return super.load(context, config, callbacks);
      const ask = growing.ask(context.url);
      if ('text' in ask) {
        const { stats } = this, now = performance.now();
        Object.assign(stats.loading, { start: now, first: now, end: now });
        stats.loaded = stats.total = ask.text.length;
        queueMicrotask(() => { if (!stats.aborted) callbacks.onSuccess({ url: context.url, data: ask.text, code: 200 }, stats, context, null); });
        return;
      }
      const own: LoaderContext & PlaylistLoaderContext = { ...context, url: ask.url };
      super.load(own, config, {
        ...callbacks,
        onSuccess: (response, stats, _, details) => callbacks.onSuccess({ ...response, data: ask.got(String(response.data)) }, stats, context, details),
        onError: (error, _, details, stats) => callbacks.onError(error, context, details, stats),
        onTimeout: (stats, _, details) => callbacks.onTimeout(stats, context, details),
      });
    }
  };
}
