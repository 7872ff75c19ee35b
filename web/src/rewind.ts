// Plays the past of one camera over its picture. It has a video element of its own, so that
// the live player keeps its.
import type Hls from 'hls.js';
import type { ErrorData, FragLoadedData, FragLoadingData, RetryConfig } from 'hls.js';
import { h, icon, show, text } from './dom';
import { failure } from './format';
import { Growing, growingLoader, locate, look, timeOf, type Has, type Place } from './growing';
import { Overlay } from './overlay';
import { onward, type Clock } from './pace';
import { library } from './player';

/** What a Rewind tells. */
export interface Listener {
  /** Something that is shown has changed. */
  changed: () => void;
  /** Another time is shown than the one that was asked for, since there is no footage. */
  skipped: (asked: number, shown: number) => void;
  /** There is no footage from a time on, as far as its playlist reaches. */
  nothing: (from: number) => void;
  /** Playback has come to the newest footage. */
  caughtUp: () => void;
}

/** Several cameras that are played in step: what it says goes, and it is asked what to do. */
export interface Guide {
  readonly playing: boolean;
  at: () => number | undefined;
}

/** What shows the past: a Rewind of one camera, or several in step. */
export interface Past {
  readonly active: boolean;
  readonly playing: boolean;
  readonly waiting: boolean;
  readonly rate: number;
  readonly video: HTMLVideoElement; // whose sound is heard
  at: () => number | undefined;
  seek: (time: number, play: boolean) => void;
  leave: () => void;
  play: () => void;
  pause: () => void;
  speed: (rate: number) => void;
  step: (by: 1 | -1, frame: number) => void;
  report: () => PastReport;
  destroy: () => void;
}

/** The state of a Rewind in window.framelog. */
export interface PastReport {
  active: boolean;
  at: number | null; // ms since the epoch
  playing: boolean;
  waiting: boolean;
  rate: number;
  firstPictureMs: number | null; // of the latest seek
  errors: string[];
  beside?: { camera: string; at: number | null; state: string }[]; // cameras in step
}

const patience = 10_000; // ms without progress before the player is made again
const again = 2000; // ms after an error before it is tried again
const low = 0.3; // s: with less in the buffer, the picture stops
const edge = 30_000; // ms: the end of a playlist that is so new is the newest footage

// A fragment is asked for until it comes. By itself hls.js takes one that it cannot load for a gap,
// if the playlist may grow. That is right for footage that has expired alone.
export const untilItComes: RetryConfig = {
  maxNumRetry: Infinity, retryDelayMs: 1000, maxRetryDelayMs: 3000,
  shouldRetry: (_config, _count, late, answer) => late || !!answer && answer.code !== 404 && answer.code !== 410,
};
const crossed = 'M2 5h7.5v6H2zM9.5 7.2 14 5v6l-4.5-2.2M1.5 2.5l13 11';

export class Rewind implements Past {
  readonly video = h('video', { playsinline: true, tabindex: '-1', 'aria-hidden': 'true' });
  private readonly still = h('canvas', { hidden: true });
  readonly overlay = new Overlay(this.video);
  /** It gets the time of each picture that is shown. */
  pictured: (time: number) => void = () => undefined;
  private readonly spinner = h('div', { class: 'spinner', hidden: true });
  private readonly says = h('strong');
  private readonly veil = h('div', { class: 'veil', hidden: true }, icon(crossed), this.says);
  readonly element = h('div', { class: 'past', hidden: true }, this.video, this.overlay.element, this.still, this.spinner, this.veil);

  active = false;
  playing = false; // as people want it
  waiting = false; // for the picture
  broken = false; // it shows nothing, and says why
  rate = 1;
  private hls: Hls | undefined;
  private generation = 0; // of hls; late callbacks compare it
  private target: number | undefined; // the time that was asked for, until it is shown
  private asked = 0; // performance.now() of the latest seek
  private loading = false;
  private readonly loaded = new Set<number | string>(); // numbers of the fragments that hls.js has loaded
  private halted: { until: number; to?: number } | undefined; // hls.js does not go on after an error: when to go on, and at which time if not here
  private failing = false; // the text over the picture is that of an error
  private last = -1;
  private progress = 0;
  private recovered = 0;
  private firstPicture: number | null = null;
  private mediaTime: number | undefined; // of the picture that is shown
  private readonly lengths: number[] = []; // of the last pictures, in s; where some were left out they are longer
  private frame = 0;
  private readonly timer: ReturnType<typeof setInterval>;
  private readonly errors: string[] = [];

