import { test } from 'node:test';
import assert from 'node:assert/strict';
import { LiveSocket } from '../src/socket';
import { Server, bytes, listener, time } from './server';

test('a subscription to keyframes, also over a new connection', async (t) => {
  const pass = time(t);
  const server = new Server(), socket = new LiveSocket(server.connect, server.there);
  socket.subscribe('yard', 'sub', listener(), true);
  const asked = { type: 'subscribe', channel: 1, camera: 'yard', rendition: 'sub', keyframes: true };
  server.hello();
  assert.deepEqual(server.wire.sent, [asked]);
  server.part(1, 0);
  server.lose();
  await pass(2000);
  server.hello();
  assert.deepEqual(server.wire.sent[0], { ...asked, channel: 2, after: { seq: 5, epoch: 3, part: 0 } });
});

test('a socket', async (t) => {
  const pass = time(t);
  const server = new Server(), socket = new LiveSocket(server.connect, server.there);
  const a = listener(), b = listener();
  const leave = socket.subscribe('yard', 'raw', a);
  socket.subscribe('shed', '720p', b);
  assert.deepEqual(server.wire.sent, [], 'before the hello');
  server.hello();
  assert.deepEqual(server.wire.sent.splice(0), [
    { type: 'subscribe', channel: 1, camera: 'yard', rendition: 'raw' }, { type: 'subscribe', channel: 2, camera: 'shed', rendition: '720p' },
  ]);
  server.tell({ type: 'config', channel: 1, config: 'c', mime: 'm' });
  server.tell(bytes(1, 1, 0, 1, 7));
  server.tell({ type: 'fragment', channel: 1, seq: 5 });
  server.part(1, 4);
  server.part(2, 9);
  server.tell({ type: 'left_out', channel: 1, reason: 'behind', from: { seq: 5, epoch: 3, part: 5 }, to: 7 });
  assert.deepEqual(a.heard.splice(0), ['config c m', 'init 7', 'fragment 5', 'part 4', 'left out behind']);
  assert.deepEqual(b.heard.splice(0), ['part 9']);

  // What is used is acknowledged soon; much at once.
  a.take.shift()!();
  assert.deepEqual(server.wire.sent, []);
  await pass(100);
  assert.deepEqual(server.wire.sent.splice(0), [{ type: 'ack', bytes: 5 }]);
  a.take.shift()!();
  assert.deepEqual(server.wire.sent.splice(0), [{ type: 'ack', bytes: 30 }]);

  // A new connection goes on where the old one was, and counts anew.
  const late = b.take.shift()!;
  server.lose();
  await pass(1000);
  assert.equal(server.wires.length, 2);
  server.hello();
  late();
  server.now();
  await pass(1000);
  assert.deepEqual(server.wire.sent.splice(0), [
    { type: 'subscribe', channel: 3, camera: 'yard', rendition: 'raw', after: { seq: 5, epoch: 3, part: 4 } },
    { type: 'subscribe', channel: 4, camera: 'shed', rendition: '720p', after: { seq: 5, epoch: 3, part: 9 } },
  ]);

  // So does one after a silence, which may be long: a large part takes its time over a slow network.
  await pass(13_000);
  assert.equal(server.wires.length, 2);
  await pass(3000);
  assert.equal(server.wires.length, 3);
  server.hello();
  server.wire.sent.splice(0);

  leave();
  assert.deepEqual(server.wire.sent.splice(0), [{ type: 'unsubscribe', channel: 5 }]);
  server.part(5, 1); // was on its way: nobody hears it, and it is acknowledged
  await pass(100);
  assert.deepEqual(server.wire.sent.splice(0), [{ type: 'ack', bytes: 25 }]);
  assert.deepEqual(a.heard, []);
});

test('a channel that is in use is given to no other subscription', (t) => {
  time(t);
  const server = new Server(), socket = new LiveSocket(server.connect, server.there);
  socket.subscribe('yard', 'raw', listener());
  server.hello();
  const asked = () => server.wire.sent.filter((m) => m.type === 'subscribe').map((m) => m.channel);
  for (let i = 2; i <= 65_535; i++) socket.subscribe('shed', 'raw', listener())();
  assert.deepEqual([asked()[0], asked().pop()], [1, 65_535]);
  socket.subscribe('shed', 'raw', listener());
  assert.equal(asked().pop(), 2);
});

