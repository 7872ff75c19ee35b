// The API of cameras, as egress/api serves it.
import type { Camera, NewCamera, Rendition } from './camera';
import type { CameraEvent } from './events';
import { Feed, type Events } from './feed';
import type { Lag } from './lag';

/** What the server says is wrong, and what to do about it. */
export class Refusal extends Error {
  constructor(message: string, readonly remedy: string, readonly status: number) {
    super(message);
  }
}

export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  let res: Response;
  try {
    res = await fetch(path, { ...init, signal: timeout(15_000) });
  } catch {
    throw new Refusal('The server does not answer.', 'Is it running?', 0);
  }
  if (res.ok) return res;
  const body = await res.json().catch(() => ({})) as { error?: string; remedy?: string };
  throw new Refusal(body.error ?? `The server answered ${res.status}.`, body.remedy ?? '', res.status);
}

function timeout(ms: number): AbortSignal {
  const c = new AbortController();
  setTimeout(() => c.abort(), ms);
  return c.signal;
}

const path = (id: string) => '/v1/cameras/' + encodeURIComponent(id);

/** Adds a camera, and never changes one that is there already. */
export const addCamera = (id: string, camera: NewCamera) => call(path(id), {
  method: 'PUT',
  headers: { 'Content-Type': 'application/json', 'If-None-Match': '*' },
  body: JSON.stringify(camera),
});

export const removeCamera = (id: string) => call(path(id), { method: 'DELETE' });

/** What processors make of a camera, and how far they are. */
export const renditions = async (id: string): Promise<Rendition[]> => (await (await call(path(id))).json() as Camera).renditions ?? [];

/** The events of a camera in the last 15 minutes. */
export async function events(id: string): Promise<CameraEvent[]> {
  const res = await call(`/v1/events/${encodeURIComponent(id)}?start=-15m`);
  return (await res.json() as { events: CameraEvent[] }).events;
}

/** How far every camera is behind, as the monitor has read it last. */
export const readLag = async (): Promise<Lag> => await (await call('/v1/lag')).json() as Lag;

/** Why the server does not list the cameras, as a sentence; '' if it does not answer. */
export async function reason(): Promise<string> {
  try {
    await call('/v1/cameras');
  } catch (e) {
    if (e instanceof Refusal && e.status) return e.message.charAt(0).toUpperCase() + e.message.slice(1);
  }
  return '';
}

/** Callbacks of follow. */
export interface Follower {
  /** The server begins to tell. What happened before, it has not told. */
  began: () => void;
  /** All cameras, each time that something about one has changed. */
  cameras: (all: Camera[]) => void;
  /** An event that a processor has found. */
  event: (e: CameraEvent) => void;
  /** The server's clock, in milliseconds since the epoch, as it was when it was sent. */
  now: (ms: number) => void;
  /** Whether the server sends the cameras. */
  connected: (yes: boolean) => void;
  /** The server refuses to send the cameras, and the browser gives up. */
  refused: () => void;
}

const burst = 50; // ms in which changes are gathered

/**
 * Follows the cameras while the page can be seen. A stream that is open takes one
 * of the six connections that a browser gives a server over HTTP/1.1, for all
 * its tabs together: a hidden tab has none.
 */
export function follow(to: Follower): void {
  const feed = new Feed();
  let source: EventSource | undefined;
  let last = 0; // the server's clock of the latest event
  let gathering: ReturnType<typeof setTimeout> | undefined;
  const tell = () => {
    clearTimeout(gathering);
    gathering = undefined;
    to.cameras(feed.list());
  };
  const open = () => {
    const es = new EventSource('/v1/cameras/events?events=true');
    source = es;
    let listed = false; // the server has listed the cameras: until then it may not know them
    const on = <K extends keyof Events>(kind: K) => es.addEventListener(kind, (e) => {
      const data = JSON.parse((e as MessageEvent<string>).data) as Events[K];
      listed ||= kind === 'cameras';
      if (listed) to.connected(true);
      // Events of one burst have one time. Only the first came without a wait.
      if (data.now !== last) to.now(last = data.now);
      feed.apply(kind, data);
      if (kind === 'cameras') {
        to.began();
        tell();
      } else if (kind !== 'now') gathering ??= setTimeout(tell, burst);
    });
    (['now', 'cameras', 'camera', 'removed', 'measures'] as const).forEach((kind) => on(kind));
    es.onmessage = (e: MessageEvent<string>) => to.event(JSON.parse(e.data) as CameraEvent);
    es.onerror = () => {
      to.connected(false);
      // The browser tries again by itself, but gives up for good at an answer
      // that is no stream (503 while the server restarts).
      if (source?.readyState === EventSource.CLOSED) {
        source = undefined;
        to.refused();
        setTimeout(() => { if (!source && !document.hidden) open(); }, 2000);
      }
    };
  };
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      source?.close();
      source = undefined;
    } else if (!source) open();
  });
  if (!document.hidden) open();
}
