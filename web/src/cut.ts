// What can be done with a selected range: download it, or send a link to it.
import { format, iso } from './address';
import { askClip, type Part } from './clip';
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
  private readonly says = h('p', { class: 'answer', role: 'status', hidden: true });
  private readonly parts = h('ul', { hidden: true });
  readonly element: HTMLElement;
  private range: View | undefined;
  private asked = 0; // counts the questions: only the answer to the last one is shown

  /** Of several sources each gives a file of its own, which has its title. */
  constructor(private readonly all: { source: Source; title: string }[], to: { clear: () => void }) {
    this.downloads = all.map(({ title }, i) => h('a', { class: 'button primary', download: '', onclick: (e) => this.download(e as MouseEvent, i) }, icon(down), all.length > 1 ? title : 'Download MP4'));
    this.copy = h('button', { type: 'button', onclick: () => this.copyLink() });
    const clear = h('button', { type: 'button', class: 'tool', title: 'Select nothing (Esc)', 'aria-label': 'Select nothing', onclick: to.clear }, icon(cross));
    for (const d of this.downloads) show(d, !base); // a share link shows footage, and gives none away
    this.element = h('div', { class: 'cut', hidden: true }, h('p', {}, this.span, this.times), ...this.downloads, this.copy, clear, this.says, this.parts);
    this.label('Copy link');
  }

  /** Shows a range; undefined: nothing is selected. */
  draw(range: View | undefined): void {
    if (range?.from !== this.range?.from || range?.to !== this.range?.to) this.tell('');
    this.range = range;
    show(this.element, !!range);
    if (!range) return;
    text(this.span, lengthText(range.to - range.from));
    text(this.times, `${dateText(range.from)}, ${clockText(range.from)} – ${clockText(range.to)}`);
    const start = Math.round(range.from), end = Math.round(range.to);
    this.all.forEach(({ source: { camera }, title }, i) => {
      const d = this.downloads[i]!;
      d.href = this.address(i, iso(start), iso(end));
      d.download = fileName(camera, start);
      d.title = `Download ${title} as MP4`;
    });
    this.label('Copy link');
  }

  private address(i: number, start: string, end: string): string {
    const { camera, rendition } = this.all[i]!.source;
    return `/clip/${rendition === 'raw' ? camera : `${camera}/${rendition}`}.mp4?start=${start}&end=${end}`;
  }

  /** Downloads a range if it is one file; else says why not, and offers its parts. */
  private download(e: MouseEvent, i: number): void {
    const link = this.downloads[i]!;
    if (e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return; // the browser does what they mean
    e.preventDefault();
    this.tell('');
    const mine = this.asked;
    void askClip(link.href).then(({ error, parts }) => {
      if (mine !== this.asked) return;
      if (error) this.tell(this.all.length > 1 ? `${this.all[i]!.title}: ${error}` : error, i, parts);
      else h('a', { href: link.href, download: link.download }).click();
    });
  }

  /** Says something about the range, and offers parts of it. */
  private tell(what: string, i = 0, parts: Part[] = []): void {
    this.asked++;
    text(this.says, what);
    show(this.says, !!what);
    show(this.parts, parts.length > 0);
    this.parts.replaceChildren(...parts.map(({ start, end, seq }) => {
      const from = Date.parse(start), to = Date.parse(end);
      return h('li', {}, h('a', { href: `${this.downloads[i]!.href}&seq=${seq}`, download: fileName(this.all[i]!.source.camera, from) }, icon(down), partText(from, to, this.range?.from ?? from)));
    }));
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

const fileName = (camera: string, start: number): string => `${camera}-${iso(start).slice(0, 19).replace(/:/g, '')}Z.mp4`;

/** "03:04:05 – 03:04:09 (4 s)", with its date if that is not the one of a time. */
const partText = (from: number, to: number, near: number): string =>
  `${dateText(from) === dateText(near) ? '' : `${dateText(from)}, `}${clockText(from)} – ${clockText(to)} (${lengthText(to - from)})`;
