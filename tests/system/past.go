package system

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// PastFPS is how many pictures a second RecordPast records, if a span says nothing else.
const PastFPS = 10

// The pictures of RecordPast.
const (
	pastWidth, pastHeight = 320, 180
	pastGOP               = 2 // seconds: a fragment
	pastChunk             = 2 // pictures of a chunk
)

// Span is a range of public time: [From, To).
type Span struct {
	From, To time.Time
	FPS      int // 0: PastFPS
	// GoesOn: it is of the same session as the span before it. Public time is corrected there.
	GoesOn bool
}

func (s Span) fps() int { return cmp.Or(s.FPS, PastFPS) }

// tick is how long a picture is shown, frame the same in ticks of media time.
func (s Span) tick() time.Duration { return time.Second / time.Duration(s.fps()) }

func (s Span) frame() uint32 { return uint32(schemas.MediaTimescale / s.fps()) }

// RecordPast adds a camera that is switched off, and records footage of these times for it at
// once. Each picture has a [camsim.Strip] with the public time at which it begins to be shown.
// Each span is a session, unless it goes on; in between the camera was away.
func RecordPast(t testing.TB, f *testenv.Framelog, id string, spans ...Span) {
	t.Helper()
	writer(t, f, id, func(ctx context.Context, w *medialog.Writer) {
		media := int64(0)
		for i, s := range spans {
			if i > 0 && !s.GoesOn {
				w.NewSession(schemas.AbsentCamera)
			}
			config, units := encodePast(t, s, pastGOP)
			writePast(ctx, t, w, s, config, pastGOP, pastChunk, media, units)
			media += int64(len(units)) * int64(s.frame())
		}
	})
}

// longGOP is how many seconds a fragment of RecordLong has.
const longGOP = 6

// RecordLong records a span like RecordPast, but most of its fragments are the same one again and
// again: only those that have one of these times have their own pictures. So hours of footage
// take little time.
func RecordLong(t testing.TB, f *testenv.Framelog, id string, s Span, own ...time.Time) {
	t.Helper()
	const long = longGOP * time.Second
	writer(t, f, id, func(ctx context.Context, w *medialog.Writer) {
		at := func(n int) Span {
			return Span{From: s.From.Add(time.Duration(n) * long), To: s.From.Add(time.Duration(n+1) * long), FPS: s.FPS}
		}
		shown := map[int]bool{}
		for _, t := range own {
			shown[int(t.Sub(s.From)/long)] = true
		}
		config, filler := encodePast(t, at(0), longGOP)
		pictures := len(filler)
		for n := range int(s.To.Sub(s.From) / long) {
			units := filler
			if shown[n] {
				var same []byte
				if same, units = encodePast(t, at(n), longGOP); !bytes.Equal(same, config) {
					t.Fatal("system: the encoder's parameter sets differ from one run to the next")
				}
			}
			writePast(ctx, t, w, at(n), config, longGOP, pictures, int64(n*pictures)*int64(s.frame()), units)
		}
	})
}

// writer adds a camera that is switched off, and calls write with the writer of its log.
func writer(t testing.TB, f *testenv.Framelog, id string, write func(context.Context, *medialog.Writer)) {
	t.Helper()
	PutCamera(t, f.URL, id, `{"url":"rtsp://127.0.0.1:9/","disabled":true}`)
	log, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: []string{f.Broker}, ClientID: "past"}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatalf("system: record the past of %s: %v", id, err)
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*testenv.Patience)
	defer cancel()
	w := log.Open(ctx, schemas.Topic{Camera: id}, medialog.OpenOptions{Writer: "past", Absent: schemas.AbsentCamera})
	write(ctx, w)
	if err := w.Close(ctx); err != nil {
		t.Fatalf("system: record the past of %s: %v", id, err)
	}
}

// writePast writes the pictures of a span in fragments of so many seconds, and chunks of so many
// pictures.
func writePast(ctx context.Context, t testing.TB, w *medialog.Writer, s Span, config []byte, seconds, chunk int, media int64, units []gstreamer.EncodedUnit) {
	t.Helper()
	tick, frame, gop := s.tick(), s.frame(), seconds*s.fps()
	track := schemas.Track{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: config, Width: pastWidth, Height: pastHeight}
	for n := 0; n < len(units); n += chunk {
		in := n % gop
		c := &schemas.Chunk{
			Index: uint32(in / chunk), Last: in+chunk >= gop || n+chunk >= len(units),
			Start: s.From.Add(time.Duration(n) * tick), Captured: time.Now(),
			Layout: schemas.Layout{Part: schemas.PartTarget(chunk, frame), Video: schemas.H264},
		}
		if c.Index == 0 {
			c.Tracks = []schemas.Track{track}
		}
		run := schemas.Run{Track: schemas.VideoTrack}
		for i, u := range units[n:min(n+chunk, len(units))] {
			run.Samples = append(run.Samples, schemas.Sample{DTS: media + int64(n+i)*int64(frame), Duration: frame, Sync: u.Sync, Data: u.Data})
		}
		c.Runs = []schemas.Run{run}
		if err := w.Room(ctx, c.Size(), c.Index == 0); err != nil {
			t.Fatalf("system: record the past: %v", err)
		}
		if err := w.Write(c); err != nil {
			t.Fatalf("system: the log refuses the footage of %v: %v", c.Start, err)
		}
	}
}

// encodePast encodes the pictures of a span.
func encodePast(t testing.TB, s Span, gop int) (config []byte, units []gstreamer.EncodedUnit) {
	t.Helper()
	var mu sync.Mutex
	e, err := gstreamer.NewH264Encoder(gstreamer.H264Config{Width: pastWidth, Height: pastHeight, FPS: s.fps(), KeyInterval: gop * s.fps(), Bitrate: 300},
		func(c []byte, u gstreamer.EncodedUnit) {
			mu.Lock()
			defer mu.Unlock()
			config, units = c, append(units, u)
		})
	if err != nil {
		t.Fatalf("system: encode the past: %v", err)
	}
	defer func() { _ = e.Close() }()
	tick := s.tick()
	pictures := int(s.To.Sub(s.From) / tick)
	frame := make([]byte, pastWidth*pastHeight*3/2)
	for n := range pictures {
		paintPast(frame, n, s.From.Add(time.Duration(n)*tick))
		if err := e.Push(frame, time.Duration(n)*tick, tick); err != nil {
			t.Fatalf("system: encode the past: %v", err)
		}
	}
	testenv.Wait(t, 2*testenv.Patience, "the encoder", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(units) == pictures
	})
	return config, units
}

// paintPast draws a picture: grey, a bar that moves, and the strip.
func paintPast(frame []byte, n int, at time.Time) {
	luma := frame[:pastWidth*pastHeight]
	for i := range luma {
		luma[i] = 70
		if x := i % pastWidth; x/16 == n%(pastWidth/16) {
			luma[i] = 190
		}
	}
	for i := range frame[len(luma):] {
		frame[len(luma)+i] = 128
	}
	camsim.Strip{Time: at, Frame: uint32(n)}.Draw(luma, pastWidth, pastWidth, pastHeight)
}
