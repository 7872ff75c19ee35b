// One camera in one video element. A player is started, watched, and started again
// when it breaks. Each has at most one hls.js instance and one timer.
import type Hls from 'hls.js';
import type { ErrorData, Loader, LoaderCallbacks, LoaderConfiguration, PlaylistLoaderContext } from 'hls.js';
import { Attempts } from './attempts';
import { bitrate, failure } from './format';
import { Clock, onward, pace, startBehindGap, wallLatency } from './pace';
import { patience, type Mode, type Playing, type Report } from './playing';
import { onlyGaps, plain, segmentLength } from './playlist';
import { renditionOf } from './protocol';

const unsupportedRetry = 60_000;
const cushion = 2.5; // seconds that the wall gathers before it goes on after running dry
const longestHold = 8_000;

const longSegment = 4.5; // seconds
const mostLowLatencyTiles = 2;
const lowLatencyTiles = new Set<Player>();

let loading: Promise<typeof Hls | undefined> | undefined;

/** Resolves to hls.js, or to undefined if the browser plays HLS by itself. */
export function library(): Promise<typeof Hls | undefined> {
  if (!hasMediaSource()) return Promise.resolve(undefined);
  loading ??= import('hls.js/light').then((m) => (m.default.isSupported() ? m.default : undefined), (err) => {
    loading = undefined; // the server was away: the next player asks again (older browsers give it the same error)
    throw err;
  });
  return loading;
}

function hasMediaSource(): boolean {
  return 'MediaSource' in globalThis || 'ManagedMediaSource' in globalThis;
}

export class Player extends Attempts implements Playing {
  private hls: Hls | undefined;
  private lastSeek = 0;
  private lastStep = 0;
  private loading = false; // hls.js waits for media
  private lastLoad = 0;
  private lastRecover = 0;
  private heldSince = 0; // when the tile began to gather a cushion; 0: it does not
  private lowLatency: boolean; // parts are played, as soon as they are there
  private fatals = 0;
  private quality = ''; // the name of the level to play, '' for the best

  constructor(camera: string, private readonly url: string, readonly mode: Mode, video: HTMLVideoElement, still: HTMLCanvasElement, clock: Clock, changed: () => void) {
    super(camera, video, still, clock, changed);
    this.lowLatency = mode === 'focus';
    video.addEventListener('ended', this.onEnded);
    video.addEventListener('error', this.onVideoError);
  }

  override destroy(): void {
    super.destroy();
    this.video.removeEventListener('ended', this.onEnded);
    this.video.removeEventListener('error', this.onVideoError);
  }

  protected override watch(now: number, moved: boolean): void {
    if (this.heldSince) {
      if (this.ahead() < cushion && now - this.heldSince < longestHold) return;
      this.heldSince = 0;
      this.lastProgress = now;
    }
    this.progress(now, moved);
    if (!moved) {
      if (this.played && now - this.lastProgress >= 900) this.stepOver(now);
      if (!this.played) this.startAgain(now);
      // The first picture may wait for egress to begin reading.
      if (now - this.lastProgress > (this.played ? patience : 2 * patience)) {
        this.rebuild('no progress');
        return;
      }
    }
    if (this.video.paused && !this.video.ended) this.play();
    this.keepPace(now);
  }

  protected override resumed(): void { this.hold(); }

  /**
   * Pauses a tile whose buffer is empty until it has a cushion. A tile plays some
   * seconds behind the live edge, so that nothing stalls it. After its camera was
   * away it would go on at the edge, and stall again with every segment.
   */
  private hold(): void {
    if (this.lowLatency || this.heldSince || !this.played || this.ahead() > cushion) return;
    this.heldSince = performance.now();
    this.video.pause();
    this.set('waiting');
  }

  shown(): number | null {
    if (!this.played) return null;
    return (this.hls ? this.hls.playingDate : startDate(this.video))?.getTime() ?? null;
  }

  keyframes(): void { /* HLS has whole segments */ }

  qualities(): string[] { return this.hls ? names(this.hls.levels).reverse() : []; }

  choose(quality: string): void {
    this.quality = quality;
    // What is in the buffer is played first: so the picture does not stop.
    if (this.hls) this.hls.loadLevel = names(this.hls.levels).indexOf(quality);
  }

