// How a player over a socket stays at the live edge.
import { patience } from './playing';

const samplesFor = 2000; // ms
const leastCushion = 0.2, mostCushion = 1.2; // s
const wider = 0.15, narrower = 0.05; // s
const calm = 30_000; // ms without a stall after which the cushion may be smaller
const slack = 0.08; // s
const skipFrom = 10; // s behind the edge from which a player goes there at once
const skipAfterStall = 1; // s behind its cushion from which it does so after it has stood
const recent = 10_000; // ms

/**
 * Keeps the cushion: what is in the buffer right before the next part comes. It is
 * the least with which the picture never stops, and grows with each stall. All times are
 * in ms, all lengths in s.
 */
export class Edge {
  cushion = 0.25; // aim

  private samples: { at: number; ahead: number }[] = [];
  private quietSince = 0;
  private stood = -Infinity; // when the picture stood still last

  /** A part has come; ahead is what was in the buffer before. */
  arrived(ahead: number, now: number): void {
    this.samples = this.samples.filter((s) => now - s.at < samplesFor);
    this.samples.push({ at: now, ahead });
    if (now - this.quietSince > calm) {
      this.quietSince = now;
      this.cushion = Math.max(leastCushion, this.cushion - narrower);
    }
  }

  /** The picture has stopped because the buffer was empty. */
  stalled(now: number): void {
    this.samples = [];
    this.quietSince = now;
    this.cushion = Math.min(mostCushion, this.cushion + wider);
  }

  /** The picture stands still, whatever the reason is. */
  stands(now: number): void { this.stood = now; }

  /** How far to jump, in s; 0: not at all. Who has just seen the picture stand does not mind. */
  skip(ahead: number, now: number): number {
    const most = now - this.stood < recent ? this.cushion + skipAfterStall : skipFrom;
    return ahead > most ? ahead - this.cushion : 0;
  }

  /** Forgets what was measured, as after a jump. */
  begin(now: number): void {
    this.samples = [];
    this.quietSince = now;
  }

  /** How fast to play. Small changes cannot be seen; only who is far behind plays visibly faster. */
  rate(): number {
    if (!this.samples.length) return 1;
    const excess = Math.min(...this.samples.map((s) => s.ahead)) - this.cushion;
    if (excess > 0.5) return round(Math.min(4, 1.1 + (excess - 0.5) * 1.5));
    if (excess > slack) return round(1.01 + excess * 0.18);
    if (excess < -slack) return round(Math.max(0.9, 0.99 + excess * 0.3));
    return 1;
  }
}

const round = (n: number) => Math.round(n * 100) / 100;

export const longestSilence = 60_000; // ms without a part of a live camera after which it is asked for again
const flowing = 3_000; // ms since the last part within which parts count as coming

/**
 * Whether a picture that stands has to be helped: there is footage for it, or parts come from
 * which it gets none, for too long; or nothing comes. All times are in ms. partsFrom is
 * when the first part came behind the last progress; 0: none has.
 */
export function stuck(s: { now: number; progress: number; part: number; partsFrom: number; has: boolean }): boolean {
  if (s.has) return s.now - s.progress > 2 * patience;
  if (s.partsFrom && s.now - s.part < flowing) return s.now - s.partsFrom > 2 * patience;
  return s.now - Math.max(s.progress, s.part) > longestSilence;
}

/** A fragment on the media timeline of a player. */
export interface Mark {
  media: number; // s
  date: number; // the public time of media, ms since the epoch
}

/** The public time of a media time, in ms since the epoch; undefined before the first mark. */
export function dateAt(marks: Mark[], time: number): number | undefined {
  const m = [...marks].reverse().find((x) => x.media <= time + 0.1);
  return m && m.date + (time - m.media) * 1000;
}

/**
 * Gives up to where a buffer may be emptied: the begin of the fragment before the one
 * that plays. A browser removes whole runs from keyframe to keyframe.
 */
export function removable(marks: Mark[], time: number): number | undefined {
  const before = marks.filter((m) => m.media <= time);
  return before[before.length - 2]?.media;
}

/** A range of a buffer, in s. */
export interface Range { start: number; end: number }

/** Where a player stands in its buffer. */
export interface Place {
  ahead: number; // s to the end of the range that plays
  next?: number; // begin of the range behind it
}

/** Gives the place of a time in the ranges of a buffer. */
export function place(ranges: Range[], time: number): Place {
  const i = ranges.findIndex((r) => r.start <= time + 0.1 && time < r.end);
  const mine = ranges[i];
  // The next range may begin a moment behind this one: a browser does not go there by itself.
  const next = mine ? ranges[i + 1] : ranges.find((r) => r.start > time);
  return { ahead: mine ? mine.end - time : 0, next: next?.start };
}
