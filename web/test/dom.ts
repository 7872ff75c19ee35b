// As much of a browser as the players and the wall touch. Nothing is drawn, and no video plays.

class Element extends EventTarget {
  hidden = false;
  id = '';
  className = '';
  textContent = '';
  title = '';
  tabIndex = 0;
  clientWidth = 320;
  readonly dataset: Record<string, string> = {};
  readonly style: Record<string, string> = {};
  readonly attributes = new Map<string, string>();
  children: unknown[] = [];
  readonly classList = { toggle: () => false, add: () => undefined };
  // Of a video.
  src = '';
  currentTime = 0;
  paused = true;
  muted = false;
  volume = 1;
  playbackRate = 1;
  videoWidth = 0;
  videoHeight = 0;
  readonly buffered = { length: 0 };
  /** The browser plays sound only after somebody has used the page. */
  silentOnly = false;

  constructor(readonly tag: string) { super(); }

  play(): Promise<void> {
    return this.silentOnly && !this.muted ? Promise.reject(new DOMException('use the page first', 'NotAllowedError')) : Promise.resolve();
  }

  pause(): void { /* it never plays */ }
  load(): void { /* there is nothing */ }
  canPlayType(): string { return 'maybe'; }
  append(...all: unknown[]): void { this.children.push(...all); }
  replaceChildren(...all: unknown[]): void { this.children = all; }
  insertBefore(e: unknown): void { this.children.push(e); }
  remove(): void { /* nobody looks */ }
  focus(): void { /* nobody looks */ }
  hasAttribute(name: string): boolean { return this.attributes.has(name); }
  removeAttribute(name: string): void { this.attributes.delete(name); }
  toggleAttribute(name: string, on: boolean): void { if (name === 'hidden') this.hidden = on; }

  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
    if (name === 'id') this.id = value;
  }
}

/** A media source that takes everything, and keeps nothing. */
export class Media extends EventTarget {
  static last: Media | undefined; // that a video has got
  static isTypeSupported(): boolean { return true; }
  duration = 0;
  addSourceBuffer(): object { return { buffered: { length: 0 }, addEventListener: () => undefined, appendBuffer: () => undefined, changeType: () => undefined }; }
}

/** An IntersectionObserver that sees what it is told to see. */
export class Sight {
  static last: Sight | undefined;
  constructor(private readonly told: (entries: { target: unknown; isIntersecting: boolean }[]) => void) { Sight.last = this; }
  observe(): void { /* it is told */ }
  unobserve(): void { /* it is told */ }

  /** Elements with these ids come into sight, or leave it. */
  see(ids: string[], isIntersecting = true): void { this.told(ids.map((id) => ({ target: { id }, isIntersecting }))); }
}

/** Puts it in place. */
export function browser(): void {
  const document = Object.assign(new EventTarget(), {
    hidden: false, createElement: (tag: string) => new Element(tag), createElementNS: (_: string, tag: string) => new Element(tag),
  });
  Object.assign(globalThis, { document, MediaSource: Media, IntersectionObserver: Sight });
  Object.assign(URL, { createObjectURL: (m: Media) => { Media.last = m; return 'blob:'; }, revokeObjectURL: () => undefined });
}
