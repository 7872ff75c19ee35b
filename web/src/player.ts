// One camera in one video element. A player is started, watched, and started again
// when it breaks. Each has at most one hls.js instance and one timer.
import type Hls from 'hls.js';
import type { ErrorData, Loader, LoaderCallbacks, LoaderConfiguration, PlaylistLoaderContext } from 'hls.js';
import { bitrate, failure } from './format';
import { Clock, backoff, onward, pace, startBehindGap, wallLatency } from './pace';
import { onlyGaps, plain, segmentLength } from './playlist';

export type Mode = 'wall' | 'focus';
export type PlayerState = 'idle' | 'starting' | 'playing' | 'waiting' | 'retrying' | 'unsupported';

/** The state of a player in window.framelog. */
export interface Report {
  camera: string;
  mode: Mode;
  state: PlayerState;
  currentTime: number;
  buffered: number; // seconds ahead
  latency: number | null; // seconds behind the live edge
  delay: number | null; // seconds from camera to screen
  width: number;
  height: number;
  rate: number;
  frames: number;
  dropped: number;
  stalls: number; // while the camera was live and playback had begun
  fatalErrors: number;
  rebuilds: number;
  firstPictureMs: number | null;
  errors: string[]; // the last 20
}

const drain = 15_000; // ms in which a player shows the rest of a camera that went away
const patience = 8_000; // ms without progress before a player is built again
const unsupportedRetry = 60_000;
const cushion = 2.5; // seconds that the wall gathers before it goes on after running dry
const longestHold = 8_000;

const longSegment = 4.5; // seconds
const mostLowLatencyTiles = 2;
const lowLatencyTiles = new Set<Player>();

let loading: Promise<typeof Hls | undefined> | undefined;

/** Resolves to hls.js, or to undefined if the browser plays HLS by itself. */
function library(): Promise<typeof Hls | undefined> {
  if (!hasMediaSource()) return Promise.resolve(undefined);
  loading ??= import('hls.js/light').then((m) => (m.default.isSupported() ? m.default : undefined), (err) => {
    loading = undefined; // the server was away: the next player asks again (older browsers give it the same error)
    throw err;
  });
  return loading;
}

library().catch(() => undefined); // loads while the page asks for the cameras

function hasMediaSource(): boolean {
  return 'MediaSource' in globalThis || 'ManagedMediaSource' in globalThis;
}

export class Player {
  state: PlayerState = 'idle';

  private hls: Hls | undefined;
  private attempt = 0; // how often it broke without playing well in between
  private generation = 0; // of the attached hls.js or source; late callbacks compare it
  private timer: ReturnType<typeof setTimeout> | undefined;
  private wanted = false;
  private awaySince = 0;
  private begunAt = 0;
  private goodSince = 0;
  private lastTime = -1;
  private lastProgress = 0;
  private lastSeek = 0;
  private lastStep = 0;
  private loading = false; // hls.js waits for media
  private lastLoad = 0;
  private lastRecover = 0;
  private heldSince = 0; // when the tile began to gather a cushion; 0: it does not
  private lowLatency: boolean; // parts are played, as soon as they are there
  private played = false; // this attempt has shown a picture
  private stalls = 0;
  private fatals = 0;
  private rebuilds = 0;
  private firstPicture: number | null = null;
  private readonly errors: string[] = [];
  private quality = ''; // the name of the level to play, '' for the best

  constructor(
    readonly camera: string,
    private readonly url: string,
    readonly mode: Mode,
    private readonly video: HTMLVideoElement,
    private readonly still: HTMLCanvasElement, // over the video: its last picture
    private readonly clock: Clock,
    private readonly changed: () => void,
  ) {
    this.lowLatency = mode === 'focus';
    video.muted = true;
    video.playsInline = true;
    video.disableRemotePlayback = true;
    video.addEventListener('ended', this.onEnded);
    video.addEventListener('error', this.onVideoError);
    video.addEventListener('playing', this.onPlaying);
  }

  /** Tells the player whether to play; 'keep' changes nothing. */
  want(w: 'yes' | 'keep' | 'no'): void {
    if (w === 'yes' && !this.wanted) {
      this.wanted = true;
      this.attempt = 0;
      this.lastProgress = performance.now();
      if (this.state === 'idle' || this.timer) this.begin();
      else this.hold();
    } else if (w === 'no' && this.wanted) {
      this.wanted = false;
      this.awaySince = performance.now();
      if (this.timer) this.stop();
    }
  }

  /** Frees everything; the last picture stays. want('yes') starts again. */
  stop(): void {
    this.wanted = false;
    this.teardown();
    this.set('idle');
  }

  destroy(): void {
    this.stop();
    this.video.removeEventListener('ended', this.onEnded);
    this.video.removeEventListener('error', this.onVideoError);
    this.video.removeEventListener('playing', this.onPlaying);
  }