  report(): Report {
    return {
      ...this.seen(), rendition: renditionOf(this.url), mode: this.mode, keyframes: false, via: 'hls',
      buffered: this.ahead(), latency: this.hls?.latency ?? null, fatalErrors: this.fatals,
    };
  }

  protected override attach(mine: number): void {
    this.heldSince = 0;
    this.lastLoad = 0;
    library().then((Lib) => {
      if (mine !== this.generation || !this.wanted) return;
      if (Lib) this.load(Lib, mine);
      else if (this.video.canPlayType('application/vnd.apple.mpegurl')) {
        this.video.src = this.url;
        this.play();
      } else this.unsupported('this browser plays no HLS');
    }, (err) => { if (mine === this.generation) this.rebuild(`hls.js: ${String(err)}`); });
  }

  private load(Lib: typeof Hls, mine: number): void {
    const focus = this.mode === 'focus';
    const hls = new Lib({
      lowLatencyMode: focus,
      enableWorker: false, // fragmented MP4 needs no transmuxing
      backBufferLength: 4,
      maxBufferLength: focus ? 10 : 15,
      maxMaxBufferLength: 30,
      liveDurationInfinity: true,
      capLevelToPlayerSize: true,
      liveSyncOnStallIncrease: focus ? 0.3 : 1,
      abrEwmaDefaultEstimate: 20e6, // begins with the best picture
      maxLiveSyncPlaybackRate: 1, // keepPace does it, for plain HLS too
      ...(focus ? {} : { pLoader: plainLoader(Lib, (playlist) => this.takesLowLatency(playlist) || onlyGaps(playlist)) }),
    });
    this.hls = hls;
    hls.on(Lib.Events.ERROR, (_, e) => { if (mine === this.generation) this.onError(Lib, hls, e); });
    this.loading = false;
    hls.on(Lib.Events.FRAG_LOADING, () => {
      this.loading = true;
      this.lastLoad = performance.now();
    });
    hls.on(Lib.Events.FRAG_LOADED, () => { this.loading = false; });
    let set = 0; // the target that was set last: hls.js raises its own when it stalls
    hls.on(Lib.Events.LEVEL_UPDATED, (_, { details }) => {
      if (mine !== this.generation || focus) return;
      const target = this.lowLatency && details.partHoldBack || wallLatency(details.fragments.slice(-3).map((f) => f.duration), details.holdBack);
      if (target !== set) hls.targetLatency = set = target;
    });
    hls.on(Lib.Events.MANIFEST_PARSED, () => {
      if (mine !== this.generation) return;
      if (this.quality) this.choose(this.quality);
      this.changed();
      this.play();
    });
    hls.attachMedia(this.video);
    hls.loadSource(this.url);
  }

  /**
   * Decides whether a tile plays a camera's parts. With whole segments and a long
   * keyframe interval it would be half a minute behind. Only a few tiles may: each has
   * a request that waits at the server, and a browser has six connections.
   */
  private takesLowLatency(playlist: string): boolean {
    if (!this.lowLatency && (onlyGaps(playlist) || segmentLength(playlist) >= longSegment) && lowLatencyTiles.size < mostLowLatencyTiles) {
      lowLatencyTiles.add(this);
      this.lowLatency = true;
      if (this.hls) this.hls.lowLatencyMode = true;
    }
    return this.lowLatency;
  }

  private onError(Lib: typeof Hls, hls: Hls, e: ErrorData): void {
    const note = failure(e);
    if (e.type === Lib.ErrorTypes.NETWORK_ERROR) this.loading = false;
    this.keep(note);
    if (e.details === Lib.ErrorDetails.BUFFER_STALLED_ERROR && this.played && this.wanted && !e.fatal) {
      if (!this.heldSince) this.stalls++;
      this.hold();
      return;
    }
    if (!e.fatal) return;
    if (!this.wanted) {
      this.stop();
      return;
    }
    this.fatals++;
    const codecs: string[] = [Lib.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR, Lib.ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR, Lib.ErrorDetails.BUFFER_ADD_CODEC_ERROR];
    if (codecs.includes(e.details) || e.response?.code === 406) {
      this.unsupported(note);
    } else if (e.type === Lib.ErrorTypes.MEDIA_ERROR && performance.now() - this.lastRecover > 10_000) {
      this.lastRecover = performance.now();
      hls.recoverMediaError();
    } else this.rebuild(note);
  }

