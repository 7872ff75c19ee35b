// What can be done with a selected range: download it, or send a link to it.
import { format, iso } from './address';
import { h, icon, show, text } from './dom';
import { base } from './session';
import type { Source } from './timelines';
import { clockText, dateText, lengthText, type View } from './timescale';

const down = 'M8 2.5v7.5M4.5 7 8 10.5 11.5 7M3 13.5h10';
const chain = 'M6.5 9.5l3-3M7 4.5 8.5 3a3 3 0 0 1 4.5 4.5L11.5 9M9 11.5 7.5 13A3 3 0 0 1 3 8.5L4.5 7';
const cross = 'M3.5 3.5l9 9M12.5 3.5l-9 9';

export class Cut {
  private readonly span = h('strong');
  private readonly times = h('span');
  private readonly downloads: HTMLAnchorElement[];
  private readonly copy: HTMLButtonElement;
  readonly element: HTMLElement;
  private range: View | undefined;

  /** Of several sources each gives a file of its own, which has its title. */
  constructor(private readonly all: { source: Source; title: string }[], to: { clear: () => void }) {
    this.downloads = all.map(({ title }) => h('a', { class: 'button primary', download: '' }, icon(down), all.length > 1 ? title : 'Download MP4'));
    this.copy = h('button', { type: 'button', onclick: () => this.copyLink() });
    const clear = h('button', { type: 'button', class: 'tool', title: 'Select nothing (Esc)', 'aria-label': 'Select nothing', onclick: to.clear }, icon(cross));
    for (const d of this.downloads) show(d, !base); // a share link shows footage, and gives none away
    this.element = h('div', { class: 'cut', hidden: true }, h('p', {}, this.span, this.times), ...this.downloads, this.copy, clear);
    this.label('Copy link');
  }

  /** Shows a range; undefined: nothing is selected. */
  draw(range: View | undefined): void {
    this.range = range;
    show(this.element, !!range);
    if (!range) return;
    text(this.span, lengthText(range.to - range.from));
    text(this.times, `${dateText(range.from)}, ${clockText(range.from)} – ${clockText(range.to)}`);
    const start = Math.round(range.from), end = Math.round(range.to);
    this.all.forEach(({ source: { camera, rendition }, title }, i) => {
      const d = this.downloads[i]!;
      const path = rendition === 'raw' ? camera : `${camera}/${rendition}`;
      d.href = `/clip/${path}.mp4?start=${iso(start)}&end=${iso(end)}`;
      d.download = `${camera}-${iso(start).slice(0, 19).replace(/:/g, '')}Z.mp4`;
      d.title = `Download ${title} as MP4`;
    });
    this.label('Copy link');
  }

  private copyLink(): void {
    const { range } = this;
    if (!range) return;
    const url = location.href.split('#')[0]! + format({ ids: base ? [] : this.all.map(({ source }) => source.camera), at: Math.round(range.from), to: Math.round(range.to) });
    // There is no clipboard without TLS.
    const shown = navigator.clipboard ? navigator.clipboard.writeText(url) : Promise.reject(new Error('no clipboard'));
    shown.then(() => this.label('Copied'), () => { prompt('The link', url); });
  }

  private label(says: string): void { this.copy.replaceChildren(icon(chain), says); }
}
