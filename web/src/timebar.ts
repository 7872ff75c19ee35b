// The timeline of a camera as an element: it is moved, zoomed, clicked and selected from.
import { laneAt, paint, type Painting } from './barpaint';
import { h, show, text } from './dom';
import { clockText, dateText, length, lengthText, pan, placeOf, timeAt, zoom, type View } from './timescale';

export interface BarListener {
  /** The view was moved or zoomed by hand. */
  moved: (view: View) => void;
  /** A time was chosen; not done: the finger is still there. */
  chosen: (time: number, done: boolean) => void;
  /** A range was selected, or with undefined no range is. */
  selected: (range: View | undefined) => void;
  /** What there is to show of a time of a lane: a picture, and why there is none. */
  peek: (time: number, lane: number) => { picture: string; note: string };
}

type Mode = 'none' | 'press' | 'pan' | 'pinch' | 'scrub' | 'select' | 'peek';

const slack = 4; // px that a click may move
const hold = 400; // ms after which a touch looks, and does not move
const every = 150; // ms between two times that are chosen while a finger moves

export class TimeBar {
  private readonly canvas = h('canvas', { 'aria-hidden': 'true' });
  private readonly head = h('div', { class: 'head' });
  private readonly range = h('div', { class: 'range', hidden: true }, h('i'), h('i'));
  private readonly line = h('div', { class: 'look', hidden: true });
  private readonly image = h('img', { alt: '', hidden: true });
  private readonly when = h('strong');
  private readonly day = h('span');
  private readonly note = h('span', { class: 'why' });
  private readonly peek = h('div', { class: 'peek', hidden: true, 'aria-hidden': 'true' }, this.image, this.when, this.day, this.note);
  readonly element = h('div', { class: 'bar', role: 'slider', tabindex: '0', 'aria-label': 'Time', 'aria-orientation': 'horizontal' },
    this.canvas, this.range, this.line, this.head, this.peek);

  view: View;
  selecting = false; // the next drag selects
  selection: View | undefined;
  private at: number | undefined;
  private mode: Mode = 'none';
  private readonly fingers = new Map<number, number>(); // x by pointer
  private began = { x: 0, view: { from: 0, to: 0 }, anchor: 0, spread: 0 };
  private holding: ReturnType<typeof setTimeout> | undefined;
  private told = 0;
  private looked: number | undefined; // x
  private lane = 0; // over which the pointer is
  private lanes = 1;

  constructor(view: View, private readonly to: BarListener) {
    this.view = view;
    const { element } = this;
    element.addEventListener('pointerdown', (e) => this.down(e));
    element.addEventListener('pointermove', (e) => this.move(e));
    element.addEventListener('pointerup', (e) => this.up(e));
    element.addEventListener('pointercancel', (e) => this.cancel(e));
    element.addEventListener('pointerleave', () => { if (this.mode === 'none') this.look(undefined); });
    element.addEventListener('contextmenu', (e) => { if (this.mode === 'peek') e.preventDefault(); });
    element.addEventListener('wheel', (e) => this.wheel(e), { passive: false });
  }

  get width(): number { return this.element.clientWidth; }

  /** Whether a finger or the mouse holds the bar. */
  get held(): boolean { return this.mode !== 'none'; }

  /** Draws all. at is the time that is played. */
  draw(painting: Omit<Painting, 'view' | 'width' | 'height'>, at: number): void {
    const { width } = this;
    if (!width) return;
    this.at = at;
    this.lanes = painting.lanes.length;
    paint(this.canvas, { ...painting, view: this.view, width, height: this.element.clientHeight });
    const x = placeOf(this.view, width, at);
    show(this.head, x >= -1 && x <= width + 1);
    if (this.mode !== 'scrub') this.head.style.transform = `translateX(${x}px)`;
    this.element.setAttribute('aria-valuemin', String(Math.round(this.view.from / 1000)));
    this.element.setAttribute('aria-valuemax', String(Math.round(this.view.to / 1000)));
    this.element.setAttribute('aria-valuenow', String(Math.round(at / 1000)));
    this.element.setAttribute('aria-valuetext', `${dateText(at)}, ${clockText(at)}`);
    this.drawRange();
    if (this.looked !== undefined) this.look(this.looked);
  }

  /** Selects a range, or with undefined none. */
  select(range: View | undefined): void {
    this.selection = range;
    this.drawRange();
    this.to.selected(range);
  }

  private drawRange(): void {
    const { selection: s, width } = this;
    show(this.range, !!s);
    if (!s) return;
    const x = placeOf(this.view, width, s.from);
    this.range.style.left = `${x}px`;
    this.range.style.width = `${placeOf(this.view, width, s.to) - x}px`;
  }

  private place(e: MouseEvent): number {
    const box = this.element.getBoundingClientRect();
    this.lane = laneAt(e.clientY - box.top, box.height, this.lanes);
    return e.clientX - box.left;
  }

  private time(x: number): number { return timeAt(this.view, this.width, Math.min(this.width, Math.max(0, x))); }

