// The page: a wall of all cameras, and one in focus, or some beside each other. They stand
// in the address (#front-door,yard), so that they can be linked to and left with Back. The
// table of lag is at #/lag, which is no camera's id.
import { format, parse } from './address';
import { follow, reason, type Follower } from './api';
import type { Camera } from './camera';
import { addDialog, removeDialog } from './dialogs';
import { h, show, text } from './dom';
import { LagView } from './lag';
import type { Kept } from './deck';
import * as model from './model';
import { Marks } from './events';
import { Clock } from './pace';
import type { Report } from './playing';
import type { Screen } from './screen';
import { rendition, seenAs, signOut, whoAmI, type Me } from './session';
import { showShared } from './shared';
import type { PastReport } from './rewind';
import { shareDialog, showSignIn } from './signin';
import { Stage } from './stage';
import { Wall } from './wall';

declare global {
  interface Window {
    /** For tests, and for people who look into the console. */
    framelog: {
      players: () => Report[];
      cameras: () => Camera[];
      focus: (id: string) => void;
      past: () => PastReport | undefined;
      /** Shows a time of the camera in focus, in ms since the epoch. */
      show: (at: number, play: boolean) => void;
    };
  }
}

const hiddenFor = 20_000; // ms after which a hidden page stops its players

const el = (id: string) => document.getElementById(id)!;
const clock = new Clock();
const marks = new Marks();
const lag = new LagView(el('lag'));
const wall = new Wall(el('cameras'), clock, focus);
const empty = h('div', { class: 'empty' },
  h('h2', {}, 'No cameras yet'),
  h('p', { class: 'may-change' }, 'Add one here, or write it into framelog.yaml.'),
  h('button', { class: 'primary may-change', type: 'button', onclick: add }, 'Add camera'));
let me: Me = { required: false, oidc: false, user: null };
let shared: Screen | undefined;
let cameras: Camera[] = [];
let stage: Stage | undefined;
let loaded = false;
let paused = false;

function focus(id: string): void {
  const next = id && stage?.ids.join() !== id ? '#' + id : '';
  if (next) location.hash = next;
  else history.pushState(null, '', location.pathname), route();
}

/** Shows cameras beside each other, at the time that is shown. */
function beside(ids: string[]): void {
  const { deck } = stage ?? {};
  location.hash = format({ ids, ...(deck?.inPast ? { at: Math.round(deck.here()) } : {}) });
}

/** Shows what the address names: cameras in focus, or the table of lag. */
function route(): void {
  const { ids, at, to } = parse(location.hash);
  const table = ids[0] === '/lag' && !signedOut();
  lag.show(table);
  show(el('cameras'), !table); // tiles that cannot be seen do not play
  const shown = ids.map((id) => cameras.find((c) => c.id === id)).filter((c): c is Camera => !!c);
  const now = shown.map((c) => c.id);
  let kept: Kept | undefined, before: Stage | undefined;
  if (stage && stage.ids.join() !== now.join()) {
    const was = before = stage;
    if (was.ids.some((id) => now.includes(id))) kept = was.deck.kept();
    was.destroy();
    stage = undefined;
    if (!shown.length) wall.button(was.camera.id)?.focus();
  }
  document.body.classList.toggle('focus', shown.length > 0);
  if (shown.length && !stage) {
    stage = new Stage(el('stage'), shown, clock, wall.socket, (id) => before?.screens()[before.ids.indexOf(id)] ?? wall.screen(id), {
      close: () => focus(''),
      remove: mayChange() ? (c) => removeDialog(c, () => focus('')) : undefined,
      share: me.required ? (c) => shareDialog(c, rendition(me)) : undefined,
      step: (by) => {
        const next = cameras[(cameras.findIndex((c) => c.id === stage?.camera.id) + by + cameras.length) % cameras.length];
        if (next && next.id !== stage?.camera.id) focus(next.id);
      },
      beside,
      cameras: () => cameras,
    });
    // On a narrow screen the stage is above the wall and may be out of sight.
    if (!kept) window.scrollTo({ top: 0 });
  }
  if (kept) stage?.deck.keep(kept);
  if (at !== undefined) stage?.deck.open(at, to, kept?.playing ?? true);
  wall.setFocused(now);
}

const mayChange = () => me.user?.role !== 'viewer';

/** The form to sign in stands in place of the page. */
const signedOut = () => me.required && !me.user;

function add(): void {
  addDialog((id) => text(el('announce'), `${id} was added.`));
}