test('a socket is there before the first subscription', async (t) => {
  const pass = time(t);
  const server = new Server(), socket = new LiveSocket(server.connect, server.there);
  socket.warm();
  server.hello();
  await pass(1000);
  const leave = socket.subscribe('yard', 'raw', listener());
  assert.deepEqual(server.wire.sent, [{ type: 'subscribe', channel: 1, camera: 'yard', rendition: 'raw' }]);
  await pass(6000);
  assert.equal(server.wire.readyState, 1, 'it is in use');
  leave();
  await pass(10_000);
  assert.equal(server.wire.readyState, 3);

  socket.warm();
  server.hello();
  await pass(10_000);
  assert.deepEqual([server.wires.length, server.wire.readyState], [2, 3], 'nobody has used it');
});

test('a right that ends', async (t) => {
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there);
  const a = listener(), b = listener();
  socket.subscribe('yard', 'raw', a);
  socket.subscribe('shed', 'raw', b);
  server.hello();
  server.part(1, 0);
  server.part(2, 0);
  server.tell({ type: 'end', channel: 1, reason: 'not_found', error: '' });
  assert.deepEqual([a.heard.pop(), server.wire.readyState], ['ended not_found', 1]);
  server.part(2, 1);
  assert.deepEqual(b.heard, ['part 0', 'part 1'], 'only the one ends');

  // It may be the end of the cookie that the connection has: then all end, and the next
  // connection has the newer one.
  server.tell({ type: 'end', channel: 2, reason: 'not_found', error: '' });
  socket.subscribe('yard', 'raw', a);
  await pass(100);
  assert.equal(server.wires.length, 2);
});

test('a camera that is not there costs no connection', async (t) => {
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there);
  socket.subscribe('nothing', 'raw', listener());
  server.hello();
  server.tell({ type: 'end', channel: 1, reason: 'not_found', error: '' });
  socket.subscribe('yard', 'raw', listener());
  await pass(100);
  assert.deepEqual([server.wires.length, server.wire.readyState], [1, 1]);
});

test('the socket is back soon after any outage', async (t) => {
  t.mock.method(Math, 'random', () => 0.999); // the longest waits
  const pass = time(t);
  for (const what of ['refuses', 'says nothing'] as const) {
    for (const outage of [500, 10_000, 600_000]) {
      const server = new Server(), socket = new LiveSocket(server.connect, server.there), a = listener();
      const leave = socket.subscribe('yard', 'raw', a);
      server.hello();
      server.part(1, 0);
      const { length } = server.wires;
      server.refuses = what === 'refuses';
      server.answers = what === 'refuses' ? false : undefined;
      server.lose();
      await pass(outage);
      const tries = server.wires.length - length;
      if (what === 'refuses') assert.ok(tries <= 2, `${tries} sockets in ${outage} ms: browsers delay them`);
      assert.ok(server.asked <= 2 + outage / 1000, `${server.asked} requests in ${outage} ms`);
      server.refuses = false;
      server.answers = true;
      const before = server.wires.length; // an attempt that hangs comes through when its packets are sent again: that is not tested here
      let took = 0;
      for (; server.wires.length === before && took < 60_000; took += 50) await pass(50);
      assert.ok(took <= (what === 'refuses' ? 1500 : 4050), `${what} for ${outage} ms: the next connection begins after ${took} ms`);
      server.hello();
      assert.deepEqual(server.wire.sent, [{ type: 'subscribe', channel: 2, camera: 'yard', rendition: 'raw', after: { seq: 5, epoch: 3, part: 0 } }]);
      assert.deepEqual(a.heard, ['part 0'], 'the subscription has stayed');
      leave();
    }
  }
});

test('an attempt that hangs', async (t) => {
  t.mock.method(Math, 'random', () => 0.999);
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there);
  server.answers = undefined;
  socket.subscribe('yard', 'raw', listener());
  await pass(4500);
  assert.equal(server.wires[0]!.readyState, 3, 'it is given up');
  await pass(2500);
  assert.equal(server.wires.length, 2, 'and begun again although the server says nothing');
});

test('the network is back, or the page is seen again', async (t) => {
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there);
  socket.wake(1000);
  assert.equal(server.wires.length, 0, 'nobody is subscribed');
  const leave = socket.subscribe('yard', 'raw', listener());
  server.hello();
  server.part(1, 0);
  await pass(500);
  socket.wake(1000);
  assert.equal(server.wires.length, 1, 'footage comes');
  await pass(1000);
  socket.wake(1000);
  assert.deepEqual([server.wires.length, server.wires[0]!.readyState], [2, 3], 'nothing has come for 1.5 s');
  server.refuses = true;
  server.answers = false;
  server.lose();
  await pass(60_000);
  const { length } = server.wires;
  socket.wake(1000);
  assert.equal(server.wires.length, length + 1, 'it tries at once');
  leave();
});

