// Paints a timeline: labels, footage, what is missing, and the notes of processors.
import { bars, covered, isLost, type Footage, type Missing } from './footage';
import { placeOf, ticks, type View } from './timescale';

export interface Painting {
  view: View;
  width: number; // px
  height: number;
  lanes: Lane[]; // one below the other
  now: number;
}

/** One camera. */
export interface Lane {
  title: string; // '' if it needs none
  footage: Footage[]; // the newest last
  notes: Footage[][]; // of each data rendition
  live: boolean; // footage comes in now
}

/** What one lane is painted with, and where. */
type Painted = Omit<Painting, 'lanes'> & Lane & { top: number; h: number };

const head = 24; // px above the lanes
const between = 3; // px between two lanes
const lag = 30_000; // ms for which the newest footage may not be told yet

/** Colours of the style sheet. */
type Colours = Record<'card' | 'text' | 'muted' | 'line' | 'track' | 'footage' | 'absent' | 'lost' | 'note' | 'now', string>;

function colours(e: Element): Colours {
  const style = getComputedStyle(e);
  const get = (name: string) => style.getPropertyValue(name).trim();
  return {
    card: get('--card'), text: get('--text'), muted: get('--muted'), line: get('--line'), track: get('--track'), footage: get('--footage'),
    absent: get('--absent'), lost: get('--lost'), note: get('--note'), now: get('--live'),
  };
}

