import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import type { Camera } from '../src/camera';
import { Clock } from '../src/pace';
import { LiveSocket } from '../src/socket';
import { Wall } from '../src/wall';
import { Media, Sight, browser } from './dom';
import { Server, time } from './server';

browser();

const camera = (id: string): Camera => ({
  id, url: '', source: 'api', delay_ms: null, playlist: `/hls/${id}/index.m3u8`,
  status: { state: 'live', owner: '', host: '', since: '2030-01-02T03:04:05Z', updated: '2030-01-02T03:04:05Z', stale: false },
});

/** A wall of so many cameras, in sight from the first on. */
function wall(t: TestContext, count: number, seen: number) {
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there);
  t.mock.method(console, 'info', () => undefined);
  const root = document.createElement('div');
  const w = new Wall(root, new Clock(), () => undefined, socket);
  const ids = Array.from({ length: count }, (_, i) => `cam-${String(i + 1).padStart(2, '0')}`);
  w.update(ids.map(camera));
  const see = (which: string[], yes = true) => Sight.last!.see(which.map((id) => `camera-${id}`), yes);
  see(ids.slice(0, seen));
  server.hello();
  setInterval(() => { if (server.greeted) server.now(); }, 5000);
  let heard = 0;
  const open = new Map<number, { camera: string; keyframes: boolean }>();
  /** What comes of each camera: all, keyframes or nothing. */
  const comes = () => {
    for (const m of server.wire.sent.slice(heard)) {
      if (m.type === 'subscribe') open.set(m.channel as number, { camera: m.camera as string, keyframes: m.keyframes === true });
      if (m.type === 'unsubscribe') open.delete(m.channel as number);
    }
    heard = server.wire.sent.length;
    return ids.map((id) => [...open.values()].filter((s) => s.camera === id).map((s) => (s.keyframes ? 'keyframes' : 'all')).join('+') || 'nothing');
  };
  const channel = (id: string) => {
    comes();
    return [...open].find(([, s]) => s.camera === id)![0];
  };
  const end = (id: string, reason: string) => {
    const n = channel(id);
    open.delete(n);
    server.tell({ type: 'end', channel: n, reason, error: '' });
  };
  const via = (id: string) => w.screen(id)!.player.report().via;
  interface Made { id: string; textContent: string; attributes?: Map<string, string>; children?: Made[] }
  /** What a tile says below the camera's name. */
  const says = (id: string) => {
    const tile = (root.children as unknown as Made[]).find((e) => e.id === `camera-${id}`)!;
    return tile.children!.flatMap((e) => e.children ?? []).find((e) => e.attributes?.get('class') === 'meta')!.textContent;
  };
  return { w, ids, see, comes, end, via, pass, server, channel, says };
}

const times = (n: number, what: string): string[] => Array<string>(n).fill(what);

test('what the tiles of a wall get', (t) => {
  const { w, ids, see, comes, says } = wall(t, 20, 18);
  const sparse = (from: number, to: number) => ids.slice(from, to).map((id) => `Keyframes only · ${id}`);
  assert.deepEqual(comes(), [...times(16, 'all'), ...times(2, 'keyframes'), ...times(2, 'nothing')]);
  w.tick();
  assert.deepEqual(ids.map(says), [...ids.slice(0, 16), ...sparse(16, 18), ...ids.slice(18)], 'those beyond 16 say so');
  see([ids[0]!], false);
  see([ids[19]!]);
  assert.deepEqual(comes(), ['nothing', ...times(16, 'all'), 'keyframes', 'nothing', 'keyframes'], 'the first one has left the view');
  w.tick();
  assert.deepEqual(ids.map(says), [...ids.slice(0, 17), ...sparse(17, 18), ids[18], ...sparse(19, 20)]);
  w.setFocused([ids[1]!]);
  assert.deepEqual(comes(), ['nothing', 'nothing', ...times(16, 'all'), 'nothing', 'keyframes'], 'the large view has the second one');
  w.pause(true);
  assert.deepEqual(comes(), times(20, 'nothing'));
  w.pause(false);
  assert.deepEqual(comes(), ['nothing', 'nothing', ...times(16, 'all'), 'nothing', 'keyframes']);
});

