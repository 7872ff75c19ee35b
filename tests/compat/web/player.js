// One player of others in one page: ?player=NAME&url=URL. It reads what stands
// in the pictures (see camsim.Strip) and posts that to ./report five times a
// second. It never helps the player.
const query = new URLSearchParams(location.search);
const name = query.get('player');
const url = query.get('url');
const video = document.querySelector('video');
const began = Date.now();
const errors = [];
const tell = (text) => { if (errors.length < 50) errors.push(`${((Date.now() - began) / 1000).toFixed(1)} s: ${text}`); };
addEventListener('error', (e) => tell(`page: ${e.message}`));
addEventListener('unhandledrejection', (e) => tell(`page: ${e.reason}`));

function script(src) {
  return new Promise((resolve, reject) => {
    const s = document.createElement('script');
    s.src = src;
    s.onload = resolve;
    s.onerror = () => reject(new Error(`cannot load ${src}`));
    document.head.append(s);
  });
}

let behind = () => null; // seconds, as the player itself says
const start = {
  async hls(low) {
    await script('lib/hls.js/dist/hls.min.js');
    const hls = new Hls({ lowLatencyMode: low });
    hls.on(Hls.Events.ERROR, (_, d) => tell(`${d.fatal ? 'FATAL ' : ''}${d.type} ${d.details} ${d.response?.code ?? ''} ${d.error?.message ?? ''} ${d.frag?.sn ?? ''} ${d.part?.index ?? ''}`));
    behind = () => hls.latency;
    hls.loadSource(url);
    hls.attachMedia(video);
    window.player = hls;
  },
  async shaka() {
    await script('lib/shaka-player/dist/shaka-player.compiled.js');
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(video);
    player.configure({ streaming: { lowLatencyMode: true } });
    player.addEventListener('error', (e) => tell(`${e.detail.severity === 2 ? 'FATAL ' : ''}shaka ${e.detail.code} ${JSON.stringify(e.detail.data).slice(0, 300)}`));
    behind = () => player.getStats().liveLatency;
    window.player = player;
    await player.load(url);
  },
  async videojs() {
    await script('lib/video.js/dist/video.min.js');
    const player = videojs(video, { autoplay: 'muted', liveui: false, html5: { vhs: { overrideNative: true } } });
    player.on('error', () => tell(`FATAL video.js ${player.error()?.code} ${player.error()?.message}`));
    player.src({ src: url, type: 'application/vnd.apple.mpegurl' });
    window.player = player;
  },
};

// What the strip says: [time in ms, number], or null.
const canvas = document.createElement('canvas');
const context = canvas.getContext('2d', { willReadFrequently: true });
function read(v) {
  const w = v.videoWidth, h = v.videoHeight, s = Math.floor(w / 40), from = s >> 2, to = s - from;
  if (s < 4 || h < 2 * s) return null;
  if (canvas.width !== w || canvas.height !== 2 * s) { canvas.width = w; canvas.height = 2 * s; }
  context.drawImage(v, 0, h - 2 * s, w, 2 * s, 0, 0, w, 2 * s);
  const px = context.getImageData(0, 0, w, 2 * s).data;
  const bits = [];
  for (let n = 0; n < 80; n++) {
    let sum = 0, count = 0;
    for (let y = Math.floor(n / 40) * s + from; y < Math.floor(n / 40) * s + to; y++) {
      for (let x = (n % 40) * s + from; x < (n % 40) * s + to; x++) {
        const i = (y * w + x) * 4;
        sum += px[i] + px[i + 1] + px[i + 2];
        count += 3;
      }
    }
    bits.push(sum / count > 127 ? 1 : 0);
  }
  const number = (at, n) => bits.slice(at, at + n).reduce((a, b) => a * 2 + b, 0);
  let crc = 0xffff;
  for (let i = 0; i < 64; i++) crc = ((crc << 1) & 0xffff) ^ (((crc >> 15) & 1) ^ bits[i] ? 0x1021 : 0);
  return crc === number(64, 16) ? [number(0, 42), number(42, 22)] : null;
}

let samples = []; // [at, time, number] ten times a second at most; all in ms
let freezes = []; // [from, to] where no new picture came for over 300 ms
let pictures = 0, unread = 0, firstAt = 0, lastAt = 0, lastTime = -1, sampledAt = 0;
function onPicture(_, data) {
  const now = Date.now();
  if (data.mediaTime !== lastTime) {
    if (lastAt && now - lastAt > 300) freezes.push([lastAt, now]);
    lastAt = now;
    lastTime = data.mediaTime;
    firstAt ||= now;
    pictures++;
    if (now - sampledAt >= 100) {
      sampledAt = now;
      const r = read(video);
      if (r) samples.push([now, ...r]);
      else unread++;
    }
  }
  video.requestVideoFrameCallback(onPicture);
}
video.requestVideoFrameCallback(onPicture);
video.addEventListener('ended', () => tell('ended'));
video.addEventListener('error', () => tell(`FATAL video ${video.error?.code} ${video.error?.message}`));
for (const e of ['waiting', 'stalled', 'seeking', 'pause']) video.addEventListener(e, () => tell(`${e} at ${video.currentTime.toFixed(2)}, ${ranges()}`));
const ranges = () => [...Array(video.buffered.length).keys()].map((i) => `${video.buffered.start(i).toFixed(2)}-${video.buffered.end(i).toFixed(2)}`).join(' ');

// How long the page itself stood still: no player's fault.
let still = [], beat = Date.now();
setInterval(() => {
  const now = Date.now();
  if (now - beat > 200) still.push([beat, now]);
  beat = now;
}, 50);

setInterval(async () => {
  const report = {
    began, now: Date.now(), firstAt, lastAt, pictures, unread, samples, freezes, still, errors,
    currentTime: video.currentTime, width: video.videoWidth, behind: behind(), buffered: ranges(), rate: video.playbackRate,
    sound: video.webkitAudioDecodedByteCount ?? (video.mozHasAudio ? 1 : 0), dropped: video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0,
  };
  samples = [];
  freezes = [];
  still = [];
  await fetch('report', { method: 'POST', body: JSON.stringify(report) }).catch((e) => tell(`report: ${e}`));
}, 200);

const [kind, low] = { 'hls.js low latency': ['hls', true], 'hls.js': ['hls', false], Shaka: ['shaka'], 'video.js': ['videojs'] }[name] ?? [];
if (kind) start[kind](low).catch((e) => tell(`FATAL ${e?.message ?? e} ${e?.code ?? ''} ${e?.stack ?? ''}`.slice(0, 500)));
else tell(`FATAL no player named ${name}`);
