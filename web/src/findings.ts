// What processors tell of the camera in focus: its events, and how far they are.
import { events } from './api';
import type { Rendition } from './camera';
import { h, show, text } from './dom';
import { EventList, typeName, type CameraEvent } from './events';
import * as format from './format';
import * as model from './model';

export class Findings {
  readonly element = h('div', { class: 'findings', hidden: true });
  private readonly list = h('ol', { tabindex: '0', 'aria-labelledby': 'events-title' });
  private readonly none = h('p', { class: 'meta' }, 'Nothing in the last 15 minutes.');
  private readonly processors = h('dl');
  private readonly events = new EventList();
  private ended = false;

  constructor(private readonly camera: string) {
    this.element.append(
      h('section', {}, h('h3', { id: 'events-title' }, 'Events'), this.none, this.list),
      h('section', {}, h('h3', {}, 'Processors'), this.processors));
    this.read();
  }

  /** Reads the newest events. */
  read(): void { events(this.camera).then((all) => this.add(all), () => undefined); }

  /** Takes a live event of any camera. */
  event(e: CameraEvent): void {
    if (e.camera === this.camera) this.add([e]);
  }

  destroy(): void { this.ended = true; }

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

  /** Takes the camera's renditions, with how far the processors are. */
  got(all: Rendition[]): void {
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
}
