// What tests of the socket need.
import type { TestContext } from 'node:test';
import type { Listener, Wire } from '../src/socket';

export const bytes = (...all: number[]) => new Uint8Array(all).buffer;

/**
 * Takes the clock and the timers, and lets time pass. Those of Node's test runner lose a timer
 * when one is cleared that has fired.
 */
export function time(t: TestContext): (ms: number) => Promise<void> {
  let now = 1000, made = 0;
  const timers = new Map<number, { at: number; every?: number; f: () => void }>();
  const set = (every: boolean) => (f: () => void, ms = 0) => {
    timers.set(++made, { at: now + ms, f, ...(every ? { every: ms } : {}) });
    return made;
  };
  const clear = (id?: number) => { timers.delete(id ?? 0); };
  const mock = (name: 'setTimeout' | 'setInterval' | 'clearTimeout' | 'clearInterval', f: unknown) => t.mock.method(globalThis, name, f as () => never);
  mock('setTimeout', set(false));
  mock('setInterval', set(true));
  mock('clearTimeout', clear);
  mock('clearInterval', clear);
  t.mock.method(performance, 'now', () => now);
  const promises = async () => { for (let i = 0; i < 10; i++) await null; };
  return async (ms) => {
    await promises();
    for (const end = now + ms; ;) {
      const [id, next] = [...timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (id === undefined || !next || next.at > end) {
        now = end;
        return;
      }
      now = Math.max(now, next.at);
      if (next.every) next.at += next.every;
      else timers.delete(id);
      next.f();
      await promises();
    }
  };
}

/** A server for a LiveSocket. */
export class Server {
  answers: boolean | undefined = true; // other requests; undefined: it says nothing
  asked = 0; // such requests
  there = (): Promise<boolean> => {
    this.asked++;
    return this.answers === undefined ? new Promise(() => undefined) : Promise.resolve(this.answers);
  };

  refuses = false; // sockets
  greeted = false; // the newest one has got its hello
  wires: (Wire & { sent: Record<string, unknown>[] })[] = [];
  connect = (): Wire => {
    const wire = {
      sent: [] as Record<string, unknown>[], readyState: 1, binaryType: 'blob' as BinaryType, onmessage: null, onclose: null,
      send: (s: unknown) => { wire.sent.push(JSON.parse(s as string) as Record<string, unknown>); },
      close: () => { wire.readyState = 3 as 1; },
    };
    this.wires.push(wire);
    this.greeted = false;
    if (this.refuses) queueMicrotask(() => this.lose());
    return wire;
  };

  get wire() { return this.wires[this.wires.length - 1]!; }

  tell(data: object | ArrayBuffer): void {
    const d = data instanceof ArrayBuffer ? data : JSON.stringify(data);
    (this.wire.onmessage as ((e: unknown) => void) | null)?.({ data: d });
  }

  hello(): void {
    this.greeted = true;
    this.tell({ type: 'hello', version: 1, in_flight: 40 });
  }

  now(): void { this.tell({ type: 'now', now: 0 }); }

  part(channel: number, part: number): void {
    this.tell(bytes(1, 2, 0, channel, 0, 0, 0, part, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 3, part));
  }

  lose(): void { (this.wire.onclose as ((e: unknown) => void) | null)?.({}); }
}

/** Writes down what it hears. */
export function listener(): Listener & { heard: string[]; take: (() => void)[] } {
  const heard: string[] = [], take: (() => void)[] = [];
  return {
    heard, take,
    config: (config, mime) => heard.push(`config ${config} ${mime}`),
    init: (data, taken) => { heard.push(`init ${data}`); take.push(taken); },
    fragment: (f) => heard.push(`fragment ${f.seq}`),
    part: (data, taken) => { heard.push(`part ${data}`); take.push(taken); },
    leftOut: (reason) => heard.push(`left out ${reason}`),
    ended: (reason) => heard.push(`ended ${reason}`),
    broken: () => heard.push('broken'),
  };
}
