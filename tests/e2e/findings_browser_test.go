package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// The boxes of finder: one box, which moves from left to right in period, in steps.
const (
	period = 4 * time.Second
	step   = 100 * time.Millisecond
	widest = 0.8 // how far its left side goes
)

// boxAt returns the box of a time.
func boxAt(t time.Time) schemas.Box {
	return schemas.Box{X: float64(t.UnixNano()%int64(period)) / float64(period) * widest, Y: 0.4, W: 0.1, H: 0.2, Label: "ball"}
}

// boxOff is a function that gives how many ms the time of the box over a picture of the past is
// away from a time; null if there is no box. No time is further away than half of period.
var boxOff = fmt.Sprintf(`(past, time) => {
  const box = past.querySelector('.boxes div'), v = past.querySelector('video');
  if (!box || time === null || box.textContent !== 'ball') return null;
  const width = v.videoWidth * Math.min(v.clientWidth / v.videoWidth, v.clientHeight / v.videoHeight);
  const of = (parseFloat(box.style.left) - (v.clientWidth - width) / 2) / width / %v * %[2]d;
  const off = (time + %[2]d - of) %% %[2]d;
  return Math.min(off, %[2]d - off);
}`, widest, period.Milliseconds())

// finder is a processor that puts a box over each picture, and tells an event a fragment
// while something moves.
func finder(moving *atomic.Bool) processors.Processor {
	return processors.Processor{Name: "finder", Outputs: []processors.Rendition{processors.Data("found")}, Process: func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
		e, err := in.Entry(ctx)
		if err != nil {
			return err
		}
		for at := e.Media; at < e.MediaEnd(); at += schemas.Ticks(step) {
			if err := out.Data(at, schemas.Ticks(step), schemas.Data{Boxes: []schemas.Box{boxAt(in.Time(at))}}); err != nil {
				return err
			}
		}
		if !moving.Load() {
			return nil
		}
		return out.Event(ctx, schemas.Event{Type: "motion", Value: 1})
	}}
}

// padder is a processor that makes a variant with another bit rate: each picture gets bytes
// that decoders leave out (filler data, ITU-T H.264 section 7.3.2.7).
func padder() processors.Processor {
	filler := slices.Concat([]byte{0, 0, 7, 210, 12}, bytes.Repeat([]byte{0xff}, 2000), []byte{0x80})
	return processors.Processor{Name: "padder", Outputs: []processors.Rendition{processors.Variant("padded")}, Process: func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
		for c, err := range in.Chunks(ctx) {
			if err != nil {
				return err
			}
			padded := *c
			samples := slices.Clone(c.Video())
			for i := range samples {
				samples[i].Data = slices.Concat(samples[i].Data, filler)
			}
			padded.Runs = []schemas.Run{{Track: schemas.VideoTrack, Samples: samples}}
			if err := out.Write(ctx, &padded); err != nil {
				return err
			}
		}
		return nil
	}}
}

// boxSampler reads the strip in the picture in focus and the box over it, ten times a
// second, into window.boxes. Right after a jump the box may still be that of the picture before.
const boxSampler = `(() => {
  window.boxes = [];
  let jumped = 0;
  document.querySelector('#stage video').addEventListener('seeking', () => { jumped = Date.now(); });
  setInterval(() => {
    const box = document.querySelector('#stage .boxes div'), v = document.querySelector('#stage video'), seen = window.seen[window.seen.length - 1];
    if (!box || !seen || Date.now() - seen.at > 150 || Date.now() - jumped < 500 || seen === window.boxes.last) return;
    window.boxes.last = seen;
    window.boxes.push({taken: seen.taken, x: parseFloat(box.style.left) / v.clientWidth, late: box.parentElement.classList.contains('late'), label: box.textContent});
  }, 20);
})()`

