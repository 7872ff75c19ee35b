// Which stream of a camera a tile of the wall plays.
import type { Camera, Rendition } from './camera';
import { renditionOf } from './protocol';

/** A stream that can be played. */
export interface Stream {
  name: string; // of the rendition
  width: number; // px; 0: not known
  video?: string; // codec; a variant is H.264
}

const enough = 0.6; // of the width of a tile: a picture may be stretched by so much

/**
 * What a tile of so many CSS pixels plays: of what the browser plays the narrowest that is
 * wide enough, else the widest. One whose width is not known counts as wide enough.
 */
export function choose(all: Stream[], tile: number, plays: (codec: string) => boolean): string {
  const wide = (s: Stream) => s.width || Infinity;
  const playable = all.filter((s) => !s.video || plays(s.video));
  const sorted = (playable.length ? playable : all).sort((a, b) => wide(a) - wide(b));
  return (sorted.find((s) => wide(s) >= enough * tile) ?? sorted[sorted.length - 1])?.name ?? 'raw';
}

const keepsUp = 10; // s that a variant may be behind

/** Whether a variant may fit better: the camera has no second stream, and the one is twice as wide as is enough. */
export const tooWide = (all: Stream[], tile: number): boolean =>
  all.length === 1 && all[0]!.name === 'raw' && all[0]!.width > 2 * enough * tile;

/** The variants that can be played instead of raw. */
export const variantsOf = (all: Rendition[]): Stream[] => all
  .filter((r) => r.role === 'variant' && r.width && r.behind_s !== null && r.behind_s < keepsUp)
  .map((r) => ({ name: r.name, width: r.width! }));

/** The streams that the camera itself sends now. Who may not watch raw has one alone. */
export function streamsOf(c: Camera): Stream[] {
  const seen = renditionOf(c.playlist);
  if (seen !== 'raw') return [{ name: seen, width: 0 }];
  const all: Stream[] = [{ name: 'raw', width: c.status?.width ?? 0, video: c.status?.video }];
  const sub = c.status?.substream;
  if (sub?.state === 'live') all.push({ name: 'sub', width: sub.width ?? 0, video: sub.video });
  return all;
}
