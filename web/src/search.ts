// Finds where the past goes on if there is no footage at a time that is wanted.
import { Refusal } from './api';
import type { Lanes } from './lanes';
import type { Clock } from './pace';

const again = 2000; // ms after which a server that does not answer is asked again
const same = 3; // answers after which what the timeline tells is taken for gone
const gone = 10 * 60_000; // ms of footage that a playlist of a time would list
const most = 50; // answers for one wish

export class Search {
  private tries = 0;

  constructor(private readonly lanes: Pick<Lanes, 'next'>, private readonly clock: Clock) {}

  /** Something else is wanted, or footage was found. */
  begin(): void { this.tries = 0; }

  /**
   * Finds the first footage at a time or later; undefined if there is none, or if it is not
   * wanted any more. It calls away each time that the server does not answer.
   */
  async next(time: number, wanted: () => boolean, away: () => void): Promise<number | undefined> {
    // A timeline may tell for some time of footage that has expired.
    const from = time + (this.tries < same ? 0 : gone);
    while (wanted() && this.tries < most) {
      try {
        const next = await this.lanes.next(from, this.clock.now());
        this.tries++;
        return next;
      } catch (e) {
        if (e instanceof Refusal && e.status < 500) return undefined; // the camera was removed
      }
      if (!wanted()) return undefined;
      away();
      await new Promise<void>((done) => { setTimeout(done, again); });
    }
    return undefined;
  }
}
