// The picture of a camera and the text over it. Both the wall and the large view
// use it.
import { mediaSource } from './buffer';
import type { Camera } from './camera';
import { h, icon, show, text } from './dom';
import * as format from './format';
import * as model from './model';
import { Overlay } from './overlay';
import type { Clock } from './pace';
import { LivePlayer } from './liveplayer';
import { Player } from './player';
import type { Mode, Playing } from './playing';
import { renditionOf } from './protocol';
import type { LiveSocket } from './socket';

const crossed = 'M2 5h7.5v6H2zM9.5 7.2 14 5v6l-4.5-2.2M1.5 2.5l13 11'; // a camera, struck out

const notLive = 15; // seconds behind from which a picture is not called live

export class Screen {
  readonly video = h('video', { muted: true, playsinline: true, tabindex: '-1', 'aria-hidden': 'true' });
  readonly element: HTMLElement;
  readonly pill = h('span', { class: 'pill' });
  player: Playing;
  private rendition: string;
  private sparse = false;
  private unwait: () => void = () => undefined; // it waits no longer for the socket
  readonly overlay = new Overlay(this.video);
  private readonly mark = h('span', { class: 'mark' });
  private readonly still = h('canvas', { hidden: true });
  private readonly headline = h('strong');
  private readonly detail = h('span', { class: 'detail' });
  private readonly since = h('span', { class: 'since' });
  private readonly veil = h('div', { class: 'veil', hidden: true }, icon(crossed), this.headline, this.detail, this.since);
  private readonly spinner = h('div', { class: 'spinner', hidden: true });
  private readonly word = h('span');
  private readonly behind = h('span', { class: 'behind' });

  /** Plays over a socket if there is one and that works, else HLS. At first it is silent. */
  constructor(private camera: Camera, private readonly mode: Mode, private readonly clock: Clock, private readonly socket?: LiveSocket) {
    this.rendition = renditionOf(camera.playlist);
    this.pill.append(h('i', { class: 'dot' }), this.word, this.behind);
    this.element = h('div', { class: 'screen' }, this.video, this.still, this.overlay.element, this.mark, this.spinner, this.veil);
    this.video.muted = true;
    this.player = this.make();
  }

  private make(): Playing {
    const { socket } = this;
    this.unwait();
    if (socket && !socket.broken) return this.live(socket);
    if (socket) this.waitFor(socket);
    return this.hls();
  }

  /** Plays over the socket as soon as that is free. */
  private waitFor(socket: LiveSocket): void {
    this.unwait = socket.whenFree(() => this.swap(() => this.make()));
  }

  /** Takes another player, which plays if this one does. */
  private swap(make: () => Playing): void {
    const plays = this.player.state !== 'idle';
    this.player.destroy();
    this.player = make();
    this.player.keyframes(this.sparse);
    if (plays) this.player.want(model.wanted(this.camera));
  }

  private hls(): Player {
    const { id, playlist } = this.camera;
    const url = this.rendition === renditionOf(playlist) ? playlist : `/hls/${id}/${this.rendition}/index.m3u8`;
    return new Player(id, url, this.mode, this.video, this.still, this.clock, () => this.draw());
  }

  /** Plays another rendition from now on; the last picture stays until there is one. */
  play(rendition: string): void {
    if (rendition === this.rendition) return;
    this.rendition = rendition;
    this.player.destroy();
    this.player = this.make();
    this.player.keyframes(this.sparse);
  }

  /** Shows keyframes alone if that is possible. */
  keyframes(only: boolean): void {
    this.sparse = only;
    this.player.keyframes(only);
  }

  private live(socket: LiveSocket): LivePlayer {
    const { id } = this.camera;
    return new LivePlayer(id, this.rendition, this.mode, this.video, this.still, this.clock, socket, () => this.draw(), (why, forNow) => {
      console.info(`${id}: HLS, since ${why}`);
      this.swap(() => this.hls());
      if (forNow) this.waitFor(socket);
    });
  }

  update(camera: Camera): void {
    this.camera = camera;
    this.draw();
  }

  draw(): void {
    const v = model.view(this.camera, this.player.state === 'unsupported', !!mediaSource());
    this.element.dataset.tone = this.pill.dataset.tone = v.tone;
    const late = v.tone === 'live' && (this.player.delay() ?? 0) >= notLive;
    text(this.word, late ? 'Behind' : v.word);
    text(this.behind, v.tone === 'live' ? this.delay() : '');
    this.pill.classList.toggle('late', late);
    const says = !!v.headline;
    show(this.veil, says);
    text(this.headline, v.headline ?? '');
    text(this.detail, v.detail ?? '');
    this.detail.title = v.detail ?? ''; // the tile cuts a long one
    text(this.since, says && v.since !== undefined && v.tone !== 'live' ? sinceText(v.since, this.clock.now()) : '');
    show(this.spinner, !says && v.tone === 'live' && ['starting', 'waiting', 'retrying'].includes(this.player.state));
  }

  /** Shows what happens at the camera now; '' for nothing. */
  setMark(says: string): void {
    this.mark.classList.toggle('on', !!says);
    if (says) text(this.mark, says); // the text stays while the mark fades
    this.mark.toggleAttribute('aria-hidden', !says);
  }

  /** The delay of the picture; without a player, the delay that egress measures. */
  private delay(): string {
    const shown = this.player.delay();
    const d = shown ?? (this.camera.delay_ms === null ? null : this.camera.delay_ms / 1000);
    this.pill.title = shown !== null ? 'From camera to this screen' : 'From camera to playlist';
    return d === null ? '' : format.delay(d);
  }

  /** Shows the picture of another screen until there is one of its own. */
  borrow(from: Screen): void {
    const source = from.still.hidden ? from.video : from.still;
    const [w, h] = source instanceof HTMLVideoElement ? [source.videoWidth, source.videoHeight] : [source.width, source.height];
    if (!w || !h) return;
    this.still.width = w;
    this.still.height = h;
    this.still.getContext('2d')?.drawImage(source, 0, 0, w, h);
    this.still.hidden = false;
  }

  destroy(): void {
    this.unwait();
    this.player.destroy();
    this.element.remove();
  }
}

export function sinceText(since: number, now: number): string {
  const at = new Date(since);
  const sameDay = at.toDateString() === new Date(now).toDateString();
  const clock = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const day = sameDay ? '' : at.toLocaleDateString([], { day: 'numeric', month: 'short' }) + ', ';
  return `for ${format.span((now - since) / 1000)}, since ${day}${clock}`;
}
