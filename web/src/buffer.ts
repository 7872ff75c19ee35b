// A media source to which parts are appended, one operation after the other.

type Step = { mime: string } | { append: Uint8Array<ArrayBuffer>; done: () => void } | { removeTo: number };

interface Globals {
  MediaSource?: typeof MediaSource;
  ManagedMediaSource?: typeof MediaSource;
}

/** The browser's class: Safari on phones has the managed one alone. */
export const mediaSource = (): typeof MediaSource | undefined => {
  const g = globalThis as Globals;
  return g.ManagedMediaSource ?? g.MediaSource;
};

/** Whether the browser plays a codec of the log. */
export const playsCodec = (codec: string): boolean => codec !== 'mjpeg' && (codec !== 'h265' || plays('video/mp4; codecs="hvc1.1.6.L120.90"'));

/** Whether the browser plays this. */
export const plays = (mime: string): boolean => mediaSource()?.isTypeSupported(mime) ?? false;

export class Buffer {
  private readonly steps: Step[] = [];
  private source: SourceBuffer | undefined;
  private open = false;
  private ended = false;
  private since = 0; // when the first step became the first

  /**
   * Makes a buffer for a media source. full is called when the browser takes no
   * more; failed, when it takes nothing any more.
   */
  constructor(private readonly media: MediaSource, private readonly full: () => number | undefined, private readonly failed: (why: string) => void) {}

  /** The media source is open: what waits is done now. */
  opened(): void {
    this.open = true;
    this.run();
  }

  /** What comes next is of this type. */
  type(mime: string): void { this.add({ mime }); }

  /** Appends bytes, and calls done when they are in the buffer. */
  append(data: Uint8Array<ArrayBuffer>, done: () => void): void { this.add({ append: data, done }); }

  /** Removes what lies before a time. */
  removeTo(time: number): void {
    if (!this.steps.some((s) => 'removeTo' in s)) this.add({ removeTo: time });
  }

  /** How many steps wait. */
  waiting(): number { return this.steps.length; }

  /** Since when a step waits and none has been done, by performance.now(); 0: none waits. */
  waits(): number { return this.steps.length && this.since; }

  /** The ranges that are in the buffer. */
  ranges(): { start: number; end: number }[] {
    if (!this.source || this.ended) return [];
    const b = this.source.buffered;
    return Array.from({ length: b.length }, (_, i) => ({ start: b.start(i), end: b.end(i) }));
  }

  /** Does nothing any more. The steps that wait count as done. */
  end(): void {
    this.ended = true;
    for (const s of this.steps.splice(0)) if ('done' in s) s.done();
  }

  private add(s: Step): void {
    if (this.ended) {
      if ('done' in s) s.done();
      return;
    }
    this.steps.push(s);
    if (this.steps.length > 1) return;
    this.since = performance.now();
    this.run();
  }

  /** Does the first step, and those behind it. */
  private run(): void {
    while (this.steps.length && this.open && !this.ended) {
      const s = this.steps[0]!;
      try {
        if ('mime' in s) this.setType(s.mime);
        else if ('removeTo' in s) this.source?.remove(0, s.removeTo);
        else if (this.source) this.source.appendBuffer(s.append);
        else throw new Error('bytes before their type');
      } catch (err) {
        this.refused(err);
        return;
      }
      if (this.source?.updating) return; // updateend goes on
      this.finish();
    }
  }

  private finish(): void {
    const s = this.steps.shift();
    this.since = performance.now();
    if (s && 'done' in s) s.done();
  }

  private setType(mime: string): void {
    if (this.source) {
      this.source.changeType(mime);
      return;
    }
    this.source = this.media.addSourceBuffer(mime);
    this.source.addEventListener('updateend', () => {
      if (this.ended) return;
      this.finish();
      this.run();
    });
    this.source.addEventListener('error', () => this.failed('the browser does not take the footage'));
  }

  /** Makes room once if the browser takes no more. */
  private refused(err: unknown): void {
    const to = err instanceof DOMException && err.name === 'QuotaExceededError' ? this.full() : undefined;
    if (to === undefined || !this.source) {
      this.failed(String(err));
      return;
    }
    this.steps.unshift({ removeTo: to });
    this.run();
  }
}