// What a processor finds shows on the page: a mark on the camera's tile while something
// moves; boxes over the picture to which they belong; a list of events; how far the
// processor is behind; and variants, to choose from, or for networks that are too slow.
func TestPageShowsFindings(t *testing.T) {
	b := testenv.Chromium(t)
	feed, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 640, Height: 360, KeyInterval: 13})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feed.Close)
	_, url := system.Camera(t, camsim.CameraConfig{Feed: feed})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
	var moving atomic.Bool
	system.Process(t, f.Broker, finder(&moving))
	system.Process(t, f.Broker, padder())
	network := testenv.SlowNetworkTo(t, f.URL)
	p := b.Open(t, network.URL)
	tellFailure(t, p)
	const mark = "document.querySelector('#camera-cam .mark.on')"
	p.Wait(2*testenv.Patience, "window.framelog && window.framelog.players().some(p => p.state === 'playing')")
	var on bool
	if p.Eval("!!"+mark, &on); on {
		t.Error("a mark while nothing moves")
	}
	moving.Store(true)
	p.Wait(testenv.Patience, mark+"?.textContent === 'Motion'")
	moving.Store(false)
	p.Wait(testenv.Patience, "!"+mark)
	// checkMarks looks for a pause in the timeline.
	f.Wait(t, testenv.Patience, "the end of an event that is 8 s old", func() bool {
		all := motions(t, f)
		return len(all) > 0 && time.Since(all[len(all)-1].End) > 8*time.Second
	})
	moving.Store(true)

	f.Wait(t, 2*testenv.Patience, "the variant", func() bool {
		_, body, err := f.Get(t, "/hls/cam/index.m3u8")
		return err == nil && bytes.Contains(body, []byte("padded.m3u8"))
	})
	p.Eval("window.framelog.focus('cam')", nil)
	p.Wait(2*testenv.Patience, "window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing')")
	p.Wait(testenv.Patience, "document.querySelector('#stage .boxes div') && document.querySelector('#stage .mark.on')")
	p.Wait(testenv.Patience, "document.querySelector('#stage .findings li strong')?.textContent === 'Motion'")
	p.Wait(testenv.Patience, "/found \\(finder\\)\\s*[0-9.]+ s behind/.test(document.querySelector('#stage .findings dl').innerText)")
	checkMarks(t, f, p)
	// The player is set back again and again, so that boxes have come before their pictures.
	p.Eval("new Promise((r) => setTimeout(r, 4000))", nil)
	p.Eval(sampler, nil)
	p.Eval(boxSampler, nil)
	p.Eval("window.back = setInterval(() => { const v = document.querySelector('#stage video'); v.currentTime = Math.max(v.buffered.start(0), v.currentTime - 3); }, 1500), 0", nil)
	p.Eval("new Promise((r) => setTimeout(r, 9000))", nil)
	p.Eval("clearInterval(window.back)", nil)
	var all []struct {
		Taken int64
		X     float64
		Late  bool
		Label string
	}
	p.Eval("window.boxes.map((b) => b)", &all)
	// A box tells for which time it is. Between this and the time at which the picture
	// was taken there is the camera's delay, which hardly changes.
	var off []time.Duration
	late := 0
	for _, x := range all {
		if x.Label != "ball" {
			t.Fatalf("a box with the label %q", x.Label)
		}
		if x.Late {
			late++
			continue
		}
		d := time.Duration(x.X/widest*float64(period)) - time.Duration(x.Taken)*time.Millisecond%period
		off = append(off, (d+3*period/2)%period-period/2)
	}
	slices.Sort(off)
	if len(off) < 10 {
		t.Fatalf("%d boxes over their pictures, %d late", len(off), late)
	}
	from, to := off[len(off)/20], off[len(off)*19/20]
	t.Logf("%d boxes, %d late; from %v to %v behind the time in the picture", len(all), late, from, to)
	// Without a look at the picture's time they would be a fragment apart, which lasts a second.
	if limit := 700 * time.Millisecond; to-from > limit {
		t.Errorf("boxes lie up to %v apart from their pictures, limit %v", to-from, limit)
	}

	// Pictures of the past have their boxes too: each that of the time that its picture shows.
	newest := time.Now().Add(-6 * time.Second)
	for i := range 5 {
		p.Eval(fmt.Sprintf("window.framelog.show(%d, false)", newest.Add(-time.Duration(i)*730*time.Millisecond).UnixMilli()), nil)
		p.Wait(testenv.Patience, fmt.Sprintf(`(() => {
		  if (window.framelog.past().waiting) return false;
		  const off = (%s)(document.querySelector('#stage .past'), %s);
		  return off !== null && off < 350;
		})()`, boxOff, taken))
	}
	p.Eval("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'l', bubbles: true})), 0", nil)
	p.Wait(2*testenv.Patience, "window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing')")

	const quality = "document.querySelector('#stage .controls select')"
	p.Wait(testenv.Patience, quality+".options.length === 3 && !"+quality+".hidden")
	// A camera is not left with the keys that choose a quality, or to go to itself.
	for _, element := range []string{quality, "document.body"} {
		p.Eval(element+".dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true})), 0", nil)
	}
	var open bool
	if p.Eval("!document.getElementById('stage').hidden", &open); !open {
		t.Error("an arrow key has closed the camera in focus")
	}
	stalls := system.Focused(p).Stalls
	for _, rendition := range []string{"padded", "raw"} {
		p.Eval(fmt.Sprintf("%[1]s.value = '%[2]s', %[1]s.dispatchEvent(new Event('change'))", quality, rendition), nil)
		p.Wait(testenv.Patience, fmt.Sprintf("window.framelog.players().some(p => p.mode === 'focus' && p.rendition === '%s' && p.state === 'playing')", rendition))
	}
	t.Logf("%d stalls when another quality was chosen", system.Focused(p).Stalls-stalls)

	// The table of lag has all hops of the camera. The wall stands still meanwhile.
	p.Eval("document.querySelector('#to-lag').click()", nil)
	p.Wait(testenv.Patience, "['log', 'found', 'padded', 'playlist'].every((hop) => document.querySelector(`#lag td[data-name=${hop}]`)?.textContent.endsWith('s'))")
	p.Wait(testenv.Patience, "window.framelog.players().every((p) => p.state !== 'playing')")
	p.Eval("document.querySelector('#lag .line a').click()", nil)
	p.Wait(2*testenv.Patience, "document.querySelector('#lag').hidden && window.framelog.players().some((p) => p.state === 'playing')")
	noProblems(t, p)

	// In a network that is too slow for the camera it is HLS, which would take a smaller variant.
	p.Eval("window.framelog.focus('cam')", nil)
	p.Wait(2*testenv.Patience, "window.framelog.players().some(p => p.mode === 'focus' && p.via === 'socket' && p.state === 'playing')")
	p.Wait(testenv.Patience, quality+".options.length === 3")
	network.Set(10_000, 0)
	p.Wait(2*testenv.Patience, "window.framelog.players().some(p => p.mode === 'focus' && p.via === 'hls')")

	// On a loaded machine the camera's clock jumps, which ends an event.
	events := motions(t, f)
	if n := len(events); n < 2 || events[n-1].Processor != "finder" || events[n-1].Rendition != "found" || events[n-1].LastSeq <= events[n-1].Seq {
		t.Errorf("the API tells %+v", events)
	}
}

