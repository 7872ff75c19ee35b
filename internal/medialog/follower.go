package medialog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/framelog/framelog/schemas"
)

// FollowOptions names the process that writes a rendition. Processor and Role must be
// set.
type FollowOptions struct {
	Processor string // what makes the rendition: "motion". Two processors never share one
	Version   string // of the processor, for the lineage in each chunk 0
	Role      schemas.Role
	Source    schemas.Topic // the rendition of the same camera that is followed. Default: raw
	Writer    string        // this process, in its `open`s
	Host      string        // its host

	// MayOpen is called before each `open`, and before the rendition is deleted to be
	// begun anew. If it returns false, the follower ends with ErrFenced: another
	// process has the camera. Default: it always may.
	MayOpen func() bool

	// Life is that of footage which the source's log may not hold any more, as an archive does.
	// The source's log may then be empty, and records get the time at which they are written,
	// so that retention counts from then: with the source's times Kafka would remove them at
	// once. Default: the log holds the source.
	Life string

	// Ahead is how many fragments may be worked on at a time: the oldest that is not
	// finished, and those behind it. Default 4.
	Ahead int
	// AheadBytes bounds the output that waits until it is its fragment's turn. Default
	// 32 MiB. One chunk may exceed it.
	AheadBytes int64
}

// Follower writes a rendition. It gives each seq of the source one entry, in order: what
// a processor makes of the fragment, or a gap. The rendition's index is its checkpoint:
// it goes on behind the newest entry there, whatever happened before.
//
// Several fragments may be worked on at a time. Only the output of the oldest one goes
// to Kafka. That of the others waits in memory (FollowOptions.AheadBytes) until it is
// their turn. All methods may be called from several goroutines.
//
// A follower writes an `open` when the work on its first fragment begins, which fences
// all others, and before each further attempt at a fragment. When it ends (Done), a new
// one can be made with Follow. After ErrFenced, the consumer group has to confirm first
// that this process is a member of its current generation.
type Follower struct {
	appender
	opt FollowOptions

	cancel context.CancelFunc
	done   chan struct{}
	wakeup chan struct{} // capacity 1: the core may have something to do

	mu      sync.Mutex // guards all that follows
	core    *followCore
	changed chan struct{} // closed at the next change of core
	gone    error         // why the media topic takes no chunk any more
	ended   bool
	err     error // why it ended
}

// Work is one attempt at one fragment of the source.
type Work struct {
	f *Follower
	w *followWork
}

// Output is what a processor made of a fragment.
type Output struct {
	// Used is how many chunks of the source the work has used. If there is an output,
	// it must be all chunks that the source's entry names.
	Used uint32
	// Filtered: there is no output. Chunks that were written are void.
	Filtered bool
	// Note is JSON, at most schemas.MaxNote bytes: what a timeline shows.
	Note string
}

