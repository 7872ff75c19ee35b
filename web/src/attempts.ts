// What the players of one camera share: they are started, watched, and started again when they
// break.
import { backoff, type Clock } from './pace';
import { drain, freeze, unload, whenShown, type PlayerState, type Report } from './playing';

const errorsKept = 20;
const unseenFrom = 3_000; // ms without a look after which the page counts as not seen meanwhile

export abstract class Attempts {
  state: PlayerState = 'idle';

  protected generation = 0; // of the attached source; late callbacks compare it
  protected timer: ReturnType<typeof setTimeout> | undefined; // until the next attempt
  protected wanted = false;
  protected played = false; // this attempt has shown a picture
  protected goodSince = 0; // when the picture began to move; 0: it stands
  protected begunAt = 0;
  protected lastProgress = 0; // when the picture moved
  protected stalls = 0;
  protected seenFrom = 0; // since when the page is seen and its timers run
  private attempt = 0; // how often it broke without playing well in between
  private awaySince = 0;
  private lastTime = -1;
  private looked = -Infinity; // when tick was called
  private rebuilds = 0;
  private firstPicture: number | null = null;
  private readonly errors: string[] = [];

  constructor(
    readonly camera: string,
    protected readonly video: HTMLVideoElement,
    private readonly still: HTMLCanvasElement, // over the video: its last picture
    protected readonly clock: Clock,
    protected readonly changed: () => void,
  ) {
    video.playsInline = true;
    video.disableRemotePlayback = true; // or no browser with a managed source plays it
    video.addEventListener('playing', this.onPlaying);
  }

  /** Attaches a source; begun has been called. */
  protected abstract attach(mine: number): void;
  /** Frees what attach has made. */
  protected abstract free(): void;
  /** Looks once a second at a player that is wanted; moved: the picture has moved. */
  protected abstract watch(now: number, moved: boolean): void;
  /** When the picture that is shown was taken, in ms since the epoch; null while unknown. */
  abstract shown(): number | null;

  /** It is wanted again, and still plays. */
  protected resumed(): void { /* nothing to do */ }

  /** The first picture of this attempt is on the screen. */
  protected firstShown(): void { /* nothing to do */ }

  want(w: 'yes' | 'keep' | 'no'): void {
    if (w === 'yes' && !this.wanted) {
      this.wanted = true;
      this.attempt = 0;
      this.lastProgress = performance.now();
      if (this.state === 'idle' || this.timer) this.begin();
      else this.resumed();
    } else if (w === 'no' && this.wanted) {
      this.wanted = false;
      this.awaySince = performance.now();
      if (this.timer) this.stop();
    }
  }

  stop(): void {
    this.wanted = false;
    this.teardown();
    this.set('idle');
  }

  destroy(): void {
    this.stop();
    this.video.removeEventListener('playing', this.onPlaying);
  }

  tick(): void {
    const now = performance.now(), at = this.video.currentTime;
    const moved = at !== this.lastTime;
    this.lastTime = at;
    if (document.hidden || now - this.looked > unseenFrom) this.seenFrom = now;
    this.looked = now;
    if (!this.wanted) {
      if (this.state !== 'idle' && now - this.awaySince > drain) this.stop();
      else if (this.state === 'playing' && !moved) this.set('waiting');
    } else if (this.state !== 'idle' && !this.timer) this.watch(now, moved);
  }

  delay(): number | null {
    if (this.state === 'idle' || this.state === 'retrying') return null;
    const shown = this.shown();
    return shown === null ? null : (this.clock.now() - shown) / 1000;
  }

  /** Notes whether the picture moves. */
  protected progress(now: number, moved: boolean): void {
    if (moved) {
      this.advanced(now);
      if (this.played) this.set('playing');
    } else {
      this.goodSince = 0;
      if (this.played && now - this.lastProgress > 1500) this.set('waiting');
    }
  }

  /** Notes that the picture has moved. */
  protected advanced(now: number): void {
    this.lastProgress = now;
    this.goodSince ||= now;
    if (now - this.goodSince > 10_000) this.attempt = 0;
  }

  /** What both tell alike. */
  protected seen() {
    const { video } = this, q = video.getVideoPlaybackQuality?.();
    return {
      camera: this.camera, state: this.state, currentTime: video.currentTime, delay: this.delay(),
      width: video.videoWidth, height: video.videoHeight, rate: video.playbackRate,
      frames: q?.totalVideoFrames ?? 0, dropped: q?.droppedVideoFrames ?? 0,
      stalls: this.stalls, rebuilds: this.rebuilds, firstPictureMs: this.firstPicture, errors: [...this.errors],
    } satisfies Partial<Report>;
  }

  protected begin(): void {
    this.teardown();
    this.begunAt = this.lastProgress = performance.now();
    this.goodSince = 0;
    this.lastTime = -1;
    this.set('starting');
    this.attach(++this.generation);
    if ('requestVideoFrameCallback' in this.video) this.onPlaying(); // the first picture is there before it plays
  }

  /** Plays, without sound if the browser refuses it before somebody has used the page. */
  protected play(): void {
    const { video } = this;
    video.play().catch((err: unknown) => {
      if (video.muted || !(err instanceof DOMException) || err.name !== 'NotAllowedError') return;
      video.muted = true;
      void video.play().catch(() => undefined);
    });
  }

  /** Keeps an error for the report. */
  protected keep(error: string): void {
    this.errors.push(error);
    if (this.errors.length > errorsKept) this.errors.shift();
  }

  /** Begins again, later with each failure. */
  protected rebuild(why: string, after = backoff(this.attempt++)): void {
    if (this.timer) return;
    this.rebuilds++;
    this.keep(`made anew: ${why}`);
    this.teardown();
    if (!this.wanted) {
      this.set('idle');
      return;
    }
    this.set('retrying');
    this.again(after);
  }

  protected again(ms: number): void {
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.wanted) this.begin();
    }, ms);
  }

  protected teardown(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.generation++;
    if (this.played) freeze(this.video, this.still);
    this.played = false;
    this.free();
    unload(this.video);
  }

  protected readonly onPlaying = () => {
    const mine = this.generation;
    whenShown(this.video, () => {
      if (mine !== this.generation || this.state === 'idle' || this.played) return;
      this.played = true;
      this.firstPicture ??= Math.round(performance.now() - this.begunAt);
      this.still.hidden = true;
      this.set('playing');
      this.firstShown();
    });
  };

  protected set(s: PlayerState): void {
    if (this.state === s) return;
    this.state = s;
    this.changed();
  }
}
