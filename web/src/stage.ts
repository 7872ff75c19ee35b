// The large view of the camera in focus, with low latency, or of several beside each other.
import { mostBeside } from './address';
import type { Camera } from './camera';
import { Boxes } from './boxes';
import { Deck, type Shown } from './deck';
import { h, icon, show, text } from './dom';
import { Findings } from './findings';
import * as format from './format';
import * as model from './model';
import type { Clock } from './pace';
import { Screen, sinceText } from './screen';
import type { LiveSocket } from './socket';

const soundOff = 'M2 6v4h3l4 3V3L5 6zM12 6l3 4M15 6l-3 4';
const soundOn = 'M2 6v4h3l4 3V3L5 6zM11.5 5.5a4 4 0 0 1 0 5M13.5 3.5a7 7 0 0 1 0 9';
const large = 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4';
const cross = 'M3 3l10 10M13 3L3 13';
const inPicture = 'M1.5 3h13v10h-13zM8 8h4.5v3H8z';
const still = 'M1.5 4.5h3L6 3h4l1.5 1.5h3v8h-13zM10.5 8.3a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0';
const beside = 'M1.5 3.5h5.5v9H1.5zM11.7 5v6M8.7 8h6';
const arrow = 'M6 3H3v10h10v-3M9 3h4v4M13 3 7.5 8.5';
const bin = 'M2.5 4.5h11M6 4.5V2.5h4v2M4 4.5l.7 9h6.6l.7-9';

let volume = 1; // the last that was chosen, for all cameras

/** What can be done. Without remove or share the person may not do it. */
export interface Actions {
  close: () => void;
  remove?: (c: Camera) => void;
  share?: (c: Camera) => void;
  step: (by: number) => void;
  /** Shows these cameras beside each other. */
  beside: (ids: string[]) => void;
  /** All cameras. */
  cameras: () => Camera[];
}

export class Stage {
  readonly screen: Screen;
  private readonly heading = h('h2', { tabindex: '-1' });
  private readonly meta = h('p', { class: 'meta' });
  private readonly warning = h('p', { class: 'warning' });
  private readonly absence = h('p', { class: 'meta absence' });
  private readonly facts = h('dl');
  readonly findings: Findings;
  private readonly boxes: Boxes[]; // of each camera
  readonly deck: Deck;
  private readonly quality = h('select', { 'aria-label': 'Quality', title: 'Quality', hidden: true });
  private readonly sound: HTMLButtonElement;
  private readonly volume = h('input', { type: 'range', class: 'volume', min: '0', max: '1', step: '0.05', title: 'Volume', 'aria-label': 'Volume' });
  private readonly remove: HTMLButtonElement;
  private readonly kept = h('p', { class: 'kept' });
  private readonly values = new Map<string, HTMLElement>();
  private readonly keys: (e: KeyboardEvent) => void;

  private readonly all: Shown[]; // this camera first
  private readonly pictures: HTMLElement; // of all
  private readonly another = h('select', { 'aria-label': 'Show a camera beside', title: 'Show a camera beside' });
  private readonly addAnother = h('span', { class: 'another' }, icon(beside), this.another);

