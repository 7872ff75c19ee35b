package medialog

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// Tail follows t from a position on, until ctx ends. It yields entries, provisional
// chunks, and new writers. It waits while the topic or the brokers are not there.
// Errors: ErrSlow if the reader is too slow; ErrExpired or ErrNoTopic if retention or
// a purge removed the next record; ErrDamaged if that cannot be decoded, which is logged;
// ctx's. After the first four the reader may begin a new tail. After ErrDamaged it has to
// pause before: until the fragment has its entry, the new tail finds the same record.
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

	opens   []*schemas.Entry // of later writers, which wait until it has begun
	early   []schemas.Entry  // what has come in the index behind them, and waits too
	begun   bool             // nothing waits any more
	live    bool
	liveAt  map[int32]int64 // of each media partition that is not live yet: the offset at which it is
	counted int             // how many of prov.dropped the metric has
}

func (t *tail) emit(e Event) error {
	if !t.yield(e, nil) {
		return errStop
	}
	return nil
}

func (t *tail) run(ctx context.Context, pos Position) error {
	var idx []span
	logged := false
	err := retry(ctx, func() (err error) {
		if idx, err = t.log.spans(ctx, t.index); err == nil {
			_, err = t.log.spans(ctx, t.media)
		}
		if err != nil && !logged && ctx.Err() == nil && !errors.Is(err, ErrNoTopic) && !t.log.logMissingRight(err) {
			t.log.logger.Warn("tail is waiting for Kafka", "topic", t.media, "err", err)
			logged = true
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
	if err := t.history(ctx, pos, idx[0], &n); err != nil {
		return err
	}
	if err := t.begin(&n); err != nil {
		return err
	}
	starts, err := t.log.mediaStarts(ctx, t.media, &n)
	if err != nil {
		return err
	}
	return t.follow(ctx, idx[0].end, starts)
}

// begin begins with the writer of the newest entry. Later writers, and what comes in the index
// behind them, wait until the chunks that stand in the log now have been read. So this tail shows
// the fragment that the first writer has not settled yet, as tails do that have run before. It
// shows no fragment that a later writer has begun too: that one has found nothing that a reader
// could have shown.
func (t *tail) begin(n *newest) error {
	var open *schemas.Entry
	open, t.opens = n.writers()
	if open == nil {
		return nil
	}
	return t.opened(open)
}

// opened takes the `open` of a new writer.
func (t *tail) opened(open *schemas.Entry) error {
	t.prov.opened(open, t.walker.seq.last, t.walker.seq.any)
	return t.emit(Event{Opened: open})
}

// end ends the beginning: what waits comes.
func (t *tail) end(ctx context.Context, sub *subscription) error {
	t.begun = true
	opens, early := t.opens, t.early
	t.opens, t.early = nil, nil
	for _, o := range opens {
		t.prov.giveWay(o.Offset)
		if err := t.show(); err != nil {
			return err
		}
		if err := t.opened(o); err != nil {
			return err
		}
	}
	for i := range early {
		if err := t.show(); err != nil {
			return err
		}
		if err := t.take(ctx, &early[i], sub); err != nil {
			return err
		}
	}
	return t.show()
}

// history yields the entries that stand in the index already.
func (t *tail) history(ctx context.Context, pos Position, s span, n *newest) error {
	from := s.start
	var r Range
	if n.entry != nil {
		var err error
		if r.FromSeq, from, err = t.log.seek(ctx, t.index, s, pos, n.entry); err != nil {
			return err
		}
	}
	media, err := t.log.spans(ctx, t.media)
	if err != nil {
		return err
	}
	in := within{r: r, edge: newEdge(media)}
	for e, err := range t.walker.walk(ctx, from, s.end) {
		if err != nil {
			return err
		}
		if !e.Footage() {
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
		if err := t.emit(Event{Entry: &es[i]}); err != nil {
			return err
		}
	}
	return nil
}

// follow reads live: the index from offset at on, the media from starts on.
func (t *tail) follow(ctx context.Context, at int64, starts []span) error {
	t.liveAt = map[int32]int64{}
	from := map[topicPartition]int64{{t.index, 0}: at}
	for p, s := range starts {
		from[topicPartition{t.media, int32(p)}] = s.start
		if s.start < s.end {
			t.liveAt[int32(p)] = s.end
		}
	}
	sub, err := t.log.hub.subscribe(t.index, t.media, from)
	if err != nil {
		return err
	}
	defer sub.close()
	if err := t.showLive(ctx, sub); err != nil {
		return err
	}
	for r, err := range sub.records(ctx) {
		if err != nil {
			return err
		}
		if r.Topic == t.index {
			err = t.takeEntry(ctx, r, sub)
		} else {
			err = t.takeChunk(ctx, r, sub)
		}
		if err != nil {
			return err
		}
		if err := t.show(); err != nil {
			return err
		}
		if err := t.showLive(ctx, sub); err != nil {
			return err
		}
	}
	return nil // records ends with an error
}

// showLive yields that the tail is live, once.
func (t *tail) showLive(ctx context.Context, sub *subscription) error {
	if t.live || len(t.liveAt) > 0 {
		return nil
	}
	if err := t.end(ctx, sub); err != nil {
		return err
	}
	t.live = true
	return t.emit(Event{Live: true})
}

// mostEarly is how many entries of later writers wait. More than these come only if the broker of
// a part of the media is away.
const mostEarly = 16

func (t *tail) takeEntry(ctx context.Context, r *kgo.Record, sub *subscription) error {
	e, err := t.log.entryOf(t.index, r)
	if err != nil {
		return err
	}
	if !t.begun && (len(t.early) > 0 || len(t.opens) > 0 && e.Kind != schemas.KindOpen) {
		if t.early = append(t.early, e); len(t.early) < mostEarly {
			return nil
		}
		return t.end(ctx, sub)
	}
	return t.take(ctx, &e, sub)
}

// take takes the next record of the index.
func (t *tail) take(ctx context.Context, e *schemas.Entry, sub *subscription) error {
	for one, err := range t.walker.take(ctx, e) {
		if err != nil {
			return err
		}
		if err := t.takeValid(&one, sub); err != nil {
			return err
		}
	}
	return nil
}

func (t *tail) takeValid(e *schemas.Entry, sub *subscription) error {
	switch e.Kind {
	case schemas.KindOpen:
		if !t.begun {
			t.opens = append(t.opens, e)
			return nil
		}
		return t.opened(e)
	case schemas.KindLeft:
		return nil
	case schemas.KindWhole, schemas.KindTruncated, schemas.KindGap:
	}
	t.prov.committed(e.Seq, e.Epoch)
	if e.Playable() {
		sub.addPartition(t.media, e.Partition, e.Last+1) // the topic may have grown
	}
	return t.emit(Event{Entry: e})
}

func (t *tail) takeChunk(ctx context.Context, r *kgo.Record, sub *subscription) error {
	if at, ok := t.liveAt[r.Partition]; ok && r.Offset+1 >= at {
		delete(t.liveAt, r.Partition)
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
	if d := t.prov.dropped; d > t.counted {
		t.log.metrics.provisionalsDropped.Add(float64(d - t.counted))
		t.counted = d
		return t.end(ctx, sub) // no more can be held
	}
	return nil
}

// show yields the provisional chunks whose turn has come.
func (t *tail) show() error {
	if len(t.opens) > 0 {
		return nil
	}
	for c := t.prov.next(); c != nil; c = t.prov.next() {
		if err := t.emit(Event{Chunk: c}); err != nil {
			return err
		}
	}
	return nil
}