export function paint(canvas: HTMLCanvasElement, p: Painting): void {
  const g = canvas.getContext('2d');
  if (!g || !p.width) return;
  const scale = devicePixelRatio || 1;
  const [w, h] = [Math.round(p.width * scale), Math.round(p.height * scale)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const c = colours(canvas);
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.clearRect(0, 0, p.width, p.height);
  const h1 = laneHeight(p.height, p.lanes.length);
  const all = p.lanes.map((lane, i): Painted => ({ ...p, ...lane, top: head + i * (h1 + between), h: h1 }));
  for (const lane of all) paintLane(g, lane, c);
  labels(g, p, c, all);
}

const laneHeight = (height: number, lanes: number): number => (height - head - (lanes - 1) * between) / lanes;

/** The lane that is at a height. */
export const laneAt = (y: number, height: number, lanes: number): number =>
  Math.max(0, Math.min(lanes - 1, Math.floor((y - head) / (laneHeight(height, lanes) + between))));

function paintLane(g: CanvasRenderingContext2D, p: Painted, c: Colours): void {
  g.save();
  g.beginPath();
  g.roundRect(0, p.top, p.width, p.h, Math.min(7, p.h / 4));
  g.clip();
  g.fillStyle = c.track;
  g.fillRect(0, p.top, p.width, p.h);
  within(p.footage, p, (f, from, to) => band(g, p, c, f, from, to));
  grow(g, p, c);
  for (const all of p.notes) within(all, p, (f) => marks(g, p, c, f));
  future(g, p, c);
  if (p.title) name(g, p, c);
  g.restore();
}

/** Writes whose lane it is. */
function name(g: CanvasRenderingContext2D, p: Painted, c: Colours): void {
  g.font = `600 ${font}`;
  g.textAlign = 'left';
  g.textBaseline = 'middle';
  const width = Math.min(g.measureText(p.title).width, p.width / 3);
  g.fillStyle = c.card;
  g.globalAlpha = 0.72;
  g.beginPath();
  g.roundRect(4, p.top + p.h / 2 - 8, width + 10, 16, 5);
  g.fill();
  g.globalAlpha = 1;
  g.fillStyle = c.text;
  g.fillText(p.title, 9, p.top + p.h / 2 + 0.5, p.width / 3);
}

const font = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** Calls paintOne with each answer in the part of the view for which no newer one is there. */
function within(all: Footage[], p: Painted, paintOne: (f: Footage, from: number, to: number) => void): void {
  let free: View[] = [p.view];
  for (const f of [...all].reverse()) {
    const rest: View[] = [];
    for (const v of free) {
      const from = Math.max(v.from, f.from), to = Math.min(v.to, f.to);
      if (from >= to) {
        rest.push(v);
        continue;
      }
      paintOne(f, from, to);
      if (v.from < from) rest.push({ from: v.from, to: from });
      if (to < v.to) rest.push({ from: to, to: v.to });
    }
    free = rest;
  }
}

function band(g: CanvasRenderingContext2D, p: Painted, c: Colours, f: Footage, from: number, to: number): void {
  const { top, h } = p;
  const fill = (a: number, b: number, colour: string, y = top, height = h) => {
    const [x1, x2] = [placeOf(p.view, p.width, Math.max(a, from)), placeOf(p.view, p.width, Math.min(b, to))];
    if (x2 <= x1 && b > from && a < to) return;
    g.fillStyle = colour;
    g.fillRect(x1, y, Math.max(1, x2 - x1), height);
  };
  for (const s of covered(f)) if (s.to > from && s.from < to) fill(s.from, s.to, c.footage);
  for (const m of f.missing) if (m.to > from && m.from < to) missing(g, p, c, m, fill);
  // What is missing for less than a step is only in sums.
  for (const s of f.steps) {
    const told = f.missing.some((m) => m.from < s.start + f.step && m.to > s.start);
    if (s.missing > 300 && s.footage > 0 && !told && s.start + f.step > from && s.start < to) fill(s.start, s.start + f.step, c.absent, top + h - 3, 3);
  }
}

function missing(g: CanvasRenderingContext2D, p: Painted, c: Colours, m: Missing, fill: (a: number, b: number, colour: string) => void): void {
  if (isLost(m)) return fill(m.from, m.to, c.lost);
  fill(m.from, m.to, c.track);
  const [x1, x2] = [Math.max(0, placeOf(p.view, p.width, m.from)), Math.min(p.width, placeOf(p.view, p.width, m.to))];
  g.save();
  g.beginPath();
  g.rect(x1, p.top, Math.max(1, x2 - x1), p.h);
  g.clip();
  g.strokeStyle = c.absent;
  g.lineWidth = 1.5;
  g.beginPath();
  const { top, h } = p;
  for (let x = Math.floor((x1 - h) / 7) * 7; x < x2; x += 7) {
    g.moveTo(x, top + h);
    g.lineTo(x + h, top);
  }
  g.stroke();
  g.restore();
}

/** The footage that comes in now is told a little late. */
function grow(g: CanvasRenderingContext2D, p: Painted, c: Colours): void {
  const newest = Math.max(...p.footage.map((f) => f.newest ?? 0), 0);
  if (!p.live || !newest || p.now - newest > lag) return;
  const [x1, x2] = [placeOf(p.view, p.width, newest), placeOf(p.view, p.width, p.now)];
  g.fillStyle = c.footage;
  g.fillRect(x1 - 0.5, p.top, x2 - x1 + 0.5, p.h);
}

function marks(g: CanvasRenderingContext2D, p: Painted, c: Colours, f: Footage): void {
  const { top, h } = p;
  const all = bars(f, p.view, p.width, 2);
  const most = Math.max(3, ...all.map((b) => b.notes));
  g.fillStyle = c.note;
  for (const b of all) {
    const height = Math.round(h * (0.3 + 0.4 * Math.min(1, b.notes / most)));
    g.fillRect(b.x, top + h - height, b.width, height);
  }
}

/** Nothing can be there after now. */
function future(g: CanvasRenderingContext2D, p: Painted, c: Colours): void {
  const x = placeOf(p.view, p.width, p.now);
  if (x >= p.width) return;
  g.clearRect(Math.max(0, x), p.top, p.width - Math.max(0, x), p.h);
  g.globalAlpha = 0.4;
  g.fillStyle = c.track;
  g.fillRect(Math.max(0, x), p.top, p.width - Math.max(0, x), p.h);
  g.globalAlpha = 1;
  g.fillStyle = c.now;
  g.fillRect(x - 1, p.top, 2, p.h);
}

function labels(g: CanvasRenderingContext2D, p: Painting, c: Colours, lanes: Painted[]): void {
  g.textBaseline = 'middle';
  for (const t of ticks(p.view, p.width, p.width < 500 ? 70 : 92)) {
    const x = Math.round(placeOf(p.view, p.width, t.time)) + 0.5;
    g.fillStyle = c.line;
    g.fillRect(x - 0.5, head - 6, 1, 6);
    g.globalAlpha = t.strong ? 0.5 : 0.28;
    for (const lane of lanes) g.fillRect(x - 0.5, lane.top, 1, lane.h);
    g.globalAlpha = 1;
    g.font = (t.strong ? '600 ' : '') + font;
    g.fillStyle = t.strong ? c.text : c.muted;
    const half = g.measureText(t.text).width / 2;
    if (x - half < 0 || x + half > p.width) continue;
    g.textAlign = 'center';
    g.fillText(t.text, x, 9);
  }
}
