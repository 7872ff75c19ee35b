package medialog

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Open makes a writer of t. The writer creates t's topics if they are missing,
// fences all earlier writers, settles what they left, and goes on. Open itself
// returns at once. Until the writer is ready (Ready) it keeps chunks in memory,
// within its budget. Fencing begins at once: call Open when the first keyframe is
// there. When ctx ends, the writer stops as in a crash; Close ends it in order.
func (l *Log) Open(ctx context.Context, t schemas.Topic, o OpenOptions) *Writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &Writer{
		appender: l.appender(t), opt: o, cancel: cancel,
		ready: make(chan struct{}), fenced: make(chan struct{}), done: make(chan struct{}),
		wakeup: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		core: newCore(l.cfg.Budget, l.cfg.IndexPending, cmp.Or(o.Absent, schemas.AbsentRestart)),
	}
	w.core.role = o.Role
	if o.Session != nil {
		w.core.onSession = func(s schemas.Standing, absent int64, reason string) { o.Session(s, schemas.FromTicks(absent), reason) }
	}
	l.wg.Go(func() {
		defer close(w.done)
		defer cancel()
		stop := context.AfterFunc(l.ctx, cancel)
		defer stop()
		err := w.run(ctx)
		w.stop(err)
	})
	return w
}

// Close closes an unfinished fragment as truncated, waits until everything has its
// entry or ctx ends, and frees the writer. It is idempotent.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closing && !w.stopped {
		w.closing = true
		if w.opened { // else begin does this
			w.core.finish(schemas.ReasonSource)
		}
	}
	w.mu.Unlock()
	w.wake()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		w.cancel()
		<-w.done
		return fmt.Errorf("medialog: close writer of %s: entries are missing: %w", w.topic, ctx.Err())
	}
}

// run is the writer's goroutine.
func (w *Writer) run(ctx context.Context) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	close(w.ready)
	return w.appendEntries(ctx)
}

// open fences earlier writers, reads what they left, and begins the core.
//
// If the index has no entry, a second `open` declares the first seq (From). No writer
// appends an entry to such an index before it has declared its first seq. So the declared
// seq is right if no other writer has declared one since the first `open`. Otherwise there
// may be entries now, and open begins again.
func (w *Writer) open(ctx context.Context) error {
	now := uint64(time.Now().Unix())
	slow := time.AfterFunc(logAfter, func() {
		w.logger.Info("the camera's topic is not open yet", "topic", w.media, "waits_for", w.step.Load())
	})
	defer slow.Stop()
	for {
		epoch, err := w.fence(ctx, schemas.Entry{})
		if err != nil {
			return err
		}
		left, first, err := w.findPast(ctx, epoch)
		if err != nil {
			return err
		}
		stood, err := w.remembered(ctx, left.entry)
		if err != nil {
			return err
		}
		p := left.plan(epoch, stood, now)
		if archived := w.archived(ctx, p.resume.life, p.first()); archived.Footage() {
			p = p.above(&archived, now)
		}
		if p.resume.life == "" {
			p.resume.life = cmp.Or(w.life, newLife())
		}
		if p.resume.from != 0 {
			declared, err := w.fence(ctx, schemas.Entry{From: p.resume.from, Life: p.resume.life})
			if err != nil {
				return err
			}
			another, err := w.log.anyBetween(ctx, w.index, epoch, declared, func(e *schemas.Entry) bool { return e.From != 0 })
			if err != nil {
				return err
			}
			if another || declared <= epoch { // or the index is another one
				continue
			}
			epoch = declared
		}
		w.logOpened(epoch, &p)
		w.log.setPartitions(w.media, left.partitions())
		w.begin(epoch, p, left.partitions(), first)
		return nil
	}
}

// firstTime returns the public time of the first footage, or now if there is none yet.
func (w *Writer) firstTime() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.early.start.IsZero() {
		return time.Now()
	}
	return w.early.start
}

