// The timelines of several cameras as one.
import { covered, firstFrom, missingAt, type Missing } from './footage';
import type { Timelines } from './timelines';
import type { View } from './timescale';

export class Lanes {
  /** At least one. */
  constructor(readonly all: Timelines[]) {}

  look(view: View, width: number): void { for (const t of this.all) t.look(view, width); }

  refresh(now: number): void { for (const t of this.all) void t.refresh(now); }

  destroy(): void { for (const t of this.all) t.destroy(); }

  /** The oldest footage, as far as is known; Infinity if nothing is. */
  oldest(): number { return Math.min(...this.all.flatMap((t) => t.footage.map((f) => f.oldest ?? Infinity))); }

  /**
   * The first footage of any camera at a time or later, and the length of the steps in which
   * that is known; first is undefined if there is none. undefined: it is not known.
   */
  from(time: number): { first: number | undefined; step: number } | undefined {
    const known = this.all.map((t) => t.at(time));
    if (known.some((f) => !f)) return undefined;
    const firsts = known.map((f) => firstFrom(covered(f!), time)).filter((t): t is number => t !== undefined);
    return { first: firsts.length ? Math.min(...firsts) : undefined, step: Math.max(...known.map((f) => f!.step)) };
  }

  /** Why no camera has footage of a time, if one knows. */
  missing(time: number): Missing | undefined {
    for (const t of this.all) {
      const f = t.at(time), missing = f && missingAt(f, time);
      if (missing) return missing;
    }
    return undefined;
  }

  /** Finds the first footage of any camera at a time or later, to a second; undefined if there is none. */
  async next(time: number, now: number): Promise<number | undefined> {
    const all = (await Promise.all(this.all.map((t) => t.next(time, now)))).filter((t): t is number => t !== undefined);
    return all.length ? Math.min(...all) : undefined;
  }
}
