package medialog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

// begin reads where the rendition and its source stand, and makes the core.
func (f *Follower) begin(ctx context.Context) error {
	logged := false
	for {
		source, err := f.log.waitForSource(ctx, f.opt.Source, f.opt.Life)
		if err != nil {
			return err
		}
		if err := f.log.waitForTopics(ctx, f.topic); err != nil {
			return err
		}
		ids := f.log.topicIDs(ctx, f.media, f.index)
		s, err := f.log.waitForSpans(ctx, f.index)
		if errors.Is(err, ErrNoTopic) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return err
		}
		c, err := f.log.checkpoint(ctx, f.index, s[0].end)
		if err != nil {
			return err
		}
		if err := f.otherProcessor(c.open); err != nil {
			return err
		}
		if err := f.log.readSame(ctx, f.opt.Source, c.last, &source); err != nil {
			return err
		}
		switch resumptionOf(c.last, source) {
		case waits:
			if !logged {
				f.logger.Warn("the camera's index ends before the rendition; waiting for it", "topic", f.index, "seq", c.last.Seq)
				logged = true
			}
			select {
			case <-time.After(sourceWait):
			case <-ctx.Done():
				return ctx.Err()
			}
		case beginsAnew:
			f.logger.Warn("the camera's footage has begun anew, and so does the rendition", "topic", f.media, "seq", c.last.Seq)
			if err := f.deleteTopics(ctx, ids); err != nil {
				return err
			}
		case goesOn:
			return f.makeCore(ctx, source.life, c)
		}
	}
}

// sourceWait is how long a follower waits before it looks again whether its source has
// a fragment that it should have.
const sourceWait = time.Second

func (f *Follower) makeCore(ctx context.Context, life string, c checkpoint) error {
	media, err := f.log.waitForSpans(ctx, f.media)
	if err != nil {
		return err
	}
	f.log.setPartitions(f.media, int32(len(media)))
	identity := schemas.Entry{Writer: f.opt.Writer, Host: f.opt.Host, Processor: f.opt.Processor, Role: f.opt.Role}
	f.core = newFollowCore(identity, life, f.opt.Ahead, f.opt.AheadBytes, f.log.cfg.Budget)
	f.core.partitions = int32(len(media))
	if c.alone != nil {
		f.logger.Warn("a process that worked on nothing but this fragment has ended without a word; this counts as a failure of the fragment",
			"topic", f.media, "seq", c.alone.Seq, "process", c.alone.Writer, "host", c.alone.Host, "failures", c.tries[c.alone.Seq].failures+1)
	}
	return f.core.resume(c)
}

// open appends an `open`, unless another follower has opened the rendition meanwhile.
func (f *Follower) open(ctx context.Context, a followAction) error {
	if f.opt.MayOpen != nil && !f.opt.MayOpen() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.core.writing = nil
		return fmt.Errorf("%w: this process may not open %s", ErrFenced, f.topic)
	}
	f.mu.Lock()
	prev := f.core.prev
	f.mu.Unlock()
	s, err := f.log.waitForSpans(ctx, f.index)
	if err != nil {
		return err
	}
	if prev >= 0 {
		err = f.foreignOpen(ctx, prev, s[0].end)
	} else {
		var c checkpoint
		if c, err = f.log.checkpoint(ctx, f.index, s[0].end); err == nil {
			err = f.otherProcessor(c.open)
		}
	}
	if err != nil {
		return err
	}
	offset, err := f.append(ctx, a.entry, a.at)
	if err != nil {
		return err
	}
	var c checkpoint
	switch {
	case prev < 0:
		c, err = f.log.checkpoint(ctx, f.index, offset)
	case offset <= prev:
		err = fmt.Errorf("medialog: open %s: offset %d, the entry before was at %d: %w", f.topic, offset, prev, errShorter)
	default:
		err = f.foreignOpen(ctx, prev, offset)
	}
	if err != nil {
		return err
	}
	f.logger.Info("opened the rendition", "topic", f.media, "epoch", offset, "seq", a.entry.Seq, "cause", a.entry.Reason, "failures", a.entry.Attempt)
	f.log.metrics.followerOpens.WithLabelValues(f.topic.Camera, f.topic.Name(), a.entry.Reason).Inc()
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.notify()
	f.core.opened(offset)
	if prev < 0 {
		return f.core.resume(c)
	}
	return nil
}

// foreignOpen returns an error if an `open` stands between two offsets, both exclusive.
// The follower's own ones stand before.
func (f *Follower) foreignOpen(ctx context.Context, prev, before int64) error {
	if before <= prev+1 {
		return nil
	}
	opened, err := f.log.openBetween(ctx, f.index, prev, before)
	if err != nil || !opened {
		return err
	}
	return f.fenced(ctx, prev)
}