  private readonly onEnded = () => {
    if (this.wanted) this.rebuild('playback ended');
    else this.stop();
  };

  private readonly onVideoError = () => {
    // hls.js reports its own errors.
    if (!this.hls && this.state !== 'idle' && this.video.src) this.rebuild(`video error ${this.video.error?.code ?? ''}`);
  };

  private unsupported(why: string): void {
    this.keep(why);
    this.teardown();
    this.set('unsupported');
    this.again(unsupportedRetry);
  }

  protected override free(): void {
    this.hls?.destroy();
    this.hls = undefined;
    if (this.mode === 'wall') this.lowLatency = false;
    lowLatencyTiles.delete(this);
  }

  private keepPace(now: number): void {
    const { hls, video } = this;
    const target = hls?.targetLatency;
    if (!hls || !target || this.state !== 'playing') return;
    const p = pace(hls.latency, target, this.ahead(), this.lowLatency);
    if (p.seek && hls.liveSyncPosition && now - this.lastSeek > 10_000) {
      this.lastSeek = now;
      video.currentTime = hls.liveSyncPosition;
    }
    if (video.playbackRate !== p.rate) video.playbackRate = p.rate;
  }

  /** Goes on with the next fragment if hls.js does not by itself. */
  private stepOver(now: number): void {
    const details = this.hls?.latestLevelDetails;
    const ahead = this.ahead();
    if (!details || ahead > 0.5 || this.loading || now - this.lastLoad < 900 || now - this.lastStep < 2000) return;
    const starts = details.fragments.filter((f) => !f.gap).map((f) => f.start);
    if (details.fragmentHint) starts.push(details.fragmentHint.start);
    const to = onward(starts, details.edge, this.video.currentTime + ahead);
    if (to === undefined) return;
    this.lastStep = now;
    this.video.currentTime = to;
  }

  /** Starts again if hls.js loads nothing: it stops where two segments of a gap follow each other. */
  private startAgain(now: number): void {
    const { hls, video } = this;
    const details = hls?.latestLevelDetails;
    if (!hls || !details || !this.lastLoad || this.loading || video.buffered.length || now - this.lastLoad < 900) return;
    const to = startBehindGap(details.fragments, hls.liveSyncPosition ?? details.edge);
    if (to === undefined) return;
    this.lastLoad = now;
    hls.startLoad(to);
  }

  private ahead(): number {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime <= buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }
}

/**
 * A loader that removes the tags of low latency from a playlist, unless `whole`
 * is true for it. With them hls.js asks for the next playlist in advance, also when
 * lowLatencyMode is off. Each such request waits at the server, and those of a wall
 * take all of the browser's connections.
 */
function plainLoader(Lib: typeof Hls, whole: (playlist: string) => boolean): new (c: ConstructorParameters<typeof Lib.DefaultConfig.loader>[0]) => Loader<PlaylistLoaderContext> {
  const Base = Lib.DefaultConfig.loader as unknown as new (c: unknown) => Loader<PlaylistLoaderContext>;
  return class extends Base {
    override load(context: PlaylistLoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<PlaylistLoaderContext>): void {
      const { onSuccess } = callbacks;
      callbacks.onSuccess = (response, ...rest) => {
        if (typeof response.data === 'string' && !whole(response.data)) response.data = plain(response.data);
        onSuccess(response, ...rest);
      };
      super.load(context, config, callbacks);
    }
  };
}

/** The names of levels: "1080p", and with the bit rate where several have that height. */
function names(levels: { height: number; bitrate: number }[]): string[] {
  return levels.map((l) => {
    const name = l.height ? `${l.height}p` : bitrate(l.bitrate);
    return levels.some((x) => x !== l && x.height === l.height) && l.height ? `${name}, ${bitrate(l.bitrate)}` : name;
  });
}

/** The wall-clock time of the picture that Safari's own player shows. */
function startDate(video: HTMLVideoElement): Date | null {
  const start = (video as HTMLVideoElement & { getStartDate?: () => Date }).getStartDate?.();
  return start && !Number.isNaN(start.getTime()) ? new Date(start.getTime() + video.currentTime * 1000) : null;
}