function got(list: Camera[]): void {
  const before = new Map(cameras.map((c) => [c.id, c]));
  const news = list.map((c) => model.announcement(before.get(c.id), c)).filter(Boolean);
  if (loaded && news.length) text(el('announce'), news.join(' '));
  cameras = list.map((c) => seenAs(c, rendition(me)));
  wall.update(cameras);
  if (!cameras.length && !empty.isConnected) el('cameras').append(empty);
  else if (cameras.length) empty.remove();
  text(el('summary'), model.summary(cameras));
  const there = stage?.ids.every((id) => cameras.some((c) => c.id === id));
  if (there) stage?.update(cameras, paused);
  if (!loaded || (stage && !there) || (!stage && location.hash)) route();
  loaded = true;
}

function mark(): void {
  const of = (id: string) => marks.text(id, clock.now());
  wall.mark(of);
  stage?.mark(of);
}

let offline: ReturnType<typeof setTimeout> | undefined;
async function tellOffline(): Promise<void> {
  const why = await reason();
  if (!offline) return; // the server has answered meanwhile
  text(el('offline'), `${why || 'No connection to the server'}. Trying again…`);
  show(el('offline'), true);
  document.body.classList.add('offline');
}

/** Shows the cameras of whoever is signed in. */
function showCameras(): void {
  document.body.classList.toggle('read-only', !mayChange());
  show(el('add'), mayChange());
  show(el('to-lag'), mayChange());
  show(el('who'), !!me.user);
  show(el('sign-out'), !!me.user);
  text(el('who'), me.user?.name ?? '');
  wall.socket?.warm();
  follow(follower);
  // An open page stays signed in.
  if (me.user) setInterval(() => void whoAmI(clock).then(changed, () => undefined), 5 * 60_000);
}

/** Begins anew if somebody else is signed in now, or nobody. */
function changed(now: Me): void {
  if (now.required !== me.required || now.user?.name !== me.user?.name || now.user?.role !== me.user?.role) location.reload();
}

const follower: Follower = {
  refused: () => void whoAmI(clock).then(changed, () => undefined),
  began: () => stage?.findings.read(),
  cameras: got,
  now: (ms) => clock.heard(ms),
  event: (e) => {
    marks.heard(e, clock.now());
    mark();
    stage?.findings.event(e);
  },
  connected: (yes) => {
    if (yes) {
      clearTimeout(offline);
      offline = undefined;
      show(el('offline'), false);
      document.body.classList.remove('offline');
      return;
    }
    // A short interruption is not shown. Each failed attempt calls this again.
    if (document.body.classList.contains('offline')) void tellOffline();
    offline ??= setTimeout(() => void tellOffline(), 3000);
  },
};

/** Finds out who looks at the page, and shows what they may see. */
function begin(): void {
  whoAmI(clock).then((m) => {
    me = m;
    if (me.share) shared = showShared(el('stage'), me.share, clock);
    else if (signedOut()) {
      route();
      showSignIn(el('cameras'), me.oidc);
    } else showCameras();
  }, () => {
    follower.connected(false);
    setTimeout(begin, 2000);
  });
}
begin();

el('sign-out').addEventListener('click', () => void signOut().finally(() => location.reload()));

el('add').addEventListener('click', add);
window.addEventListener('hashchange', route);
window.addEventListener('popstate', route);
if (location.hash === '#/lag') route(); // it needs no list of cameras
/** The camera in focus is shown over other pages. */
const inPicture = () => !!document.pictureInPictureElement;

setInterval(() => {
  if (!document.hidden) {
    wall.tick();
    mark();
  }
  if (!document.hidden || inPicture()) stage?.tick();
}, 1000);

let hiding: ReturnType<typeof setTimeout> | undefined;

/** A page that nobody sees plays nothing. */
function hide(): void {
  clearTimeout(hiding);
  const pause = (yes: boolean) => {
    wall.pause(yes);
    paused = yes && !inPicture();
    stage?.update(cameras, paused);
  };
  if (document.hidden) hiding = setTimeout(() => pause(true), hiddenFor);
  else pause(false);
}
document.addEventListener('visibilitychange', hide);
document.addEventListener('leavepictureinpicture', () => { if (document.hidden) hide(); });

window.framelog = {
  players: () => [...wall.screens(), ...(stage ? stage.screens() : []), ...(shared ? [shared] : [])].map((s) => s.player.report()),
  cameras: () => cameras,
  focus,
  past: () => stage?.deck.report(),
  show: (at, play) => stage?.deck.go(at, play),
};
