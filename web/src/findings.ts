// What processors tell of the camera in focus: its events, how far they are, and the boxes
// over its picture.
import { events, renditions } from './api';
import type { Rendition } from './camera';
import { h, show, text } from './dom';
import { EventList, typeName, type CameraEvent } from './events';
import * as format from './format';
import * as model from './model';
import type { Clock } from './pace';
import type { Rewind } from './rewind';
import type { Screen } from './screen';
import { Recall, Watcher } from './watcher';

const refresh = 5000; // ms between two looks at how far the processors are

export class Findings {
  readonly element = h('div', { class: 'findings', hidden: true });
  private readonly list = h('ol', { tabindex: '0', 'aria-labelledby': 'events-title' });
  private readonly none = h('p', { class: 'meta' }, 'Nothing in the last 15 minutes.');
  private readonly processors = h('dl');
  private readonly events = new EventList();
  private readonly watcher: Watcher;
  private readonly recall: Recall;
  private timer: ReturnType<typeof setInterval> | undefined;
  private frame = 0;
  private ended = false;

  /** past, if there is one, shows the past of the camera. */
  constructor(private readonly camera: string, private readonly screen: Screen, clock: Clock, past?: Rewind) {
    this.watcher = new Watcher(camera, () => this.drawBoxes());
    let shown: number | undefined; // the time of the past picture
    const draw = () => { if (past && shown !== undefined) past.overlay.draw(this.ended ? [] : this.recall.at(shown), false); };
    this.recall = new Recall(camera, clock, draw);
    if (past) {
      past.pictured = (time) => {
        shown = time;
        draw();
      };
    }
    this.element.append(
      h('section', {}, h('h3', { id: 'events-title' }, 'Events'), this.none, this.list),
      h('section', {}, h('h3', {}, 'Processors'), this.processors));
    this.read();
    const look = () => renditions(camera).then((all) => this.got(all), () => undefined);
    void look();
    this.timer = setInterval(() => { if (!document.hidden) void look(); }, refresh);
    this.everyPicture();
  }

  /** Reads the newest events. */
  read(): void { events(this.camera).then((all) => this.add(all), () => undefined); }

  /** Takes a live event of any camera. */
  event(e: CameraEvent): void {
    if (e.camera === this.camera) this.add([e]);
  }

  destroy(): void {
    this.ended = true;
    clearInterval(this.timer);
    this.screen.video.cancelVideoFrameCallback?.(this.frame);
    this.watcher.follow([]);
    this.recall.follow([]);
  }

  private add(all: CameraEvent[]): void {
    if (!all.length || this.ended) return;
    for (const e of all) this.events.add(e);
    show(this.element, true);
    show(this.none, false);
    this.events.newestFirst().forEach((e, i) => {
      let li = this.list.children[i];
      if (!li) this.list.append(li = h('li', {}, h('time'), h('strong'), h('span', { class: 'meta' })));
      const [time, name, more] = li.children;
      const start = new Date(e.start);
      time!.setAttribute('datetime', e.start);
      text(time!, start.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' }));
      text(name!, typeName(e.type));
      text(more!, format.delay((Date.parse(e.end) - start.getTime()) / 1000));
    });
  }

  private got(all: Rendition[]): void {
    if (this.ended) return;
    const data = all.filter((r) => r.role === 'data').map((r) => r.name);
    this.watcher.follow(data);
    this.recall.follow(data);
    if (all.length) show(this.element, true);
    show(this.none, !this.list.children.length);
    all.forEach((r, i) => {
      let row = this.processors.children[i];
      if (!row) this.processors.append(row = h('div', {}, h('dt'), h('dd')));
      text(row.children[0]!, model.renditionTitle(r));
      text(row.children[1]!, model.behind(r));
    });
    while (this.processors.children.length > all.length) this.processors.lastElementChild!.remove();
  }

  /** Draws the boxes of each picture that is shown. */
  private everyPicture(): void {
    const { video } = this.screen;
    if (this.ended || !('requestVideoFrameCallback' in video)) return;
    this.frame = video.requestVideoFrameCallback((_, { mediaTime }) => {
      this.drawBoxes(mediaTime);
      this.everyPicture();
    });
  }

  private drawBoxes(mediaTime = this.screen.video.currentTime): void {
    const { player, video, overlay } = this.screen;
    const shown = player.shown();
    const { boxes, late } = shown === null || this.ended ? { boxes: [], late: false } : this.watcher.at(shown + 1000 * (mediaTime - video.currentTime));
    overlay.draw(boxes, late);
  }
}
