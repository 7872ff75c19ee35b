// The page's one connection to /live. It connects while somebody is subscribed, and again
// when it breaks: a subscription then goes on behind the last part that it has got. While the
// server answers and the socket does not come through, subscribers are told to play HLS, and
// the socket is tried now and then.
import { backoff, spread } from './pace';
import { media, type Fragment, type Position, type Told } from './protocol';
import { base, whoAmI } from './session';

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
  /** The socket does not come through: the subscription has ended. See whenFree. */
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

const look = 1000; // ms between two looks at the connection
const opening = 4; // looks after which a connection that has said nothing is given up
const mute = 8; // looks without a message behind the hello after which one counts as dead
const silence = 15; // likewise when something has come: a large part may take long over a slow network
const ackAfter = 100; // ms in which acknowledgements are gathered
const idle = 5_000; // ms without a subscription after which the connection ends
const tries = 2; // that fail although the server answers, and then the socket does not come through
const longest = 3_000; // ms for which one may try so
const mostDoublings = 1; // of the wait before the next attempt: at most 1.25 s, since a wall is to be back soon
const patience = 1500; // ms for which the server's answer is waited for
const settle = 1000; // ms after a subscription ends until its place is given to another
const anotherTry = 30_000; // ms between attempts while the socket does not come through
const mostLonger = 4; // doublings of that, if the socket came through and failed again soon
const steady = 60_000; // ms for which a connection that comes through stays
const maxChannel = 65_535;
const onlineAfter = 1000; // ms of silence after which a connection is not trusted when the network is back
const shownAfter = 6000; // ms, likewise when the page is seen again

const now = () => performance.now();

export class LiveSocket {
  /** The socket does not come through, as behind a proxy without it or when the server has no place. */
  broken = false;
  /** When the server has said hello, by performance.now(); Infinity: there is no connection. */
  since = Infinity;

  private wire: Wire | undefined;
  private failures = 0; // in a row
  private refused = 0; // failures since the server answers other requests
  private gaveUp = 0; // how often the socket has come through and failed again soon
  private answers = 0; // since when it does, while there is no connection; 0: not known
  private channel = 0; // the last that was used
  private taken = 0; // bytes, since the connection began
  private told = 0; // of these, those that the server knows of
  private inFlight = 0; // the most that the server sends before it is told
  private quiet = 0; // looks in a row at which nothing had come
  private speaks = false; // something has come behind the hello
  private begun = 0; // when the latest attempt to connect was
  private heard = 0; // when something came, or it began
  private denied = false; // a subscription of this connection has ended, which had the right to its footage before
  private most = Infinity; // subscriptions that the server takes, as far as is known
  private acking: ReturnType<typeof setTimeout> | undefined;
  private retrying: ReturnType<typeof setTimeout> | undefined; // also while the server is asked
  private ending: ReturnType<typeof setTimeout> | undefined;
  private offering: ReturnType<typeof setTimeout> | undefined;
  private watching: ReturnType<typeof setInterval> | undefined;
  private readonly all = new Set<Subscription>();
  private readonly waiting = new Set<() => void>();
  private readonly onRenewal = new Set<() => void>(); // see whenRenewed

  /** there tells whether the server answers a request: browsers delay sockets after a dozen failures. */
  constructor(private readonly connect: () => Wire, private readonly there: () => Promise<boolean>) {}

  private get open(): boolean { return this.since !== Infinity; }

  /** Subscribes to a rendition, or to the first part of each of its fragments; the result ends it. */
  subscribe(camera: string, rendition: string, to: Listener, keyframes = false): () => void {
    if (this.broken) {
      let left = false;
      queueMicrotask(() => { if (!left) to.broken(); });
      return () => { left = true; };
    }
    const s: Subscription = { camera, rendition, keyframes, channel: 0, to };
    this.all.add(s);
    clearTimeout(this.ending);
    if (this.open) this.ask(s);
    else if (!this.wire && !this.retrying) this.begin();
    return () => {
      if (!this.all.delete(s)) return;
      if (this.open) this.send({ type: 'unsubscribe', channel: s.channel });
      this.left();
    };
  }

  /** Calls free once, when a subscription that was broken or had no place may get one; the result ends that. */
  whenFree(free: () => void): () => void {
    this.waiting.add(free);
    return () => { this.waiting.delete(free); };
  }

  /**
   * Calls renewed once, when the connection has been given up since its cookie may have expired:
   * what was not found may be found over the next one. The result ends that.
   */
  whenRenewed(renewed: () => void): () => void {
    this.onRenewal.add(renewed);
    return () => { this.onRenewal.delete(renewed); };
  }

  /** Connects before there is a subscription, which then does not wait for that. */
  warm(): void {
    if (this.broken || this.wire || this.retrying || this.all.size) return;
    this.begin();
    this.endSoon();
  }

  /**
   * Tries at once: the network or the viewer is back. A connection from which nothing has come
   * for so many ms is replaced.
   */
  wake(after: number): void {
    if (this.wire ? now() - this.heard > after : this.retrying) {
      this.end();
      this.begin();
    }
  }

  /** A subscription has ended. */
  private left(): void {
    if (!this.all.size) this.endSoon();
    if (this.waiting.size) this.offering ??= setTimeout(() => this.offer(), settle);
  }

