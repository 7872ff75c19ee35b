// The list of cameras, kept up to date from the events of /v1/cameras/events.
import type { Camera } from './camera';

/** The numbers of a camera that change all the time. */
export interface Measures {
  delay_ms: number | null;
  fps: number;
  bitrate: number;
}

/** The data of each kind of event. */
export interface Events {
  now: { now: number };
  cameras: { now: number; cameras: Camera[] }; // all of them, at the start of a stream
  camera: { now: number; camera: Camera }; // one that was added or changed
  removed: { now: number; id: string };
  measures: { now: number; measures: Record<string, Measures> };
}

export class Feed {
  private readonly cameras = new Map<string, Camera>();

  /** All cameras, by id. */
  list(): Camera[] {
    return [...this.cameras.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Applies an event. A camera that changes is a new object, the old one stays as it was. */
  apply<K extends keyof Events>(kind: K, data: Events[K]): void {
    const handle: { [E in keyof Events]: (data: Events[E]) => void } = {
      now: () => undefined,
      cameras: ({ cameras }) => {
        this.cameras.clear();
        for (const c of cameras) this.cameras.set(c.id, c);
      },
      camera: ({ camera }) => this.cameras.set(camera.id, camera),
      removed: ({ id }) => this.cameras.delete(id),
      measures: ({ measures }) => {
        for (const [id, { delay_ms, fps, bitrate }] of Object.entries(measures)) {
          const c = this.cameras.get(id);
          if (c) this.cameras.set(id, { ...c, delay_ms, status: c.status && { ...c.status, fps, bitrate } });
        }
      },
    };
    handle[kind](data);
  }
}