  /**
   * Shows cameras: the first with all there is to know of it, the others beside it. from gives
   * the screen whose picture is shown until there is one.
   */
  constructor(
    private readonly root: HTMLElement, cameras: Camera[], private readonly clock: Clock, socket: LiveSocket | undefined,
    from: (id: string) => Screen | undefined, private readonly actions: Actions,
  ) {
    this.all = cameras.map((camera, i) => ({ camera, screen: new Screen(camera, i ? 'wall' : 'focus', clock, socket) }));
    for (const { camera, screen } of this.all) {
      const borrowed = from(camera.id);
      if (borrowed) screen.borrow(borrowed);
      screen.player.want(model.wanted(camera)); // first: it has the longest way
    }
    const { camera } = this.all[0]!;
    this.screen = this.all[0]!.screen;
    const several = cameras.length > 1;
    this.pictures = several ? h('div', { class: 'pictures', 'data-count': String(cameras.length) }, ...this.all.map(({ screen }) => screen.element)) : this.screen.element;
    const { video } = this.screen;
    this.sound = h('button', { type: 'button', class: 'icon', onclick: () => this.setSound(video.muted, volume || 1) });
    this.volume.addEventListener('input', () => this.setSound(this.volume.value !== '0', Number(this.volume.value)));
    const save = h('button', { type: 'button', class: 'icon', 'aria-label': 'Save this picture', title: 'Save this picture (S)', onclick: () => this.save() }, icon(still));
    const pip = h('button', { type: 'button', class: 'icon', 'aria-label': 'Picture in picture', title: 'Picture in picture', hidden: !document.pictureInPictureEnabled, onclick: () => this.pictureInPicture() }, icon(inPicture));
    const full = h('button', { type: 'button', class: 'icon', 'aria-label': 'Full screen', title: 'Full screen', onclick: () => fullscreen(this.pictures, this.shown) }, icon(large));
    const close = h('button', { type: 'button', class: 'icon', 'aria-label': 'Close', title: 'Close (Esc)', onclick: actions.close }, icon(cross));
    this.remove = h('button', { type: 'button', class: 'danger', hidden: !actions.remove, onclick: () => actions.remove?.(this.camera) }, icon(bin), 'Remove');
    const share = h('button', { type: 'button', hidden: !actions.share, onclick: () => actions.share?.(this.camera) }, icon(arrow), 'Share');
    this.deck = new Deck(this.all, clock, () => this.update());
    this.screen.element.append(this.deck.notice, h('div', { class: 'controls' }, ...(several ? [] : [this.screen.pill, this.deck.when]), h('span', { class: 'gap' }), this.quality, this.volume, this.sound, this.addAnother, save, pip, full, close));
    if (several) for (const s of this.all) this.name(s);
    this.another.addEventListener('change', () => actions.beside([...this.ids, this.another.value]));
    this.setSound(false, volume);
    this.screen.video.addEventListener('volumechange', () => this.drawSound()); // the browser may mute it
    this.quality.addEventListener('change', () => this.screen.player.choose(this.quality.value));
    this.findings = new Findings(camera.id);
    this.boxes = this.all.map((s, i) => new Boxes(s.camera.id, s.screen, this.deck.rewinds[i]!, clock, (all, data) => {
      if (!i) this.findings.got(all);
      this.deck.follow(i, data);
    }));
    this.root.replaceChildren(
      this.pictures,
      this.deck.element,
      // What is told of one camera would be taken for something about all.
      h('div', { class: 'about' }, ...(several ? [this.heading] : [
        h('div', { class: 'names' }, this.heading, this.meta, this.warning, this.absence),
        this.facts,
        h('div', { class: 'actions' }, share, this.remove, this.kept),
        this.findings.element])));
    this.root.hidden = false;
    this.keys = (e) => {
      if (document.querySelector('dialog[open]') || e.target === this.quality || e.target === this.another || e.altKey || e.ctrlKey || e.metaKey) return;
      if (this.deck.key(e)) {
        e.preventDefault();
        return;
      }
      if (e.key === 'Escape' && !document.fullscreenElement) actions.close();
      else if (e.key === 'n') actions.step(1);
      else if (e.key === 'p') actions.step(-1);
      else if (e.key === 's') this.save();
      else if (e.key === 'm' && this.camera.status?.audio) this.setSound(video.muted, volume || 1);
      else return;
      e.preventDefault();
    };
    document.addEventListener('keydown', this.keys);
    // A picture that fills the screen has the timeline over it.
    this.pictures.addEventListener('fullscreenchange', () => {
      if (document.fullscreenElement) this.pictures.append(this.deck.element);
      else this.pictures.after(this.deck.element);
    });
    this.update();
    this.heading.focus({ preventScroll: true });
  }

  get camera(): Camera { return this.all[0]!.camera; }

  screens(): Screen[] { return this.all.map(({ screen }) => screen); }

  /** Shows what happens at the cameras now. */
  mark(of: (id: string) => string): void {
    for (const { camera, screen } of this.all) screen.setMark(of(camera.id));
  }

  get ids(): string[] { return this.all.map(({ camera }) => camera.id); }

  /** Writes over a picture whose it is, with a button that leaves it out. */
  private name({ camera, screen }: Shown): void {
    const title = model.title(camera);
    screen.element.append(
      h('div', { class: 'chip' }, h('strong', {}, title), screen.pill),
      h('button', {
        type: 'button', class: 'icon drop', 'aria-label': `Leave ${title} out`, title: 'Leave it out',
        onclick: () => this.actions.beside(this.ids.filter((id) => id !== camera.id)),
      }, icon(cross)));
  }

  /** Draws what has changed; cameras as they are now. */
  update(cameras: Camera[] = this.all.map(({ camera }) => camera), paused = false): void {
    for (const s of this.all) s.camera = cameras.find((c) => c.id === s.camera.id) ?? s.camera;
    const { camera } = this, names = this.all.map((s) => model.title(s.camera)).join(' · ');
    this.root.setAttribute('aria-label', names);
    text(this.heading, names);
    text(this.meta, model.picture(camera.status));
    text(this.warning, [model.view(camera).warning, model.substream(camera)].filter(Boolean).join(' · '));
    text(this.absence, model.absence(camera.status, dateTime));
    const file = camera.source === 'file';
    this.remove.disabled = file;
    const keeper = camera.origin?.startsWith('--demo:') ? 'framelog up --demo' : `the configuration file ${camera.origin}`;
    text(this.kept, file && !this.remove.hidden ? `Kept by ${keeper}: remove it there.` : '');
    this.deck.update(paused);
    for (const s of this.all) {
      if (paused || this.deck.inPast) s.screen.player.stop();
      else s.screen.player.want(model.wanted(s.camera));
      s.screen.update(s.camera);
    }
    this.drawAnother();
    this.drawSound();
    this.draw();
  }

