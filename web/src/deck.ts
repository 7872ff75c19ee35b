// The controls of time below the pictures of one camera or of several beside each other: the
// timeline, play and pause, speeds, a selection. It decides whether they are shown live, each by
// its screen, or their past: one by a Rewind, several by a Together.
import { format as formatAddress } from './address';
import type { Camera } from './camera';
import { Cut } from './cut';
import { h, icon, show, text } from './dom';
import { covered, firstFrom, missingAt, whyMissing } from './footage';
import * as format from './format';
import { Lanes } from './lanes';
import * as model from './model';
import type { Clock } from './pace';
import { Rewind, type Guide, type Listener, type Past, type PastReport } from './rewind';
import type { Screen } from './screen';
import { Search } from './search';
import { base } from './session';
import { Thumbnails } from './thumbnails';
import { TimeBar } from './timebar';
import { Timelines, type Source } from './timelines';
import { clockText, dateText, following, length, limit, pan, placeOf, zoom, type View } from './timescale';
import { Together } from './together';

const minute = 60_000, hour = 60 * minute, day = 24 * hour;
const spans: [number, string][] = [[minute, '1 min'], [10 * minute, '10 min'], [hour, '1 h'], [6 * hour, '6 h'], [day, '1 day'], [7 * day, '1 week'], [30 * day, '1 month'], [365 * day, '1 year']];
const speeds = [0.5, 1, 2, 4, 8];
const liveWithin = 4000; // ms: what is so new is shown live

const paths = {
  play: 'M4.5 2.5v11l9-5.5z', pause: 'M4.5 3v10M11.5 3v10', back: 'M7.5 3.5 3 8l4.5 4.5M13 3.5 8.5 8l4.5 4.5', on: 'M8.5 3.5 13 8l-4.5 4.5M3 3.5 7.5 8 3 12.5',
  frameBack: 'M10.5 3.5 6 8l4.5 4.5M3.5 3.5v9', frameOn: 'M5.5 3.5 10 8l-4.5 4.5M12.5 3.5v9', cut: 'M2.5 3.5v9M13.5 3.5v9M5 8h6M7 6 5 8l2 2M9 6l2 2-2 2', date: 'M2.5 4.5h11v9h-11zM2.5 7.5h11M5.5 2.5v3M10.5 2.5v3', less: 'M3.5 8h9', more: 'M8 3.5v9M3.5 8h9',
};