test('a socket that comes through and fails again soon is tried less often', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there);
  const leave = socket.subscribe('yard', 'raw', listener());
  const fail = async () => { // it has come through, and is lost with each attempt then
    server.now();
    server.refuses = true;
    server.lose();
    for (let i = 0; !socket.broken && i < 200; i++) await pass(50);
    assert.ok(socket.broken);
    server.refuses = false;
  };
  const tried = async () => { // after how long it is tried again
    const { length } = server.wires;
    let ms = 0;
    for (; server.wires.length === length && ms < 600_000; ms += 1000) await pass(1000);
    return ms;
  };
  server.hello();
  await fail();
  for (const want of [30_000, 60_000, 120_000]) {
    socket.whenFree(() => socket.subscribe('yard', 'raw', listener()));
    const got = await tried();
    assert.ok(Math.abs(got - want) <= 2000, `after ${got} ms, want ${want}`);
    server.hello();
    await fail();
  }
  socket.whenFree(() => socket.subscribe('yard', 'raw', listener()));
  await tried();
  server.hello();
  for (let i = 0; i < 14; i++) { // this one stays
    server.now();
    await pass(5000);
  }
  await fail();
  socket.whenFree(() => undefined);
  const got = await tried();
  assert.ok(Math.abs(got - 30_000) <= 2000, `after a steady one: ${got} ms`);
  leave();
});

test('while the socket does not come through, there is HLS', async (t) => {
  t.mock.method(Math, 'random', () => 0.999);
  const pass = time(t);
  for (const what of ['refused at first', 'refused later', 'hangs', 'says hello and no more'] as const) {
    const server = new Server(), socket = new LiveSocket(server.connect, server.there), a = listener();
    socket.subscribe('yard', 'raw', a);
    if (what === 'refused later') {
      server.hello();
      server.part(1, 0);
    }
    if (what.startsWith('refused')) {
      server.refuses = true;
      server.lose();
    }
    let took = 0;
    for (let said = 0; !socket.broken && took < 60_000; took += 50) {
      if (what === 'says hello and no more' && server.wires.length > said) {
        said = server.wires.length;
        server.hello();
      }
      await pass(50);
    }
    assert.ok(took < (what.startsWith('refused') ? 4000 : 20_000), `${what}: HLS after ${took} ms`);
    assert.equal(a.heard.pop(), 'broken');
    let free = 0;
    socket.whenFree(() => free++);
    const b = listener();
    socket.subscribe('shed', 'raw', b);
    await pass(1000);
    assert.deepEqual(b.heard, ['broken'], 'also for those that come later');

    // It is tried now and then.
    const { length } = server.wires;
    server.refuses = true;
    await pass(120_000);
    assert.ok(server.wires.length - length >= 3 && server.wires.length - length <= 6, `${server.wires.length - length} attempts in two minutes`);
    assert.deepEqual([free, socket.broken], [0, true]);
    server.refuses = false;
    const before = server.wires.length;
    for (let i = 0; i < 1000 && server.wires.length === before; i++) await pass(50);
    server.hello();
    assert.equal(free, 0, 'a hello is not enough');
    server.now();
    assert.deepEqual([free, socket.broken], [1, false]);
    const leave = socket.subscribe('yard', 'raw', a);
    assert.equal(server.wire.sent[0]!.camera, 'yard');
    leave();
    await pass(10_000);
    assert.equal(server.wire.readyState, 3, 'nobody uses it');
  }
});

test('a server that is away is waited for, and HLS is no way out', async (t) => {
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there), a = listener();
  server.refuses = true;
  server.answers = false;
  socket.subscribe('yard', 'raw', a);
  await pass(300_000);
  assert.deepEqual([socket.broken, a.heard], [false, []]);
  server.refuses = false;
  server.answers = true;
  await pass(1500);
  server.hello();
  assert.equal(server.wire.sent[0]!.camera, 'yard');
});

test('a connection has places for so many', async (t) => {
  const pass = time(t), server = new Server(), socket = new LiveSocket(server.connect, server.there);
  const leave = ['a', 'b', 'c', 'd'].map((id) => socket.subscribe(id, 'raw', listener()));
  server.hello();
  const free: string[] = [];
  for (const [channel, name] of [[3, 'c'], [4, 'd']] as const) {
    server.tell({ type: 'end', channel, reason: 'too_many', error: '' });
    socket.whenFree(() => free.push(name));
  }
  await pass(5000);
  assert.deepEqual(free, [], 'there is no place');
  leave[0]!(); // it changes its stream
  leave[0] = socket.subscribe('a', 'sub', listener());
  await pass(5000);
  assert.deepEqual(free, []);
  leave[0]();
  await pass(2000);
  assert.deepEqual(free, ['c', 'd'], 'the first takes no place: it is out of sight');
});