  /** live is the video whose picture is shown until there is one of the past. */
  constructor(
    private readonly playlist: string, private readonly clock: Clock, private readonly live: HTMLVideoElement,
    private readonly to: Listener, private readonly guide?: Guide, private readonly lib = library,
  ) {
    this.video.disableRemotePlayback = true;
    // If the same picture is shown as before, no frame is told.
    this.video.addEventListener('seeked', () => setTimeout(() => this.shown(), 60));
    this.everyPicture();
    this.timer = setInterval(() => this.look(), 250);
  }

  destroy(): void {
    clearInterval(this.timer);
    this.video.cancelVideoFrameCallback?.(this.frame);
    this.leave();
    this.element.remove();
  }

  /** The time that is shown, or that is asked for; undefined: the past is not shown. */
  at(): number | undefined {
    if (!this.active) return undefined;
    return this.target ?? this.hls?.playingDate?.getTime();
  }

  /** Shows a time. */
  seek(time: number, play: boolean): void {
    const begins = !this.active;
    this.active = true;
    this.playing = play;
    this.asked = this.progress = performance.now();
    this.firstPicture = null;
    this.tell('');
    show(this.element, true);
    if (begins) this.freeze(this.live);
    const spot = this.broken || this.halted ? undefined : this.find(time);
    this.target = spot?.time ?? time;
    if (spot) {
      if (!play) this.video.pause(); // before the jump: Chromium may show the next picture if it comes behind it
      this.jump(spot.position);
      this.run();
      if (spot.time > time + 1000) this.to.skipped(time, spot.time);
    } else this.attach(time);
    this.set(true);
  }

  /** Leaves the past. */
  leave(): void {
    this.active = this.playing = false;
    this.teardown();
    show(this.element, false);
    show(this.still, false);
    this.tell('');
    this.set(false);
  }

  play(): void {
    this.playing = true;
    this.progress = performance.now();
    if (this.active && this.broken) this.attach(this.at() ?? this.clock.now());
    this.run();
    this.to.changed();
  }

  pause(): void {
    this.playing = false;
    this.run();
    this.set(this.target !== undefined);
    this.to.changed();
  }

  speed(rate: number): void {
    this.rate = rate;
    this.run();
    this.to.changed();
  }

  /**
   * Shows the next picture, or with -1 the one before. frame is the time of one in s, if
   * playing has not told it.
   */
  step(by: 1 | -1, frame: number): void {
    this.pause();
    const length = this.lengths.length ? Math.min(...this.lengths) : frame;
    // The middle of the picture that is wanted: the times of pictures are not exact. Before the
    // picture of the last step or seek is told, the video is somewhere in it.
    this.jump(this.mediaTime !== undefined ? this.mediaTime + (by > 0 ? 1.5 : -0.5) * length : this.video.currentTime + by * length);
  }

  /** What the playlist that is played has of a time; undefined if there is no playlist yet. */
  has(time: number): Has | undefined { return this.hls && look(this.places(), time); }

  /** The time of the picture that the video is at, if it shows what was asked for. */
  time(): number | undefined {
    const { video } = this;
    if (!this.active || !this.hls || this.target !== undefined || video.seeking || video.readyState < 2) return undefined;
    return timeOf(this.places(), video.currentTime);
  }

  /** The time that the video is at, also while it waits for the picture. */
  position(): number | undefined { return timeOf(this.places(), this.video.currentTime); }

  /** Whether it was asked for a time, and waits for its picture. */
  waitsFor(time: number): boolean { return this.target !== undefined && Math.abs(this.target - time) < 200; }

  /** Plays at a rate, or with 0 stands. */
  drive(rate: number): void {
    this.playing = rate > 0;
    if (!this.playing && this.video.paused) return;
    if (this.playing && Math.abs(rate - this.video.playbackRate) > 0.01) this.rate = rate;
    if (!this.playing || this.video.paused || this.rate !== this.video.playbackRate) this.run();
  }

  /** Shows whether the picture is waited for. */
  wait(yes: boolean): void {
    if (yes !== this.waiting) this.set(yes);
  }

  /** Shows a text over the picture, or with '' none. */
  tell(says: string): void {
    this.failing = false;
    text(this.says, says);
    show(this.veil, !!says);
    if (says) this.set(false);
  }

  report(): PastReport {
    return {
      active: this.active, at: this.at() ?? null, playing: this.playing, waiting: this.waiting, rate: this.video.playbackRate,
      firstPictureMs: this.firstPicture, errors: [...this.errors],
    };
  }

  /** Moves the video. The picture that is shown is not that of its time until there is a new one. */
  private jump(position: number): void {
    this.mediaTime = undefined;
    this.video.currentTime = position;
  }

  private run(): void {
    const { video } = this;
    if (video.playbackRate !== this.rate) video.defaultPlaybackRate = video.playbackRate = this.rate;
    if (!this.playing) video.pause();
    else if (this.hls) void video.play().catch(() => undefined);
  }

