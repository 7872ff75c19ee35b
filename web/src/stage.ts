// The large view of the camera in focus, with low latency.
import type { Camera } from './camera';
import { h, icon, show, text } from './dom';
import { Findings } from './findings';
import * as format from './format';
import * as model from './model';
import type { Clock } from './pace';
import { Screen, sinceText } from './screen';

const soundOff = 'M2 6v4h3l4 3V3L5 6zM12 6l3 4M15 6l-3 4';
const soundOn = 'M2 6v4h3l4 3V3L5 6zM11.5 5.5a4 4 0 0 1 0 5M13.5 3.5a7 7 0 0 1 0 9';
const large = 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4';
const cross = 'M3 3l10 10M13 3L3 13';
const arrow = 'M6 3H3v10h10v-3M9 3h4v4M13 3 7.5 8.5';
const bin = 'M2.5 4.5h11M6 4.5V2.5h4v2M4 4.5l.7 9h6.6l.7-9';

export class Stage {
  readonly screen: Screen;
  private readonly heading = h('h2', { tabindex: '-1' });
  private readonly meta = h('p', { class: 'meta' });
  private readonly warning = h('p', { class: 'warning' });
  private readonly absence = h('p', { class: 'meta absence' });
  private readonly facts = h('dl');
  readonly findings: Findings;
  private readonly quality = h('select', { 'aria-label': 'Quality', title: 'Quality', hidden: true });
  private readonly sound: HTMLButtonElement;
  private readonly remove: HTMLButtonElement;
  private readonly kept = h('p', { class: 'kept' });
  private readonly values = new Map<string, HTMLElement>();
  private readonly keys: (e: KeyboardEvent) => void;

  constructor(
    private readonly root: HTMLElement, public camera: Camera, private readonly clock: Clock,
    from: Screen | undefined, // its picture is shown until there is one
    // Without remove or share the person may not do it.
    actions: { close: () => void; remove?: (c: Camera) => void; share?: (c: Camera) => void; step: (by: number) => void },
  ) {
    this.screen = new Screen(camera, 'focus', clock);
    if (from) this.screen.borrow(from);
    const { video } = this.screen;
    this.sound = h('button', { type: 'button', class: 'icon', onclick: () => { video.muted = !video.muted; this.drawSound(); } });
    const full = h('button', { type: 'button', class: 'icon', 'aria-label': 'Full screen', title: 'Full screen', onclick: () => fullscreen(this.screen) }, icon(large));
    const close = h('button', { type: 'button', class: 'icon', 'aria-label': 'Close', title: 'Close (Esc)', onclick: actions.close }, icon(cross));
    this.remove = h('button', { type: 'button', class: 'danger', hidden: !actions.remove, onclick: () => actions.remove?.(this.camera) }, icon(bin), 'Remove');
    const share = h('button', { type: 'button', hidden: !actions.share, onclick: () => actions.share?.(this.camera) }, icon(arrow), 'Share');
    this.screen.element.append(h('div', { class: 'controls' }, this.screen.pill, h('span', { class: 'gap' }), this.quality, this.sound, full, close));
    this.quality.addEventListener('change', () => this.screen.player.choose(this.quality.value));
    this.findings = new Findings(camera.id, this.screen);
    this.root.replaceChildren(
      this.screen.element,
      h('div', { class: 'about' },
        h('div', { class: 'names' }, this.heading, this.meta, this.warning, this.absence),
        this.facts,
        h('div', { class: 'actions' }, share, this.remove, this.kept),
        this.findings.element));
    this.root.hidden = false;
    this.keys = (e) => {
      if (document.querySelector('dialog[open]') || e.target === this.quality || e.altKey || e.ctrlKey || e.metaKey) return;
      if (e.key === 'Escape' && !document.fullscreenElement) actions.close();
      else if (e.key === 'ArrowRight') actions.step(1);
      else if (e.key === 'ArrowLeft') actions.step(-1);
      else return;
      e.preventDefault();
    };
    document.addEventListener('keydown', this.keys);
    this.update(camera);
    this.heading.focus({ preventScroll: true });
  }

  update(camera: Camera, paused = false): void {
    this.camera = camera;
    this.root.setAttribute('aria-label', model.title(camera));
    text(this.heading, model.title(camera));
    text(this.meta, model.picture(camera.status));
    text(this.warning, model.view(camera).warning ?? '');
    text(this.absence, model.absence(camera.status, dateTime));
    const file = camera.source === 'file';
    this.remove.disabled = file;
    const keeper = camera.origin?.startsWith('--demo:') ? 'framelog up --demo' : `the configuration file ${camera.origin}`;
    text(this.kept, file && !this.remove.hidden ? `Kept by ${keeper}: remove it there.` : '');
    if (paused) this.screen.player.stop();
    else this.screen.player.want(model.wanted(camera));
    this.screen.update(camera);
    this.drawSound();
    this.draw();
  }

  tick(): void {
    this.screen.player.tick();
    this.screen.draw();
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
    this.quality.replaceChildren(...all.map((name) => h('option', { value: name }, name || 'Auto')));
    this.quality.value = all.includes(value) ? value : '';
  }

  private drawSound(): void {
    const { muted } = this.screen.video;
    const says = muted ? 'Sound on' : 'Sound off';
    if (this.sound.title !== says) {
      this.sound.title = says;
      this.sound.setAttribute('aria-label', says);
      this.sound.replaceChildren(icon(muted ? soundOff : soundOn));
    }
    show(this.sound, !!this.camera.status?.audio);
  }

  destroy(): void {
    document.removeEventListener('keydown', this.keys);
    this.findings.destroy();
    this.screen.destroy();
    this.root.replaceChildren();
    this.root.hidden = true;
  }
}

const dateTime = (ms: number): string => new Date(ms).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });

function fullscreen(screen: Screen): void {
  const video = screen.video as HTMLVideoElement & { webkitEnterFullscreen?: () => void };
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (screen.element.requestFullscreen) void screen.element.requestFullscreen().catch(() => undefined);
  else video.webkitEnterFullscreen?.(); // iPhones have full screen for videos only
}
