// All cameras, a tile each. A tile plays while it can be seen. No camera has two players.
import { renditions } from './api';
import { playsCodec } from './buffer';
import type { Camera } from './camera';
import { choose, streamsOf, tooWide, variantsOf, type Stream } from './choice';
import { h, text } from './dom';
import * as model from './model';
import type { Clock } from './pace';
import { library } from './player';
import { Screen } from './screen';
import { liveSocket, type LiveSocket } from './socket';

const mostMoving = 16; // tiles that show all pictures: a small laptop decodes so many. The others show keyframes
const askEvery = 5 * 60_000; // ms after which the variants of a camera are asked for again
const steady = 3000; // ms for which another stream fits better until a tile changes to it

class Tile {
  readonly screen: Screen;
  readonly element: HTMLElement;
  readonly button: HTMLButtonElement;
  visible = false;
  sparse = false; // keyframes alone
  private wish = ''; // the rendition that fits
  private wished = 0; // since when
  private variants: Stream[] = [];
  private asked = -Infinity;
  private readonly label = h('strong');
  private readonly meta = h('span', { class: 'meta' });
  private readonly warning = h('span', { class: 'warning' });

  constructor(public camera: Camera, clock: Clock, socket: LiveSocket | undefined, focus: (id: string) => void) {
    this.screen = new Screen(camera, 'wall', clock, socket);
    this.button = h('button', { class: 'open', type: 'button', onclick: () => focus(this.camera.id) });
    this.element = h('article', { class: 'tile', id: 'camera-' + camera.id },
      this.screen.element,
      h('div', { class: 'caption' }, h('div', { class: 'line' }, this.label, this.screen.pill), this.meta, this.warning),
      this.button);
    this.update(camera, false);
  }

  update(camera: Camera, focused: boolean): void {
    this.camera = camera;
    text(this.label, model.title(camera));
    const v = model.view(camera);
    text(this.meta, (this.sparse && this.screen.player.report().keyframes ? 'Keyframes only · ' : '') + (model.picture(camera.status) || camera.id));
    text(this.warning, v.warning ?? '');
    this.button.setAttribute('aria-label', `${model.title(camera)}, ${v.word}. Show large`);
    this.button.setAttribute('aria-pressed', String(focused));
    this.element.classList.toggle('focused', focused);
    // The large view has the camera: one player is enough.
    if (!this.visible || focused) this.screen.player.stop();
    else {
      this.fit();
      this.screen.keyframes(this.sparse);
      this.screen.player.want(model.wanted(camera));
    }
    this.screen.update(camera);
  }

  /** Changes to the stream that fits the tile, at once if nothing plays. */
  private fit(): void {
    const sent = streamsOf(this.camera), { clientWidth } = this.element;
    const now = performance.now();
    const wide = tooWide(sent, clientWidth);
    if (wide && now - this.asked > askEvery) {
      this.asked = now;
      renditions(this.camera.id).then((all) => { this.variants = variantsOf(all); }, () => undefined);
    }
    const wish = choose(wide ? [...sent, ...this.variants] : sent, clientWidth, playsCodec);
    if (wish !== this.wish) [this.wish, this.wished] = [wish, now];
    if (this.screen.player.state === 'idle' || now - this.wished >= steady) this.screen.play(wish);
  }
}

export class Wall {
  private readonly tiles = new Map<string, Tile>();
  private readonly seen: IntersectionObserver;
  private focused: string[] = [];
  private order: Tile[] = []; // as they stand on the page
  private paused = false;

  constructor(private readonly root: HTMLElement, private readonly clock: Clock, private readonly focus: (id: string) => void, readonly socket = liveSocket()) {
    if (!this.socket) library().catch(() => undefined); // loads while the page asks for the cameras
    this.seen = new IntersectionObserver((entries) => {
      for (const e of entries) {
        const tile = this.tiles.get((e.target as HTMLElement).id.slice('camera-'.length));
        if (!tile) continue;
        tile.visible = e.isIntersecting;
      }
      this.refreshAll();
    }, { rootMargin: '80px' });
  }

  update(cameras: Camera[]): void {
    const ids = new Set(cameras.map((c) => c.id));
    for (const [id, tile] of this.tiles) {
      if (ids.has(id)) continue;
      this.seen.unobserve(tile.element);
      tile.screen.destroy();
      tile.element.remove();
      this.tiles.delete(id);
    }
    this.order = cameras.map((c, i) => {
      let tile = this.tiles.get(c.id);
      if (!tile) {
        tile = new Tile(c, this.clock, this.socket, this.focus);
        this.tiles.set(c.id, tile);
        this.seen.observe(tile.element);
      }
      if (this.root.children[i] !== tile.element) this.root.insertBefore(tile.element, this.root.children[i] ?? null);
      tile.camera = c;
      return tile;
    });
    this.refreshAll();
    this.root.dataset.count = cameras.length <= 1 ? 'one' : cameras.length <= 4 ? 'few' : cameras.length <= 9 ? 'some' : 'many';
  }

  setFocused(ids: string[]): void {
    this.focused = ids;
    this.refreshAll();
  }

  /** Stops all tiles, or lets them play again: a hidden page plays nothing. */
  pause(yes: boolean): void {
    this.paused = yes;
    this.refreshAll();
  }

  private refreshAll(): void {
    let seen = 0;
    for (const tile of this.order) {
      const focused = this.focused.includes(tile.camera.id);
      tile.sparse = tile.visible && !focused && ++seen > mostMoving;
      if (this.paused) tile.screen.player.stop();
      else tile.update(tile.camera, focused);
    }
  }

  tick(): void {
    for (const { screen } of this.order) screen.player.tick();
    this.refreshAll(); // tiles change their size
  }

  /** Shows the marks of all cameras. */
  mark(of: (id: string) => string): void {
    for (const [id, { screen }] of this.tiles) screen.setMark(of(id));
  }

  screens(): Screen[] { return [...this.tiles.values()].map((t) => t.screen); }

  screen(id: string): Screen | undefined { return this.tiles.get(id)?.screen; }

  button(id: string): HTMLButtonElement | undefined { return this.tiles.get(id)?.button; }
}