// fenced returns the error of a follower that another one has fenced. prev is the offset
// of its newest entry.
func (f *Follower) fenced(ctx context.Context, prev int64) error {
	f.mu.Lock()
	f.core.alone = notAlone // what it could still tell would be void
	f.mu.Unlock()
	s, err := f.log.waitForSpans(ctx, f.index)
	if err != nil {
		return err
	}
	c, err := f.log.checkpoint(ctx, f.index, s[0].end)
	if err != nil {
		return err
	}
	if c.open != nil && c.open.Offset > prev {
		if err := f.otherProcessor(c.open); err != nil {
			return err
		}
	}
	return ErrFenced
}

// otherProcessor returns an error if the newest `open` is of another processor.
func (f *Follower) otherProcessor(open *schemas.Entry) error {
	if open == nil || open.Processor == f.opt.Processor {
		return nil
	}
	return fmt.Errorf("%w: %s was opened by %q (%s), and this is %q: give one of them another rendition, or delete the topics %s and %s first",
		ErrOtherProcessor, f.topic, open.Processor, open.Writer, f.opt.Processor, f.media, f.index)
}

// checkpoint reads the end of an output's index, up to offset end. Errors: as of
// lookBack.
func (l *Log) checkpoint(ctx context.Context, index string, end int64) (c checkpoint, err error) {
	err = l.lookBack(ctx, index, end, func(bool) { c = checkpoint{} }, func(e *schemas.Entry) { c.add(*e) })
	return c, err
}

// waitForSource waits until a camera has been recorded, and returns where its index
// stands. It does not wait if another store has footage of a life.
func (l *Log) waitForSource(ctx context.Context, t schemas.Topic, life string) (st sourceState, err error) {
	index := l.names.Index(t)
	err = l.retryTold(ctx, func() error {
		s, err := l.spans(ctx, index)
		if err == nil {
			st, err = l.readSource(ctx, index, s[0])
		}
		if st.life == "" && life != "" && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoTopic)) {
			st, err = sourceState{life: life}, nil
		}
		if st.newest == nil {
			st.elsewhere = life != ""
		}
		return err
	}, func(err error) { l.logger.Info("waiting for a camera's footage", "topic", index, "err", err) })
	return st, err
}

// readSource reads the ends of a source's index. The error is ErrNotFound if no record
// tells the life: the index is empty, or a writer is about to begin there.
func (l *Log) readSource(ctx context.Context, index string, s span) (sourceState, error) {
	oldest, err := l.firstFootage(ctx, index, s.start, s.end)
	if err != nil {
		return sourceState{}, err
	}
	n, err := l.newestBefore(ctx, index, s.end)
	switch {
	case err != nil:
		return sourceState{}, err
	case n.life == "":
		return sourceState{}, ErrNotFound
	}
	return sourceState{life: n.life, oldest: oldest, newest: n.entry}, nil
}

// readSame reads the source's entry of the seq of last, which is an output's newest
// entry.
func (l *Log) readSame(ctx context.Context, t schemas.Topic, last *schemas.Entry, st *sourceState) error {
	if last == nil || st.newest == nil || last.Seq > st.newest.Seq {
		return nil
	}
	e, err := l.find(ctx, t, last.Seq)
	switch {
	case err == nil:
		st.same = &e
	case errors.Is(err, errCutBack):
	case errors.Is(err, ErrExpired): // perhaps since the index was read
		st.oldest = &schemas.Entry{Seq: last.Seq + 1}
		return nil
	case errors.Is(err, ErrNotFound):
		return nil
	}
	return err
}

// topicIDs returns Kafka's ids of topics; of one that does not exist, none.
func (l *Log) topicIDs(ctx context.Context, topics ...string) map[string][16]byte {
	ids := map[string][16]byte{}
	for name, d := range l.describe(ctx, time.Nanosecond, topics...) {
		if d.err == nil {
			ids[name] = d.value.id
		}
	}
	return ids
}

// deleteTopics deletes the rendition's topics, if they still have these ids: another
// process may have begun the rendition anew before. It waits until they are gone.
func (f *Follower) deleteTopics(ctx context.Context, ids map[string][16]byte) error {
	if f.opt.MayOpen != nil && !f.opt.MayOpen() {
		return fmt.Errorf("%w: this process may not begin %s anew", ErrFenced, f.topic)
	}
	return retry(ctx, func() error {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 15_000
		for _, id := range ids {
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.TopicID = id
			req.Topics = append(req.Topics, t)
		}
		resp, err := req.RequestWith(ctx, f.log.producer)
		if err != nil {
			return err
		}
		if resp.Version < 6 { // these brokers delete topics by name alone
			if _, err := f.log.admin.DeleteTopics(ctx, f.media, f.index); err != nil {
				return fmt.Errorf("medialog: delete %s: %w", f.media, err)
			}
		}
		for _, t := range resp.Topics {
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !isGone(err) {
				return fmt.Errorf("medialog: delete %s: %w", f.media, err)
			}
		}
		f.log.producer.PurgeTopicsFromClient(f.media, f.index)
		for name, id := range f.log.topicIDs(ctx, f.media, f.index) {
			if id == ids[name] {
				return fmt.Errorf("medialog: %s is not deleted yet", name)
			}
		}
		return nil
	})
}
