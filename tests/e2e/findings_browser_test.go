package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/copier"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// Of the boxes of finder: one box, which moves from left to right in period, in steps.
const (
	period = 4 * time.Second
	step   = 100 * time.Millisecond
	widest = 0.8 // how far its left side goes
)

// boxAt returns the box of a time.
func boxAt(t time.Time) schemas.Box {
	return schemas.Box{X: float64(t.UnixNano()%int64(period)) / float64(period) * widest, Y: 0.4, W: 0.1, H: 0.2, Label: "ball"}
}

// finder is a processor of tests: it puts a box over each picture of the camera cam, and
// tells an event a fragment while something moves.
type finder struct {
	log    *medialog.Log
	kafka  *kgo.Client
	moving atomic.Bool
}

// startFinder runs a finder until the test ends.
func startFinder(t *testing.T, broker string) *finder {
	t.Helper()
	cfg := kafka.Config{Brokers: []string{broker}}
	l, err := medialog.Connect(medialog.Config{Kafka: cfg}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	testenv.Wait(t, testenv.Patience, "the topic of events", func() bool {
		_, err := kadm.NewClient(cl).CreateTopic(t.Context(), 4, 1, nil, cfg.Names().Events())
		return err == nil
	})
	f := &finder{log: l, kafka: cl}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the processor: %v", err)
		}
	})
	return f
}