// Follow makes a follower of t, which must be a rendition. It waits until the camera has
// been recorded, creates t's topics if they are missing, and reads where the rendition
// ends. If the camera's footage has begun anew since, or does not have what the newest
// entry was made of, Follow deletes the rendition's topics and creates them again.
// Errors: ErrOtherProcessor; ErrFenced if MayOpen forbids the deletion; ctx's.
//
// The follower ends when ctx ends. Works that are not committed have no effect.
func (l *Log) Follow(ctx context.Context, t schemas.Topic, o FollowOptions) (*Follower, error) {
	if o.Source == (schemas.Topic{}) {
		o.Source = t.Source()
	}
	switch {
	case t.IsRaw() || o.Processor == "" || o.Role == "":
		return nil, fmt.Errorf("medialog: follow %s: a rendition, a processor and a role are needed", t)
	case o.Source.Camera != t.Camera:
		return nil, fmt.Errorf("medialog: follow %s: the source %s is of another camera", t, o.Source)
	case o.Source.Name() == t.Name():
		return nil, fmt.Errorf("medialog: follow %s: it cannot be its own source", t)
	}
	o.Ahead, o.AheadBytes = cmp.Or(o.Ahead, 4), cmp.Or(o.AheadBytes, 32<<20)
	f := &Follower{
		appender: l.appender(t), opt: o,
		done: make(chan struct{}), wakeup: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	ctx, f.cancel = l.bound(ctx)
	if err := f.begin(ctx); err != nil {
		f.cancel()
		return nil, fmt.Errorf("medialog: follow %s: %w", t, ownIndex(err))
	}
	l.wg.Go(func() {
		defer close(f.done)
		defer f.cancel()
		err := ownIndex(f.run(ctx))
		if !errors.Is(err, ErrNoTopic) {
			f.leave(ctx)
		}
		f.stop(err)
	})
	return f, nil
}

// Close ends the follower, as the end of Follow's ctx does. If it is alone with a fragment
// (Alone), it tells the log that this is no failure; that may take some seconds. It is idempotent.
func (f *Follower) Close() {
	f.cancel()
	<-f.done
}

// Done is closed when the follower has ended. Err returns the reason.
func (f *Follower) Done() <-chan struct{} { return f.done }

// Err returns why the follower has ended: ErrFenced, ErrOtherProcessor, ErrNewLife,
// ErrNoTopic, ctx's error, or that Kafka has lost the end of an index; nil while it runs. It
// is never ErrExpired.
func (f *Follower) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Newest returns the rendition's newest entry; false if it has none.
func (f *Follower) Newest() (schemas.Entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.core.last == nil {
		return schemas.Entry{}, false
	}
	return *f.core.last, true
}

// Next returns the oldest seq that is not finished, and how often the work on it has
// failed. It is 0 if the rendition has no entry and Jump has not been called.
func (f *Follower) Next() (seq uint64, failures uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.core.next, f.core.tries[f.core.next].failures
}

// Jump makes seq the next one although the seq before it has no entry in the rendition:
// the rendition has none yet, or the source has no entry of what comes between. Works on
// seqs before it end with ErrDone. Errors: ErrDone if seq is before Next; those of Err;
// ctx's.
func (f *Follower) Jump(ctx context.Context, seq uint64) error {
	return f.wait(ctx, func() (bool, error) {
		if f.core.writing != nil {
			return false, nil
		}
		return true, f.core.jump(seq)
	})
}

// Begin begins the work on a fragment. first is chunk 0 of the source's copy, which may
// be provisional. Begin waits while too many fragments are worked on
// (FollowOptions.Ahead, MaxStarts), and for the follower's first `open`, so that the log
// shows who has begun if the fragment kills this process. Errors: ErrDone; those of Err;
// ctx's.
func (f *Follower) Begin(ctx context.Context, first *schemas.Chunk) (*Work, error) {
	var w *Work
	err := f.wait(ctx, func() (bool, error) {
		switch {
		case w != nil:
			return f.core.epoch >= 0, w.w.err
		case f.core.next != 0 && !f.core.room(first.Seq):
			return false, nil
		}
		begun, err := f.core.begin(first)
		if err != nil {
			return true, err
		}
		w = &Work{f: f, w: begun}
		return f.core.epoch >= 0, nil
	})
	if err != nil && w != nil {
		w.Drop()
	}
	return w, err
}

// Gaps writes gaps for seqs that get no output, and waits until their entries are
// written. sources are the source's entries of these seqs, which follow each other;
// reason is schemas.ReasonSkipped, ReasonDeadLetter or ReasonExpired, or "": the sources
// are gaps, whose reasons the rendition takes. Errors: as those of Begin. After ctx's
// error the entries may still come.
func (f *Follower) Gaps(ctx context.Context, reason string, sources ...schemas.Entry) error {
	if len(sources) == 0 {
		return nil
	}
	var w *followWork
	err := f.wait(ctx, func() (ok bool, err error) {
		if f.core.next != 0 && !f.core.room(sources[0].Seq) {
			return false, nil
		}
		w, err = f.core.addGaps(reason, sources)
		return true, err
	})
	if err != nil {
		return err
	}
	return f.wait(ctx, func() (bool, error) { return w.ended(), w.err })
}

// Failures returns how often the work on this fragment has failed before.
func (w *Work) Failures() uint32 {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	return w.f.core.tries[w.w.seq].failures
}

// Write takes the next chunk of the output. It keeps c and sets its epoch, session, seq,
// index, layout and lineage. Media time must be that of the
// source. The first chunk must have Tracks; a chunk without video must have Media and
// Duration. Write waits while too much output waits for its turn or for Kafka. Errors:
// ErrRefused if Kafka has refused a chunk (the work has failed); ErrDone; those of Err;
// ctx's.
func (w *Work) Write(ctx context.Context, c *schemas.Chunk) error {
	size := int64(c.Size())
	if len(c.Tracks) > 0 {
		f := w.f
		c.Lineage = &schemas.Lineage{Source: f.log.names.Media(f.opt.Source), Seq: w.w.seq, Processor: f.opt.Processor, Version: f.opt.Version}
	}
	return w.f.wait(ctx, func() (bool, error) {
		if !w.w.ended() && !w.f.core.fits(w.w, size) {
			return false, nil
		}
		return true, w.f.core.write(w.w, c)
	})
}

// Commit ends the work with an entry, and returns the entry when it counts. source is
// the source's entry of this fragment. If it is a gap, or the output is filtered, the
// entry is a gap. Commit waits until it is the fragment's turn. Errors: ErrSourceChanged,
// ErrNewLife, and those of Write. After ctx's error the entry may still come.
func (w *Work) Commit(ctx context.Context, source schemas.Entry, o Output) (schemas.Entry, error) {
	asked := false
	err := w.f.wait(ctx, func() (bool, error) {
		if !asked {
			asked = true
			if err := w.f.core.commit(w.w, source, output{used: o.Used, filtered: o.Filtered, note: o.Note}); err != nil {
				return true, err
			}
		}
		return w.w.ended(), w.w.err
	})
	if err != nil {
		return schemas.Entry{}, err
	}
	return w.w.entry, nil
}

// errFailed ends a work that has failed.
var errFailed = errors.New("medialog: the work has failed")

// Fail ends the work: it has failed. It returns how often the work on this fragment has
// failed. If it is the fragment's turn, Fail waits until this number stands in the log.
// It has no effect on a work that has ended. Errors: those of Err; ctx's.
func (w *Work) Fail(ctx context.Context) (failures uint32, err error) {
	asked := false
	err = w.f.wait(ctx, func() (bool, error) {
		c := w.f.core
		if !asked {
			asked = true
			c.fail(w.w, errFailed)
		}
		failures = c.tries[w.w.seq].failures
		return c.next != w.w.seq || c.epoch < 0 || failures <= c.told, nil
	})
	return failures, err
}

// Drop ends the work without a failure, as when the process ends. It has no effect on a
// work that has ended.
func (w *Work) Drop() {
	f := w.f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.core.drop(w.w, context.Canceled)
	f.notify()
}

// wait calls cond until it returns true or an error, now and after each change of the
// core.
func (f *Follower) wait(ctx context.Context, cond func() (bool, error)) error {
	for {
		f.mu.Lock()
		if err := f.err; f.ended {
			f.mu.Unlock()
			return err
		}
		ok, err := cond()
		changed := f.changed
		if ok || err != nil {
			f.notify()
		}
		f.mu.Unlock()
		if errors.Is(err, ErrNewLife) {
			f.stop(err)
		}
		if ok || err != nil {
			return err
		}
		f.wake()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notify wakes all that wait for a change of the core. The caller holds f.mu.
func (f *Follower) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
	if !f.ended { // else stop has removed it
		f.log.metrics.followerHeld.WithLabelValues(f.topic.Camera, f.topic.Name()).Set(float64(f.core.held + f.core.sent))
	}
	f.wake()
}

func (f *Follower) wake() {
	select {
	case f.wakeup <- struct{}{}:
	default:
	}
}

// stop ends the follower for all its callers.
func (f *Follower) stop(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	if f.ended, f.err = true, err; err == nil {
		f.err = context.Canceled
	}
	if errors.Is(err, ErrFenced) {
		f.log.metrics.fenced.WithLabelValues(f.topic.Camera).Inc()
	}
	f.notify()
	f.log.metrics.followerHeld.DeleteLabelValues(f.topic.Camera, f.topic.Name())
	f.cancel()
}

// run is the follower's goroutine: it does what the core wants.
func (f *Follower) run(ctx context.Context) error {
	for {
		f.mu.Lock()
		a, ok := f.core.action()
		err := f.gone
		f.mu.Unlock()
		if now := time.Now(); a.at.After(now) || f.opt.Life != "" {
			a.at = now // else the source's clock is ahead of this one
		}
		switch {
		case err != nil:
		case !ok:
			select {
			case <-f.wakeup:
			case <-ctx.Done():
				err = ctx.Err()
			}
		case a.chunk != nil:
			f.send(a)
		case a.entry.Kind == schemas.KindOpen:
			err = f.open(ctx, a)
		default:
			err = f.commit(ctx, a)
		}
		if isGone(err) {
			f.log.producer.PurgeTopicsFromProducing(f.index, f.media)
			err = fmt.Errorf("medialog: write to %s: %w: %w", f.index, ErrNoTopic, err)
		}
		if err != nil {
			return err
		}
	}
}

// send sends a chunk to Kafka.
func (f *Follower) send(a followAction) {
	answer := func(offset int64, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		failure := ""
		if err != nil {
			failure = failureOf(err)
			if isGone(err) {
				f.gone = err
			}
		}
		f.core.resolved(a, offset, failure)
		f.notify()
	}
	if err := f.produce(a.chunk, a.work.partition, a.at, answer); err != nil {
		f.logger.Error("a processor's chunk cannot be encoded", "topic", f.media, "seq", a.chunk.Seq, "err", err)
		answer(0, err)
	}
}

// commit appends an entry.
func (f *Follower) commit(ctx context.Context, a followAction) error {
	began := time.Now()
	offset, err := f.appendJudged(ctx, a.entry, a.at)
	if errors.Is(err, ErrFenced) {
		return f.fenced(ctx, a.entry.Prev)
	}
	if err != nil {
		return err
	}
	m := f.log.metrics
	m.commitSeconds.Observe(time.Since(began).Seconds())
	m.followerEntries.WithLabelValues(f.topic.Camera, f.topic.Name(), string(a.entry.Kind)).Add(float64(a.entry.LastSeq() - a.entry.Seq + 1))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.core.committed(a.work, offset)
	f.notify()
	return nil
}