  private down(e: PointerEvent): void {
    if (e.button !== 0) return;
    const x = this.place(e);
    try {
      this.element.setPointerCapture(e.pointerId);
    } catch {
      // A finger that is gone again.
    }
    this.fingers.set(e.pointerId, x);
    clearTimeout(this.holding);
    if (this.fingers.size === 2) {
      const [a = 0, b = 0] = [...this.fingers.values()];
      this.mode = 'pinch';
      this.began = { x: (a + b) / 2, view: this.view, anchor: this.time((a + b) / 2), spread: Math.max(10, Math.abs(a - b)) };
      this.look(undefined);
      return;
    }
    this.began = { x, view: this.view, anchor: this.time(x), spread: 0 };
    const near = (time: number | undefined) => time !== undefined && Math.abs(placeOf(this.view, this.width, time) - x) <= (e.pointerType === 'touch' ? 16 : 7);
    const s = this.selection;
    if (s && (near(s.from) || near(s.to))) {
      this.mode = 'select';
      this.began.anchor = Math.abs(placeOf(this.view, this.width, s.from) - x) < Math.abs(placeOf(this.view, this.width, s.to) - x) ? s.to : s.from;
    } else if (e.shiftKey || this.selecting) this.mode = 'select';
    else if (near(this.at)) this.mode = 'scrub';
    else {
      this.mode = 'press';
      if (e.pointerType === 'touch') this.holding = setTimeout(() => this.hold(), hold);
    }
  }

  /** A touch that stays looks at pictures. */
  private hold(): void {
    if (this.mode !== 'press') return;
    this.mode = 'peek';
    this.look(this.began.x);
  }

  private move(e: PointerEvent): void {
    const x = this.place(e);
    if (this.mode === 'none') {
      if (e.pointerType !== 'touch') this.look(x);
      return;
    }
    if (!this.fingers.has(e.pointerId)) return;
    this.fingers.set(e.pointerId, x);
    if (this.mode === 'press' && Math.abs(x - this.began.x) > slack) {
      clearTimeout(this.holding);
      this.mode = 'pan';
      this.element.classList.add('moving');
      this.look(undefined);
    }
    if (this.mode === 'pan') this.to.moved(this.view = pan(this.began.view, ((this.began.x - x) / this.width) * length(this.view)));
    else if (this.mode === 'pinch') this.pinch();
    else if (this.mode === 'peek') this.look(x);
    else if (this.mode === 'scrub') this.scrub(x);
    else if (this.mode === 'select' && Math.abs(x - this.began.x) > 1) {
      const t = this.time(x), a = this.began.anchor;
      this.select({ from: Math.min(a, t), to: Math.max(a, t) });
      this.look(x);
    }
  }

  private scrub(x: number): void {
    this.head.style.transform = `translateX(${Math.min(this.width, Math.max(0, x))}px)`;
    this.look(x);
    if (performance.now() - this.told < every) return;
    this.told = performance.now();
    this.to.chosen(this.time(x), false);
  }

  private pinch(): void {
    const [a = 0, b = 0] = [...this.fingers.values()];
    const zoomed = zoom(this.began.view, this.began.spread / Math.max(10, Math.abs(a - b)), this.began.anchor);
    const middle = timeAt(zoomed, this.width, (a + b) / 2);
    this.to.moved(this.view = pan(zoomed, this.began.anchor - middle));
  }

  private up(e: PointerEvent): void {
    if (!this.fingers.delete(e.pointerId)) return;
    const x = this.place(e), { mode } = this;
    this.end();
    if (mode === 'press' || mode === 'scrub' || mode === 'peek') this.to.chosen(this.time(x), true);
    else if (mode === 'select') {
      const s = this.selection;
      if (s && ((s.to - s.from) / length(this.view)) * this.width < 3) this.select(undefined);
      else this.to.selected(s); // it is complete
    }
    if (e.pointerType === 'touch') this.look(undefined);
  }

  private cancel(e: PointerEvent): void {
    this.fingers.delete(e.pointerId);
    this.end();
    this.look(undefined);
  }

  private end(): void {
    clearTimeout(this.holding);
    this.element.classList.remove('moving');
    this.mode = 'none';
    this.fingers.clear(); // what is left of a pinch moves nothing
  }

  private wheel(e: WheelEvent): void {
    e.preventDefault();
    const lines = e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const x = this.place(e);
    const across = e.shiftKey && !e.deltaX ? e.deltaY : e.deltaX;
    if (Math.abs(across) > Math.abs(e.shiftKey ? 0 : e.deltaY)) this.view = pan(this.view, ((across * lines) / this.width) * length(this.view));
    else this.view = zoom(this.view, Math.exp(e.deltaY * lines * (e.ctrlKey ? 0.01 : 0.002)), this.time(x));
    this.to.moved(this.view);
    this.look(x);
  }

  /** Shows what there is at a place. */
  private look(x: number | undefined): void {
    this.looked = x;
    show(this.line, x !== undefined);
    show(this.peek, x !== undefined);
    if (x === undefined) return;
    const time = this.time(x), { picture, note } = this.to.peek(time, this.lane);
    this.line.style.transform = `translateX(${Math.min(this.width, Math.max(0, x))}px)`;
    text(this.when, clockText(time));
    text(this.day, dateText(time));
    const s = this.selection;
    text(this.note, this.mode === 'select' && s ? lengthText(s.to - s.from) : note);
    show(this.image, !!picture);
    if (picture && this.image.getAttribute('src') !== picture) this.image.src = picture;
    const half = this.peek.offsetWidth / 2;
    this.peek.style.left = `${Math.min(this.width - half, Math.max(half, x))}px`;
  }
}
