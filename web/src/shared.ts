// The page of a share link: one camera.
import type { Camera } from './camera';
import { h } from './dom';
import type { Clock } from './pace';
import { Screen } from './screen';
import { base, type Share } from './session';

/** Shows the camera of a link. */
export function showShared(root: HTMLElement, share: Share, clock: Clock): Screen {
  const now = new Date().toISOString();
  const camera: Camera = {
    id: share.camera, url: '', source: 'api', delay_ms: null,
    playlist: `${base}/hls/${share.camera}/${share.rendition === 'raw' ? '' : share.rendition + '/'}index.m3u8`,
    status: { state: 'live', owner: '', host: '', since: now, updated: now, stale: false },
  };
  const screen = new Screen(camera, 'focus', clock);
  screen.element.append(h('div', { class: 'controls' }, screen.pill));
  screen.video.controls = true;
  root.replaceChildren(screen.element, h('div', { class: 'about' },
    h('div', { class: 'names' }, h('h2', {}, share.camera), h('p', { class: 'meta' }, `Shared by ${share.user} until ${new Date(share.until).toLocaleString()}`))));
  root.hidden = false;
  document.body.classList.add('shared');
  screen.player.want('yes');
  setInterval(() => {
    screen.player.tick();
    screen.draw();
  }, 1000);
  return screen;
}
