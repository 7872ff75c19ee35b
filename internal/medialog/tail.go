package medialog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// Tail follows t from a position on until ctx ends: entries, provisional
// chunks, openings. It waits while the topic or the brokers are not there.
// Errors: ErrSlow, where the reader falls behind; ErrExpired and ErrNoTopic,
// where retention or a purge overtook it (begin again); ctx's.
//
// All work is done in the caller's goroutine, between two events.
func (l *Log) Tail(ctx context.Context, t schemas.Topic, from Position) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		l.metrics.tails.Inc()
		defer l.metrics.tails.Dec()
		ctx, cancel := l.bound(ctx)
		defer cancel()
		tl := tail{
			log: l, topic: t, index: l.names.Index(t), media: l.names.Media(t), yield: yield,
			prov: provisional{limit: l.cfg.TailBytes, epoch: -1},
		}
		tl.walker = walker{log: l, index: tl.index}
		err := tl.run(ctx, from)
		if errors.Is(err, errStop) {
			return
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		yield(Event{}, fmt.Errorf("medialog: tail %s: %w", t, err))
	}
}

var errStop = errors.New("reader has stopped")

type tail struct {
	log    *Log
	topic  schemas.Topic
	index  string
	media  string
	yield  func(Event, error) bool
	walker walker
	prov   provisional

	live    bool
	goals   map[int32]int64 // media partitions that are not live yet, and the offset at which they are
	idxGoal int64
	given   int // prov.dropped that the metric knows
}

func (t *tail) tell(e Event) error {
	if !t.yield(e, nil) {
		return errStop
	}
	return nil
}

func (t *tail) run(ctx context.Context, pos Position) error {
	var idx []span
	said := false
	err := retry(ctx, func() (err error) {
		if idx, err = t.log.spans(ctx, t.index); err == nil {
			_, err = t.log.spans(ctx, t.media)
		}
		if err != nil && !said && ctx.Err() == nil && !errors.Is(err, ErrNoTopic) {
			t.log.logger.Warn("tail is waiting for Kafka", "topic", t.media, "err", err)
			said = true
		}
		return err
	})
	if err != nil {
		return err
	}
	n, err := t.log.newestBefore(ctx, t.index, idx[0].end)
	if err != nil {
		return err
	}
	t.prov.empty = n.entry == nil
	if err := t.history(ctx, pos, idx[0], &n); err != nil {
		return err
	}
	if n.open >= 0 {
		t.prov.open(n.open, t.walker.seq.last, t.walker.seq.any)
		if err := t.tell(Event{Opened: &schemas.Entry{Kind: schemas.KindOpen, Offset: n.open, Prev: -1}}); err != nil {
			return err
		}
	}
	starts, err := t.log.mediaStarts(ctx, t.media, &n)
	if err != nil {
		return err
	}
	return t.follow(ctx, idx[0].end, starts)
}

// history tells the entries that stand in the index already.
func (t *tail) history(ctx context.Context, pos Position, s span, n *newest) error {
	from := s.start
	var r Range
	if n.entry != nil {
		switch {
		case pos.Seq != 0:
			r.FromSeq = pos.Seq
		case !pos.Time.IsZero():
			r.From = pos.Time
		default:
			r.From = n.entry.End().Add(-pos.Back)
		}
		if r.From.After(n.entry.Start) {
			r.From = n.entry.Start
		}
		at, err := t.log.rangeStart(ctx, t.index, s, r)
		if err != nil {
			return err
		}
		from = min(at, n.entry.Offset)
	}
	media, err := t.log.spans(ctx, t.media)
	if err != nil {
		return err
	}
	in := within{r: r, edge: newEdge(media)}
	for e, err := range t.log.indexRecords(ctx, t.index, from, s.end) {
		if err != nil {
			return err
		}
		pass, err := t.walker.take(ctx, &e)
		if err != nil {
			return err
		}
		if !pass {
			continue
		}
		visible, _ := in.take(&e)
		if err := t.entries(visible); err != nil {
			return err
		}
	}
	return t.entries(in.rest())
}

func (t *tail) entries(es []schemas.Entry) error {
	for i := range es {
		if err := t.tell(Event{Entry: &es[i]}); err != nil {
			return err
		}
	}
	return nil
}

// follow reads live: the index from offset at on, the media from starts on.
func (t *tail) follow(ctx context.Context, at int64, starts []span) error {
	t.idxGoal, t.goals = at, map[int32]int64{}
	from := map[string]map[int32]kgo.Offset{
		t.index: {0: kgo.NewOffset().At(at)},
		t.media: {},
	}
	for p, s := range starts {
		from[t.media][int32(p)] = kgo.NewOffset().At(s.start)
		if s.start < s.end {
			t.goals[int32(p)] = s.end
		}
	}
	sub, err := t.log.hubs.subscribe(t.index, t.media, from)
	if err != nil {
		return err
	}
	defer sub.close()
	for {
		if !t.live && len(t.goals) == 0 {
			t.live = true
			if err := t.tell(Event{Live: true}); err != nil {
				return err
			}
		}
		r, err := sub.next(ctx)
		if err != nil {
			return err
		}
		if r.Topic == t.index {
			err = t.takeEntry(ctx, r, sub)
		} else {
			err = t.takeChunk(r)
		}
		if err != nil {
			return err
		}
		if err := t.show(); err != nil {
			return err
		}
	}
}

func (t *tail) takeEntry(ctx context.Context, r *kgo.Record, sub *subscription) error {
	e, err := t.log.entryOf(t.index, r)
	if err != nil {
		return err
	}
	pass, err := t.walker.take(ctx, &e)
	if err != nil || !pass {
		return err
	}
	if e.Kind == schemas.KindOpen {
		t.prov.open(e.Offset, t.walker.seq.last, t.walker.seq.any)
		return t.tell(Event{Opened: &e})
	}
	t.prov.entry(e.Seq, e.Epoch)
	if e.Playable() {
		sub.also(t.media, e.Partition, e.Last+1) // the topic may have grown
	}
	return t.tell(Event{Entry: &e})
}

func (t *tail) takeChunk(r *kgo.Record) error {
	if goal, ok := t.goals[r.Partition]; ok && r.Offset+1 >= goal {
		delete(t.goals, r.Partition)
	}
	if t.walker.seq.any && headerSeq(r) <= t.walker.seq.last {
		return nil
	}
	c, err := schemas.DecodeChunkShared(r.Value)
	if errors.Is(err, schemas.ErrNewer) {
		return err
	}
	if err != nil {
		t.log.logger.Warn("skipping a record of a media topic that is no chunk", "topic", t.media, "partition", r.Partition, "offset", r.Offset, "err", err)
		return nil
	}
	t.prov.chunk(c)
	if d := t.prov.dropped; d > t.given {
		t.log.metrics.provisionalsDropped.Add(float64(d - t.given))
		t.given = d
	}
	return nil
}

func (t *tail) show() error {
	for c := t.prov.next(); c != nil; c = t.prov.next() {
		if err := t.tell(Event{Chunk: c}); err != nil {
			return err
		}
	}
	return nil
}

// liveEdge is how long a fetch waits at the brokers for more; a partition that
// is added meanwhile waits for it.
const liveEdge = 250 * time.Millisecond
