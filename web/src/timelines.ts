// Reads the timelines of a camera: of its footage, and of the notes of processors.
import { Refusal } from './api';
import { firstFrom, covered, merge, read, type Footage, type Timeline } from './footage';
import { base } from './session';
import { length, stepFor, type View } from './timescale';

const settle = 120; // ms for which a view has to stay before it is asked for
const kept = 6; // answers of a rendition
const mostNotes = 4; // data renditions that are shown
const again = 2000; // ms after a failure
const rest = 30_000; // ms after which notes are asked again that could not be read
const patience = 15_000;

/** The path of a camera's footage: "front-door", and "raw" or another rendition. */
export interface Source {
  camera: string;
  rendition: string;
}

export class Timelines {
  /** Of the footage, the newest last. Each holds for a time of its own. */
  readonly footage: Footage[] = [];
  /** Of the data renditions, each as footage. */
  readonly notes = new Map<string, Footage[]>();
  private data: string[] = [];
  private wanted: { view: View; width: number } | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private abort: AbortController | undefined;
  private asking: (View & { step: number }) | undefined;
  private refreshing = false;
  private refreshed = 0;
  private readonly failed = new Map<string, number>(); // performance.now() of the latest failure, by data rendition

  constructor(private readonly source: Source, private readonly changed: () => void) {}

  destroy(): void {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.wanted = undefined;
  }

  /** Takes the data renditions of the camera, whose notes are shown. */
  follow(names: string[]): void {
    const data = names.slice(0, mostNotes);
    if (data.join() === this.data.join()) return;
    this.data = data;
    for (const name of this.notes.keys()) if (!data.includes(name)) this.notes.delete(name);
    if (this.wanted) this.look(this.wanted.view, this.wanted.width);
  }

  /** Asks for what a view needs, unless it is known or asked for. */
  look(view: View, width: number): void {
    this.wanted = { view, width };
    if (this.timer || this.known(view, width)) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.wanted) void this.ask(this.wanted.view, this.wanted.width);
    }, this.footage.length ? settle : 0);
  }

  private known(view: View, width: number): boolean {
    const step = stepFor(view, width);
    const has = (f: (View & { step: number }) | undefined) => f?.step === step && f.from <= view.from && f.to >= view.to;
    return has(this.asking) || has(newestOf(this.footage)) && this.data.every((name) => has(newestOf(this.notes.get(name))) || performance.now() - (this.failed.get(name) ?? -Infinity) < rest);
  }

  /** Asks for a view and what is beside it, so that it can be moved. */
  private async ask(view: View, width: number): Promise<void> {
    if (this.known(view, width)) return;
    this.abort?.abort();
    const abort = this.abort = new AbortController();
    const beside = length(view) / 2, step = stepFor(view, width);
    const all = this.asking = { from: view.from - beside, to: view.to + beside, step };
    const put = (to: Footage[], f: Footage) => {
      to.push(f);
      if (to.length > kept) to.shift();
      this.changed();
    };
    try {
      put(this.footage, await this.get(all, step, this.source.rendition, abort.signal));
      for (const name of this.data) {
        const f = await this.get(all, step, name, abort.signal).catch(() => undefined);
        if (abort.signal.aborted) break;
        if (!this.notes.has(name)) this.notes.set(name, []);
        if (f) put(this.notes.get(name)!, f);
        else this.failed.set(name, performance.now()); // one that cannot be read hides no other
      }
    } catch {
      // A newer view was asked for, or the server is away.
      if (this.asking === all) setTimeout(() => { if (this.asking === all) this.asking = undefined; }, again);
      return;
    }
    if (this.asking === all) this.asking = undefined;
  }

  /** What is known best of a time. */
  at(time: number): Footage | undefined { return [...this.footage].reverse().find((f) => f.from <= time && time < f.to); }

  /** Reads the newest part again. It is to be called often while a view shows now. */
  async refresh(now: number): Promise<void> {
    const newest = newestOf(this.footage);
    if (!newest || this.refreshing || now - this.refreshed < Math.max(2000, newest.step / 4)) return;
    this.refreshing = true;
    this.refreshed = now;
    try {
      // An entry may come late, with a note later still.
      const from = Math.max(newest.from, now - 2 * newest.step - 30_000), to = Math.max(from + newest.step, Math.min(newest.to, now + newest.step));
      for (const [name, all] of [[this.source.rendition, this.footage] as const, ...this.notes]) {
        const f = await this.get({ from, to }, newest.step, name, timeout());
        const last = all[all.length - 1];
        if (last?.step === f.step && last.from <= f.from) all[all.length - 1] = { ...merge(last, f), to: Math.max(last.to, f.to) };
      }
      this.changed();
    } catch {
      // The next one may succeed.
    }
    this.refreshing = false;
  }

  /** Finds the first footage at a time or later, to a second; undefined if there is none. */
  async next(time: number, now: number): Promise<number | undefined> {
    let from = time, to = now;
    for (let i = 0; i < 10 && from < now; i++) {
      const step = stepFor({ from, to }, 1000);
      const first = firstFrom(covered(await this.get({ from, to }, step, this.source.rendition, timeout())), from);
      if (first === undefined) {
        if (to === now) return undefined;
        [from, to] = [to, now]; // the step held earlier footage alone
        continue;
      }
      if (step === 1000) return first;
      const start = Math.floor(first / step) * step;
      [from, to] = [Math.max(from, start), Math.min(now, start + step)];
    }
    return undefined;
  }

  private async get({ from, to }: View, step: number, rendition: string, signal: AbortSignal): Promise<Footage> {
    const q = new URLSearchParams({ start: new Date(from).toISOString(), end: new Date(to).toISOString(), step: `${step / 1000}s`, rendition });
    const res = await fetch(`${base}/v1/timeline/${this.source.camera}?${q.toString()}`, { signal });
    if (!res.ok) throw new Refusal(`${res.status}`, '', res.status);
    return read(await res.json() as Timeline);
  }
}

const newestOf = (all: Footage[] | undefined): Footage | undefined => all?.[all.length - 1];

function timeout(): AbortSignal {
  const c = new AbortController();
  setTimeout(() => c.abort(), patience);
  return c.signal;
}
