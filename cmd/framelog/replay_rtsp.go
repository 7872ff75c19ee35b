package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/replay"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// serveReplay serves a replay as an RTSP camera, until it has ended or ctx ends. It begins
// when the first client plays. started is called with its URL, and problem with what is left out.
func serveReplay(ctx context.Context, addr string, r schemas.Replay, store medialog.Store, started func(url string) error, problem func(text string)) error {
	tracks, err := replay.Tracks(ctx, store, r)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	stream := &camsim.Stream{Media: tracks, Play: func(ctx context.Context, emit func(camsim.Unit)) error {
		err := replay.Play(ctx, store, r, &rtspFeed{tracks: tracks, speed: r.Speed, emit: emit, problem: problem})
		ended <- err
		return nil
	}}
	path := r.Of.Camera
	s, err := camsim.Start(ctx, camsim.Config{Listen: addr, Cameras: []camsim.CameraConfig{{Path: path, Feed: stream, HangUp: true, SentLimit: 1}}})
	if err != nil {
		return &cli.UsageError{What: "--rtsp: " + strings.TrimPrefix(err.Error(), "camsim: "), Remedy: "give a free address of this machine"}
	}
	defer s.Close()
	if err := started(s.URL(path)); err != nil {
		return err
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-time.After(lastUnits): // until the clients have the last units, and are hung up
	case <-ctx.Done():
	}
	return err
}

// lastUnits is how long the server stays after the end of a replay.
const lastUnits = 2 * time.Second

// rtspFeed is an ingest.Recorder that sends the samples of chunks to RTSP clients. Gaps are
// jumps of time.
type rtspFeed struct {
	ingest.Sink // nil: a replay calls none of its methods
	tracks      []schemas.Track
	speed       float64
	emit        func(camsim.Unit)
	problem     func(text string)

	begun bool
	shift int64 // from media time of the chunks to that of the stream, in ticks of schemas.MediaTimescale
	end   int64 // of the stream so far
}

func (f *rtspFeed) Begin(context.Context) error         { return nil }
func (f *rtspFeed) Truncate(string)                     {}
func (f *rtspFeed) Gap(time.Time, int64, int64, string) {}
func (f *rtspFeed) Lost(schemas.Lost)                   {}
func (f *rtspFeed) NewSession(string)                   {}

// Observe implements ingest.Observer.
func (f *rtspFeed) Observe(e ingest.Event) {
	if e.Kind == ingest.EventLeftOut {
		f.problem(e.Problem)
	}
}

func (f *rtspFeed) scale(track uint8) uint32 {
	for _, t := range f.tracks {
		if t.ID == track {
			return t.Timescale
		}
	}
	return schemas.MediaTimescale
}

// Chunk sends the samples of a chunk, each a chunk's length after it was due: a chunk comes
// when its last sample is due.
func (f *rtspFeed) Chunk(ctx context.Context, c *schemas.Chunk) error {
	if c.Index == 0 && schemas.ConfigHash(c.Tracks) != schemas.ConfigHash(f.tracks) {
		return fmt.Errorf("the tracks of the camera or their configuration change at %s, and RTSP clients were told those before: replay a range without that time",
			c.Start.UTC().Format(time.RFC3339))
	}
	if !f.begun {
		f.begun, f.shift = true, -c.MediaStart()
	}
	f.shift += max(0, f.end-(c.MediaStart()+f.shift)) // a loop begins again
	f.end = c.MediaEnd() + f.shift
	began := time.Now()
	for _, u := range f.units(c) {
		after := schemas.FromTicks(u.at - (c.MediaStart() + f.shift))
		select {
		case <-time.After(time.Until(began.Add(time.Duration(float64(after) / f.speed)))):
		case <-ctx.Done():
			return ctx.Err()
		}
		f.emit(u.Unit)
	}
	return nil
}

// timedUnit is a unit with its decode time in ticks of schemas.MediaTimescale.
type timedUnit struct {
	camsim.Unit
	at int64
}

// units returns the samples of a chunk in the order of sending.
func (f *rtspFeed) units(c *schemas.Chunk) (out []timedUnit) {
	for _, run := range c.Runs {
		scale := f.scale(run.Track)
		shift := schemas.Rescale(f.shift, schemas.MediaTimescale, scale)
		for _, s := range run.Samples {
			dts := s.DTS + shift
			out = append(out, timedUnit{
				camsim.Unit{Track: run.Track, DTS: dts, PTS: dts + int64(s.PTSOffset), Duration: s.Duration, Sync: s.Sync, Data: s.Data},
				schemas.Rescale(dts, scale, schemas.MediaTimescale),
			})
		}
	}
	slices.SortStableFunc(out, func(a, b timedUnit) int { return cmp.Compare(a.at, b.at) })
	return out
}
