// All cameras, a tile each. A tile plays while it can be seen. No camera has two players.
import type { Camera } from './camera';
import { h, text } from './dom';
import * as model from './model';
import type { Clock } from './pace';
import { Screen } from './screen';

class Tile {
  readonly screen: Screen;
  readonly element: HTMLElement;
  readonly button: HTMLButtonElement;
  visible = false;
  private readonly label = h('strong');
  private readonly meta = h('span', { class: 'meta' });
  private readonly warning = h('span', { class: 'warning' });

  constructor(public camera: Camera, clock: Clock, focus: (id: string) => void) {
    this.screen = new Screen(camera, 'wall', clock);
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
    text(this.meta, model.picture(camera.status) || camera.id);
    text(this.warning, v.warning ?? '');
    this.button.setAttribute('aria-label', `${model.title(camera)}, ${v.word}. Show large`);
    this.button.setAttribute('aria-pressed', String(focused));
    this.element.classList.toggle('focused', focused);
    // The large view has the camera: one player is enough.
    if (!this.visible || focused) this.screen.player.stop();
    else this.screen.player.want(model.wanted(camera));
    this.screen.update(camera);
  }
}

export class Wall {
  private readonly tiles = new Map<string, Tile>();
  private readonly seen: IntersectionObserver;
  private focused: string | undefined;
  private paused = false;

  constructor(private readonly root: HTMLElement, private readonly clock: Clock, private readonly focus: (id: string) => void) {
    this.seen = new IntersectionObserver((entries) => {
      for (const e of entries) {
        const tile = this.tiles.get((e.target as HTMLElement).id.slice('camera-'.length));
        if (!tile) continue;
        tile.visible = e.isIntersecting;
        this.refresh(tile);
      }
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
    cameras.forEach((c, i) => {
      let tile = this.tiles.get(c.id);
      if (!tile) {
        tile = new Tile(c, this.clock, this.focus);
        this.tiles.set(c.id, tile);
        this.seen.observe(tile.element);
      }
      if (this.root.children[i] !== tile.element) this.root.insertBefore(tile.element, this.root.children[i] ?? null);
      tile.camera = c;
      this.refresh(tile);
    });
    this.root.dataset.count = cameras.length <= 1 ? 'one' : cameras.length <= 4 ? 'few' : cameras.length <= 9 ? 'some' : 'many';
  }

  setFocused(id: string | undefined): void {
    this.focused = id;
    for (const tile of this.tiles.values()) this.refresh(tile);
  }

  /** Stops all tiles, or lets them play again: a hidden page plays nothing. */
  pause(yes: boolean): void {
    this.paused = yes;
    for (const tile of this.tiles.values()) this.refresh(tile);
  }

  private refresh(tile: Tile): void {
    if (this.paused) tile.screen.player.stop();
    else tile.update(tile.camera, tile.camera.id === this.focused);
  }

  tick(): void {
    for (const { screen } of this.tiles.values()) {
      screen.player.tick();
      screen.draw();
    }
  }

  /** Shows the marks of all cameras. */
  mark(of: (id: string) => string): void {
    for (const [id, { screen }] of this.tiles) screen.setMark(of(id));
  }

  screens(): Screen[] { return [...this.tiles.values()].map((t) => t.screen); }

  screen(id: string): Screen | undefined { return this.tiles.get(id)?.screen; }

  button(id: string): HTMLButtonElement | undefined { return this.tiles.get(id)?.button; }
}