  /** Checks progress and speed. It is to be called once a second. */
  tick(): void {
    const now = performance.now();
    if (!this.wanted) {
      if (this.state !== 'idle' && now - this.awaySince > drain) this.stop();
      else if (this.state === 'playing' && this.video.currentTime === this.lastTime) this.set('waiting');
      this.lastTime = this.video.currentTime;
      return;
    }
    if (this.state === 'idle' || this.timer) return;
    const at = this.video.currentTime;
    if (this.heldSince) {
      if (this.ahead() < cushion && now - this.heldSince < longestHold) return;
      this.heldSince = 0;
      this.lastProgress = now;
    }
    if (at !== this.lastTime) {
      this.lastTime = at;
      this.lastProgress = now;
      if (this.played) this.set('playing');
      if (!this.goodSince) this.goodSince = now;
      if (now - this.goodSince > 10_000) this.attempt = 0;
    } else {
      this.goodSince = 0;
      if (this.played && now - this.lastProgress > 1500) this.set('waiting');
      if (this.played && now - this.lastProgress >= 900) this.stepOver(now);
      if (!this.played) this.startAgain(now);
      // The first picture may wait for egress to begin reading.
      if (now - this.lastProgress > (this.played ? patience : 2 * patience)) {
        this.rebuild('no progress');
        return;
      }
    }
    if (this.video.paused && !this.video.ended) void this.video.play().catch(() => undefined);
    this.keepPace(now);
  }

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

  /** Seconds from camera to screen; null while unknown. */
  delay(): number | null {
    if (this.state === 'idle' || this.state === 'retrying') return null;
    const shown = this.shown();
    return shown === null ? null : (this.clock.now() - shown) / 1000;
  }

  /** When the picture that is shown was taken, in ms since the epoch; null while unknown. */
  shown(): number | null {
    if (!this.played) return null;
    return (this.hls ? this.hls.playingDate : startDate(this.video))?.getTime() ?? null;
  }

  /** The names of what can be played, the best first: none before it is known. */
  qualities(): string[] { return this.hls ? names(this.hls.levels).reverse() : []; }

  /** Plays one of qualities, or with '' the best that the connection takes. */
  choose(quality: string): void {
    this.quality = quality;
    // What is in the buffer is played first: so the picture does not stop.
    if (this.hls) this.hls.loadLevel = names(this.hls.levels).indexOf(quality);
  }

  report(): Report {
    const q = this.video.getVideoPlaybackQuality?.();
    return {
      camera: this.camera, mode: this.mode, state: this.state,
      currentTime: this.video.currentTime, buffered: this.ahead(),
      latency: this.hls?.latency ?? null, delay: this.delay(),
      width: this.video.videoWidth, height: this.video.videoHeight, rate: this.video.playbackRate,
      frames: q?.totalVideoFrames ?? 0, dropped: q?.droppedVideoFrames ?? 0,
      stalls: this.stalls, fatalErrors: this.fatals, rebuilds: this.rebuilds,
      firstPictureMs: this.firstPicture, errors: [...this.errors],
    };
  }

  private begin(): void {
    this.teardown();
    const mine = ++this.generation;
    this.played = false;
    this.heldSince = 0;
    this.begunAt = this.lastProgress = performance.now();
    this.goodSince = 0;
    this.lastTime = -1;
    this.lastLoad = 0;
    this.set('starting');
    library().then((Lib) => {
      if (mine !== this.generation || !this.wanted) return;
      if (Lib) this.attach(Lib, mine);
      else if (this.video.canPlayType('application/vnd.apple.mpegurl')) {
        this.video.src = this.url;
        void this.video.play().catch(() => undefined);
      } else this.unsupported('this browser plays no HLS');
    }, (err) => { if (mine === this.generation) this.rebuild(`hls.js: ${String(err)}`); });
  }

  private attach(Lib: typeof Hls, mine: number): void {
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
      void this.video.play().catch(() => undefined);
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

  /** Keeps an error for the report. */
  private keep(error: string): void {
    this.errors.push(error);
    if (this.errors.length > 20) this.errors.shift();
  }

  private readonly onEnded = () => {
    if (this.wanted) this.rebuild('playback ended');
    else this.stop();
  };

  private readonly onVideoError = () => {
    // hls.js reports its own errors.
    if (!this.hls && this.state !== 'idle' && this.video.src) this.rebuild(`video error ${this.video.error?.code ?? ''}`);
  };

  private readonly onPlaying = () => {
    const mine = this.generation;
    const shown = () => {
      if (mine !== this.generation || this.state === 'idle' || this.played) return;
      this.played = true;
      this.firstPicture ??= Math.round(performance.now() - this.begunAt);
      this.still.hidden = true;
      this.set('playing');
    };
    if ('requestVideoFrameCallback' in this.video) this.video.requestVideoFrameCallback(shown);
    else shown();
  };

  private unsupported(why: string): void {
    this.keep(why);
    this.teardown();
    this.set('unsupported');
    this.again(unsupportedRetry);
  }

  private rebuild(why: string): void {
    if (this.timer) return;
    this.rebuilds++;
    this.keep(`made anew: ${why}`);
    this.teardown();
    if (!this.wanted) {
      this.set('idle');
      return;
    }
    this.set('retrying');
    this.again(backoff(this.attempt++));
  }

  private again(ms: number): void {
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.wanted) this.begin();
    }, ms);
  }

  private teardown(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.generation++;
    this.freeze();
    this.hls?.destroy();
    this.hls = undefined;
    if (this.mode === 'wall') this.lowLatency = false;
    lowLatencyTiles.delete(this);
    if (this.video.hasAttribute('src')) {
      this.video.removeAttribute('src');
      this.video.load();
    }
  }

  /** Shows the last picture while there is no video. */
  private freeze(): void {
    const { videoWidth: w, videoHeight: h } = this.video;
    if (!this.played || !w || !h) return;
    this.still.width = w;
    this.still.height = h;
    this.still.getContext('2d')?.drawImage(this.video, 0, 0, w, h);
    this.still.hidden = false;
    this.played = false;
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

  private set(s: PlayerState): void {
    if (this.state === s) return;
    this.state = s;
    this.changed();
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
