// One camera over the page's socket. It plays parts as they come, at the live edge, and is
// made anew when it breaks.
import { renditions } from './api';
import { Attempts } from './attempts';
import { Buffer, mediaSource, plays } from './buffer';
import { variantsOf } from './choice';
import { Edge, dateAt, place, removable, stuck, stuckSparse, type Mark, type Place } from './edge';
import { spread, type Clock } from './pace';
import { drain, type Mode, type Playing, type Report } from './playing';
import type { Fragment } from './protocol';
import { base } from './session';
import { silence, silentType } from './silent';
import type { LiveSocket } from './socket';

const timescale = 90_000;
const marksKept = 32;
const keptBehind = 6; // s of the buffer behind the picture from which it is emptied
const little = 0.5; // s of the buffer with which browsers may stop: sound ends before pictures do
const refusedRetry = 10_000; // ms after which a camera that the server does not send is asked for again
const awayRetry = 1000; // ms, likewise if its log does not answer
const mostJumps = 2; // of the server, within jumpsFor, that a large view takes: HLS has smaller pictures for its network
const jumpsFor = 60_000; // ms: where hardly anything comes, the server leaves footage out every 20 s

export class LivePlayer extends Attempts implements Playing {
  private leave: (() => void) | undefined; // ends the subscription
  private buffer: Buffer | undefined;
  private url = ''; // of the media source
  private config = ''; // the decoder configuration of the buffer
  private coming = ''; // and that of what comes next
  private mime = '';
  private marks: Mark[] = [];
  private edge = new Edge();
  private sparse = false; // keyframes alone are shown
  private stoodAt = -1; // where the picture stands, or stood last
  private stoodSince = 0;
  private stalledAt = -1;
  private holding = false; // it gathers a cushion
  private lastPart = 0; // when one came
  private partsFrom = 0; // when the first one came behind the last progress; 0: none has
  private names: string[] = []; // of the renditions of a large view
  private quality = ''; // the one that is chosen
  private jumps: number[] = []; // when the server left footage out, since this player was too slow

  constructor(
    camera: string, private readonly rendition: string, private readonly mode: Mode, video: HTMLVideoElement, still: HTMLCanvasElement, clock: Clock,
    private readonly socket: LiveSocket, changed: () => void,
    private readonly giveUp: (why: string, forNow?: boolean) => void, // HLS may do it; forNow: until the socket is free
  ) {
    super(camera, video, still, clock, changed);
    video.addEventListener('waiting', this.onWaiting);
    video.addEventListener('seeked', this.onSeeked);
    video.addEventListener('error', this.onError);
    if (mode === 'wall') return;
    this.names = [rendition];
    // Whoever may not watch raw, and who has a share link, is shown no variant of it.
    if (rendition === 'raw' && !base) renditions(camera).then((all) => { this.names = ['raw', ...variantsOf(all).sort((a, b) => b.width - a.width).map((v) => v.name)]; }, () => undefined);
  }

  override destroy(): void {
    super.destroy();
    this.video.removeEventListener('waiting', this.onWaiting);
    this.video.removeEventListener('seeked', this.onSeeked);
    this.video.removeEventListener('error', this.onError);
  }

  protected override watch(now: number, moved: boolean): void {
    if (this.sparse) {
      this.tickSparse(now, moved);
      return;
    }
    this.progress(now, moved);
    if (moved) this.partsFrom = 0;
    else {
      // Without footage there is nothing to play: a new player has none either.
      const { ahead, next } = this.place();
      if (stuck({ now, open: this.socket.since, progress: this.lastProgress, part: this.lastPart, partsFrom: this.partsFrom, waits: this.waits(), has: ahead > 1 || next !== undefined })) {
        this.noProgress();
        return;
      }
    }
    this.follow();
    this.trim();
  }

  private tickSparse(now: number, moved: boolean): void {
    if (moved && this.played) {
      this.advanced(now);
      this.partsFrom = 0;
    }
    const since = Math.max(this.lastPart, this.begunAt, this.socket.since);
    // A browser may show nothing on a page that is not seen.
    const partsFrom = this.partsFrom && Math.max(this.partsFrom, this.seenFrom);
    if (stuckSparse({ now, since, part: this.lastPart, partsFrom, waits: this.waits() })) this.noProgress();
    else if (this.played) this.set(now - since > drain ? 'waiting' : 'playing');
    this.trim();
  }

