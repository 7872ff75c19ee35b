// The page of a share link: one camera.
import { parse } from './address';
import type { Camera } from './camera';
import { Deck } from './deck';
import { h } from './dom';
import type { Clock } from './pace';
import { Screen } from './screen';
import { base, whoAmI, type Share } from './session';
import { liveSocket } from './socket';

/** Shows the camera of a link. */
export function showShared(root: HTMLElement, share: Share, clock: Clock): Screen {
  const now = new Date(clock.now()).toISOString();
  const camera: Camera = {
    id: share.camera, url: '', source: 'api', delay_ms: null,
    playlist: `${base}/hls/${share.camera}/${share.rendition === 'raw' ? '' : share.rendition + '/'}index.m3u8`,
    status: { state: 'live', owner: '', host: '', since: now, updated: now, stale: false },
  };
  const screen = new Screen(camera, 'focus', clock, liveSocket());
  const deck = new Deck([{ camera, screen }], clock, () => (deck.inPast ? screen.player.stop() : screen.player.want('yes')));
  screen.element.append(deck.notice, h('div', { class: 'controls' }, screen.pill, deck.when));
  screen.video.controls = true;
  root.replaceChildren(screen.element, deck.element, h('div', { class: 'about' },
    h('div', { class: 'names' }, h('h2', {}, share.camera), h('p', { class: 'meta' }, `Shared by ${share.user} until ${new Date(share.until).toLocaleString()}`))));
  root.hidden = false;
  document.body.classList.add('shared');
  screen.player.want('yes');
  setInterval(() => {
    screen.player.tick();
    screen.draw();
    deck.tick();
  }, 1000);
  setInterval(() => { if (!document.hidden) whoAmI(clock).catch(() => undefined); }, 60_000); // nothing else tells the server's clock
  document.addEventListener('keydown', (e) => { if (!e.altKey && !e.ctrlKey && !e.metaKey && deck.key(e)) e.preventDefault(); });
  const { at, to } = parse(location.hash);
  if (at !== undefined) deck.open(at, to);
  return screen;
}