test('a tile without a place on the socket plays HLS, until another one leaves', async (t) => {
  const { w, ids, see, comes, end, via, pass } = wall(t, 4, 3);
  end(ids[2]!, 'too_many');
  assert.deepEqual([via(ids[2]!), comes()], ['hls', ['all', 'all', 'nothing', 'nothing']]);
  await pass(60_000);
  w.tick();
  assert.deepEqual([via(ids[2]!), w.screen(ids[2]!)!.player.state === 'idle'], ['hls', false], 'it plays on');
  see([ids[0]!], false);
  await pass(2000);
  assert.deepEqual([via(ids[2]!), comes()], ['socket', ['nothing', 'all', 'all', 'nothing']]);
});

test('without the socket the wall plays HLS, until it is back', async (t) => {
  const { w, ids, see, via, pass, server } = wall(t, 2, 2);
  server.refuses = true;
  server.lose();
  await pass(5000);
  assert.deepEqual(ids.map(via), ['hls', 'hls']);
  ids.push('cam-03'); // a new one
  w.update(ids.map(camera));
  see(ids);
  assert.equal(via('cam-03'), 'hls');
  const states = ids.map((id) => w.screen(id)!.player.state);
  assert.ok(!states.includes('idle'), String(states));
  server.refuses = false;
  const { length } = server.wires;
  for (let i = 0; i < 60 && server.wires.length === length; i++) await pass(1000);
  server.hello();
  server.now();
  assert.deepEqual(ids.map(via), ['socket', 'socket', 'socket']);
  assert.deepEqual(server.wire.sent.map((m) => m.camera), ids);
});

test('a camera whose log does not answer is asked for again after a second', async (t) => {
  const { ids, comes, end, pass } = wall(t, 2, 2);
  for (const [reason, soon] of [['away', true], ['busy', false]] as const) {
    end(ids[0]!, reason);
    await pass(1300);
    assert.equal(comes()[0], soon ? 'all' : 'nothing', reason);
    await pass(15_000);
    assert.equal(comes()[0], 'all', reason);
  }
});

test('when the cookie of the connection has expired, all tiles go on at once over the next one', async (t) => {
  const { w, ids, comes, end, pass, server, channel } = wall(t, 3, 3);
  for (const id of ids) server.part(channel(id), 0);
  end(ids[0]!, 'not_found');
  await pass(5000); // the server asks for the right so often while no part comes
  end(ids[1]!, 'not_found');
  assert.deepEqual([server.wires.length, comes()], [1, ['nothing', 'nothing', 'all']], 'it may be the right to these two alone');
  end(ids[2]!, 'not_found');
  assert.equal(server.wires.length, 2);
  server.hello();
  const asked = () => server.wire.sent.filter((m) => m.type === 'subscribe').map((m) => m.camera);
  assert.deepEqual(asked().sort(), ids);

  // They may have lost their right, and not the cookie: then they ask as seldom as before.
  for (const m of server.wire.sent.splice(0)) server.tell({ type: 'end', channel: m.channel, reason: 'not_found', error: '' });
  await pass(7000);
  assert.deepEqual([server.wires.length, asked()], [2, []]);
  for (let i = 0; i < 60 && server.wires.length === 2; i++) await pass(100); // nobody has used that one
  server.hello();
  await pass(5000);
  assert.deepEqual(asked().sort(), ids);
  w.pause(true);
});

