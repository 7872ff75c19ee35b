// Plays the past of several cameras in step. There is one clock, of public time. Each camera
// plays a little faster or slower so that its picture is that of the clock, and the clock stands
// while one of them waits for its footage. A camera without footage at a time is not waited for.
import type { Clock } from './pace';
import type { Listener, Guide, Past, PastReport, Rewind } from './rewind';
import type { Timelines } from './timelines';

const often = 50; // ms between two looks at the cameras
const near = 20; // ms that a picture may be off before its speed is changed
const exact = 5; // ms that a picture may be off while the clock stands
const far = 1500; // ms of playing from which on a camera is set to the time of the clock
const late = 250; // ms of playing behind the clock from which on the others wait for a camera
const patience = 8000; // ms for which the others wait
const prepare = 10_000; // ms before its footage begins that a camera loads it
const newest = 30_000; // ms: where footage of such an age ends is the live edge
const settle = 700; // ms at that edge before all cameras are shown live
const brief = 3000; // ms: a hole that is shorter is not told
const nothing = 'Nothing recorded';
const begin = 400; // ms after a start in which the clock waits for the videos to run

/** A camera among several. */
export interface Member {
  id: string;
  rewind: Rewind;
  timelines: Timelines;
}

type State = 'plays' | 'waits' | 'absent' | 'edge' | 'broken';

class Follower {
  state: State = 'waits';
  next: number | undefined; // the time of its next footage, while it has none; Infinity: none is known
  since = 0; // when it began to wait
  tried = 0; // when its player was made
  asked = -Infinity; // when its timeline was asked
  brief = false; // it has none for a moment
  slow = false; // it is behind the clock, or its buffer is empty

  constructor(readonly member: Member) {}

  /** Forgets where it was. */
  begin(): void {
    this.state = 'waits';
    this.next = undefined;
    this.slow = false;
    this.asked = -Infinity;
    this.since = this.tried = performance.now();
  }
}

/** How fast to play so as to come to the clock: off is how many ms the picture is behind it. */
export function catchUp(rate: number, off: number): number {
  if (Math.abs(off) < near) return rate;
  return rate + Math.max(-0.3, Math.min(0.3, off / 600)) * Math.max(0.5, rate);
}

export class Together implements Past, Guide {
  active = false;
  playing = false;
  waiting = false;
  rate = 1;
  private readonly all: Follower[];
  private set = 0; // the time of the clock
  private running: number | undefined; // since when it runs, as of performance.now()
  private started = 0; // when it began to run
  private edgeSince = 0;
  private ended = false; // no camera has footage from here on
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(members: Member[], private readonly clock: Clock, private readonly to: Listener) {
    this.all = members.map((m) => new Follower(m));
    this.timer = setInterval(() => this.look(), often);
  }

  get video(): HTMLVideoElement { return this.all[0]!.member.rewind.video; }

  at(): number | undefined {
    if (!this.active) return undefined;
    return this.set + (this.running === undefined ? 0 : (performance.now() - this.running) * this.rate);
  }

  seek(time: number, play: boolean): void {
    this.active = true;
    this.playing = play;
    this.hold(time);
    this.edgeSince = 0;
    this.ended = false;
    for (const f of this.all) {
      f.begin();
      f.member.rewind.seek(time, false);
    }
    this.look();
  }

  leave(): void {
    this.active = this.playing = false;
    this.running = undefined;
    for (const f of this.all) f.member.rewind.leave();
    this.to.changed();
  }

  play(): void {
    this.playing = true;
    this.look();
    this.to.changed();
  }

  pause(): void {
    this.hold(this.at() ?? this.set);
    this.playing = false;
    this.look();
    this.to.changed();
  }

  speed(rate: number): void {
    if (this.running !== undefined) this.hold(this.at() ?? this.set);
    this.rate = rate;
    this.look();
    this.to.changed();
  }

  /** Shows the next picture of the first camera that has one, and what the others show at that time. */
  step(by: 1 | -1, frame: number): void {
    this.pause();
    const first = this.all.find((f) => (f.state === 'plays' || f.state === 'waits') && f.member.rewind.position() !== undefined);
    if (!first) return;
    first.member.rewind.step(by, frame);
    this.set = first.member.rewind.position() ?? this.set;
    for (const f of this.all) if (f !== first && (f.state === 'plays' || f.state === 'waits')) f.member.rewind.seek(this.set, false);
    this.to.changed();
  }

  report(): PastReport {
    const all = this.all.map((f) => f.member.rewind.report());
    const first = all.map((r) => r.firstPictureMs).filter((ms): ms is number => ms !== null);
    return {
      active: this.active, at: this.at() ?? null, playing: this.playing, waiting: this.waiting, rate: this.rate,
      firstPictureMs: first.length ? Math.max(...first) : null, errors: all.flatMap((r) => r.errors),
      beside: this.all.map((f) => ({ camera: f.member.id, at: f.member.rewind.time() ?? null, state: f.state })),
    };
  }

  destroy(): void {
    clearInterval(this.timer);
    for (const f of this.all) f.member.rewind.destroy();
  }

  /** Stops the clock at a time. */
  private hold(time: number): void {
    this.set = time;
    this.running = undefined;
  }

  private look(): void {
    const at = this.at();
    if (at === undefined) return;
    const now = performance.now();
    for (const f of this.all) this.state(f, at, now);
    const waits = this.all.some((f) => f.state === 'waits' && now - f.since < patience);
    const edge = this.all.some((f) => f.state === 'edge');
    // Without any picture the clock stands, however long that takes: else it would pass over footage.
    const stands = waits || edge || this.all.some((f) => f.state === 'waits' || f.state === 'broken') && !this.all.some((f) => f.state === 'plays');
    this.tell(stands);
    if (stands || !this.playing) this.hold(at);
    this.edgeSince = edge && this.playing ? this.edgeSince || now : 0;
    if (this.edgeSince && now - this.edgeSince > settle) this.to.caughtUp();
    else if (this.all.every((f) => f.state === 'absent' || f.state === 'broken')) this.goOn(at);
    else if (this.playing && !stands) this.run(now);
    const clock = this.at();
    if (clock !== undefined) for (const f of this.all) this.drive(f, clock);
  }

