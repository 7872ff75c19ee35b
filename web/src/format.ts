// Numbers and times as people read them.

/** Seconds behind, to a tenth below ten: "0.9 s", "12 s", "3 min". */
export function delay(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 9.95) return s.toFixed(1) + ' s';
  return span(s);
}

/** A length of time in its largest unit: "8 s", "3 min", "5 h", "2 days". */
export function span(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

export function bitrate(bits: number): string {
  if (bits >= 10e6) return `${Math.round(bits / 1e6)} Mbit/s`;
  if (bits >= 1e6) return `${(bits / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.max(1, Math.round(bits / 1e3))} kbit/s`;
}

const names: Record<string, string> = {
  h264: 'H.264', h265: 'H.265', mjpeg: 'MJPEG', aac: 'AAC', opus: 'Opus',
};

export const codec = (c: string): string => names[c] ?? c;

export function fps(n: number): string {
  const r = Math.round(n * 10) / 10;
  return `${Number.isInteger(r) ? r : r.toFixed(1)} fps`;
}

/** Milliseconds of an RFC 3339 time; undefined for Go's zero time and nonsense. */
export function time(rfc3339: string | undefined): number | undefined {
  const t = rfc3339 ? Date.parse(rfc3339) : NaN;
  return Number.isNaN(t) || t <= 0 ? undefined : t;
}

/** An id made of a label: "Front door (left)" is "front-door-left". */
export function slug(label: string): string {
  return label.normalize('NFKD').replace(/[\u0300-\u036f]/g, '').toLowerCase()
    .replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 63).replace(/-+$/, '');
}

/** The name of the file of a picture: "yard-2030-01-31T08-05-09.120Z.jpg". */
export const stillName = (camera: string, time: number): string => `${camera}-${new Date(time).toISOString().replace(/:/g, '-')}.jpg`;

/** The fields of an error of hls.js that failure uses. */
export interface Failure {
  details: string;
  fatal: boolean;
  reason?: string;
  error?: { message: string };
  response?: { code?: number };
}

/** An error of hls.js on one line: what, the HTTP status, and why. */
export function failure(e: Failure): string {
  const why = (e.reason || e.error?.message || '').replace(/\s+/g, ' ').trim();
  return e.details + (e.fatal ? ' (fatal)' : '') + (e.response?.code ? ` ${e.response.code}` : '') +
    (why && why !== e.details ? `: ${why.length > 200 ? why.slice(0, 199) + '…' : why}` : '');
}
