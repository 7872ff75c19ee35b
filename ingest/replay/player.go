package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// player repeats the footage once.
type player struct {
	store  medialog.Store
	rec    ingest.Recorder
	replay schemas.Replay
	media  string // Kafka topic of what is repeated
	all    Footage
	from   Position // it begins behind this

	line   timeline
	wall   time.Time // when the place origin is due
	public time.Time // public time of the place origin
	origin int64

	// Of the session that is being written.
	running bool
	shift   int64 // from media time of the source to that of the copy
	scales  map[uint8]uint32
}

// play repeats what is left of the range.
func (p *player) play(ctx context.Context) error {
	gap := p.from.gap
	for e, err := range p.store.Entries(ctx, p.replay.Of, medialog.Range{From: p.replay.From, To: p.replay.To, ToSeq: p.all.Last}) {
		if err != nil {
			return fmt.Errorf("replay: read entries: %w", err)
		}
		begins := p.line.take(&e)
		if e.Seq < p.from.Seq || e.Seq == p.from.Seq && (!p.from.cut || p.from.written >= e.Duration) {
			continue // it is repeated already
		}
		done := int64(0) // ticks of e that are repeated already
		switch {
		case e.Seq == p.from.Seq: // a stop or a fault cut it off. The rest of it may be a gap already
			done = min(p.from.written+gap, e.Duration)
			if gap -= done - p.from.written; done == e.Duration {
				continue
			}
		case e.Playable():
			gap = 0 // the gaps that stand there are of footage that the log refused
		case e.Reason == schemas.ReasonAbsent:
			continue // the writer makes gaps of the time between two sessions
		default:
			done = min(gap, e.Duration)
			gap -= done
			if done == e.Duration {
				continue
			}
		}
		if p.wall.IsZero() {
			if err := p.start(ctx); err != nil {
				return err
			}
		}
		if begins {
			p.running = false
		}
		p.session(&e)
		var err error
		switch {
		case e.Seq == p.from.Seq:
			err = p.gap(ctx, &e, e.Media+done, schemas.ReasonSource)
		case e.Playable():
			err = p.fragment(ctx, &e)
		default:
			err = p.gap(ctx, &e, e.Media+done, e.Reason)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// start sets the clock: what comes next is due now, and its public time follows from the
// speed.
func (p *player) start(ctx context.Context) error {
	left := schemas.FromTicks(p.all.Length - p.line.start)
	gain := time.Duration(0)
	switch {
	case p.replay.Speed == 0:
		gain = left
	case p.replay.Speed > 1:
		gain = left - time.Duration(float64(left)/p.replay.Speed)
	}
	begins := time.Now().Add(-gain) // in public time
	back := time.Duration(0)
	if !p.from.newest.IsZero() {
		back = max(0, p.from.newest.Sub(begins))
	}
	if back > maxBack || p.replay.Loop && gain > maxBack {
		return fmt.Errorf("replay: start: %w: its footage would begin at %s, more than an hour before the end of what the camera has: "+
			"replay into a camera without footage, at a lower speed, or a shorter range", ingest.ErrRefused, clock(begins))
	}
	if p.from.Seq != 0 {
		// The former process was stopped, and finished its last fragment before it was due.
		if err := sleep(ctx, back); err != nil {
			return err
		}
	}
	p.origin, p.wall = p.line.start, time.Now()
	p.public = p.wall.Add(-gain)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publicTime returns the public time of a place.
func (p *player) publicTime(place int64) time.Time {
	return p.public.Add(schemas.FromTicks(place - p.origin))
}

// until waits until a place is due.
func (p *player) until(ctx context.Context, place int64) error {
	if p.replay.Speed == 0 {
		return ctx.Err()
	}
	due := p.wall.Add(time.Duration(float64(schemas.FromTicks(place-p.origin)) / p.replay.Speed))
	return sleep(ctx, time.Until(due))
}

// finishLimit is how long a fragment that is being written may still take when the replay is
// stopped. What is left of it comes at once.
const finishLimit = 3 * time.Second

// finishing returns a context that ends finishLimit after ctx.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		defer cancel()
		select {
		case <-time.After(finishLimit):
		case <-out.Done():
		}
	})
	return out, func() {
		stop()
		cancel()
	}
}

const (
	// readTries is how often a read of a fragment that has failed is tried again.
	readTries = 4
	// readPause is the pause before the first of these tries. Each pause is twice as long as the one before.
	readPause = time.Second
)

// chunks reads the chunks of a fragment. A read that fails behind the first chunk is tried again: the
// copy cannot go on there later. So is one beyond the end of its partition: a new leader may be behind.
func (p *player) chunks(ctx context.Context, e *schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		have := uint32(0) // chunks that came
		for tries := 0; ; tries++ {
			var failed error
			for c, err := range p.store.Chunks(ctx, p.replay.Of, *e) {
				if failed = err; err != nil {
					break
				}
				if c.Index < have {
					continue
				}
				if !yield(c, nil) {
					return
				}
				have++
			}
			final := have == 0 || lost(failed) || errors.Is(failed, schemas.ErrNewer) || errors.Is(failed, medialog.ErrNoTopic)
			switch {
			case failed == nil:
				return
			case final && !errors.Is(failed, medialog.ErrBeyond), tries == readTries:
				yield(nil, failed)
				return
			}
			if err := sleep(ctx, readPause<<tries); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// fragment repeats one fragment, which is at the end of the timeline. Each chunk comes when
// its last sample is due. A fragment that has begun is finished when ctx ends: a part of it
// would be there twice, or the rest never, when the replay goes on.
func (p *player) fragment(ctx context.Context, e *schemas.Entry) error {
	finish, cancel := finishing(ctx)
	defer cancel()
	next := e.Media // media time of the source that comes next
	for c, err := range p.chunks(finish, e) {
		if lost(err) {
			reason := schemas.ReasonExpired
			if errors.Is(err, medialog.ErrDamaged) {
				reason = schemas.ReasonSource
				p.tellDamage(e, next, err)
			}
			if next > e.Media {
				p.rec.Truncate(reason)
			}
			return p.gap(ctx, e, next, reason)
		}
		if err != nil {
			return fmt.Errorf("replay: read fragment %d: %w", e.Seq, err)
		}
		next = c.MediaEnd()
		if err := p.until(ctx, p.line.start+next-e.Media); err != nil && c.Index == 0 {
			return err
		}
		if err := p.chunk(finish, e, c); err != nil {
			return err
		}
	}
	if e.Kind == schemas.KindTruncated {
		p.rec.Truncate(e.Reason)
	}
	return ctx.Err()
}

// tellDamage tells that e is left out from media time from on.
func (p *player) tellDamage(e *schemas.Entry, from int64, err error) {
	if o, ok := p.rec.(ingest.Observer); ok {
		o.Observe(ingest.Event{Kind: ingest.EventLeftOut, Err: err, Problem: fmt.Sprintf(
			"the footage of %s from %s to %s is left out: a record of it in Kafka is damaged; look at the disks of the brokers",
			p.replay.Of, clock(e.Start.Add(schemas.FromTicks(from-e.Media))), clock(e.End()))})
	}
}

// session begins a session with e, if one is due.
func (p *player) session(e *schemas.Entry) {
	if p.running {
		return
	}
	p.running = true
	p.rec.NewSession(e.AbsentReason)
	start := p.publicTime(p.line.start)
	p.shift = schemas.Ticks(time.Duration(start.UnixNano())) - e.Media
}

// gap repeats the part of an entry from media time from on as a gap.
func (p *player) gap(ctx context.Context, e *schemas.Entry, from int64, reason string) error {
	if from >= e.MediaEnd() {
		return nil
	}
	if err := p.until(ctx, p.line.end); err != nil {
		return err
	}
	p.rec.Gap(p.publicTime(p.line.start+from-e.Media), from+p.shift, e.MediaEnd()-from, reason)
	return nil
}

// chunk repeats one chunk of e.
func (p *player) chunk(ctx context.Context, e *schemas.Entry, c *schemas.Chunk) error {
	first := c.Index == 0
	if first {
		p.scales = make(map[uint8]uint32, len(c.Tracks))
		for _, t := range c.Tracks {
			p.scales[t.ID] = t.Timescale
		}
		c.Lineage = p.replay.Lineage(p.media, e.Seq, p.from.Round)
	}
	c.Start, c.Captured = p.publicTime(p.line.start+c.MediaStart()-e.Media), time.Now()
	c.Last = e.Kind == schemas.KindWhole && c.Index == e.Chunks-1
	c.Ended = c.Last && (e.Ended || e.Seq == p.all.Last && !p.replay.Loop)
	for _, run := range c.Runs {
		by := schemas.Rescale(p.shift, schemas.MediaTimescale, p.scales[run.Track])
		for i := range run.Samples {
			run.Samples[i].DTS += by
		}
	}
	if err := p.rec.Chunk(ctx, c); err != nil {
		return fmt.Errorf("replay: write fragment %d: %w", e.Seq, err)
	}
	if first && e.Lost != (schemas.Lost{}) {
		p.rec.Lost(e.Lost)
	}
	return nil
}