  /** Lets the clock run. At first it waits for the videos: they take some time until they run. */
  private run(now: number): void {
    if (this.running === undefined) this.started = now;
    if (this.running === undefined || now - this.started < begin) {
      const shown = this.all.filter((f) => f.state === 'plays').map((f) => f.member.rewind.time()).filter((t): t is number => t !== undefined);
      this.set = Math.max(this.set, shown.length ? Math.min(...shown) : this.set);
      this.running = now;
    }
  }

  private tell(waiting: boolean): void {
    if (this.waiting === waiting) return;
    this.waiting = waiting;
    this.to.changed();
  }

  /** Finds out what a camera has of the clock's time. */
  private state(f: Follower, at: number, now: number): void {
    const { rewind } = f.member;
    if (rewind.broken) {
      f.state = 'broken';
      if (now - f.tried < patience) return;
      f.tried = now;
      rewind.attach(at);
    }
    const has = rewind.has(at);
    const before = f.state;
    if (has?.is === 'here') this.here(f, at, has.time);
    else if (has?.is === 'none') this.absent(f, at, has.next);
    else if (has?.is === 'beyond' && this.clock.now() - has.end < newest) f.state = 'edge';
    else this.unknown(f, at, !!has);
    if (f.state === 'waits' && before !== 'waits' && before !== 'broken') f.since = f.tried = now;
    if (f.state === 'waits' && now - f.tried >= patience) { // the player may have broken
      f.tried = now;
      rewind.attach(at);
    }
    rewind.wait(f.state === 'waits' && now - f.since > 300);
  }

  /** There is footage, whose time may be a little later than the clock's. */
  private here(f: Follower, at: number, time: number): void {
    const { rewind } = f.member;
    const shown = rewind.time();
    const comes = f.next !== undefined;
    if (comes) {
      f.next = undefined;
      rewind.tell('');
    }
    if (shown === undefined) {
      f.state = 'waits';
      return;
    }
    const off = time - shown, rate = Math.max(1, this.rate);
    if (Math.abs(off) > (this.playing && !comes ? far * rate : exact)) {
      rewind.seek(time, false);
      f.state = 'waits';
      return;
    }
    const goesOn = rewind.has(at + 600)?.is === 'here'; // else a short buffer is all that there is
    f.slow = this.playing && (off > (f.slow ? late / 3 : late) * rate || goesOn && rewind.ahead() < (f.slow ? 0.5 : 0.1));
    f.state = f.slow ? 'waits' : 'plays';
  }

  /** There is no footage until another time. */
  private absent(f: Follower, at: number, next: number): void {
    const { rewind } = f.member;
    f.state = 'absent';
    if (f.next !== next) f.brief = f.next === undefined && next - at < brief;
    f.next = next;
    const shown = rewind.time();
    if (f.brief && shown !== undefined) return; // the last picture stays
    rewind.tell(nothing);
    if (next - at > prepare || rewind.waitsFor(next) || shown !== undefined && Math.abs(shown - next) < exact) return;
    rewind.seek(next, false); // it is ready when the clock comes there
    rewind.tell(nothing);
  }

  /** No playlist tells of the time: the timeline does. */
  private unknown(f: Follower, at: number, loaded: boolean): void {
    if (f.next !== undefined && at < f.next) this.absent(f, at, f.next);
    else f.state = 'waits';
    if (f.state === 'waits' ? loaded || performance.now() - f.since > 1000 : f.next === Infinity) this.ask(f, loaded);
  }

  private ask(f: Follower, loaded: boolean): void {
    const now = performance.now(), time = this.at();
    if (time === undefined || now - f.asked < patience) return;
    f.asked = now;
    f.member.timelines.next(time, this.clock.now()).then((next = Infinity) => {
      const at = this.at();
      if (at === undefined || f.asked !== now) return; // another time is shown
      if (next > at + 1000) this.absent(f, at, next);
      else if (loaded || f.next !== undefined) f.member.rewind.seek(at, false); // another playlist has it
    }, () => undefined);
  }

  /** The server has no playlist of the time that a camera was asked for. */
  nothing(id: string): void {
    const f = this.all.find((x) => x.member.id === id);
    if (f && this.active && f.next === undefined) this.ask(f, false);
  }

  /** No camera has footage: goes to the next that one of them has. */
  private goOn(at: number): void {
    if (this.all.every((f) => f.state === 'broken')) {
      this.hold(at);
      return;
    }
    const next = Math.min(...this.all.map((f) => f.next ?? Infinity));
    if (next < Infinity) {
      this.hold(next);
      if (next - at > brief) this.to.skipped(at, next);
    } else if (!this.ended) {
      this.ended = true;
      this.hold(at);
      this.to.nothing(at);
    }
  }

  private drive(f: Follower, clock: number): void {
    const { rewind } = f.member;
    const time = rewind.time();
    if (!this.playing || time === undefined || f.state === 'absent' || f.state === 'edge' || f.state === 'broken') {
      rewind.drive(0);
      return;
    }
    const off = clock - time;
    const stands = this.running === undefined;
    // Who is behind comes to a clock that stands; who is ahead waits for it.
    if (stands ? off < near : off < -late * Math.max(1, this.rate)) rewind.drive(0);
    else rewind.drive(catchUp(this.rate, off));
  }
}
