// How a player over a socket stays at the live edge.
import { patience } from './playing';

const samplesFor = 2000; // ms
const leastCushion = 0.15, mostCushion = 1.2; // s
const wider = 0.15; // s
const spare = 0.12; // s of the cushion that stay when what was never used of it is given back
const calm = 15_000; // ms without a stall after which that is done
const slack = 0.05; // s
const far = 0.3; // s behind the cushion from which a player is visibly faster
const skipFrom = 10; // s behind the cushion from which a player goes to the edge at once
const skipAfterStall = 0.4; // s behind it from which it does so after it has stood, if it was at the edge before
const recent = 10_000; // ms
const burst = 500; // ms in which parts may come together that have waited
const fastest = 3; // rate of a player that is far behind
const gently = 1.5; // its rate while its decoder begins, and after its decoder was too slow
const starvedFor = 20_000, starvedStalls = 4, starvedStood = 5_000; // ms, stalls within them, ms that these lasted

/**
 * Keeps the cushion: what is in the buffer right before the next part comes. It is
 * the least with which the picture never stops, and grows with each stall. All times are
 * in ms, all lengths in s.
 */
export class Edge {
  cushion = 0.2; // aim

  private samples: { at: number; ahead: number }[] = [];
  private begun = Infinity; // when the first sample was taken
  private fills = false; // its buffer is being filled
  private reached = false; // it has been at the edge
  private most = fastest; // the rate that the decoder bears
  private quietSince = 0;
  private unused = Infinity; // the least that was ahead since then
  private stood = -Infinity; // when the picture began to stand still last
  private rest = this.cushion; // the cushion of the last calm
  private stalls: { at: number; stood: number }[] = []; // the newest, all of the network

  /** A part has come; ahead is what was in the buffer before. */
  arrived(ahead: number, now: number): void {
    this.begun = Math.min(this.begun, now);
    // What waited at the server comes at once, and fills the buffer. Only the newest sample counts
    // meanwhile, and none of these later.
    const filled = this.fills;
    this.fills = now - this.begun < burst;
    this.samples = filled || this.fills ? [] : this.samples.filter((s) => now - s.at < samplesFor);
    this.samples.push({ at: now, ahead });
    if (!this.fills && least(this.samples) - this.cushion < far) this.reached = true;
    this.unused = Math.min(this.unused, ahead);
    if (now - this.quietSince <= calm) return;
    this.rest = this.cushion = Math.max(leastCushion, this.cushion - Math.max(0, this.unused - spare));
    this.most = fastest;
    this.quiet(now);
  }

  /** The picture goes on after it has stopped because the buffer was empty. */
  stalled(now: number): void {
    this.samples = this.samples.slice(-1); // while it stood no more than the newest was right
    this.quiet(now);
    // The widest cushion would not have helped where the connection was lost, or is too slow.
    if (now - this.stood < mostCushion * 1000) this.cushion = Math.min(mostCushion, this.cushion + wider);
    this.stalls.push({ at: now, stood: now - this.stood });
    this.stalls = this.stalls.filter((s) => now - s.at < starvedFor);
  }

  /** Whether the picture has stopped so often, and for so long, that the network must be too slow. */
  starved(): boolean {
    return this.stalls.length >= starvedStalls && this.stalls.reduce((sum, s) => sum + s.stood, 0) >= starvedStood;
  }

  /** The picture has stopped, and enough is in the buffer: the decoder is too slow for the rate. */
  tooFast(now: number): void {
    if (this.most === gently) this.reached = true; // it may jump: by playing it hardly comes to the edge
    this.most = gently;
    this.quiet(now);
  }

  /** The server has left footage out: the network is too slow, and a wide cushion does not help. */
  tooSlow(): void { this.cushion = Math.min(this.cushion, this.rest); }

  /** The picture stands still, whatever the reason is. */
  stands(now: number): void { this.stood = now; }

  /**
   * How far to jump, in s, if so much is ahead; 0: not at all. A viewer who has just seen the picture
   * stand does not mind. A player that was not at the edge yet plays all there is, unless that is too much.
   */
  skip(ahead: number, now: number): number {
    const last = this.samples[this.samples.length - 1];
    if (!last || this.fills) return 0;
    const before = this.samples.filter((s) => last.at - s.at >= burst).slice(-1);
    const excess = least([{ ahead }, ...before, ...this.samples.filter((s) => last.at - s.at < burst)]) - this.cushion;
    return excess > (this.reached && now - this.stood < recent ? skipAfterStall : skipFrom) ? excess : 0;
  }

  /** Begins with a new picture, from the newest keyframe on. */
  anew(now: number): void {
    this.begun = Infinity;
    this.fills = this.reached = false;
    this.most = fastest;
    this.stalls = [];
    this.begin(now);
  }

  /** Forgets what was measured, as after a jump. */
  begin(now: number): void {
    this.samples = [];
    this.quiet(now);
  }

  /** How fast to play. Small changes cannot be seen; only who is far behind plays visibly faster. */
  rate(): number {
    if (!this.samples.length) return 1;
    const excess = least(this.samples) - this.cushion;
    if (excess > far) return round(Math.min(this.fills ? gently : this.most, 1.1 + (excess - far) * 1.5));
    if (excess > slack) return round(1.01 + excess * 0.3);
    if (excess < -slack) return round(Math.max(0.9, 0.99 + excess * 0.3));
    return 1;
  }

  private quiet(now: number): void {
    this.quietSince = now;
    this.unused = Infinity;
  }
}

const least = (samples: { ahead: number }[]) => Math.min(...samples.map((s) => s.ahead));
const round = (n: number) => Math.round(n * 100) / 100;

export const longestSilence = 60_000; // ms without a part of a live camera, over a connection, after which it is asked for again
const flowing = 3_000; // ms since the last part within which parts count as coming

/**
 * Whether a buffer has taken nothing for too long. waits is since when something waits for it;
 * 0: nothing waits. Whether parts come says nothing then: what the buffer does not take is not
 * acknowledged, so the server soon sends nothing more, to no player of the connection.
 */
const hangs = (s: { now: number; waits: number }): boolean => s.waits > 0 && s.now - s.waits > 2 * patience;

/**
 * Whether a picture that stands has to be helped: its buffer takes nothing, there is footage for
 * it, or parts come from which it gets none, for too long; or nothing comes. All times are in ms.
 * open is when the connection began; Infinity: there is none. partsFrom is when the first part
 * came behind the last progress; 0: none has. waits is as in hangs.
 */
export function stuck(s: { now: number; open: number; progress: number; part: number; partsFrom: number; waits: number; has: boolean }): boolean {
  if (hangs(s)) return true;
  if (s.has) return s.now - s.progress > 2 * patience;
  if (s.partsFrom && s.now - s.part < flowing) return s.now - s.partsFrom > 2 * patience;
  return s.now - Math.max(s.open, s.progress, s.part) > longestSilence;
}

/**
 * Whether a player that shows keyframes alone has to be helped: its buffer takes nothing,
 * keyframes come for too long from which it gets no picture, or nothing comes. Keyframes may come
 * seldom, so one alone says nothing. since is when it began, or its connection, or the newest
 * part came. The others are as for stuck.
 */
export function stuckSparse(s: { now: number; since: number; part: number; partsFrom: number; waits: number }): boolean {
  return hangs(s) || s.partsFrom > 0 && s.part - s.partsFrom > 2 * patience || s.now - s.since > longestSilence;
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
