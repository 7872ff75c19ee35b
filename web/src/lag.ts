// How far every camera is behind at each hop: the table at #/lag, as monitor serves it.
import { Refusal, readLag } from './api';
import { h, show, text } from './dom';
import * as format from './format';

export interface Lag {
  up: boolean; // false: the brokers do not answer, and the rest is as old as at
  at: string;
  cameras: CameraLag[]; // worst first
}

export interface CameraLag {
  id: string;
  label?: string;
  state: string;
  problem?: string;
  behind_s: number; // the most of all
  hops: { hop: string; behind_s: number }[];
  groups: { group: string; rendition: string; records: number; behind_s: number; retention_left_s: number | null }[];
  dead_letters: { processor: string; count: number }[];
}

export type Level = 'fresh' | 'late' | 'bad';

/** How bad it is to be so many seconds behind. A fragment has some seconds. */
export const level = (seconds: number): Level => (seconds < 15 ? 'fresh' : seconds < 60 ? 'late' : 'bad');

/** The hops that any camera has: the log first, the playlist last. */
export function columns(cameras: CameraLag[]): string[] {
  const place = (hop: string) => (hop === 'log' ? 0 : hop === 'playlist' ? 2 : 1);
  return [...new Set(cameras.flatMap((c) => c.hops.map((x) => x.hop)))]
    .sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
}

const soon = 3600; // s: retention is shown if it comes to a group before

/** What else there is to know of a camera, as a line. */
export function notes(c: CameraLag): string {
  const left = Math.min(...c.groups.map((g) => g.retention_left_s ?? Infinity));
  return [
    c.problem ?? '',
    left < soon ? `${format.span(left)} until retention` : '',
    ...c.dead_letters.filter((l) => l.count).map((l) => `${l.count} dead letter${l.count > 1 ? 's' : ''} of ${l.processor}`),
  ].filter(Boolean).join(' · ');
}

/** "2 of 40 cameras behind" */
export function summary(l: Lag): string {
  const late = l.cameras.filter((c) => level(c.behind_s) !== 'fresh').length;
  const all = `${l.cameras.length} camera${l.cameras.length === 1 ? '' : 's'}`;
  return late ? `${late} of ${all} behind by 15 s or more` : `${all}, none behind by 15 s or more`;
}

const period = 5000; // ms between two readings

/** The table. It reads while it is shown. */
export class LagView {
  private readonly head = h('tr');
  private readonly body = h('tbody');
  private readonly state = h('p', { class: 'meta', role: 'status' });
  private turn = 0; // of the latest call of show
  private shown = false;

  constructor(private readonly root: HTMLElement) {
    root.append(
      h('div', { class: 'line' }, h('h2', {}, 'Seconds behind'), h('a', { href: '#' }, 'All cameras')),
      this.state,
      h('div', { class: 'scroll' }, h('table', {}, h('thead', {}, this.head), this.body)));
  }

  show(yes: boolean): void {
    if (yes === this.shown) return;
    this.shown = yes;
    show(this.root, yes);
    if (yes) void this.follow(++this.turn);
  }

  private async follow(turn: number): Promise<void> {
    while (this.shown && turn === this.turn) {
      if (!document.hidden) {
        try {
          const l = await readLag();
          if (turn === this.turn) this.update(l);
        } catch (e) {
          const r = e instanceof Refusal ? e : undefined;
          text(this.state, r?.status === 404 ? 'No monitor runs here.' : `The lag cannot be read: ${r?.message ?? String(e)}`);
        }
      }
      await new Promise((done) => setTimeout(done, period));
    }
  }

  private update(l: Lag): void {
    text(this.state, l.up ? summary(l) : `The brokers do not answer. This is of ${new Date(l.at).toLocaleTimeString()}.`);
    const hops = columns(l.cameras);
    const th = (name: string) => h('th', { scope: 'col' }, name);
    this.head.replaceChildren(th('Camera'), th('State'), ...hops.map(th), th('Notes'));
    this.body.replaceChildren(...l.cameras.map((c) => row(c, hops)));
  }
}

function row(c: CameraLag, hops: string[]): HTMLTableRowElement {
  const cell = (hop: string) => {
    const behind = c.hops.find((x) => x.hop === hop)?.behind_s;
    if (behind === undefined) return h('td', { class: 'none' });
    return h('td', { 'data-name': hop, 'data-level': level(behind) }, format.delay(behind));
  };
  return h('tr', { 'data-level': level(c.behind_s) },
    h('th', { scope: 'row' }, h('a', { href: '#' + c.id }, c.label || c.id)),
    h('td', { 'data-name': 'state' }, c.state),
    ...hops.map(cell),
    h('td', { class: 'notes' }, notes(c)));
}
