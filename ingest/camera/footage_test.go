package camera

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// footage is a source of an hour of pictures and sound.
type footage struct {
	begin time.Time // of its clock; zero: the wall clock, and it is delivered as it comes
	done  chan struct{}
}

func (f footage) Live() bool { return f.begin.IsZero() }

// Run delivers the footage: a live one by the wall clock, another one within some
// twenty seconds and by a clock that is 2 per cent fast.
func (f footage) Run(ctx context.Context, s ingest.Sink) error {
	const frames, gop, fps, rate = 3600 * 5, 10, 5, 8000
	begin := f.begin
	if f.Live() {
		begin = time.Now()
	}
	err := s.Tracks([]schemas.Track{
		{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: codectest.H264{}.Config(), Width: 320, Height: 240},
		{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: rate, Config: []byte{0x15, 0x88}, SampleRate: rate, Channels: 1},
	})
	sound := int64(0)
	for n := int64(0); n < frames && err == nil; n++ {
		now := begin.Add(time.Duration(n) * time.Second / fps)
		if f.Live() {
			time.Sleep(time.Until(now))
		} else {
			now = now.Add(now.Sub(begin) / 50)
		}
		if n%fps == 0 {
			err = s.Tick(now)
		}
		if n%1000 == 999 && !f.Live() {
			time.Sleep(1100 * time.Millisecond) // the wall clock moves as it likes
		}
		for ; sound*1024*fps < n*rate && err == nil; sound++ {
			err = s.Unit(ingest.Unit{Track: schemas.AudioTrack, PTS: sound * 1024, Data: codectest.Unit264(false, uint64(sound), 16), Captured: now})
		}
		if err == nil {
			err = s.Unit(ingest.Unit{Track: schemas.VideoTrack, PTS: n * schemas.MediaTimescale / fps, Data: codectest.Unit264(n%gop == 0, uint64(n), 32), Captured: now})
		}
	}
	close(f.done)
	if err == nil {
		<-ctx.Done()
		err = ctx.Err()
	}
	return err
}

// Footage that comes faster than time gives the chunks that it gave live: in one
// session, with the public time that its source says, and no problem of time.
func TestFootageFasterThanTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.logs.keep = true
		record := func(id string, begin time.Time) (*fakeWriter, time.Duration) {
			src := footage{begin: begin, done: make(chan struct{})}
			w.source = func(string, schemas.Camera) ingest.Source { return src }
			s := w.service(t, Config{})
			s.deps.newAssembler = func(cfg assemble.Config, rec assemble.Recorder) assembler { return assemble.New(cfg, rec, nil) }
			c := newRecording(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, testCamera(id))
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			began := time.Now()
			go func() { result <- c.run(ctx, "test", always) }()
			<-src.done
			took := time.Since(began)
			after(time.Second)
			if st := w.registry.of(id); st.State != schemas.StateLive {
				t.Errorf("%s: status %+v", id, st)
			}
			cancel()
			if err := <-result; err != nil {
				t.Error(err)
			}
			return w.logs.of(id), took
		}
		begin := time.Now()
		live, _ := record("live", time.Time{})
		fast, took := record("fast", begin)
		if took > time.Minute {
			t.Fatalf("an hour took %v", took)
		}
		for _, st := range w.registry.all {
			if st.Problem != "" {
				t.Fatalf("status %+v", st)
			}
		}
		if live.sessions != 1 || fast.sessions != 1 {
			t.Errorf("%d sessions live, %d fast", live.sessions, fast.sessions)
		}
		if n := len(live.kept); n < 3600 || len(fast.kept) != n {
			t.Fatalf("%d chunks live, %d fast", n, len(fast.kept))
		}
		for i, c := range fast.kept {
			if !bytes.Equal(c, live.kept[i]) {
				t.Fatalf("chunk %d is another one", i)
			}
		}
		first, err := schemas.DecodeChunk(fast.kept[0])
		last, err2 := schemas.DecodeChunk(slices.Clone(fast.kept[len(fast.kept)-1]))
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		end := last.Start.Add(schemas.FromTicks(last.MediaEnd() - last.MediaStart()))
		if !first.Start.Equal(begin) || end.Sub(begin) != time.Hour {
			t.Errorf("public time is %v to %v, want an hour from %v", first.Start, end, begin)
		}
	})
}
