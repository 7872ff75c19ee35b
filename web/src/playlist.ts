/** A playlist without the parts, hints and blocking reloads of low latency (RFC 8216bis appendix B). */
export function plain(playlist: string): string {
  return playlist
    .replace(/^#EXT-X-(?:PART|PART-INF|PRELOAD-HINT|RENDITION-REPORT):.*\r?\n?/gm, '')
    .replace(/^#EXT-X-SERVER-CONTROL:.*$/m, (tag) => {
      const kept = tag.slice(tag.indexOf(':') + 1).split(',').filter((a) => a.startsWith('HOLD-BACK='));
      return kept.length ? '#EXT-X-SERVER-CONTROL:' + kept.join(',') : '';
    });
}

/** EXT-X-TARGETDURATION in seconds; 0 without one, as in a multivariant playlist. */
function targetDuration(playlist: string): number {
  return Number(/^#EXT-X-TARGETDURATION:(\d+)/m.exec(playlist)?.[1] ?? 0);
}

/** Durations of the newest three segments that are no gaps, in seconds. */
function newest(playlist: string): number[] {
  return [...playlist.matchAll(/(#EXT-X-GAP\r?\n)?#EXTINF:([\d.]+)/g)].filter((m) => !m[1]).slice(-3).map((m) => Number(m[2]));
}

/** Whether a media playlist has only gaps: a new camera's first segment is being written. */
export const onlyGaps = (playlist: string): boolean => targetDuration(playlist) > 0 && newest(playlist).length === 0;

/** Seconds of the longest of the newest three segments; without any, the target duration. */
export function segmentLength(playlist: string): number {
  return onlyGaps(playlist) ? targetDuration(playlist) : Math.max(0, ...newest(playlist));
}
