// What the part of the page's address behind # names: cameras, and a time or a range of it.

export interface Address {
  ids: string[]; // of the cameras in focus, beside each other
  at?: number; // ms since the epoch; without it the cameras are shown live
  to?: number; // the end of a range that is selected
}

/** How many cameras are shown beside each other. */
export const mostBeside = 4;

/** Reads "#front-door,yard?t=2030-01-02T03:04:05Z&to=…". A time that is none counts as missing. */
export function parse(hash: string): Address {
  const [names = '', query = ''] = hash.replace(/^#/, '').split('?', 2); // ids need no escapes
  const params = new URLSearchParams(query);
  const at = time(params.get('t')), to = time(params.get('to'));
  const ids = [...new Set(names.split(',').filter(Boolean))].slice(0, mostBeside);
  return { ids, ...(at === undefined ? {} : { at }), ...(at === undefined || to === undefined || to <= at ? {} : { to }) };
}

export function format({ ids, at, to }: Address): string {
  return '#' + ids.join(',') + (at === undefined ? '' : `?t=${iso(at)}`) + (at === undefined || to === undefined ? '' : `&to=${iso(to)}`);
}

/** RFC 3339 in UTC, without milliseconds where they are 0. */
export const iso = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');

function time(s: string | null): number | undefined {
  const t = Date.parse(s ?? '');
  return Number.isNaN(t) ? undefined : t;
}