  private noProgress(): void {
    this.rebuild(`no progress; ${this.buffer?.waiting() ?? 0} steps wait, in the buffer is ${JSON.stringify(this.buffer?.ranges() ?? [])}`);
  }

  /** As hangs takes it. A page that is not seen does not count: a browser may open no media source there. */
  private waits(): number {
    const since = this.buffer?.waits() ?? 0;
    return since && Math.max(since, this.seenFrom);
  }

  keyframes(only: boolean): void {
    if (only === this.sparse) return;
    this.sparse = only;
    if (this.state !== 'idle' && !this.timer) this.begin();
  }

  shown(): number | null {
    return this.played ? dateAt(this.marks, this.video.currentTime) ?? null : null;
  }

  qualities(): string[] { return this.names; }

  choose(quality: string): void {
    const before = this.chosen();
    this.quality = quality;
    if (this.chosen() !== before && this.state !== 'idle' && !this.timer) this.begin();
  }

  private chosen(): string { return this.quality || this.rendition; }

  report(): Report {
    const { ahead } = this.place();
    return {
      ...this.seen(), rendition: this.chosen(), mode: this.mode, keyframes: this.sparse, via: 'socket',
      buffered: ahead, latency: this.played ? ahead : null, fatalErrors: 0,
    };
  }

  protected override attach(mine: number): void {
    this.holding = false;
    this.edge.anew(this.begunAt);
    const Source = mediaSource();
    if (!Source) {
      this.giveUp('this browser has no media source');
      return;
    }
    const source = new Source();
    const url = this.url = URL.createObjectURL(source);
    this.video.src = url;
    const buffer = this.buffer = new Buffer(source, () => this.room(), (why) => { if (mine === this.generation) this.rebuild(why); });
    source.addEventListener('sourceopen', () => {
      URL.revokeObjectURL(url);
      if (mine !== this.generation) return;
      source.duration = Infinity;
      buffer.opened();
    }, { once: true });
    this.subscribe(buffer, mine); // the first parts come while the browser opens the source
  }

  private subscribe(buffer: Buffer, mine: number): void {
    this.leave = this.socket.subscribe(this.camera, this.chosen(), {
      config: (config, all) => {
        const mime = this.sparse ? silentType(all) : all;
        const before = this.mime || mime;
        this.mime = mime;
        this.coming = config;
        if (!plays(mime)) this.giveUp(`this browser does not play ${mime}`);
        else if (tracks(mime) !== tracks(before)) this.rebuild('the camera has other tracks', 0); // no browser takes that
        else if (config !== this.config) buffer.type(mime);
      },
      init: (data, taken) => {
        // The browser drops all pictures up to the next keyframe when it gets one again.
        if (this.coming === this.config) {
          taken();
          return;
        }
        this.config = this.coming;
        if (this.sparse) silence(data); // browsers wait for more sound than comes with a keyframe
        buffer.append(data, taken);
      },
      fragment: (f) => this.mark(f),
      part: (data, taken) => {
        this.lastPart = performance.now();
        this.partsFrom ||= this.lastPart;
        if (this.sparse) silence(data);
        else if (this.played) this.edge.arrived(this.place().ahead, performance.now());
        buffer.append(data, () => {
          taken();
          if (mine === this.generation) this.follow();
        });
      },
      leftOut: (reason) => {
        const now = performance.now();
        if (reason === 'behind') this.edge.tooSlow();
        // One before the first part of a connection tells that there was none for a while.
        const slow = reason === 'behind' && this.lastPart > this.socket.since;
        if (slow && this.played) this.jumps = [...this.jumps.filter((at) => now - at < jumpsFor), now];
        if (this.jumps.length >= mostJumps) this.adapt();
      },
      ended: (reason) => {
        this.leave = undefined;
        if (reason === 'unplayable') this.giveUp('the camera sends what cannot be played over the socket');
        else if (reason === 'too_many') this.giveUp('the socket has no place for another camera', true);
        else this.rebuild(`the server: ${reason}`, spread(reason === 'away' ? awayRetry : refusedRetry));
        if (reason === 'not_found' && this.timer) this.leave = this.socket.whenRenewed(() => this.begin());
      },
      broken: () => this.giveUp('the socket does not come through', true),
    }, this.sparse);
  }

  /** Leaves a large view to HLS, which adapts to its network, unless its viewer has chosen a quality. Tells whether it has. */
  private adapt(): boolean {
    const may = this.mode === 'focus' && !this.quality && this.names.length > 1;
    if (may) this.giveUp('the network is too slow for this picture');
    return may;
  }