  /** Lets those that wait subscribe, as far as there is a place. */
  private offer(): void {
    clearTimeout(this.offering);
    this.offering = undefined;
    for (const free of [...this.waiting]) {
      if (this.broken || this.all.size >= this.most) return;
      this.waiting.delete(free);
      free();
    }
  }

  private endSoon(): void {
    clearTimeout(this.ending);
    this.ending = setTimeout(() => { if (!this.all.size && !this.broken) this.end(); }, idle);
  }

  private begin(): void {
    this.retrying = undefined;
    const wire = this.connect();
    wire.binaryType = 'arraybuffer';
    wire.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      this.quiet = 0;
      this.heard = now();
      if (typeof data === 'string') this.tell(JSON.parse(data) as Told);
      else this.deliver(data);
    };
    wire.onclose = () => this.lost();
    this.wire = wire;
    this.quiet = 0;
    this.speaks = false;
    this.begun = this.heard = now();
    this.taken = this.told = 0;
    this.denied = false;
    this.watching = setInterval(() => {
      if (++this.quiet >= (!this.open ? opening : this.speaks ? silence : mute)) this.lost();
    }, look);
  }

  /** Ends the connection. */
  private end(): void {
    clearInterval(this.watching);
    clearTimeout(this.acking);
    clearTimeout(this.retrying);
    this.acking = this.retrying = undefined;
    const { wire } = this;
    this.wire = undefined;
    this.since = Infinity;
    if (!wire) return;
    wire.onclose = wire.onmessage = null;
    wire.close();
  }

  private lost(): void {
    const waited = this.open ? 0 : now() - this.begun;
    if (this.open && now() - this.since > steady) this.gaveUp = 0;
    this.end();
    this.failures++;
    if (this.answers && (++this.refused >= tries || now() - this.answers > longest)) this.giveUp();
    if (this.broken) this.again(spread(anotherTry * 2 ** Math.min(this.gaveUp - 1, mostLonger)));
    else if (this.all.size) this.again(Math.max(0, this.wait() - waited));
  }

  /** The socket does not come through. */
  private giveUp(): void {
    if (!this.broken) this.gaveUp++;
    this.broken = true;
    const all = [...this.all];
    this.all.clear();
    for (const s of all) s.to.broken();
  }

  /** Something has come behind the hello: the socket works. */
  private works(): void {
    this.failures = this.refused = this.answers = 0;
    if (!this.broken) return;
    this.broken = false;
    this.offer();
    if (!this.all.size) this.endSoon();
  }

  private wait(): number { return backoff(Math.min(this.failures - 1, mostDoublings)); }

  private again(after: number): void {
    this.retrying = setTimeout(() => {
      if (!this.broken) this.ifThere();
      else if (this.waiting.size) this.begin();
      else this.again(anotherTry); // nobody would use it
    }, after);
  }

  /** Connects if the server answers, or if it says nothing for a while: a new connection may come through. */
  private ifThere(): void {
    const go = (yes: boolean) => {
      if (this.retrying !== mine) return;
      clearTimeout(mine);
      this.retrying = undefined;
      if (yes) this.begin();
      else this.again(this.wait());
    };
    const mine = this.retrying = setTimeout(() => go(true), patience);
    void this.there().then((yes) => {
      if (this.open) return;
      if (!yes) this.failures++;
      this.refused = yes ? this.refused : 0;
      this.answers = yes ? this.answers || now() : 0;
      go(yes);
    });
  }

  private ask(s: Subscription): void {
    do this.channel = this.channel % maxChannel + 1; while (this.of(this.channel)); // in use
    s.channel = this.channel;
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
      this.since = now();
      this.most = Infinity;
      this.inFlight = m.in_flight;
      for (const s of this.all) this.ask(s);
      return;
    }
    this.speaks ||= m.type !== 'end';
    if (m.type === 'now') this.works();
    if (!('channel' in m)) return;
    const s = this.of(m.channel);
    if (!s) return; // it has ended here
    if (m.type === 'config') s.to.config(m.config, m.mime);
    else if (m.type === 'fragment') s.to.fragment(m);
    else if (m.type === 'left_out') s.to.leftOut(m.reason);
    else if (m.type === 'end') {
      this.all.delete(s);
      if (m.reason === 'too_many') this.most = this.all.size;
      this.denied ||= m.reason === 'not_found' && !!s.last;
      // The cookie of this connection may have expired: then no subscription is left, and the
      // next connection has the newer one.
      const renews = this.denied && !this.all.size;
      if (renews) this.end();
      this.left();
      s.to.ended(m.reason);
      if (!renews) return;
      for (const renewed of [...this.onRenewal]) {
        this.onRenewal.delete(renewed);
        renewed();
      }
    }
  }

  private deliver(message: ArrayBuffer): void {
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
    this.works();
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
  const socket = new LiveSocket(
    () => new WebSocket(location.origin.replace(/^http/, 'ws') + base + '/live'),
    () => whoAmI().then(() => true, () => false));
  addEventListener('online', () => socket.wake(onlineAfter));
  document.addEventListener('visibilitychange', () => { if (!document.hidden) socket.wake(shownAfter); });
  return socket;
}
