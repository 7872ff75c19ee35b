// The page's one connection to /live. It connects while somebody is subscribed, and again
// when it breaks: a subscription then goes on behind the last part that it has got.
import { backoff } from './pace';
import { media, type Fragment, type Position, type Told } from './protocol';

/** Who gets a camera's footage. */
export interface Listener {
  config: (config: string, mime: string) => void;
  /** taken is to be called when the bytes are used: the server sends only so much before. */
  init: (data: Uint8Array<ArrayBuffer>, taken: () => void) => void;
  fragment: (f: Fragment) => void;
  part: (data: Uint8Array<ArrayBuffer>, taken: () => void) => void;
  /** Footage does not come, for a reason of the protocol. */
  leftOut: (reason: string) => void;
  /** The subscription has ended, for a reason of the protocol. */
  ended: (reason: string) => void;
  /** Sockets do not work here: the subscription has ended. */
  broken: () => void;
}

/** What is used of a WebSocket. */
export type Wire = Pick<WebSocket, 'send' | 'close' | 'binaryType' | 'onmessage' | 'onclose' | 'readyState'>;

interface Subscription {
  camera: string;
  rendition: string;
  keyframes: boolean;
  channel: number;
  last?: Position;
  to: Listener;
}

const silence = 15_000; // ms without a message after which the connection counts as dead
const looks = 3;
const ackAfter = 100; // ms in which acknowledgements are gathered
const idle = 5_000; // ms without a subscription after which the connection ends
const tries = 3; // failures before the first success after which sockets do not work here
const maxChannel = 65_535;

export class LiveSocket {
  /** Sockets do not work here, as behind a proxy that does not pass them. */
  broken = false;

  private wire: Wire | undefined;
  private open = false; // the hello has come
  private worked = false; // it has been open before
  private failures = 0; // since it was open last
  private channel = 0; // the last that was used
  private taken = 0; // bytes, since the connection began
  private told = 0; // of these, those that the server knows of
  private inFlight = 0; // the most that the server sends before it is told
  private quiet = 0; // looks in a row at which nothing had come
  private acking: ReturnType<typeof setTimeout> | undefined;
  private retrying: ReturnType<typeof setTimeout> | undefined;
  private ending: ReturnType<typeof setTimeout> | undefined;
  private watching: ReturnType<typeof setInterval> | undefined;
  private readonly all = new Set<Subscription>();

  constructor(private readonly connect: () => Wire) {}

  /** Subscribes to a rendition, or to the first part of each of its fragments; the result ends it. */
  subscribe(camera: string, rendition: string, to: Listener, keyframes = false): () => void {
    const s: Subscription = { camera, rendition, keyframes, channel: 0, to };
    this.all.add(s);
    clearTimeout(this.ending);
    if (this.broken) queueMicrotask(to.broken);
    else if (this.open) this.ask(s);
    else if (!this.wire && !this.retrying) this.begin();
    return () => {
      if (!this.all.delete(s)) return;
      if (this.open) this.send({ type: 'unsubscribe', channel: s.channel });
      if (!this.all.size) this.ending = setTimeout(() => this.end(), idle);
    };
  }

  /** Connects before there is a subscription, which then does not wait for that. */
  warm(): void {
    if (this.broken || this.wire || this.retrying || this.all.size) return;
    this.begin();
    this.ending = setTimeout(() => this.end(), idle);
  }

  private begin(): void {
    const wire = this.connect();
    wire.binaryType = 'arraybuffer';
    wire.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      this.quiet = 0;
      if (typeof data === 'string') this.tell(JSON.parse(data) as Told);
      else this.give(data);
    };
    wire.onclose = () => this.lost();
    this.wire = wire;
    this.quiet = 0;
    this.taken = this.told = 0;
    this.watching = setInterval(() => {
      if (++this.quiet > looks) this.lost();
    }, silence / looks);
  }

  /** Ends the connection. */
  private end(): void {
    clearInterval(this.watching);
    clearTimeout(this.acking);
    clearTimeout(this.retrying);
    this.acking = this.retrying = undefined;
    const { wire } = this;
    this.wire = undefined;
    this.open = false;
    if (!wire) return;
    wire.onclose = wire.onmessage = null;
    wire.close();
  }

  private lost(): void {
    this.end();
    if (!this.worked && ++this.failures >= tries) {
      this.broken = true;
      const all = [...this.all];
      this.all.clear();
      for (const s of all) s.to.broken();
      return;
    }
    if (!this.all.size) return;
    this.retrying = setTimeout(() => {
      this.retrying = undefined;
      this.begin();
    }, backoff(Math.min(this.worked ? this.failures++ : this.failures, 4)));
  }

  private ask(s: Subscription): void {
    s.channel = this.channel = this.channel % maxChannel + 1;
    this.send({ type: 'subscribe', channel: s.channel, camera: s.camera, rendition: s.rendition, keyframes: s.keyframes || undefined, after: s.last });
  }

  private send(message: object): void {
    if (this.wire?.readyState === 1) this.wire.send(JSON.stringify(message));
  }

  private of(channel: number): Subscription | undefined {
    for (const s of this.all) if (s.channel === channel) return s;
    return undefined;
  }

  private tell(m: Told): void {
    if (m.type === 'hello') {
      this.open = this.worked = true;
      this.failures = 0;
      this.inFlight = m.in_flight;
      for (const s of this.all) this.ask(s);
      return;
    }
    if (!('channel' in m)) return;
    const s = this.of(m.channel);
    if (!s) return; // it has ended here
    if (m.type === 'config') s.to.config(m.config, m.mime);
    else if (m.type === 'fragment') s.to.fragment(m);
    else if (m.type === 'left_out') s.to.leftOut(m.reason);
    else if (m.type === 'end') {
      this.all.delete(s);
      s.to.ended(m.reason);
      // The cookie of this connection may have expired, and another taken its place.
      if (m.reason === 'not_found' && s.last) this.lost();
    }
  }

  private give(message: ArrayBuffer): void {
    const m = media(message);
    const { wire } = this;
    const taken = () => { if (wire === this.wire) this.take(message.byteLength); };
    const s = m && this.of(m.channel);
    if (!m || !s) {
      taken(); // nobody wants it any more
      return;
    }
    if (!m.at) {
      s.to.init(m.data, taken);
      return;
    }
    s.last = m.at;
    s.to.part(m.data, taken);
  }

  private take(bytes: number): void {
    this.taken += bytes;
    if (this.taken - this.told > this.inFlight / 4) this.ack();
    else this.acking ??= setTimeout(() => this.ack(), ackAfter);
  }

  private ack(): void {
    clearTimeout(this.acking);
    this.acking = undefined;
    this.told = this.taken;
    this.send({ type: 'ack', bytes: this.taken });
  }
}

/** Makes the page's connection; undefined if the browser has no sockets or cannot play what comes. */
export function liveSocket(): LiveSocket | undefined {
  if (!('WebSocket' in globalThis) || !('MediaSource' in globalThis || 'ManagedMediaSource' in globalThis)) return undefined;
  return new LiveSocket(() => new WebSocket(location.origin.replace(/^http/, 'ws') + '/live'));
}
