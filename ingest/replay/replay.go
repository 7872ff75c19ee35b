// Package replay is the kind of camera that repeats footage of the log: the chunks of a
// range of fragments, byte for byte, under numbers and times of their own.
//
// What stands in the target's log tells where a replay is: chunk 0 of each fragment names
// its source (schemas.Lineage). So a replay goes on after any crash, in any process.
//
// Time on the replay's timeline is that of the source: media time in a session, and public
// time between sessions. Public time of the copies runs as evenly. It is never ahead of the
// wall clock. At speed 1 it is the wall clock. A faster replay begins as much earlier as it
// gains on the clock, so that its end is the present time. A slower one falls behind.
package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// maxBack is the most by which a replay's public time may begin before the end of what its
// camera has already. Ranges by time find all footage up to this limit (medialog.Range).
const maxBack = time.Hour

// Config is what a Source needs.
type Config struct {
	Camera schemas.Camera // whose URL is that of a schemas.Replay
	Store  medialog.Store // has the footage that is repeated, and that of Camera
	Names  schemas.Names  // of the topics
}

// Check returns an error if a camera's record is not that of a replay that can run.
func Check(cam schemas.Camera) error {
	r, err := schemas.ParseReplay(cam.URL)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ingest.ErrRefused, err)
	case r.Of.Camera == cam.ID:
		return fmt.Errorf("replay: check camera: %w: it would repeat its own footage: name another camera", ingest.ErrRefused)
	case cam.Transport != "" || cam.InsecureTLS || cam.NoAudio || cam.Engine != "":
		return fmt.Errorf("replay: check camera: %w: a replay has neither transport, insecure_tls, no_audio nor engine: leave them out", ingest.ErrRefused)
	}
	return nil
}

// Source is a replay. It implements ingest.Source.
type Source struct {
	cfg    Config
	target schemas.Topic
}

// New makes the source of a camera for which Check returned nil.
func New(cfg Config) *Source {
	return &Source{cfg: cfg, target: schemas.Topic{Camera: cfg.Camera.ID}}
}

// Live implements ingest.Source.
func (s *Source) Live() bool { return false }

// Run implements ingest.Source. It repeats the range, from where the camera's log ends. It
// returns ingest.ErrEnded when that is done.
func (s *Source) Run(ctx context.Context, sink ingest.Sink) error {
	rec, ok := sink.(ingest.Recorder)
	if !ok {
		return errors.New("replay: run: the sink takes no chunks")
	}
	r, err := schemas.ParseReplay(s.cfg.Camera.URL)
	if err != nil {
		return fmt.Errorf("%w: %w", ingest.ErrRefused, err)
	}
	if r.To.After(time.Now()) {
		return fmt.Errorf("replay: run: %w: the range ends at %s, which is in the future: wait, or choose an earlier end", ingest.ErrRefused, clock(r.To))
	}
	all, err := Survey(ctx, s.cfg.Store, r)
	if err != nil {
		return err
	}
	at, err := Find(ctx, s.cfg.Store, s.target, r)
	if err != nil {
		return err
	}
	if at.Ended(r, all) {
		return ingest.ErrEnded // the log need not be opened
	}
	if err := rec.Begin(ctx); err != nil {
		return fmt.Errorf("replay: begin: %w", err)
	}
	if at, err = s.findAgain(ctx, r); err != nil {
		return err
	}
	if at.Ended(r, all) {
		return ingest.ErrEnded
	}
	return rounds(ctx, s.cfg, r, rec, all, at)
}

// rounds repeats what is left of a round, and then again and again with Loop.
func rounds(ctx context.Context, cfg Config, r schemas.Replay, rec ingest.Recorder, all Footage, at Position) (err error) {
	for {
		p := &player{store: cfg.Store, rec: rec, replay: r, media: cfg.Names.Media(r.Of), all: all, from: at}
		if err := p.play(ctx); err != nil {
			return err
		}
		if !r.Loop {
			return ingest.ErrEnded
		}
		at = Position{Found: true, Round: at.Round + 1}
		if all, err = Survey(ctx, cfg.Store, r); err != nil { // some may have expired
			return err
		}
	}
}

// Play repeats a range to rec, which is no camera's log: it begins at the beginning, and does
// not call rec.Begin. Errors: ingest.ErrEnded at the end; else those of [Source.Run].
func Play(ctx context.Context, store medialog.Store, r schemas.Replay, rec ingest.Recorder) error {
	all, err := Survey(ctx, store, r)
	if err != nil {
		return err
	}
	return rounds(ctx, Config{Store: store}, r, rec, all, Position{})
}

// Tracks returns the tracks of the first fragment of a range. Errors: those of [Survey].
func Tracks(ctx context.Context, store medialog.Store, r schemas.Replay) ([]schemas.Track, error) {
	for e, err := range store.Entries(ctx, r.Of, medialog.Range{From: r.From, To: r.To}) {
		if err != nil {
			return nil, fmt.Errorf("replay: read tracks: %w", err)
		}
		for c, err := range store.Chunks(ctx, r.Of, e) {
			if err != nil {
				return nil, fmt.Errorf("replay: read tracks: %w", err)
			}
			return c.Tracks, nil
		}
	}
	return nil, nothing(ctx, store, r)
}

// topicPause is the time between two looks for the topics of a camera that were created a
// moment ago. The client may keep for some seconds that they do not exist.
const topicPause = 100 * time.Millisecond

// findAgain finds where the replay stands when the log is open. Until then another process
// may have created the topics and gone on with the replay.
func (s *Source) findAgain(ctx context.Context, r schemas.Replay) (Position, error) {
	for {
		at, err := Find(ctx, s.cfg.Store, s.target, r)
		if err != nil || !at.noTopic {
			return at, err
		}
		if err := sleep(ctx, topicPause); err != nil {
			return at, err
		}
	}
}