// remembered asks where the camera's numbers stood, if the index has no entry. It asks
// until there is an answer: without it the camera's numbers could go back.
func (w *Writer) remembered(ctx context.Context, newest *schemas.Entry) (stood schemas.Standing, err error) {
	if newest != nil || w.opt.Remember == nil {
		return stood, nil
	}
	w.step.Store("where the camera's numbers stood")
	err = w.log.retryTold(ctx, func() (err error) {
		stood, err = w.opt.Remember(ctx)
		return err
	}, func(err error) {
		w.logger.Warn("cannot read where the camera's numbers stood; trying again", "topic", w.media, "err", err)
	})
	if slices.Contains(w.opt.Purged, stood.Life) || w.life != "" && stood.Life != w.life { // a late status
		stood = schemas.Standing{}
	}
	return stood, err
}

// archiveWait is how long a writer waits for an archive.
const archiveWait = 2 * time.Second

// archived asks for the newest archived entry of a life; one that is no footage if there is none
// from seq on, or if nobody knows.
func (w *Writer) archived(ctx context.Context, life string, seq uint64) schemas.Entry {
	if w.opt.Archived == nil || life == "" {
		return schemas.Entry{}
	}
	w.step.Store("what is archived of the camera")
	ctx, cancel := context.WithTimeout(ctx, archiveWait)
	defer cancel()
	type answer struct {
		entry schemas.Entry
		err   error
	}
	answered := make(chan answer, 1) // a file system that is away may answer later
	go func() {
		e, err := w.opt.Archived(ctx, life, seq)
		answered <- answer{e, err}
	}()
	var a answer
	select {
	case a = <-answered:
	case <-ctx.Done():
		a.err = ctx.Err()
	}
	if a.err != nil {
		w.logger.Warn("it is not known what is archived of the camera; its numbers go on from the log alone", "topic", w.media, "err", a.err)
		return schemas.Entry{}
	}
	return a.entry
}

// newLife makes the name of a camera's footage.
func newLife() string { return fmt.Sprintf("%08x", rand.Uint32()) }

func (w *Writer) logOpened(epoch int64, p *plan) {
	r := &p.resume
	said := []any{"topic", w.media, "epoch", epoch, "seq", r.seq, "settled", len(p.settled), "reason", w.opt.Reason}
	if pause := time.Since(r.publicEnd); !r.publicEnd.IsZero() && pause >= time.Second {
		said = append(said, "recorded_until", r.publicEnd.UTC().Format(time.RFC3339), "pause", pause.Round(100*time.Millisecond))
	}
	w.logger.Info("opened the camera's topic", said...)
}

// fence appends an `open` with From and Life of declared. If the topics are missing, it
// creates them first.
func (w *Writer) fence(ctx context.Context, declared schemas.Entry) (epoch int64, err error) {
	open := schemas.Entry{
		Kind: schemas.KindOpen, Prev: -1, Writer: w.opt.Writer, Host: w.opt.Host, Reason: w.opt.Reason,
		Unit: w.opt.Unit, AbsentReason: w.opt.Absent, From: declared.From, Life: declared.Life, Role: w.opt.Role,
	}
	retryErr := retry(ctx, func() error {
		w.step.Store("the topics")
		if err = w.admit(ctx); err != nil {
			return nil
		}
		if err = w.log.waitForTopics(ctx, w.topic); err != nil {
			return nil
		}
		w.step.Store("the acknowledgement of its open")
		epoch, err = w.append(ctx, &open, time.Time{})
		if !isGone(err) {
			return nil
		}
		// The topics were deleted and created again since this client wrote there.
		// It goes on with the topics that it knew until they are purged from it.
		w.logger.Info("the camera's topics were deleted and created again", "topic", w.index)
		w.log.producer.PurgeTopicsFromProducing(w.index, w.media)
		return err
	})
	if retryErr != nil {
		return 0, retryErr
	}
	return epoch, err
}