function button(says: string, path: string, onclick: () => void, more = ''): HTMLButtonElement {
  return h('button', { type: 'button', class: `tool ${more}`, title: says, 'aria-label': says.replace(/ \(.*/, ''), onclick }, icon(path));
}

/** A camera, and where its picture is. */
export interface Shown {
  camera: Camera;
  readonly screen: Screen;
}

/** What stays when other cameras are shown. */
export interface Kept {
  view: View;
  selection: View | undefined;
  follows: boolean;
  playing: boolean;
  rate: number;
}

export class Deck {
  readonly past: Past;
  readonly rewinds: Rewind[] = []; // of each camera
  /** Says over the picture what is shown instead of what was asked for. */
  readonly notice = h('p', { class: 'notice', role: 'status', hidden: true });
  /** Where the past stands, over the picture. */
  readonly when = h('span', { class: 'pill when', hidden: true });
  readonly element: HTMLElement;
  private readonly bar: TimeBar;
  private readonly lanes: Lanes;
  private readonly search: Search;
  private readonly thumbnails: Thumbnails[];
  private readonly cut: Cut;
  private readonly playing = button('Pause (space)', paths.pause, () => this.toggle(), 'play');
  private readonly clockNow = h('strong');
  private readonly dateNow = h('span');
  private readonly liveButton = h('button', { type: 'button', class: 'live', title: 'Show it live (L)', onclick: () => this.live() }, h('i', { class: 'dot' }), 'Live');
  private readonly speed = h('select', { title: 'Speed', 'aria-label': 'Speed' }, ...speeds.map((s) => h('option', { value: String(s) }, `${s}×`)));
  private readonly span = h('select', { title: 'What the timeline shows', 'aria-label': 'What the timeline shows' });
  private readonly picker = h('input', { type: 'datetime-local', step: '1', tabindex: '-1', 'aria-label': 'Date and time' });
  private readonly selectButton = button('Select a range (shift and drag)', paths.cut, () => this.startSelecting());
  private noticing: ReturnType<typeof setTimeout> | undefined;
  private follows = true; // the view follows now
  private fitted = false; // the view was fitted to what there is
  private hidden = false;
  private jumps = 0;
  private jumping: { asked: number; jump: number } | undefined; // the latest jump, while it looks for footage
  private addressed = 0;
  private frame = 0;
  private drawn = 0;
  private ended = false;

  /** all has at least one camera; the sound of the first is heard. */
  constructor(private readonly all: Shown[], private readonly clock: Clock, private readonly changed: () => void) {
    const sources = all.map(({ camera }) => sourceOf(camera));
    this.lanes = new Lanes(sources.map((s) => new Timelines(s, () => this.got())));
    this.search = new Search(this.lanes, clock);
    this.thumbnails = sources.map((s) => new Thumbnails(s.camera, () => this.draw()));
    this.past = this.makePast();
    this.bar = new TimeBar(following(hour, clock.now()), {
      moved: (v) => this.moved(v),
      chosen: (t, done) => this.go(t, done ? this.past.playing || !this.past.active : false, done),
      selected: (range) => this.selected(range),
      peek: (t, lane) => this.peek(t, lane),
    });
    this.cut = new Cut(sources.map((source, i) => ({ source, title: model.title(all[i]!.camera) })), { clear: () => this.bar.select(undefined) });
    this.element = this.make();
    this.element.style.setProperty('--lanes', String(all.length));
    this.move();
  }

  /** Makes what shows the past, over the pictures of the screens. */
  private makePast(): Past {
    const to: Listener = {
      changed: () => this.draw(),
      skipped: (asked, shown) => this.skipped(asked, shown),
      nothing: (from) => void this.jump(from, this.past.playing),
      caughtUp: () => this.caughtUp(),
    };
    const rewind = ({ camera, screen }: Shown, to: Listener, guide?: Guide) => {
      const r = new Rewind(camera.playlist, this.clock, screen.video, to, guide);
      r.video.muted = true;
      screen.element.append(r.element);
      this.rewinds.push(r);
      return r;
    };
    const first = this.all[0]!;
    if (this.all.length === 1) return rewind(first, to);
    const guide: Guide & { past?: Together } = { get playing() { return !!this.past?.playing; }, at() { return this.past?.at(); } };
    return guide.past = new Together(this.all.map((s, i) => ({
      id: s.camera.id,
      timelines: this.lanes.all[i]!,
      rewind: rewind(s, { changed: to.changed, skipped: () => undefined, nothing: () => guide.past?.nothing(s.camera.id), caughtUp: () => undefined }, guide),
    })), this.clock, to);
  }

  /** Draws again and again while time goes on: when it has moved by about a pixel. */
  private move(): void {
    this.frame = requestAnimationFrame((t) => {
      const pixel = length(this.bar.view) / (this.bar.width || 1);
      if ((this.follows || this.past.playing) && t - this.drawn >= Math.min(250, Math.max(33, 0.7 * pixel))) {
        this.drawn = t;
        this.draw();
      }
      if (!this.ended) this.move();
    });
  }

  private make(): HTMLElement {
    this.speed.value = '1';
    this.speed.addEventListener('change', () => this.setSpeed(Number(this.speed.value)));
    this.span.addEventListener('change', () => this.show(Number(this.span.value)));
    this.picker.addEventListener('change', () => { if (this.picker.value) this.go(new Date(this.picker.value).getTime(), true, true); });
    const pick = button('Go to a date', paths.date, () => {
      const at = new Date(this.here());
      this.picker.value = new Date(at.getTime() - at.getTimezoneOffset() * minute).toISOString().slice(0, 19);
      this.picker.showPicker?.();
    });
    return h('section', { class: 'deck', 'aria-label': 'Timeline' },
      h('div', { class: 'transport' },
        h('div', { class: 'group' },
          button('Back by 5 s (←)', paths.back, () => this.skip(-5000)),
          button('One picture back (,)', paths.frameBack, () => this.step(-1), 'fine'),
          this.playing,
          button('One picture on (.)', paths.frameOn, () => this.step(1), 'fine'),
          button('On by 5 s (→)', paths.on, () => this.skip(5000)),
          this.speed),
        h('div', { class: 'clock' }, this.clockNow, this.dateNow),
        h('div', { class: 'group' },
          h('span', { class: 'picker' }, pick, this.picker),
          this.selectButton,
          h('span', { class: 'zoom' },
            button('Show more time (-)', paths.less, () => this.zoom(2)),
            this.span,
            button('Show less time (+)', paths.more, () => this.zoom(0.5))),
          this.liveButton)),
      this.bar.element,
      this.cut.element);
  }

  get inPast(): boolean { return this.past.active; }

  report(): PastReport { return this.past.report(); }

  /** The time that is shown. */
  here(): number { return this.past.at() ?? this.all[0]!.screen.player.shown() ?? this.clock.now(); }

  /** Whether new footage comes in. */
  private get comesIn(): boolean { return this.all.some(({ camera }) => comesIn(camera)); }

  update(hidden: boolean): void {
    if (hidden && !this.hidden && this.past.playing) this.past.pause();
    this.hidden = hidden;
    if (this.past.active) this.past.video.muted = this.all[0]!.screen.video.muted;
    this.draw();
  }

  /** Takes the names of a camera's data renditions, whose notes the timeline shows. */
  follow(lane: number, names: string[]): void { this.lanes.all[lane]!.follow(names); }

  /** It is to be called once a second. */
  tick(): void {
    const now = this.clock.now();
    if (this.bar.view.to > now - minute) this.lanes.refresh(now);
    if (this.past.playing && now - this.addressed > 5000) this.writeAddress();
    if (this.past.playing && !this.past.waiting) this.search.begin();
    this.draw();
  }

  /** Shows a time; what is new enough is shown live. not done: more times follow at once. */
  go(time: number, play: boolean, done = true): void {
    const now = this.clock.now();
    if (time > now - liveWithin && this.comesIn) {
      if (done) this.live();
      return;
    }
    this.search.begin();
    this.jumps++;
    this.seek(Math.min(time, now), play);
    if (done) this.writeAddress(time);
  }

  private seek(time: number, play: boolean): void {
    const known = this.lanes.from(time), first = known?.first;
    this.tellNotice('');
    // To ask for footage that is known not to be there would take longer.
    if (known && first === undefined) void this.jump(time, play);
    else if (known && first! > time + known.step) this.enter(first!, play, time);
    else this.enter(time, play);
  }

  /** Shows a time of the past. asked is the time that was wanted, if there is no footage. */
  private enter(time: number, play: boolean, asked?: number): void {
    const began = this.past.active;
    this.past.video.muted = this.all[0]!.screen.video.muted;
    this.past.seek(time, play);
    if (!began) {
      this.follows &&= placeOf(this.bar.view, 1, time) >= 0;
      this.changed();
    }
    if (asked !== undefined) this.skipped(asked, time);
    this.reveal(time);
    this.draw();
  }

  /** Shows the camera live. */
  live(): void {
    this.jumps++;
    this.setSpeed(1);
    this.tellNotice('');
    if (this.past.active) {
      this.past.leave();
      this.changed();
    }
    this.follows = true;
    this.writeAddress(undefined);
    this.draw();
  }

  private toggle(): void {
    if (this.past.playing) this.past.pause();
    else if (this.past.active) this.past.play();
    else this.go(Math.min(this.here(), this.clock.now() - liveWithin), false);
    this.writeAddress();
  }

  private skip(ms: number): void {
    if (!this.past.active && ms > 0) return;
    this.go(this.here() + ms, this.past.active ? this.past.playing : true);
  }

  private step(by: 1 | -1): void {
    if (!this.past.active) {
      if (by < 0) this.toggle();
      return;
    }
    this.past.step(by, 1 / (this.all[0]!.camera.status?.fps || 25));
    this.writeAddress();
  }

  private setSpeed(rate: number): void {
    this.speed.value = String(rate);
    this.past.speed(rate);
    // A live picture has one speed.
    if (rate < 1 && !this.past.active) this.go(this.here() - liveWithin, true);
    if (rate > 1 && !this.past.active) this.speed.value = '1';
  }

  private skipped(asked: number, shown: number): void {
    const missing = this.lanes.missing(asked);
    this.tellNotice(`Nothing recorded at ${clockText(asked)}${missing ? ` (${whyMissing(missing)})` : ''}. This is ${clockText(shown)}.`);
    this.reveal(shown);
  }

  /** There is no footage where it was asked for: goes to the next. */
  private async jump(asked: number, play: boolean): Promise<void> {
    // A player that stands at the end of its playlist asks again and again.
    if (this.jumping?.asked === asked && this.jumping.jump === this.jumps) return;
    const mine = ++this.jumps, wanted = () => !this.ended && mine === this.jumps;
    this.jumping = { asked, jump: mine };
    const next = await this.search.next(asked, wanted, () => {
      if (this.past.active) this.past.pause();
      this.tellNotice('The server does not answer. Trying again…');
    });
    if (!wanted()) return;
    this.jumping = undefined;
    if (next !== undefined && this.clock.now() - next > 2 * liveWithin) this.enter(next, play, asked);
    else if (this.comesIn) this.live();
    else {
      if (this.past.active) this.past.pause();
      this.tellNotice(`Nothing recorded from ${clockText(asked)} on.`);
    }
  }

  private caughtUp(): void {
    if (this.comesIn) this.live();
    else {
      this.past.pause();
      this.tellNotice('This is the newest footage.');
    }
  }

  private tellNotice(says: string): void {
    clearTimeout(this.noticing);
    show(this.notice, !!says);
    text(this.notice, says);
    if (says) this.noticing = setTimeout(() => this.tellNotice(''), 6000);
  }

  /** Writes the time into the page's address, so that it can be sent to others. */
  private writeAddress(at: number | undefined = this.past.at()): void {
    this.addressed = this.clock.now();
    const ids = base ? [] : this.all.map(({ camera }) => camera.id);
    const to = formatAddress({ ids, ...(this.past.active && at !== undefined ? { at: Math.round(at) } : {}) });
    history.replaceState(history.state, '', to === '#' ? location.pathname : to);
  }

  private peek(time: number, lane: number): { picture: string; note: string } {
    const timelines = this.lanes.all[lane]!;
    const f = timelines.at(time);
    if (time > this.clock.now()) return { picture: '', note: '' };
    const missing = f && missingAt(f, time);
    if (missing) return { picture: '', note: whyMissing(missing) };
    const newest = Math.max(0, ...timelines.footage.map((x) => x.newest ?? 0));
    if (f && time < newest && firstFrom(covered(f), time) !== time) return { picture: '', note: 'no footage' };
    if (time > newest) return { picture: '', note: comesIn(this.all[lane]!.camera) ? '' : 'no footage' };
    // Neighbouring pixels share a picture.
    const step = Math.max(1000, Math.round((length(this.bar.view) / this.bar.width) * 6 / 1000) * 1000);
    return { picture: this.thumbnails[lane]!.get(time, step), note: '' };
  }

  private startSelecting(): void {
    this.bar.selecting = !this.bar.selecting;
    this.draw();
  }

  private selected(range: View | undefined): void {
    if (!this.bar.held) this.bar.selecting = false;
    this.cut.draw(range);
    this.draw();
  }

  /** Shows what an address names: a time, and a range that is selected. */
  open(at: number, to?: number, play = true): void {
    if (to !== undefined) this.bar.select({ from: at, to });
    this.go(at, play);
  }

  kept(): Kept { return { view: this.bar.view, selection: this.bar.selection, follows: this.follows, playing: !this.past.active || this.past.playing, rate: this.past.rate }; }

  /** Goes on as another deck was. */
  keep(k: Kept): void {
    [this.bar.view, this.follows, this.fitted] = [k.view, k.follows, true];
    if (k.selection) this.bar.select(k.selection);
    this.speed.value = String(k.rate);
    this.past.speed(k.rate);
  }

  private moved(view: View): void {
    const now = this.clock.now();
    const oldest = Math.min(now - hour, this.lanes.oldest());
    this.bar.view = limit(view, oldest, now);
    this.fitted = true;
    this.follows = !this.past.active && Math.abs(placeOf(this.bar.view, 1, now) - placeOf(following(length(view), now), 1, now)) < 0.02;
    this.draw();
  }

  private zoom(factor: number): void {
    const at = this.here(), { view } = this.bar;
    if (this.follows) return this.show(length(view) * factor);
    this.moved(zoom(view, factor, at >= view.from && at <= view.to ? at : (view.from + view.to) / 2));
  }

  /** Shows so much time: up to now, or around what is played. */
  private show(ms: number): void {
    const f = zoom({ from: 0, to: ms }, 1, 0).to, at = this.here();
    if (this.follows) this.bar.view = following(f, this.clock.now());
    else this.bar.view = limit({ from: at - f / 2, to: at + f / 2 }, 0, this.clock.now());
    this.fitted = true;
    this.draw();
  }

  /** Moves the view so that a time can be seen. */
  private reveal(time: number): void {
    const { view } = this.bar;
    if (this.bar.held || (time >= view.from && time <= view.to)) return;
    this.bar.view = pan(view, time - view.from - length(view) * 0.15);
    this.follows = false;
  }

  private got(): void {
    // A camera that is new fills its timeline.
    const oldest = this.lanes.oldest();
    if (!this.fitted && oldest < Infinity) {
      this.fitted = true;
      if (this.follows && this.clock.now() - oldest < 9 * minute) this.show(10 * minute);
    }
    this.draw();
  }

  /** Takes a key; returns whether it means something. */
  key(e: KeyboardEvent): boolean {
    const onBar = e.target === this.bar.element;
    const control = e.target instanceof HTMLElement && !!e.target.closest('button, a, input, select, textarea');
    if (e.key === ' ' && control) return false;
    if (e.target instanceof HTMLSelectElement || e.target instanceof HTMLInputElement) return false;
    const { view } = this.bar;
    if (e.key === ' ') this.toggle();
    else if (e.key === 'ArrowLeft') this.skip(e.shiftKey ? -minute : -5000);
    else if (e.key === 'ArrowRight') this.skip(e.shiftKey ? minute : 5000);
    else if (e.key === ',') this.step(-1);
    else if (e.key === '.') this.step(1);
    else if (e.key === 'l' || e.key === 'L') this.live();
    else if (e.key === '+' || e.key === '=') this.zoom(0.5);
    else if (e.key === '-') this.zoom(2);
    else if (e.key === 'Escape' && this.bar.selection) this.bar.select(undefined);
    else if (e.key === 'PageUp' && onBar) this.moved(pan(view, -length(view) / 2));
    else if (e.key === 'PageDown' && onBar) this.moved(pan(view, length(view) / 2));
    else if (e.key === 'Home' && onBar) this.go(Math.min(this.lanes.oldest(), this.clock.now()), true);
    else if (e.key === 'End' && onBar) this.live();
    else return false;
    return true;
  }

  private draw(): void {
    if (this.ended || !this.bar) return;
    const now = this.clock.now(), { past, bar } = this;
    const at = this.here();
    if (this.follows && !bar.held) bar.view = following(length(bar.view), now);
    if (past.playing && !bar.held && at > bar.view.to) this.reveal(at);
    this.lanes.look(bar.view, bar.width || 800);
    bar.draw({
      now,
      lanes: this.all.map(({ camera }, i) => {
        const { footage, notes } = this.lanes.all[i]!;
        return { footage, notes: [...notes.values()], live: comesIn(camera), title: this.all.length > 1 ? model.title(camera) : '' };
      }),
    }, at);
    bar.element.classList.toggle('selecting', bar.selecting);
    this.selectButton.setAttribute('aria-pressed', String(bar.selecting));
    text(this.clockNow, clockText(at));
    text(this.dateNow, dateText(at));
    const runs = past.playing || (!past.active && this.comesIn);
    if (this.playing.dataset.runs !== String(runs)) {
      this.playing.dataset.runs = String(runs);
      this.playing.title = runs ? 'Pause (space)' : 'Play (space)';
      this.playing.setAttribute('aria-label', runs ? 'Pause' : 'Play');
      this.playing.replaceChildren(icon(runs ? paths.pause : paths.play));
    }
    this.liveButton.classList.toggle('on', !past.active);
    this.liveButton.setAttribute('aria-pressed', String(!past.active));
    show(this.when, past.active);
    text(this.when, `${clockText(at)}${past.rate === 1 ? '' : ` · ${past.rate}×`}`);
    for (const { screen } of this.all) screen.element.classList.toggle('rewound', past.active);
    this.drawSpan();
  }

  private drawSpan(): void {
    const ms = length(this.bar.view);
    const exact = spans.find(([s]) => Math.abs(s - ms) < s * 0.02);
    const value = exact ? String(exact[0]) : '';
    if (this.span.options.length && this.span.value === value && (exact || this.span.selectedOptions[0]?.text === format.span(ms / 1000))) return;
    const options = spans.map(([s, name]) => h('option', { value: String(s) }, name));
    if (!exact) options.unshift(h('option', { value: '' }, format.span(ms / 1000)));
    this.span.replaceChildren(...options);
    this.span.value = value;
  }

  destroy(): void {
    this.ended = true;
    cancelAnimationFrame(this.frame);
    clearTimeout(this.noticing);
    this.lanes.destroy();
    for (const t of this.thumbnails) t.destroy();
    this.past.destroy();
    for (const { screen } of this.all) screen.element.classList.remove('rewound');
  }
}

const comesIn = (c: Camera): boolean => model.wanted(c) === 'yes';

/** The camera and the rendition that a camera's playlist plays. */
function sourceOf(camera: Camera): Source {
  const rendition = /\/hls\/[^/]+\/([^/]+)\/index\.m3u8$/.exec(camera.playlist)?.[1] ?? 'raw';
  return { camera: camera.id, rendition };
}
