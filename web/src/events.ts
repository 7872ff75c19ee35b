// Events that processors have found, as egress/events serves them.

/** A rectangle in a picture, which is 1 wide and 1 high. */
export interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
  label?: string;
}

export interface CameraEvent {
  type: string;
  camera: string;
  rendition: string;
  processor?: string;
  seq: number;
  last_seq?: number; // of a joined event
  start: string;
  end: string;
  value?: number;
  boxes?: Box[];
}

/** A type as people read it: "motion" is "Motion". */
export const typeName = (type: string): string => type.charAt(0).toUpperCase() + type.slice(1).replace(/[-_]/g, ' ');

const hold = 5000; // ms for which a mark stays at least
const old = 30_000; // ms after which an event that is told late makes no mark

/** Which cameras have a mark now. An event is told when its fragment is complete. */
export class Marks {
  private readonly until = new Map<string, Map<string, number>>(); // by camera and type, in ms

  heard(e: CameraEvent, now: number): void {
    const start = Date.parse(e.start), end = Date.parse(e.end);
    if (now - end > old) return;
    let types = this.until.get(e.camera);
    if (!types) this.until.set(e.camera, types = new Map());
    // An event that goes on is told again a fragment later.
    types.set(e.type, Math.max(types.get(e.type) ?? 0, now + Math.max(hold, 2 * (end - start))));
  }

  /** "Motion", "Motion · Person", or ''. */
  text(camera: string, now: number): string {
    const types = this.until.get(camera);
    types?.forEach((until, type) => { if (until <= now) types.delete(type); });
    return [...types?.keys() ?? []].map(typeName).sort().join(' · ');
  }
}

const most = 50;
const touching = 500; // ms between two events that are one, as in egress/events

/** The newest events of a camera. Events of neighbouring fragments that touch are one. */
export class EventList {
  private readonly events: CameraEvent[] = []; // by their start

  add(e: CameraEvent): void {
    const same = this.events.filter((x) => x.type === e.type && x.rendition === e.rendition);
    // The stream tells what the list may have already.
    if (same.some((x) => e.seq >= x.seq && e.seq <= last(x) && Date.parse(e.start) >= Date.parse(x.start) && Date.parse(e.end) <= Date.parse(x.end))) return;
    const before = same.find((x) => e.seq === last(x) + 1 && Date.parse(e.start) - Date.parse(x.end) <= touching);
    if (before) {
      this.events[this.events.indexOf(before)] = { ...before, end: later(before.end, e.end), last_seq: last(e) };
      return;
    }
    let at = this.events.length;
    while (at && Date.parse(this.events[at - 1]!.start) > Date.parse(e.start)) at--;
    this.events.splice(at, 0, e);
    if (this.events.length > most) this.events.shift();
  }

  newestFirst(): CameraEvent[] { return [...this.events].reverse(); }
}

const last = (e: CameraEvent): number => e.last_seq ?? e.seq;
const later = (a: string, b: string): string => (Date.parse(a) > Date.parse(b) ? a : b);
