package camera

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/schemas"
)

func replayCamera(id string) schemas.Camera {
	return schemas.Camera{ID: id, URL: "framelog://yard?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z", Source: schemas.SourceAPI}
}

// TestChunksPassTheAssembler: a source of chunks opens the log at once, and its writer
// leaves out what the source repeats. Its status is that of any camera. When it has ended,
// it is not run again.
func TestChunksPassTheAssembler(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		runs := 0
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
				runs++
				rec := s.(ingest.Recorder)
				if err := rec.Begin(ctx); err != nil {
					return err
				}
				rec.NewSession("")
				for i := range uint32(150) {
					time.Sleep(200 * time.Millisecond)
					c := &schemas.Chunk{Index: i % 5, Start: time.Now(), Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: make([]schemas.Sample, 5)}}}
					for j := range c.Runs[0].Samples {
						c.Runs[0].Samples[j] = schemas.Sample{Duration: 3600, Data: make([]byte, 1000)}
					}
					if c.Index == 0 {
						c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Width: 640, Height: 360}}
					}
					if err := rec.Chunk(ctx, c); err != nil {
						return err
					}
				}
				return ingest.ErrEnded
			})
		}
		_, end := runCamera(t, w, replayCamera("a"))
		after(21 * time.Second) // the status has rates of ten seconds
		if s := w.registry.of("a"); s.State != schemas.StateLive || s.Video != schemas.H264 || s.Width != 640 || s.FPS != 25 || s.Bitrate != 200_000 {
			t.Errorf("while it runs: %+v", s)
		}
		after(time.Minute)
		log := w.logs.of("a")
		if got := log.state(); got.chunks != 150 || got.sessions != 1 || got.closed {
			t.Errorf("when it has ended: %+v", got)
		}
		if o := w.logs.opened; len(o) != 1 || !o[0].Redo || o[0].Unit != "" {
			t.Errorf("opened %+v", o)
		}
		if s := w.registry.of("a"); s.State != schemas.StateEnded || s.Error != "" {
			t.Errorf("when it has ended: %+v", s)
		}
		if runs != 1 {
			t.Errorf("it ran %d times", runs)
		}
		if err := end(); err != nil || !log.isClosed() {
			t.Errorf("closed %v, %v", log.isClosed(), err)
		}
	})
}

// TestLeftOut: what a source leaves out is logged, and is a problem of the camera until the next
// connection.
func TestLeftOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		runs := 0
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
				runs++
				rec := s.(ingest.Recorder)
				if err := rec.Begin(ctx); err != nil {
					return err
				}
				rec.NewSession("")
				if err := rec.Chunk(ctx, &schemas.Chunk{
					Start: time.Now(), Tracks: []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264}},
					Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{Duration: 3600, Data: make([]byte, 1000)}}}},
				}); err != nil {
					return err
				}
				if runs == 1 {
					s.(ingest.Observer).Observe(ingest.Event{Kind: ingest.EventLeftOut, Problem: "a minute is left out", Err: errors.New("offset 7")})
				}
				time.Sleep(10 * time.Second)
				return errors.New("away")
			})
		}
		_, end := runCamera(t, w, replayCamera("a"))
		after(9 * time.Second)
		if s := w.registry.of("a"); s.State != schemas.StateLive || s.Problem != "a minute is left out" {
			t.Errorf("the status is %+v", s)
		}
		if n := strings.Count(w.log.String(), `problem="a minute is left out" err="offset 7"`); n != 1 {
			t.Errorf("it is logged %d times", n)
		}
		after(9 * time.Second)
		if s := w.registry.of("a"); s.State != schemas.StateLive || s.Problem != "" || runs != 2 {
			t.Errorf("in run %d the status is %+v", runs, s)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// TestEndedSourceOpensNothing: a source that has nothing to add leaves the log alone.
func TestEndedSourceOpensNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(context.Context, ingest.Sink) error { return ingest.ErrEnded })
		}
		_, end := runCamera(t, w, replayCamera("a"))
		after(time.Minute)
		if w.logs.of("a") != nil {
			t.Error("the log is open")
		}
		if s := w.registry.of("a"); s.State != schemas.StateEnded {
			t.Errorf("status %+v", s)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// TestCameraIsNoRedo: nobody repeats what a camera sent.
func TestCameraIsNoRedo(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, end := runCamera(t, w, testCamera("a"))
		after(time.Second)
		if o := w.logs.opened; len(o) != 1 || o[0].Redo {
			t.Errorf("opened %+v", o)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