test('a tile whose media source does not open is made anew, so that the others go on', async (t) => {
  for (const [what, sparse] of [['all pictures', false], ['keyframes', true]] as const) {
    const { w, ids, pass, server, channel } = wall(t, sparse ? 17 : 1, sparse ? 17 : 1);
    const { player } = w.screen(ids[ids.length - 1]!)!;
    const look = async (seconds: number) => {
      for (let i = 0; i < seconds; i++) {
        await pass(1000);
        w.tick();
      }
    };
    await look(1);
    const n = channel(player.report().camera);
    server.tell({ type: 'config', channel: n, config: 'c', mime: 'm' });
    server.part(n, 0); // not acknowledged, so the server sends nothing more
    await pass(17_000); // nobody sees the page, which looks at no tile
    await look(15);
    assert.deepEqual([player.report().keyframes, player.report().rebuilds], [sparse, 0], `${what}: a page that is not seen opens no source`);
    const acks = () => server.wire.sent.filter((m) => m.type === 'ack');
    assert.deepEqual(acks(), []);
    await look(3);
    assert.deepEqual([player.report().rebuilds, acks()], [1, [{ type: 'ack', bytes: 25 }]], what);
    w.pause(true);
  }
});

test('a tile that shows keyframes alone', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  const { w, ids, pass, server, channel } = wall(t, 17, 17);
  const id = ids[16]!, { player } = w.screen(id)!, video = w.screen(id)!.video;
  const play = async (seconds: number, each: () => void) => { // keyframes come for so long
    for (let i = 0; i < seconds; i += 2) {
      server.part(channel(id), 0);
      each();
      await pass(1000);
      w.tick();
      await pass(1000);
      w.tick();
    }
  };
  const open = () => {
    Media.last!.dispatchEvent(new Event('sourceopen'));
    server.tell({ type: 'config', channel: channel(id), config: 'c', mime: 'm' });
  };
  const moves = () => {
    video.currentTime += 2;
    video.dispatchEvent(new Event('seeked'));
  };
  const fails = () => {
    video.setAttribute('src', 'blob:');
    video.dispatchEvent(new Event('error'));
  };
  open();
  await play(40, moves);
  assert.deepEqual([player.state, player.report().rebuilds], ['playing', 0]);
  await play(20, () => undefined);
  assert.equal(player.report().rebuilds, 1, 'nothing of what comes is shown');
  await pass(1000);
  open();
  await play(20, () => { video.currentTime += 2; });
  assert.equal(player.report().rebuilds, 2, 'it has never shown a picture');
  await pass(2000);
  open();
  server.part(channel(id), 0);
  video.currentTime += 2;
  w.tick();
  video.dispatchEvent(new Event('seeked')); // the first picture is there between two looks
  for (let i = 0; i < 20; i++) {
    await pass(1000);
    w.tick();
  }
  server.part(channel(id), 0);
  w.tick();
  assert.equal(player.report().rebuilds, 2, 'the next keyframe comes late, and is shown soon');
  for (let i = 0; i < 9; i++) {
    await pass(2000);
    server.part(channel(id), 0);
  }
  w.tick();
  assert.equal(player.report().rebuilds, 2, 'the page was not seen meanwhile');

  // Each attempt comes later than the one before it, until all has gone well.
  const waits = async () => {
    fails();
    let ms = 0;
    for (; player.state === 'retrying' && ms < 60_000; ms += 100) await pass(100);
    return ms;
  };
  await pass(5000);
  for (const want of [2000, 4000, 8000]) assert.equal(await waits(), want);
  open();
  await play(14, moves);
  assert.equal(await waits(), 500);
  w.pause(true);
});

test('sound stays on over a change to HLS, unless the browser refuses it', async (t) => {
  const { w, ids, end, via, pass } = wall(t, 2, 2);
  for (const silentOnly of [false, true]) {
    const id = ids[silentOnly ? 1 : 0]!;
    const video = w.screen(id)!.video as HTMLVideoElement & { silentOnly: boolean };
    assert.equal(video.muted, true, 'at first it is silent');
    Object.assign(video, { muted: false, volume: 0.25, silentOnly });
    end(id, 'unplayable');
    await pass(3000);
    w.tick();
    await pass(100);
    assert.deepEqual([via(id), video.muted, video.volume], ['hls', silentOnly, 0.25]);
  }
});