  private mark(f: Fragment): void {
    const m = { media: f.media / timescale, date: Date.parse(f.start) };
    const last = this.marks[this.marks.length - 1];
    if (last && m.media < last.media - 60) { // the camera's footage was purged
      this.rebuild('media time began again');
      return;
    }
    if (m.media !== last?.media) this.marks.push(m);
    if (this.marks.length > marksKept) this.marks.shift();
  }

  private place(): Place { return place(this.buffer?.ranges() ?? [], this.video.currentTime); }

  /** Keeps the picture at the edge. */
  private follow(): void {
    if (this.sparse) {
      this.showKeyframe();
      return;
    }
    const { video } = this;
    const { ahead, next } = this.place();
    const now = performance.now();
    if (video.currentTime !== this.stoodAt) {
      this.stoodAt = video.currentTime;
      this.stoodSince = now;
    }
    if (this.holding) {
      if (next === undefined && ahead < this.edge.cushion) return;
      this.holding = false;
      if (next === undefined) { // else the camera was away: that says nothing of the network
        this.edge.stalled(now);
        if (this.edge.starved() && this.adapt()) return;
      }
    }
    // Browsers stop a little before the end of what they have: sound ends before pictures do.
    const over = ahead < 0.05 || ahead < little && now - this.stoodSince > 300;
    if (over && next !== undefined) {
      video.currentTime = next + 0.001; // the first part, or what comes behind footage that is missing
      this.edge.begin(now);
    } else if (this.edge.skip(ahead, now)) {
      if (video.seeking) return;
      video.currentTime += this.edge.skip(ahead, now);
      this.edge.begin(now);
    } else {
      const rate = this.edge.rate();
      if (video.playbackRate !== rate) video.playbackRate = rate;
    }
    if (video.paused) this.play();
  }

  /** Shows the first picture of the newest fragment; the video stands. */
  private showKeyframe(): void {
    const media = this.marks[this.marks.length - 1]?.media;
    const range = media === undefined ? undefined : this.buffer?.ranges().find((r) => r.end > media);
    if (media === undefined || !range) return;
    const at = Math.max(media, range.start) + 0.001; // pictures may be shown later than they are decoded
    if (at > this.video.currentTime + 0.05 && !this.video.seeking) this.video.currentTime = at; // browsers round
  }

  private trim(): void {
    const start = this.buffer?.ranges()[0]?.start;
    const to = removable(this.marks, this.video.currentTime);
    if (start !== undefined && to !== undefined && this.video.currentTime - start > keptBehind && to > start + 1) this.buffer?.removeTo(to);
  }

  /** Up to where the buffer may be emptied; undefined if there is nothing to remove. */
  private room(): number | undefined {
    const start = this.buffer?.ranges()[0]?.start;
    const to = removable(this.marks, this.video.currentTime);
    return start !== undefined && to !== undefined && to > start ? to : undefined;
  }

  private readonly onWaiting = () => {
    const { video } = this;
    if (this.sparse || !this.played || !this.wanted || video.seeking || this.holding || video.currentTime === this.stalledAt) return;
    this.stalledAt = video.currentTime;
    this.stalls++;
    this.edge.stands(performance.now());
    if (this.place().ahead > little) { // more in the buffer would not help
      this.edge.tooFast(performance.now());
      return;
    }
    this.holding = true; // one stop is better than many: it goes on with a cushion
    video.pause();
  };

  protected override firstShown(): void {
    this.partsFrom = 0;
    if (!this.sparse) this.edge.arrived(this.place().ahead, performance.now());
    this.follow();
  }

  /** A video that stands shows the picture to which it has gone. */
  private readonly onSeeked = () => {
    if (!this.sparse) return;
    this.onPlaying();
    this.showKeyframe(); // one that came meanwhile
  };

  private readonly onError = () => {
    if (this.state !== 'idle' && this.video.hasAttribute('src')) this.rebuild(`video error ${this.video.error?.message ?? ''}`);
  };

  protected override free(): void {
    this.leave?.();
    this.leave = undefined;
    this.buffer?.end();
    this.buffer = undefined;
    URL.revokeObjectURL(this.url); // the source may never have opened
    this.config = this.coming = this.mime = '';
    this.marks = [];
    this.jumps = [];
    this.partsFrom = 0;
  }
}

/** The number of tracks of a type. */
const tracks = (mime: string): number => mime.split(',').length;
