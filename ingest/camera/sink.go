package camera

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/schemas"
)

// errEnded is the error of a connection that ended without an error.
var errEnded = errors.New("connection ended")

// sink is the ingest.Sink of a camera's source. It passes everything to the
// assembler, updates the status, and catches panics of the assembler. One goroutine
// uses it at a time.
type sink struct {
	id      string // of the stream, in metrics
	noAudio bool
	log     *slog.Logger
	m       *metrics
	status  *status
	trouble *troubleLog
	guard   guard
	asm     assembler     // nil until there is a source, and again once it panicked
	rec     *lateRecorder // of the run

	// Of the connection.
	takeOver  *time.Timer
	connected bool // Tracks was called
	broken    bool // the assembler panicked

	drops   drops
	noSound string // the problem of the sound
}

// begin prepares for the next connection. takeOver is stopped when Tracks is
// called.
func (s *sink) begin(takeOver *time.Timer) {
	s.takeOver, s.connected, s.broken = takeOver, false, false
}

// withAssembler runs f, unless the assembler has panicked before.
func (s *sink) withAssembler(f func(asm assembler) error) error {
	if s.broken {
		return errEnded
	}
	s.broken = true
	return s.guard.run(func() error {
		err := f(s.asm)
		s.broken = false
		return err
	})
}

// Tracks implements ingest.Sink.
func (s *sink) Tracks(tracks []schemas.Track) error {
	s.takeOver.Stop()
	if s.noAudio {
		tracks = slices.DeleteFunc(slices.Clone(tracks), func(tr schemas.Track) bool { return !tr.Codec.Video() })
	}
	s.status.tracks(tracks)
	return s.withAssembler(func(asm assembler) error {
		s.connected = true
		err := asm.Tracks(tracks)
		if err != nil && !errors.Is(err, ingest.ErrUnsupported) {
			err = fmt.Errorf("%w: %w", ingest.ErrUnsupported, err)
		}
		return err
	})
}

// Unit implements ingest.Sink.
func (s *sink) Unit(u ingest.Unit) error {
	if s.noAudio && u.Track != schemas.VideoTrack {
		return nil
	}
	s.status.unit(time.Now(), u.Track == schemas.VideoTrack, len(u.Data))
	return s.withAssembler(func(asm assembler) error { return asm.Unit(u) })
}

// dropsEvery is the shortest time between two log lines of a camera's drops.
const dropsEvery = 10 * time.Second

// drops is what was dropped and is not logged yet.
type drops struct {
	units  uint64
	logged time.Time
}

// Observe implements ingest.Observer.
func (s *sink) Observe(e ingest.Event) {
	switch e.Kind {
	case ingest.EventDropped:
		s.m.dropped.WithLabelValues(s.id).Add(float64(e.Units))
		s.drops.units += e.Units
		if time.Since(s.drops.logged) >= dropsEvery {
			s.logDrops()
		}
	case ingest.EventUnreleased:
		s.m.unreleased.WithLabelValues(s.id).Inc()
		s.log.Error("a connection to the camera has not been released; its memory is held until it is", "transport", e.Transport)
	case ingest.EventFrameTime:
		// An error is a panic. The source gets it at its next call.
		_ = s.withAssembler(func(asm assembler) error { asm.FrameTime(e.FrameTime); return nil })
	case ingest.EventSound:
		s.sound(e.Problem)
	case ingest.EventLeftOut:
		s.log.Warn(leftOut, "problem", e.Problem, "err", clean(e.Err))
		s.status.problem(problemSource, e.Problem)
	case ingest.EventFallback:
		s.trouble.tell(slog.LevelInfo, fallbackToUDP, slog.String("err", clean(e.Err)))
	case ingest.EventEngine:
		s.log.Info("the native engine leaves this camera to GStreamer", "because", clean(e.Err))
	default:
		if e.Kind == ingest.EventEnded && s.drops.units > 0 {
			s.logDrops()
		}
		s.log.Debug("connection", "step", e.Kind, "transport", e.Transport)
	}
}

// sound takes the problem of the camera's sound. It is logged when it changes:
// with most cameras it is the same at each connection.
func (s *sink) sound(problem string) {
	if s.noAudio {
		return
	}
	unusable := s.m.noSound.WithLabelValues(s.id)
	unusable.Set(0)
	if problem != "" {
		unusable.Set(1)
		if problem != s.noSound {
			s.trouble.tell(slog.LevelWarn, noSoundRecorded, slog.String("problem", problem))
		}
	}
	s.noSound = problem
	s.status.problem(problemSound, problem)
}

// logDrops logs what was dropped since the last line.
func (s *sink) logDrops() {
	s.log.Warn("this machine does not keep up with the camera: units are dropped, pictures up to the next keyframe", "units", s.drops.units)
	s.drops = drops{logged: time.Now()}
}

// Tick implements ingest.Sink: it passes the time to the assembler, and the
// assembler's results to the status.
func (s *sink) Tick(now time.Time) error {
	return s.withAssembler(func(asm assembler) error {
		if err := asm.Tick(now); err != nil {
			return err
		}
		found := asm.Stats()
		if found.Width != 0 {
			s.status.size(found.Width, found.Height)
		}
		if found.Blocked != "" && s.status.current() != schemas.StateLive {
			s.status.state(schemas.StateUnusable, errors.New(found.Blocked))
		}
		return nil
	})
}

// flush ends the connection in the assembler, and reports whether the assembler can
// be used again.
func (s *sink) flush() bool {
	if s.asm == nil {
		return true // the source was never made
	}
	return s.withAssembler(func(asm assembler) error { asm.Flush(); return nil }) == nil && !s.broken
}
