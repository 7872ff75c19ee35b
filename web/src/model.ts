// The texts of the page about a camera. They come from the API's answer and the player's state.
import type { Camera, Rendition, Status } from './camera';
import * as format from './format';

export type Tone = 'live' | 'wait' | 'bad' | 'off';

export interface View {
  tone: Tone;
  word: string; // the state in a word or two
  headline?: string; // why there is no live picture
  detail?: string; // the error, or what to do
  since?: number; // milliseconds since the epoch
  warning?: string; // the problem of a camera that is live
}

export const title = (c: Camera): string => c.label || c.id;

/** unsupported: its player has found that the browser cannot play it. hasSource: the browser has a media source. */
export function view(c: Camera, unsupported = false, hasSource = true): View {
  const s = c.status;
  if (c.disabled || s?.state === 'disabled') {
    return { tone: 'off', word: 'Off', headline: 'Switched off', detail: 'It is disabled in the registry.' };
  }
  if (!s) {
    return { tone: 'wait', word: 'Waiting', headline: 'Waiting for ingest', detail: 'No ingest process has taken this camera yet.' };
  }
  const since = format.time(s.since);
  if (s.stale) {
    return {
      tone: 'bad', word: 'No word', headline: 'No word from ingest', since: format.time(s.updated),
      detail: `${s.owner || 'Its owner'} has stopped reporting on this camera. Is ingest running, and are the brokers there?`,
    };
  }
  switch (s.state) {
    case 'live':
      return live(s, since, unsupported, hasSource);
    case 'connecting':
      return { tone: 'wait', word: 'Connecting', headline: 'Connecting', detail: s.error, since };
    case 'away':
      return { tone: 'bad', word: 'Away', headline: 'Away', detail: s.error || 'It does not answer. Ingest keeps trying.', since };
    case 'refused':
      return { tone: 'bad', word: 'Refused', headline: 'The camera refuses', detail: s.error || 'Check user, password and path.', since };
    case 'unusable':
      return { tone: 'bad', word: 'Unusable', headline: 'Cannot be recorded', detail: s.error || s.problem, since };
    case 'ended':
      return { tone: 'off', word: 'Ended', headline: 'The replay is complete', detail: 'Its footage can be watched.', since };
    default: // an ingest that is newer than this page has more states
      return { tone: 'wait', word: s.state, headline: s.state, detail: s.error || s.problem, since };
  }
}

function live(s: Status, since: number | undefined, unsupported: boolean, hasSource: boolean): View {
  const v: View = { tone: 'live', word: 'Live', since, warning: s.problem };
  if (unsupported && s.video === 'mjpeg') {
    return { ...v, word: 'Recording', headline: 'Recorded, not shown', detail: 'HLS carries no MJPEG. The processor transcode makes what plays here.' };
  }
  if (unsupported) {
    const lacks = !hasSource ? 'It has neither Media Source Extensions nor HLS.' : s.video ? `It has no decoder for ${format.codec(s.video)}.` : undefined;
    return { ...v, word: 'Recording', headline: 'This browser cannot play it', detail: lacks };
  }
  return v;
}

/**
 * Whether to play a camera: 'yes', 'no', or 'keep' if its state is not known: then
 * a player that runs goes on. A request for a camera that is away would only block
 * one of the browser's few connections.
 */
export function wanted(c: Camera): 'yes' | 'keep' | 'no' {
  const s = c.status;
  if (!s || c.disabled || s.state !== 'live') return 'no';
  return s.stale ? 'keep' : 'yes';
}

/** "1920×1080 · 30 fps · H.264 + AAC · 4.1 Mbit/s", without unknown values. */
export function picture(s: Status | null): string {
  if (!s) return '';
  const codecs = [s.video, s.audio].filter((c): c is string => !!c).map(format.codec).join(' + ');
  return [
    s.width && s.height ? `${s.width}×${s.height}` : '',
    s.fps ? format.fps(s.fps) : '',
    codecs,
    s.bitrate && s.state === 'live' ? format.bitrate(s.bitrate) : '',
  ].filter(Boolean).join(' · ');
}

/** What is wrong with the second stream of a camera that is live; '' if nothing is. */
export function substream(c: Camera): string {
  const sub = c.status?.substream;
  if (!sub || c.status?.stale || sub.state === 'live' && !sub.problem) return '';
  const why = sub.state === 'live' ? sub.problem : sub.error;
  return `Second stream: ${sub.state === 'live' ? '' : sub.state}${sub.state !== 'live' && why ? ', ' : ''}${why ?? ''}`;
}

/** Why footage is missing: the reasons of absences and gaps, as phrases. */
export const reasons: Record<string, string> = {
  camera: 'the camera was away', restart: 'ingest did not run', handover: 'another ingest took over',
  frozen: 'ingest stood still', disabled: 'it was switched off', absent: 'nothing was received',
  budget: 'Kafka was away or too slow', index: 'Kafka was away or too slow', storage: 'the disk was full',
  crash: 'ingest was killed', source: 'the connection broke', cap: 'no keyframe came', keyframe: 'no keyframe came',
  produce: 'Kafka refused it', 'too-large': 'a picture was too large', expired: 'it has expired',
};

/** What was not recorded before a camera became live: "Nothing recorded for 15 s before 10:12 (ingest did not run)". */
export function absence(s: Status | null, time: (ms: number) => string): string {
  const since = format.time(s?.since);
  if (!s || s.state !== 'live' || since === undefined || !s.absent || s.absent < 1) return '';
  const reason = s.absent_reason ?? '';
  return `Nothing recorded for ${format.span(s.absent)} before ${time(since)} (${reasons[reason] ?? reason})`;
}

/** "5 live, 1 away": all cameras in a line. */
export function summary(cameras: Camera[]): string {
  if (!cameras.length) return '';
  const n = { live: 0, wait: 0, bad: 0, off: 0 };
  for (const c of cameras) n[view(c).tone]++;
  return [
    `${n.live} live`,
    n.wait ? `${n.wait} connecting` : '',
    n.bad ? `${n.bad} away` : '',
    n.off ? `${n.off} off` : '',
  ].filter(Boolean).join(' · ');
}

/** What a screen reader says when a camera's state changes; undefined if it does not. */
export function announcement(before: Camera | undefined, now: Camera): string | undefined {
  if (!before) return undefined;
  const a = view(before), b = view(now);
  if (a.word === b.word) return undefined;
  if (b.tone === 'live') return `${title(now)} is live.`;
  return `${title(now)}: ${b.headline ?? b.word}${b.detail ? `, ${b.detail}` : ''}`;
}

/** A rendition's name, and its processor if that has another name. */
export const renditionTitle = (r: Rendition): string => (r.processor && r.processor !== r.name ? `${r.name} (${r.processor})` : r.name);

/** How far a rendition is behind its camera. */
export function behind(r: Rendition): string {
  if (r.role === 'dead-letter') return 'has dead letters';
  return r.behind_s === null ? '–' : `${format.delay(r.behind_s)} behind`;
}