func (f *finder) run(ctx context.Context) error {
	topic := schemas.Topic{Camera: "cam", Rendition: "found"}
	out, err := f.log.Follow(ctx, topic, medialog.FollowOptions{Processor: "finder", Role: schemas.RoleData, Writer: "test"})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer out.Close()
	first := true
	for ev, err := range f.log.Tail(ctx, topic.Source(), medialog.Position{}) {
		if err == nil && ev.Entry != nil {
			if first {
				err = out.Jump(ctx, ev.Entry.Seq)
			}
			first = false
			if err == nil {
				err = f.fragment(ctx, out, topic, *ev.Entry)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) fragment(ctx context.Context, out *medialog.Follower, topic schemas.Topic, e schemas.Entry) error {
	if !e.Playable() {
		return out.Gaps(ctx, "", e)
	}
	c := &schemas.Chunk{
		Last: true, Start: e.Start, Media: e.Media, Duration: e.Duration,
		Tracks: []schemas.Track{{ID: schemas.DataTrack, Codec: schemas.JSON, Timescale: schemas.MediaTimescale}},
	}
	run := schemas.Run{Track: schemas.DataTrack}
	add := func(at, duration int64, d schemas.Data) error {
		b, err := json.Marshal(d)
		run.Samples = append(run.Samples, schemas.Sample{DTS: at, Duration: uint32(duration), Sync: true, Data: b})
		return err
	}
	o := medialog.Output{Used: e.Chunks}
	var found *schemas.Event
	if f.moving.Load() {
		found = &schemas.Event{Type: "motion", Start: e.Start, End: e.End(), Value: 1}
		if err := add(e.Media, 0, schemas.Data{Event: found}); err != nil {
			return err
		}
		o.Note = `{"events":[{"t":"motion","s":0,"e":1}]}`
	}
	for at := e.Media; at < e.MediaEnd(); at += schemas.Ticks(step) {
		box := boxAt(e.Start.Add(schemas.FromTicks(at - e.Media)))
		if err := add(at, min(schemas.Ticks(step), e.MediaEnd()-at), schemas.Data{Boxes: []schemas.Box{box}}); err != nil {
			return err
		}
	}
	c.Runs = []schemas.Run{run}
	var source *schemas.Chunk
	for x, err := range f.log.Chunks(ctx, topic.Source(), e) {
		if err != nil {
			return err
		}
		source = x
		break
	}
	w, err := out.Begin(ctx, source)
	if err == nil {
		err = w.Write(ctx, c)
	}
	if err == nil {
		_, err = w.Commit(ctx, e, o)
	}
	if err != nil || found == nil {
		return err
	}
	value, err := json.Marshal(found)
	if err != nil {
		return err
	}
	return f.kafka.ProduceSync(ctx, &kgo.Record{Topic: schemas.Names{}.Events(), Key: []byte(topic.Camera), Value: value, Headers: []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: fmt.Appendf(nil, "%s.%d.finder.0", e.Life, e.Seq)},
		{Key: "ce_source", Value: []byte("/cameras/cam/found")}, {Key: "ce_type", Value: []byte("framelog.motion")}, {Key: "ce_seq", Value: strconv.AppendUint(nil, e.Seq, 10)},
	}}).FirstErr()
}

// pad is a change for a copier: each picture gets bytes that decoders leave out (filler
// data, ITU-T H.264 section 7.3.2.7), so that the copy has another bit rate.
func pad(c *schemas.Chunk) error {
	filler := slices.Concat([]byte{0, 0, 7, 210, 12}, bytes.Repeat([]byte{0xff}, 2000), []byte{0x80})
	runs := slices.Clone(c.Runs)
	for i := range runs {
		runs[i].Samples = slices.Clone(runs[i].Samples)
		for n := range runs[i].Samples {
			s := &runs[i].Samples[n]
			s.Data = slices.Concat(s.Data, filler)
		}
	}
	c.Runs = runs
	return nil
}

// boxSampler reads the strip in the picture in focus and the box over it, ten times a
// second, into window.boxes.
const boxSampler = `(() => {
  window.boxes = [];
  setInterval(() => {
    const box = document.querySelector('#stage .boxes div'), v = document.querySelector('#stage video'), seen = window.seen[window.seen.length - 1];
    if (!box || !seen || Date.now() - seen.at > 150 || seen === window.boxes.last) return;
    window.boxes.last = seen;
    window.boxes.push({taken: seen.taken, x: parseFloat(box.style.left) / v.clientWidth, late: box.parentElement.classList.contains('late'), label: box.textContent});
  }, 20);
})()`

// What a processor finds shows on the page: a mark on the camera's tile while something
// moves; boxes over the picture to which they belong; a list of events; how far the
// processor is behind; and variants, to choose from.
func TestPageShowsFindings(t *testing.T) {
	b := testenv.Chromium(t)
	feed, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 640, Height: 360, KeyInterval: 13})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feed.Close)
	_, url := system.Camera(t, camsim.CameraConfig{Feed: feed})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
	found := startFinder(t, f.Broker)
	copied := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		copied <- copier.Run(ctx, copier.Config{Brokers: []string{f.Broker}, Name: "test", SessionTimeout: 6 * time.Second, Change: pad}, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-copied; err != nil {
			t.Errorf("the copier: %v", err)
		}
	})
	p := b.Open(t, f.URL)
	tellFailure(t, p)
	const mark = "document.querySelector('#camera-cam .mark.on')"
	p.Wait(2*testenv.Patience, "window.framelog && window.framelog.players().some(p => p.state === 'playing')")
	var on bool
	if p.Eval("!!"+mark, &on); on {
		t.Error("a mark while nothing moves")
	}
	found.moving.Store(true)
	p.Wait(testenv.Patience, mark+"?.textContent === 'Motion'")
	found.moving.Store(false)
	p.Wait(testenv.Patience, "!"+mark)
	found.moving.Store(true)

	f.Wait(t, 2*testenv.Patience, "the variant", func() bool {
		_, body, err := f.Get(t, "/hls/cam/index.m3u8")
		return err == nil && bytes.Contains(body, []byte("copy.m3u8"))
	})
	p.Eval("window.framelog.focus('cam')", nil)
	p.Wait(2*testenv.Patience, "window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing')")
	p.Wait(testenv.Patience, "document.querySelector('#stage .boxes div') && document.querySelector('#stage .mark.on')")
	p.Wait(testenv.Patience, "document.querySelector('#stage .findings li strong')?.textContent === 'Motion'")
	p.Wait(testenv.Patience, "/found \\(finder\\)\\s*[0-9.]+ s behind/.test(document.querySelector('#stage .findings dl').innerText)")
	// The player is set back, so that all boxes have come before their pictures.
	p.Eval("new Promise((r) => setTimeout(r, 4000))", nil)
	p.Eval(sampler, nil)
	p.Eval(boxSampler, nil)
	p.Eval("document.querySelector('#stage video').currentTime -= 3, 0", nil)
	p.Eval("new Promise((r) => setTimeout(r, 6000))", nil)
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

	const quality = "document.querySelector('#stage .controls select')"
	p.Wait(testenv.Patience, quality+".options.length === 3 && !"+quality+".hidden")
	stalls := system.Focused(p).Stalls
	for i, rendition := range []string{"copy", "raw"} { // the best comes first, behind "Auto"
		p.Eval(fmt.Sprintf("performance.clearResourceTimings(), %[1]s.selectedIndex = %[2]d, %[1]s.dispatchEvent(new Event('change'))", quality, i+1), nil)
		p.Wait(testenv.Patience, fmt.Sprintf("performance.getEntriesByType('resource').some(r => r.name.includes('/hls/cam/%s/m1/'))", rendition))
	}
	t.Logf("%d stalls when another quality was chosen", system.Focused(p).Stalls-stalls)
	noProblems(t, p)

	var r struct {
		Events []struct {
			Type, Rendition, Processor string
			Seq, Last_Seq              uint64 //nolint:revive // the JSON's name
		}
	}
	f.JSON(t, "/v1/events/cam?type=motion", &r)
	if n := len(r.Events); n != 2 || r.Events[1].Processor != "finder" || r.Events[1].Rendition != "found" || r.Events[1].Last_Seq <= r.Events[1].Seq {
		t.Errorf("the API tells %+v", r.Events)
	}
}