  tick(): void {
    for (const { screen } of this.all) {
      screen.player.tick();
      screen.draw();
    }
    this.deck.tick();
    this.draw();
  }

  private draw(): void {
    this.drawQuality();
    const { camera } = this;
    const s = camera.status;
    const shown = this.screen.player.delay();
    const since = format.time(s?.since);
    this.fact('Camera to screen', shown === null ? '–' : format.delay(shown));
    this.fact('Camera to playlist', camera.delay_ms === null ? '–' : format.delay(camera.delay_ms / 1000));
    this.fact(model.view(camera).word, since === undefined ? '–' : sinceText(since, this.clock.now()));
    this.fact('Address', camera.url);
    this.fact('Recorded by', [s?.owner, s?.host].filter(Boolean).join(' on ') || '–');
    this.fact('Id', camera.id);
  }

  private fact(name: string, value: string): void {
    // The name of the third fact is the state, which changes. So facts have fixed places.
    const place = name.startsWith('Camera') || ['Address', 'Recorded by', 'Id'].includes(name) ? name : 'state';
    let dd = this.values.get(place);
    if (!dd) {
      dd = h('dd');
      this.values.set(place, dd);
      this.facts.append(h('div', {}, h('dt'), dd));
    }
    text(dd.previousElementSibling!, name);
    text(dd, value);
  }

  /** What can be chosen: known when the player has read the camera's playlist. */
  private drawQuality(): void {
    const all = ['', ...this.screen.player.qualities()];
    if (all.length < 2) return; // the player is being made: the choice stays
    show(this.quality, all.length > 2);
    if (all.join() === [...this.quality.options].map((o) => o.value).join()) return;
    const { value } = this.quality;
    this.quality.replaceChildren(...all.map((name) => h('option', { value: name }, name === 'raw' ? 'Original' : name || 'Auto')));
    this.quality.value = all.includes(value) ? value : '';
  }

  /** The cameras that can be shown beside. */
  private drawAnother(): void {
    const rest = this.actions.cameras().filter((c) => !this.ids.includes(c.id));
    show(this.addAnother, rest.length > 0 && this.all.length < mostBeside);
    if (rest.map((c) => c.id).join() === [...this.another.options].slice(1).map((o) => o.value).join()) return;
    this.another.replaceChildren(
      h('option', { value: '', disabled: true, selected: true }, 'Show beside'),
      ...rest.map((c) => h('option', { value: c.id }, model.title(c))));
  }

  /** The video that is shown: live, or of the past. */
  private get shown(): HTMLVideoElement { return this.deck.inPast ? this.deck.past.video : this.screen.video; }

  private setSound(on: boolean, loud: number): void {
    volume = loud;
    for (const v of [this.screen.video, this.deck.past.video]) {
      v.muted = !on;
      v.volume = loud;
    }
    this.drawSound();
  }

  private pictureInPicture(): void {
    const leaves = document.pictureInPictureElement ? document.exitPictureInPicture() : this.shown.requestPictureInPicture();
    leaves.catch(() => undefined); // there is no picture yet
  }

  /** Saves the picture that is shown, in the size in which it came. */
  private save(): void {
    const video = this.shown;
    const name = format.stillName(this.camera.id, this.deck.here());
    const canvas = h('canvas', { width: String(video.videoWidth), height: String(video.videoHeight) });
    if (!video.videoWidth) return;
    canvas.getContext('2d')?.drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      if (!blob) return;
      const url = URL.createObjectURL(blob);
      h('a', { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    }, 'image/jpeg', 0.95);
  }

  private drawSound(): void {
    const { muted } = this.screen.video;
    const loud = muted ? '0' : String(this.screen.video.volume);
    if (this.volume.value !== loud) this.volume.value = loud;
    const says = muted ? 'Sound on' : 'Sound off';
    if (this.sound.title !== says) {
      this.sound.title = says;
      this.sound.setAttribute('aria-label', says);
      this.sound.replaceChildren(icon(muted ? soundOff : soundOn));
    }
    show(this.sound, !!this.camera.status?.audio);
    show(this.volume, !!this.camera.status?.audio);
  }

  destroy(): void {
    document.removeEventListener('keydown', this.keys);
    if (document.pictureInPictureElement) void document.exitPictureInPicture().catch(() => undefined);
    this.findings.destroy();
    for (const b of this.boxes) b.destroy();
    this.deck.destroy();
    for (const { screen } of this.all) screen.destroy();
    this.root.replaceChildren();
    this.root.hidden = true;
  }
}

const dateTime = (ms: number): string => new Date(ms).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });

function fullscreen(element: HTMLElement, shown: HTMLVideoElement): void {
  const video = shown as HTMLVideoElement & { webkitEnterFullscreen?: () => void };
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (element.requestFullscreen) void element.requestFullscreen().catch(() => undefined);
  else video.webkitEnterFullscreen?.(); // iPhones have full screen for videos only
}
