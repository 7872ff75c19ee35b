// The scale of a timeline: which time is where, and which times are labelled.

/** What a timeline shows, in ms since the epoch. */
export interface View {
  from: number;
  to: number;
}

const second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
export const shortest = minute;
export const longest = 400 * day;

export const length = (v: View): number => v.to - v.from;

/** The place of a time, in pixels from the left of a view that is width pixels wide. */
export const placeOf = (v: View, width: number, time: number): number => ((time - v.from) / length(v)) * width;

/** The time at a place. */
export const timeAt = (v: View, width: number, x: number): number => v.from + (x / width) * length(v);

export const pan = (v: View, ms: number): View => ({ from: v.from + ms, to: v.to + ms });

/** A view that is factor times as long. The time around stays where it is. */
export function zoom(v: View, factor: number, around: number): View {
  const f = Math.min(longest, Math.max(shortest, length(v) * factor)) / length(v);
  return { from: around - (around - v.from) * f, to: around + (v.to - around) * f };
}

/** Moves a view so that it shows some of what there is: from oldest to now. */
export function limit(v: View, oldest: number, now: number): View {
  const half = length(v) / 2;
  if (v.from > now - half) return pan(v, now - half - v.from);
  if (v.to < oldest + half) return pan(v, oldest + half - v.to);
  return v;
}

/** Where now stands in a view that follows it: the rest is empty. */
const nowAt = 0.96;

/** The view of a length that follows now. */
export const following = (ms: number, now: number): View => ({ from: now - nowAt * ms, to: now + (1 - nowAt) * ms });

/**
 * The steps for which a timeline is asked. From a minute on, the server adds up minutes that it
 * has in memory; so there is none between.
 */
const steps = [1, 2, 5, 10, 15, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400].map((s) => s * second);

const mostSteps = 2900; // in twice a view: the server gives 3000, and steps reach beyond both ends

/** The step for a view: about one to two pixels, or longer on a screen that is very wide. */
export function stepFor(v: View, width: number): number {
  const want = (length(v) / Math.min(Math.max(1, width), mostSteps)) * 2;
  return steps.find((s) => s >= want) ?? day;
}

/** A labelled time. */
export interface Tick {
  time: number;
  text: string;
  strong: boolean; // the first of a day, a month or a year
}

type Unit = 'second' | 'minute' | 'hour' | 'day' | 'month' | 'year';

/** Distances between labels, and about how long they are. */
const distances: [Unit, number, number][] = [
  ...[1, 2, 5, 10, 15, 30].map((n): [Unit, number, number] => ['second', n, n * second]),
  ...[1, 2, 5, 10, 15, 30].map((n): [Unit, number, number] => ['minute', n, n * minute]),
  ...[1, 2, 3, 6, 12].map((n): [Unit, number, number] => ['hour', n, n * hour]),
  ...[1, 2, 7].map((n): [Unit, number, number] => ['day', n, n * day]),
  ...[1, 3].map((n): [Unit, number, number] => ['month', n, n * 30 * day]),
  ['year', 1, 365 * day],
];

/** The labels of a view in the viewer's time zone, at least room pixels apart. */
export function ticks(v: View, width: number, room: number): Tick[] {
  const least = (length(v) / Math.max(1, width)) * room;
  const [unit, n] = distances.find(([, , ms]) => ms >= least) ?? distances[distances.length - 1]!;
  return times(v, unit, n).map((time) => label(time, unit));
}

/** The times that are whole multiples of n units on a clock in the viewer's time zone. */
function times(v: View, unit: Unit, n: number): number[] {
  const all: number[] = [];
  if (unit === 'second' || unit === 'minute' || (unit === 'hour' && n === 1)) {
    const ms = n * { second, minute, hour }[unit];
    // Clocks are set by whole hours, or half ones: labels stay where they belong.
    const zone = new Date(v.from).getTimezoneOffset() * minute;
    for (let t = Math.ceil((v.from - zone) / ms) * ms + zone; t <= v.to; t += ms) all.push(t);
    return all;
  }
  const d = new Date(v.from);
  const [y, mo, date, hr] = [d.getFullYear(), d.getMonth(), d.getDate(), d.getHours()];
  for (let i = 0; i < 1000; i++) {
    const t = (unit === 'hour' ? new Date(y, mo, date, hr - (hr % n) + i * n)
      : unit === 'day' ? new Date(y, mo, firstDay(d, n) + i * n)
      : unit === 'month' ? new Date(y, mo - (mo % n) + i * n, 1)
      : new Date(y + i, 0, 1)).getTime();
    if (t > v.to) break;
    if (t >= v.from) all.push(t);
  }
  return all;
}

/** The day of its month from which on days are counted. It is the same wherever a view begins: weeks begin on Monday. */
function firstDay(d: Date, n: number): number {
  const count = Math.round((Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) - Date.UTC(2024, 0, 1)) / day); // a Monday
  return d.getDate() - (((count % n) + n) % n);
}

const formats: Record<Unit | 'midnight', Intl.DateTimeFormatOptions> = {
  second: { hour: '2-digit', minute: '2-digit', second: '2-digit' },
  minute: { hour: '2-digit', minute: '2-digit' },
  hour: { hour: '2-digit', minute: '2-digit' },
  midnight: { weekday: 'short', day: 'numeric', month: 'short' },
  day: { day: 'numeric', month: 'short' },
  month: { month: 'short' },
  year: { year: 'numeric' },
};
const made = new Map<string, Intl.DateTimeFormat>(); // making one takes long

function write(time: number, as: keyof typeof formats): string {
  let f = made.get(as);
  if (!f) made.set(as, f = new Intl.DateTimeFormat([], formats[as]));
  return f.format(time);
}

function label(time: number, unit: Unit): Tick {
  const d = new Date(time);
  const midnight = d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0;
  if (unit === 'second' || unit === 'minute' || unit === 'hour') return { time, text: write(time, midnight ? 'midnight' : unit), strong: midnight };
  if (unit === 'day') return { time, text: write(time, 'day'), strong: d.getDate() === 1 };
  if (unit === 'month' && d.getMonth() === 0) return { time, text: write(time, 'year'), strong: true };
  return { time, text: write(time, unit), strong: false };
}

/** "12:03:05", in the viewer's zone. */
export const clockText = (ms: number): string => write(ms, 'second');

/** "Sun 29 Nov 2026" */
export function dateText(ms: number): string {
  let f = made.get('date');
  if (!f) made.set('date', f = new Intl.DateTimeFormat([], { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' }));
  return f.format(ms);
}

/** A length of time: "0.4 s", "5 s", "1 min 5 s", "2 h 3 min", "3 days 4 h". */
export function lengthText(ms: number): string {
  if (ms < 9950) return `${(Math.round(ms / 100) / 10).toString()} s`;
  const s = Math.round(ms / 1000);
  const [d, hr, min, sec] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, s % 60];
  const both = (a: string, b: number, unit: string) => (b ? `${a} ${b} ${unit}` : a);
  if (d) return both(`${d} day${d > 1 ? 's' : ''}`, hr, 'h');
  if (hr) return both(`${hr} h`, min, 'min');
  return min ? both(`${min} min`, sec, 's') : `${sec} s`;
}
