package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// readsStrip declares strip(video), which reads the strip (see camsim.Strip) in the picture of
// a video; null: it cannot be read.
const readsStrip = `
  const c = document.createElement('canvas'), g = c.getContext('2d', {willReadFrequently: true});
  const strip = (v) => {
    const w = v.videoWidth, h = v.videoHeight, s = Math.floor(w / 40), from = s >> 2, to = s - from;
    if (!w || v.readyState < 2) return null;
    c.width = w; c.height = 2 * s;
    g.drawImage(v, 0, h - 2 * s, w, 2 * s, 0, 0, w, 2 * s);
    const now = Date.now(), px = g.getImageData(0, 0, w, 2 * s).data, bits = [];
    for (let n = 0; n < 80; n++) {
      let sum = 0, count = 0;
      for (let y = Math.floor(n / 40) * s + from; y < Math.floor(n / 40) * s + to; y++)
        for (let x = (n % 40) * s + from; x < (n % 40) * s + to; x++) {
          const i = (y * w + x) * 4;
          sum += px[i] + px[i + 1] + px[i + 2]; count += 3;
        }
      bits.push(sum / count > 127 ? 1 : 0);
    }
    const read = (from, n) => bits.slice(from, from + n).reduce((a, b) => a * 2 + b, 0);
    let crc = 0xffff;
    for (let i = 0; i < 64; i++)
      crc = ((crc << 1) & 0xffff) ^ (((crc >> 15) & 1) ^ bits[i] ? 0x1021 : 0);
    return crc === read(64, 16) ? {at: now, taken: read(0, 42), ahead: ahead(v), width: w} : null;
  };
  const ahead = ({buffered: b, currentTime: t}) => {
    for (let i = 0; i < b.length; i++)
      if (b.start(i) <= t + 0.1 && t <= b.end(i)) return Math.round(1000 * (b.end(i) - t));
    return 0;
  };`

// sampler reads the strip of the player in focus ten times a second, into window.seen.
const sampler = `(() => {
  window.seen = [];` + readsStrip + `
  setInterval(() => {
    const v = document.querySelector('#stage video');
    const read = v && strip(v);
    if (read) window.seen.push(read);
  }, 100);
})()`

// tilesSampler reads the strips of all tiles of the wall five times a second, into
// window.tiles, by camera, and how many seconds their buffers hold, into window.holds, and at
// most, into window.held.
const tilesSampler = `(() => {
  window.tiles = {};
  window.holds = [];
  window.held = 0;` + readsStrip + `
  setInterval(() => {
    for (const tile of document.querySelectorAll('.tile')) {
      const v = tile.querySelector('video'), read = strip(v);
      if (read) (window.tiles[tile.id.slice('camera-'.length)] ??= []).push(read);
      let held = 0;
      for (let i = 0; i < v.buffered.length; i++) held += v.buffered.end(i) - v.buffered.start(i);
      window.holds.push(held);
      window.held = Math.max(window.held, held);
    }
  }, 200);
})()`

// look is one reading of the strip, in milliseconds since the Unix epoch.
type look struct {
	At    int64 `json:"at"`    // when it was read on the screen
	Taken int64 `json:"taken"` // when the camera took it
	Ahead int64 `json:"ahead"` // what the player had buffered after it, in ms
	Width int   `json:"width"` // of the picture
}

// looks returns the readings since the last call.
func looks(p *testenv.Page) []look {
	var all []look
	p.Eval("window.seen.splice(0)", &all)
	return all
}

// delays returns the delays from camera to screen, sorted.
func delays(all []look) []time.Duration {
	var d []time.Duration
	for _, l := range all {
		d = append(d, time.Duration(l.At-l.Taken)*time.Millisecond)
	}
	slices.Sort(d)
	return d
}

// hole is a time in which a camera sent nothing that a client can decode.
type hole struct{ from, to int64 } // ms

// holes returns the times, longer than limit, in which a camera sent no picture to
// any client, or none that can be decoded: after a connection was cut, clients wait
// for the next random access point.
func holes(sent []camsim.Sent, limit time.Duration) []hole {
	var all []hole
	last, cut := int64(0), false
	for _, s := range sent {
		if s.Track != schemas.VideoTrack {
			continue
		}
		if s.Peers == 0 {
			cut = true
			continue
		}
		if cut && !s.Sync {
			continue
		}
		at := s.At.UnixMilli()
		if last != 0 && time.Duration(at-last)*time.Millisecond > limit {
			all = append(all, hole{last, at})
		}
		last, cut = at, false
	}
	return all
}

// stalls describes the times in which the picture stood still for longer than
// patience although there was footage. It measures on the screen, from one change
// of the picture to the next, and subtracts the holes of the camera: what it did
// not send cannot be shown.
func stalls(all []look, away []hole, patience time.Duration) []string {
	var bad []string
	for i, since := 1, 0; i < len(all); i++ {
		if all[i].Taken == all[since].Taken && i < len(all)-1 {
			continue
		}
		stood := all[i].At - all[since].At
		for _, h := range away {
			// The hole may be within what the screen has shown, or still to come.
			if h.to > all[since].Taken && h.from < all[i].At {
				stood -= h.to - h.from
			}
		}
		if d := time.Duration(stood) * time.Millisecond; d > patience {
			bad = append(bad, fmt.Sprintf("%v at %v, from the picture of %v to that of %v, with %d to %d ms in the buffer",
				d, clock(all[since].At), clock(all[since].Taken), clock(all[i].Taken), all[since].Ahead, all[i-1].Ahead))
		}
		since = i
	}
	return bad
}

func clock(ms int64) string { return time.UnixMilli(ms).Format("15:04:05.000") }

// stalls distinguishes a stall from a camera that is away.
func TestStallsAreTold(t *testing.T) {
	// play reads a screen ten times a second. It shows what was taken a second ago,
	// but stands still in [from, to).
	play := func(from, to int64) (all []look) {
		shown := int64(0)
		for at := int64(10_000); at < 20_000; at += 100 {
			if at < from || at >= to {
				shown = at - 1000
			}
			all = append(all, look{At: at, Taken: shown})
		}
		return all
	}
	for name, c := range map[string]struct {
		all  []look
		away []hole
		want int
	}{
		"plays":                          {play(0, 0), nil, 0},
		"a hiccup":                       {play(12_000, 13_000), nil, 0},
		"stands":                         {play(12_000, 16_000), nil, 1},
		"stands to the end":              {play(15_000, 30_000), nil, 1},
		"camera away":                    {play(12_000, 16_000), []hole{{11_000, 15_000}}, 0},
		"camera away, and stands longer": {play(12_000, 19_000), []hole{{11_000, 15_000}}, 1},
		"camera away at another time":    {play(12_000, 16_000), []hole{{4_000, 8_000}}, 1},
	} {
		if got := stalls(c.all, c.away, 2*time.Second); len(got) != c.want {
			t.Errorf("%s: %d stalls, want %d: %s", name, len(got), c.want, strings.Join(got, "; "))
		}
	}
}