  /** Where a time is, if the playlist that is played reaches so far. */
  private find(time: number) {
    const all = this.places();
    const first = all[0], last = all[all.length - 1];
    if (!first || !last || time < Math.min(...all.map((p) => p.time)) || time > last.time + 1000 * last.duration) return undefined;
    return locate(all, time);
  }

  private places(): Place[] {
    const all = this.hls?.latestLevelDetails?.fragments ?? [];
    return all.map((f) => ({ time: f.programDateTime ?? NaN, start: f.start, duration: f.duration, gap: !!f.gap }));
  }

  /** Makes the player anew. */
  attach(time: number): void {
    if (this.hls) this.freeze(this.video);
    this.teardown();
    this.broken = false;
    this.target = time;
    const mine = this.generation;
    this.lib().then((Lib) => {
      if (mine !== this.generation || !this.active) return;
      if (Lib) this.load(Lib, mine, time);
      else this.fail('This browser cannot show the past');
    }, () => { if (mine === this.generation) this.fail('The server does not answer', true); });
  }

  private load(Lib: typeof Hls, mine: number, time: number): void {
    const growing = new Growing(time, () => this.clock.now(), () => (this.guide ?? this).at() ?? time, () => !(this.guide ?? this).playing);
    const hls = this.hls = new Lib({
      pLoader: growingLoader(Lib, growing),
      fragLoadPolicy: { default: { ...Lib.DefaultConfig.fragLoadPolicy.default, errorRetry: untilItComes, timeoutRetry: untilItComes } },
      enableWorker: false,
      backBufferLength: 60,
      maxBufferLength: 20,
      maxMaxBufferLength: 60,
      liveDurationInfinity: true,
      maxLiveSyncPlaybackRate: 1,
      capLevelToPlayerSize: true,
      abrEwmaDefaultEstimate: 20e6,
    });
    const own = <T>(f: (data: T) => void) => (_: unknown, data: T) => { if (mine === this.generation) f(data); };
    hls.on(Lib.Events.FRAG_LOADING, own(({ frag }: FragLoadingData) => {
      this.loading = true;
      this.loaded.delete(frag.sn);
    }));
    hls.on(Lib.Events.FRAG_LOADED, own(({ frag }: FragLoadedData) => {
      this.loading = false;
      if (!this.broken) this.halted = undefined;
      this.loaded.add(frag.sn);
    }));
    hls.on(Lib.Events.ERROR, own((e: ErrorData) => this.failed(Lib, hls, e, time)));
    hls.once(Lib.Events.LEVEL_LOADED, own(() => this.opened(time)));
    hls.on(Lib.Events.FRAG_BUFFERED, own(() => this.aim()));
    hls.attachMedia(this.video);
    hls.loadSource(this.playlist + growing.query());
    this.run();
  }

  /** The playlist of a time is there: what does it hold? */
  private opened(time: number): void {
    if (this.failing) this.tell('');
    const spot = locate(this.places(), time);
    if (!spot) {
      this.to.nothing(time);
      return;
    }
    this.target = spot.time;
    if (spot.time > time + 1000) this.to.skipped(time, spot.time);
  }

