// The messages of /live, as docs/live-protocol.md describes them.

/** Names a part of a camera's footage. */
export interface Position { seq: number; epoch: number; part: number }

export interface Fragment {
  seq: number;
  epoch: number;
  session: number;
  config: string;
  media: number; // media time, in 1/90000 s
  start: string; // the public time of media
}

/** What the server sends as text. */
export type Told =
  | { type: 'hello'; version: number; in_flight: number }
  | { type: 'now'; now: number }
  | { type: 'config'; channel: number; config: string; mime: string }
  | { type: 'fragment'; channel: number } & Fragment
  | { type: 'left_out'; channel: number; reason: string; from: Position; to: number; cause?: string }
  | { type: 'end'; channel: number; reason: string; error: string };

/** A binary message: an init segment, or a part if it has a position. */
export interface Media {
  channel: number;
  at?: Position;
  data: Uint8Array<ArrayBuffer>;
}

const version = 1;
const initHeader = 4, partHeader = 24; // bytes

/** Reads a binary message; undefined if it is none of this version. */
export function media(message: ArrayBuffer): Media | undefined {
  const v = new DataView(message);
  if (v.byteLength < initHeader || v.getUint8(0) !== version) return undefined;
  const channel = v.getUint16(2);
  switch (v.getUint8(1)) {
    case 1:
      return { channel, data: new Uint8Array(message, initHeader) };
    case 2:
      if (v.byteLength < partHeader) return undefined;
      return {
        channel, data: new Uint8Array(message, partHeader),
        at: { part: v.getUint32(4), seq: Number(v.getBigUint64(8)), epoch: Number(v.getBigInt64(16)) },
      };
  }
  return undefined;
}

/** The rendition that a camera's playlist is of: raw, or the one that its path names. */
export function renditionOf(playlist: string): string {
  return /\/hls\/[^/]+\/([^/]+)\/index\.m3u8$/.exec(playlist)?.[1] ?? 'raw';
}
