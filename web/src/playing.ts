// What the page knows of the player of a screen, whichever it is.

export type Mode = 'wall' | 'focus';
export type PlayerState = 'idle' | 'starting' | 'playing' | 'waiting' | 'retrying' | 'unsupported';

/** The state of a player in window.framelog. */
export interface Report {
  camera: string;
  rendition: string;
  mode: Mode;
  keyframes: boolean; // no other pictures are shown
  via: 'hls' | 'socket';
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

/** A player of one camera in one video element. */
export interface Playing {
  readonly state: PlayerState;
  /** Tells the player whether to play; 'keep' changes nothing. */
  want(w: 'yes' | 'keep' | 'no'): void;
  /** Shows keyframes alone, or all pictures. A player that cannot does nothing. */
  keyframes(only: boolean): void;
  /** Frees everything; the last picture stays. want('yes') starts again. */
  stop(): void;
  destroy(): void;
  /** Checks progress and speed. It is to be called once a second. */
  tick(): void;
  /** Seconds from camera to screen; null while unknown. */
  delay(): number | null;
  /** When the picture that is shown was taken, in ms since the epoch; null while unknown. */
  shown(): number | null;
  /** The names of what can be played, the best first: none before it is known. */
  qualities(): string[];
  /** Plays one of qualities, or with '' the best that the connection takes. */
  choose(quality: string): void;
  report(): Report;
}

export const drain = 15_000; // ms in which a player shows the rest of a camera that went away
export const patience = 8_000; // ms without progress before a player is built again

/** Shows the last picture of a video on the canvas over it. */
export function freeze(video: HTMLVideoElement, still: HTMLCanvasElement): void {
  const { videoWidth: w, videoHeight: h } = video;
  if (!w || !h) return;
  still.width = w;
  still.height = h;
  still.getContext('2d')?.drawImage(video, 0, 0, w, h);
  still.hidden = false;
}

/** Calls shown when the first picture is on the screen. */
export function whenShown(video: HTMLVideoElement, shown: () => void): void {
  if ('requestVideoFrameCallback' in video) video.requestVideoFrameCallback(shown);
  else shown();
}

/** Takes the source away from a video. */
export function unload(video: HTMLVideoElement): void {
  if (!video.hasAttribute('src')) return;
  video.removeAttribute('src');
  video.load();
}
