// A camera as egress/api serves it.

export type State = 'connecting' | 'live' | 'away' | 'refused' | 'unusable' | 'disabled' | 'ended';

/** The state of a camera's second stream. */
export interface Substream {
  state: State;
  error?: string;
  problem?: string;
  since: string;
  video?: string;
  audio?: string;
  width?: number;
  height?: number;
  fps?: number;
  bitrate?: number;
}

export interface Status {
  state: State;
  owner: string;
  host: string;
  error?: string;
  problem?: string;
  since: string;
  updated: string;
  video?: string;
  audio?: string;
  width?: number;
  height?: number;
  fps?: number;
  bitrate?: number;
  absent?: number; // seconds in which nothing was recorded before the newest session
  absent_reason?: string;
  substream?: Substream;
  stale: boolean;
}

export interface Camera {
  id: string;
  label?: string;
  url: string;
  substream?: string; // the URL of its second stream
  source: 'file' | 'api';
  origin?: string;
  disabled?: boolean;
  status: Status | null;
  delay_ms: number | null;
  playlist: string;
  renditions?: Rendition[]; // only in the answer about one camera
}

/** What a processor makes of a camera. */
export interface Rendition {
  name: string;
  role: 'variant' | 'alternative' | 'data' | 'dead-letter';
  processor: string;
  width?: number; // px, of its picture
  behind_s: number | null;
}

export interface NewCamera {
  url: string;
  substream?: string;
  label?: string;
  transport?: string;
  engine?: string;
  insecure_tls?: boolean;
  no_audio?: boolean;
}
