// When to try again, and how fast to play.

/** Wait before attempt n (from 0): doubled from 0.5 s to 15 s, ± 25 % so that many tiles spread. */
export function backoff(attempt: number, random = Math.random()): number {
  const base = Math.min(15_000, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(base * (0.75 + random / 2));
}

export interface Pace {
  rate: number;
  seek: boolean; // to the live edge: too far behind to catch up
}

/**
 * Keeps a player near its distance from the live edge by small changes of
 * speed that nobody sees or hears. All in seconds.
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
 * How far behind the live edge a tile plays that takes whole segments: enough
 * for the newest ones, given their durations, to come late by one. The server's
 * HOLD-BACK goes by the longest segment ever.
 */
export function wallLatency(newest: number[], holdBack: number): number {
  return Math.min(holdBack || Infinity, Math.max(6, Math.round(2 * Math.max(0, ...newest)) + 1));
}

const round = (n: number) => Math.round(n * 100) / 100;

/**
 * The server's clock, as a browser sees it: messages arrive late and never
 * early, so the largest difference seen lately is the nearest to the truth.
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
 * Where to go on when the picture stands at the end of the buffer: the start of
 * the next fragment, undefined where nothing more is listed. hls.js loads
 * nothing more where the buffer ends inside a fragment that it has loaded, as
 * one of few pictures whose sound ends before them.
 */
export function onward(starts: number[], edge: number, bufferEnd: number): number | undefined {
  const next = starts.find((s) => s > bufferEnd + 0.02);
  return next !== undefined && edge > next + 0.1 ? next : undefined;
}
