// Small pictures of past times, from egress/snapshot. One request at a time, for the newest wish.
import { iso } from './address';
import { base } from './session';

const settle = 100; // ms for which a wish has to stay
const most = 150; // pictures that are kept
const patience = 10_000;

export class Thumbnails {
  private readonly kept = new Map<number, string>(); // data URLs by time; '' where there is none
  private wish: number | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asking = false;
  private off = false; // the server makes none

  constructor(private readonly camera: string, private readonly changed: () => void) {}

  /**
   * The picture of a time, to a step of ms, or '' if there is none. If it is not known yet, it
   * is asked for; until it is there, a picture of a time near it stands for it.
   */
  get(time: number, step: number): string {
    const key = Math.round(time / step) * step;
    const has = this.kept.get(key);
    if (has !== undefined || this.off) return has ?? '';
    if (this.wish !== key) {
      this.wish = key;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => void this.ask(), settle);
    }
    let [near, distance] = ['', 5 * step];
    for (const [at, picture] of this.kept) {
      if (picture && Math.abs(at - time) < distance) [near, distance] = [picture, Math.abs(at - time)];
    }
    return near;
  }

  destroy(): void {
    clearTimeout(this.timer);
    this.off = true;
  }

  private async ask(): Promise<void> {
    const time = this.wish;
    if (this.asking || time === undefined || this.off) return;
    this.asking = true;
    const abort = new AbortController(), late = setTimeout(() => abort.abort(), patience);
    try {
      const res = await fetch(`${base}/snapshot/${this.camera}.jpg?at=${iso(time)}&width=320`, { signal: abort.signal });
      if (res.status === 501 || res.status === 403) this.off = true;
      else if (res.ok) this.keep(time, await dataURL(await res.blob()));
      else if (res.status === 404 || res.status === 410) this.keep(time, '');
    } catch {
      // The next wish may be fulfilled.
    }
    clearTimeout(late);
    this.asking = false;
    if (this.wish === time) this.wish = undefined;
    else void this.ask();
    this.changed();
  }

  private keep(time: number, url: string): void {
    this.kept.set(time, url);
    for (const old of this.kept.keys()) {
      if (this.kept.size <= most) break;
      this.kept.delete(old);
    }
  }
}

/** The page's policy allows no other URL of what is in memory. */
function dataURL(b: Blob): Promise<string> {
  return new Promise((done, failed) => {
    const r = new FileReader();
    r.onload = () => done(String(r.result));
    r.onerror = () => failed(r.error ?? new Error('cannot read a picture'));
    r.readAsDataURL(b);
  });
}