  /** Sets the exact time, which is known when the footage is there. */
  private aim(): void {
    const spot = this.target === undefined ? undefined : this.find(this.target);
    if (!spot) return;
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= spot.position + 0.001 && spot.position < buffered.end(i) && Math.abs(currentTime - spot.position) > 0.001) this.jump(spot.position);
    }
  }

  /** Takes the time of each picture that is shown. */
  private everyPicture(): void {
    if (!('requestVideoFrameCallback' in this.video)) return;
    this.frame = this.video.requestVideoFrameCallback((_, { mediaTime }) => {
      const length = mediaTime - (this.mediaTime ?? mediaTime);
      if (this.playing && !this.video.seeking && length > 0.005 && length < 1) this.lengths.push(length);
      if (this.lengths.length > 30) this.lengths.shift();
      if (!this.video.seeking) this.mediaTime = mediaTime;
      this.shown();
      const time = timeOf(this.places(), mediaTime);
      if (this.active && time !== undefined) this.pictured(time);
      this.everyPicture();
    });
  }

  /** The picture that was asked for is there. */
  private shown(): void {
    if (!this.active || this.video.seeking || this.video.readyState < 2 || this.target === undefined) return;
    // A picture of the stream before may come late.
    const spot = this.find(this.target);
    if (!spot || Math.abs(this.video.currentTime - spot.position) > 0.5) return;
    this.firstPicture = Math.round(performance.now() - this.asked);
    this.target = undefined;
    show(this.still, false);
    this.set(false);
  }

  private failed(Lib: typeof Hls, hls: Hls, e: ErrorData, time: number): void {
    this.errors.push(failure(e));
    if (this.errors.length > 20) this.errors.shift();
    if (e.type === Lib.ErrorTypes.NETWORK_ERROR) this.loading = false;
    const code = e.response?.code, to = e.frag?.endProgramDateTime;
    // The last fragment of a playlist has expired: hls.js takes it for no gap.
    if ((code === 404 || code === 410) && to && !e.frag?.gap && !this.guide) this.halted = { until: 0, to };
    else if (!e.fatal) return;
    else if (code === 404 || code === 400) {
      if (this.failing) this.tell('');
      this.to.nothing(this.at() ?? time);
    } else if (code === 410) this.fail('This footage has expired');
    else if (code === 406 || e.details === Lib.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) this.fail('This browser cannot play it');
    else if (e.type === Lib.ErrorTypes.MEDIA_ERROR && performance.now() - this.recovered > patience) {
      this.recovered = performance.now();
      hls.recoverMediaError();
    } else if (e.type === Lib.ErrorTypes.NETWORK_ERROR && !this.guide && this.target === undefined && this.ahead() >= low) this.halted = { until: performance.now() + again };
    else this.fail('The server does not answer', true);
  }

  /** Says why nothing is shown. passes: it may be tried again. */
  private fail(says: string, passes = false): void {
    this.broken = true;
    this.halted = passes ? { until: performance.now() + again } : undefined;
    this.tell(says);
    this.failing = true;
  }

  /** Goes on after an error. What is in the buffer is played first. */
  private goOn(now: number, { until, to }: { until: number; to?: number }): void {
    const empty = this.broken || this.target !== undefined || this.playing && this.ahead() < low;
    if (empty && !this.broken) this.wait(true);
    if (now < until || !empty && to !== undefined) return;
    if (!empty) {
      this.halted = undefined;
      this.hls?.startLoad();
      return;
    }
    const at = this.at() ?? this.clock.now();
    this.progress = now;
    this.attach(to ?? at);
    this.set(true);
    if (to !== undefined && to > at + 1000) this.to.skipped(at, to);
  }

  /** Looks whether playback goes on. */
  private look(): void {
    const { hls, video } = this;
    if (!this.active || this.guide) return;
    const now = performance.now(), at = video.currentTime, moved = at !== this.last;
    this.last = at;
    if (moved && !video.seeking && this.playing) {
      this.progress = now;
      if (this.waiting && this.target === undefined) this.set(false);
    }
    if (this.halted) {
      this.goOn(now, this.halted);
      return;
    }
    const details = hls?.latestLevelDetails;
    if (!this.playing || !details || this.target !== undefined && now - this.progress < patience) return;
    const end = this.ahead() + at;
    const newest = details.fragments[details.fragments.length - 1]?.endProgramDateTime ?? 0;
    const rest = details.edge - (this.rate > 1 ? at : end);
    if (rest < Math.max(0.3, this.rate > 1 ? 2 * this.rate : 0) && this.clock.now() - newest < edge && (this.rate > 1 || now - this.progress > 700)) {
      this.to.caughtUp();
      return;
    }
    if (now - this.progress < 700) return;
    if (rest < 0.3 && newest) {
      this.progress = now;
      this.to.nothing(newest + 1000); // to the server the second in which it ends has footage
      return;
    }
    this.set(true);
    const next = onward(details.fragments.filter((f) => !f.gap).map((f) => f.start), details.edge, end);
    // A fragment that does not come is waited for: only what has no more pictures is passed over.
    const over = next !== undefined && details.fragments.some((f) => f.start < next && f.start + f.duration > end + 0.02 && (f.gap || this.loaded.has(f.sn)));
    if (over && !this.loading && this.ahead() < low) {
      this.progress = now;
      this.jump(next);
    } else if (now - this.progress > patience && (next !== undefined || this.target !== undefined)) {
      this.attach(this.at() ?? this.clock.now());
      this.progress = now;
    }
  }

  /** How many seconds are in the buffer behind the picture. */
  ahead(): number {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime <= buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  /** Keeps a picture over the video until there is the one that was asked for. */
  private freeze(from: HTMLVideoElement | undefined): void {
    if (!from?.videoWidth) return;
    this.still.width = from.videoWidth;
    this.still.height = from.videoHeight;
    this.still.getContext('2d')?.drawImage(from, 0, 0);
    show(this.still, true);
  }

  private teardown(): void {
    this.generation++;
    this.target = this.mediaTime = undefined;
    this.loading = false;
    this.loaded.clear();
    this.halted = undefined;
    this.last = -1;
    this.hls?.destroy();
    this.hls = undefined;
  }

  private set(waiting: boolean): void {
    this.waiting = waiting;
    show(this.spinner, waiting && this.veil.hidden);
    this.to.changed();
  }
}
