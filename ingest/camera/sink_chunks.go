package camera

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// The methods of ingest.Recorder: chunks pass by the assembler.

// Begin implements ingest.Recorder.
func (s *sink) Begin(ctx context.Context) error {
	s.takeOver.Stop()
	s.connected = true
	s.status.problem(problemSource, "")
	w := s.rec.openNow(nil)
	if w == nil {
		return errRecorderClosed
	}
	w.Truncate(schemas.ReasonSource)
	if err := w.Written(ctx); err != nil {
		return fmt.Errorf("camera: open the log: %w", err)
	}
	return nil
}

// NewSession implements ingest.Recorder.
func (s *sink) NewSession(absent string) { s.rec.NewSession(absent) }

// Chunk implements ingest.Recorder.
func (s *sink) Chunk(ctx context.Context, c *schemas.Chunk) error {
	w := s.rec.writer()
	if w == nil {
		return errRecorderClosed
	}
	if c.Index == 0 {
		s.status.tracks(c.Tracks)
	}
	if err := w.Room(ctx, c.Size(), c.Index == 0); err != nil {
		return fmt.Errorf("camera: wait for the log: %w", err)
	}
	now := time.Now()
	for _, run := range c.Runs {
		for i := range run.Samples {
			s.status.unit(now, run.Track == schemas.VideoTrack, len(run.Samples[i].Data))
		}
	}
	if err := s.rec.Write(c); err != nil && !errors.Is(err, medialog.ErrRefused) {
		return err
	}
	return nil
}

// Truncate implements ingest.Recorder.
func (s *sink) Truncate(reason string) { s.rec.Truncate(reason) }

// Gap implements ingest.Recorder.
func (s *sink) Gap(start time.Time, media, duration int64, reason string) {
	s.rec.Gap(start, media, duration, reason)
}

// Lost implements ingest.Recorder.
func (s *sink) Lost(l schemas.Lost) { s.rec.Lost(l) }
