import { test } from 'node:test';
import assert from 'node:assert/strict';
import { LivePlayer } from '../src/liveplayer';
import { Clock } from '../src/pace';
import { LiveSocket } from '../src/socket';
import { browser } from './dom';
import { Server, time } from './server';

browser();

test('the URL of a media source that never opens is given back', (t) => {
  time(t);
  const open = new Set<string>();
  t.mock.method(URL, 'createObjectURL', () => {
    const url = `blob:${open.size}`;
    open.add(url);
    return url;
  });
  t.mock.method(URL, 'revokeObjectURL', (url: string) => { open.delete(url); });
  const server = new Server(), socket = new LiveSocket(server.connect, server.there);
  const player = new LivePlayer('yard', 'raw', 'wall', document.createElement('video'), document.createElement('canvas'), new Clock(), socket, () => undefined, () => undefined);
  player.want('yes');
  assert.equal(open.size, 1);
  player.stop();
  assert.equal(open.size, 0);
});

test('a large view leaves the socket if the network is too slow, and not since connections were lost', async (t) => {
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there), gaveUp: string[] = [];
  t.mock.method(globalThis, 'fetch', () => Promise.resolve(Response.json({ renditions: [{ name: '720p', role: 'variant', processor: 'p', width: 1280, behind_s: 1 }] })));
  const video = document.createElement('video');
  const player = new LivePlayer('yard', 'raw', 'focus', video, document.createElement('canvas'), new Clock(), socket, () => undefined, (why) => gaveUp.push(why));
  player.want('yes');
  for (let i = 0; i < 10 && player.qualities().length < 2; i++) await new Promise(setImmediate);
  assert.deepEqual(player.qualities(), ['raw', '720p']);
  const behind = () => {
    const channel = server.wire.sent.find((m) => m.type === 'subscribe')!.channel as number;
    server.tell({ type: 'left_out', channel, reason: 'behind', from: { seq: 5, epoch: 3, part: 1 }, to: 9 });
    server.part(channel, 0);
  };
  const connect = async () => {
    for (const { length } = server.wires; server.wires.length === length;) await pass(100);
    server.hello();
    await pass(100);
  };
  server.hello();
  await pass(100);
  server.part(1, 0);
  video.dispatchEvent(new Event('playing'));
  for (let i = 0; i < 3; i++) {
    server.lose();
    await connect();
    behind();
  }
  assert.deepEqual(gaveUp, []);
  await pass(1000);
  behind();
  assert.deepEqual(gaveUp, []);
  behind();
  assert.deepEqual(gaveUp, ['the network is too slow for this picture']);
  player.destroy();
});
