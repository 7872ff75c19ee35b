// When to try again, and how fast to play.

/** Wait before attempt n (from 0): doubled from 0.5 s to 15 s, ± 25 % so that many tiles spread. */
export function backoff(attempt: number, random = Math.random()): number {
  return spread(Math.min(15_000, 500 * 2 ** Math.min(attempt, 10)), random);
}

/** A wait of about so many ms, ± 25 %. */
export const spread = (ms: number, random = Math.random()): number => Math.round(ms * (0.75 + random / 2));

export interface Pace {
  rate: number;
  seek: boolean; // to the live edge: too far behind to catch up
}

/**
 * Gives the speed that keeps a player near its distance (target) from the live edge.
 * Changes are too small to be seen or heard. All in seconds.
 */
export function pace(behind: number, target: number, buffered: number, lowLatency: boolean): Pace {
  const excess = behind - target;
  if (excess > (lowLatency ? 6 : 20)) return { rate: 1, seek: true };
  const slack = lowLatency ? 0.15 : 1;
  // Never play faster into an empty buffer.
  if (excess > slack && buffered > (lowLatency ? 0.4 : 2)) {
    const most = lowLatency ? 0.08 : 0.04;
    return { rate: round(1 + Math.min(most, (excess - slack) * 0.06 + 0.01)), seek: false };
  }
  if (buffered > 0 && buffered < (lowLatency ? 0.15 : 0.5)) return { rate: 0.95, seek: false };
  return { rate: 1, seek: false };
}

/**
 * Gives the distance from the live edge of a tile that plays whole segments. It
 * is long enough for one of the newest segments, whose durations are given, to come
 * late. The server's HOLD-BACK is longer: it follows the longest segment ever.
 */
export function wallLatency(newest: number[], holdBack: number): number {
  return Math.min(holdBack || Infinity, Math.max(6, Math.round(2 * Math.max(0, ...newest)) + 1));
}

const round = (n: number) => Math.round(n * 100) / 100;

/**
 * The server's clock, as a browser sees it. Messages arrive late and never early,
 * so the largest of the latest differences is the best.
 */
export class Clock {
  private seen: number[] = [];

  heard(serverNow: number, localNow = Date.now()): void {
    this.seen.push(serverNow - localNow);
    if (this.seen.length > 20) this.seen.shift();
  }

  /** The server's time in milliseconds since the epoch. */
  now(localNow = Date.now()): number {
    return localNow + (this.seen.length ? Math.max(...this.seen) : 0);
  }
}

/**
 * Gives the start of the next fragment, to go on there when the picture stands at
 * the end of the buffer; undefined if no more is listed. hls.js loads nothing more
 * when the buffer ends inside a fragment that it has loaded. Such a fragment has few
 * pictures, and its sound ends before them.
 */
export function onward(starts: number[], edge: number, bufferEnd: number): number | undefined {
  const next = starts.find((s) => s > bufferEnd + 0.02);
  return next !== undefined && edge > next + 0.1 ? next : undefined;
}

/**
 * Gives where to start near a position: there, or with the next footage if a gap is
 * there; undefined if no footage is listed that far.
 */
export function startBehindGap(fragments: { start: number; duration: number; gap?: boolean }[], position: number): number | undefined {
  const next = fragments.find((f) => !f.gap && f.start + f.duration > position);
  return next && Math.max(next.start, position);
}
