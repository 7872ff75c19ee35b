// Who looks at the page, as egress/people tells it.
import { call } from './api';
import type { Camera } from './camera';
import type { Clock } from './pace';

/** The answer of /v1/session. */
export interface Me {
  required: boolean; // people have to sign in
  oidc: boolean; // they may do it with a provider
  user: { name: string; role: 'viewer' | 'operator' | 'admin'; renditions?: string[] } | null;
  share?: Share;
  now?: number; // the server's clock, in ms since the epoch
}

/** What a share link shows. */
export interface Share {
  camera: string;
  rendition: string;
  until: string;
  user: string;
}

/** The part of the address before /v1 and /hls: that of a share link, or nothing. */
export const base = /^\/s\/[^/]+/.exec(globalThis.location?.pathname ?? '')?.[0] ?? '';

/** Asks who looks at the page. clock hears that of the server. */
export async function whoAmI(clock?: Clock): Promise<Me> {
  const me = await (await call(base + '/v1/session')).json() as Me;
  if (me.now) clock?.heard(me.now);
  return me;
}

const json = (body: unknown): RequestInit => ({
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
});

export const signIn = (name: string, password: string) => call('/v1/session', json({ name, password }));

export const signOut = () => call('/v1/session', { method: 'DELETE' });

/** Makes a link with which everybody may watch a rendition; returns its address. */
export async function share(camera: string, rendition: string, time: string): Promise<string> {
  const res = await call(`/v1/share/${encodeURIComponent(camera)}/${encodeURIComponent(rendition)}`, json({ for: time }));
  return location.origin + (await res.json() as { path: string }).path;
}

const wild: Record<string, string> = { '*': '.*', '?': '.' };

/** Whether a pattern allows a name. Patterns hold a-z, 0-9, -, * and ? alone. */
const matches = (pattern: string, name: string) => new RegExp(`^${[...pattern].map((c) => wild[c] ?? c).join('')}$`).test(name);

/** The rendition of a camera that somebody sees: raw, or the first one that they may watch. */
export function rendition(me: Me): string {
  const all = me.user?.renditions ?? ['*'];
  return all.some((p) => matches(p, 'raw')) ? 'raw' : all.find((p) => !/[*?]/.test(p)) ?? 'raw';
}

/** A camera with the playlist of a rendition. */
export const seenAs = (camera: Camera, name: string): Camera =>
  name === 'raw' ? camera : { ...camera, playlist: `/hls/${camera.id}/${name}/index.m3u8` };