// motion is an event as the API tells it.
type motion struct {
	Type, Rendition, Processor string
	Seq                        uint64
	LastSeq                    uint64 `json:"last_seq"`
	Start, End                 time.Time
}

func motions(t *testing.T, f *testenv.Framelog) []motion {
	t.Helper()
	var r struct{ Events []motion }
	f.JSON(t, "/v1/events/cam?type=motion", &r)
	return r.Events
}

// checkMarks checks that the timeline has marks where something moved, and footage without marks
// between one event and the next, both in the canvas's pixels.
func checkMarks(t *testing.T, f *testenv.Framelog, p *testenv.Page) {
	t.Helper()
	p.Wait(testenv.Patience, "((end) => end('max') - end('min'))((end) => Number(document.querySelector('#stage .bar').getAttribute('aria-value' + end))) === 600")
	key(p, "body", "+", "+")
	// A mark begins with the second in which its fragment begins, and lasts a second. Ends of the
	// view are known to half a second.
	const before, behind = 2 * time.Second, 1500 * time.Millisecond
	var noted, quiet [2]int64
	f.Wait(t, testenv.Patience, "an event, a pause, and an event that lasts", func() bool {
		all := motions(t, f)
		noted, quiet = [2]int64{}, [2]int64{}
		for i, e := range all {
			if e.End.Sub(e.Start) > 5*time.Second {
				noted = [2]int64{e.Start.Add(behind).UnixMilli(), e.End.Add(-behind).UnixMilli()}
			}
			if i > 0 && e.Start.Sub(all[i-1].End) > before+behind+500*time.Millisecond {
				quiet = [2]int64{all[i-1].End.Add(behind).UnixMilli(), e.Start.Add(-before).UnixMilli()}
			}
		}
		return noted[1] > 0 && quiet[1] > 0
	})
	part := func(colour string, of [2]int64) string {
		return fmt.Sprintf("(%s)('%s', %d, %d)", coloured, colour, of[0], of[1])
	}
	p.Wait(testenv.Patience, part("--note", noted)+" > 0.6")
	p.Wait(testenv.Patience, part("--note", quiet)+" === 0 && "+part("--footage", quiet)+" > 0.6")
}
