package hls

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// fakeLog is a log in memory that tests drive live.
type fakeLog struct {
	mu      sync.Mutex
	changed chan struct{}
	topics  map[schemas.Topic]*fakeTopic
	loads   int           // of chunks
	lookups int           // reads of indexes
	lists   int           // of topics
	away    error         // what reads of indexes and Available fail with
	broken  int           // rises with each breakTails
	damaged uint64        // where not 0, the chunks of this seq cannot be decoded
	hold    chan struct{} // reading chunks waits for it, where not nil

	holdIndex chan struct{} // so does finding an entry, before it looks
	holdAfter chan struct{} // and after it has looked
}

type fakeTopic struct {
	entries []schemas.Entry
	chunks  map[uint64][]*schemas.Chunk
	expired uint64 // media below this seq is gone
	beyond  uint64 // where not 0, media from this seq on lies beyond the end of its partition
	events  []medialog.Event
}

func newFakeLog() *fakeLog {
	return &fakeLog{changed: make(chan struct{}), topics: map[schemas.Topic]*fakeTopic{}}
}

// topicOf is the topic of a name as "cam" or "cam/720p".
func topicOf(name string) schemas.Topic {
	camera, rendition, _ := strings.Cut(name, "/")
	return schemas.Topic{Camera: camera, Rendition: rendition}
}

func (l *fakeLog) update(name string, change func(t *fakeTopic)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	topic := topicOf(name)
	t := l.topics[topic]
	if t == nil {
		t = &fakeTopic{chunks: map[uint64][]*schemas.Chunk{}}
		l.topics[topic] = t
	}
	change(t)
	close(l.changed)
	l.changed = make(chan struct{})
}

// opened is the event of an `open` by a processor.
func opened(epoch int64, processor string) medialog.Event {
	return medialog.Event{Opened: &schemas.Entry{Kind: schemas.KindOpen, Offset: epoch, Processor: processor}}
}

func (l *fakeLog) chunk(camera string, c *schemas.Chunk) {
	l.update(camera, func(t *fakeTopic) {
		t.chunks[c.Seq] = append(t.chunks[c.Seq], c)
		t.events = append(t.events, medialog.Event{Chunk: c})
	})
}

func (l *fakeLog) entry(camera string, e schemas.Entry) {
	l.update(camera, func(t *fakeTopic) {
		t.entries = append(t.entries, e)
		t.events = append(t.events, medialog.Event{Entry: &e})
	})
}

// open opens a topic; from is 0 or the seq with which it goes on behind a hole.
func (l *fakeLog) open(camera string, epoch int64, from uint64) {
	l.update(camera, func(t *fakeTopic) {
		t.events = append(t.events, medialog.Event{Opened: &schemas.Entry{Kind: schemas.KindOpen, Offset: epoch, From: from}})
	})
}

// add records fragments whole.
func (l *fakeLog) add(camera string, fragments ...testmedia.Fragment) {
	for _, f := range fragments {
		for _, c := range f.Chunks {
			l.chunk(camera, c)
		}
		l.entry(camera, f.Entry)
	}
}

func (l *fakeLog) expire(camera string, below uint64) {
	l.update(camera, func(t *fakeTopic) { t.expired = below })
}

// breakTails ends all tails with ErrSlow.
func (l *fakeLog) breakTails() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken++
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *fakeLog) topic(t schemas.Topic) (fakeTopic, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.topics[t]
	if !ok {
		return fakeTopic{}, false
	}
	return fakeTopic{slices.Clone(f.entries), f.chunks, f.expired, f.beyond, slices.Clone(f.events)}, true
}

func (l *fakeLog) Entries(_ context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		l.mu.Lock()
		l.lookups++
		l.mu.Unlock()
		if err := l.failure(); err != nil {
			yield(schemas.Entry{}, err)
			return
		}
		f, ok := l.topic(t)
		if !ok {
			yield(schemas.Entry{}, medialog.ErrNoTopic)
			return
		}
		for _, e := range f.entries {
			if e.Seq < r.FromSeq || r.ToSeq != 0 && e.Seq > r.ToSeq || !r.To.IsZero() && !e.Start.Before(r.To) || !e.End().After(r.From) {
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l *fakeLog) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		l.mu.Lock()
		l.loads++
		hold := l.hold
		f := l.topics[t]
		chunks, gone := slices.Clone(f.chunks[e.Seq]), e.Seq < f.expired
		lost := f.beyond != 0 && e.Seq >= f.beyond
		l.mu.Unlock()
		if lost { // the log waits for them to come back
			<-ctx.Done()
			yield(nil, ctx.Err())
			return
		}
		if hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
		if gone {
			yield(nil, medialog.ErrExpired)
			return
		}
		if e.Seq == l.damaged {
			yield(nil, fmt.Errorf("a read: %w", medialog.ErrDamaged))
			return
		}
		for _, c := range chunks {
			if c.Epoch == e.Epoch && c.Index < e.Chunks && !yield(c, nil) {
				return
			}
		}
	}
}

func (l *fakeLog) Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	l.mu.Lock()
	l.lookups++
	hold := l.holdIndex
	l.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return schemas.Entry{}, ctx.Err()
		}
	}
	if err := l.failure(); err != nil {
		return schemas.Entry{}, err
	}
	f, ok := l.topic(t)
	l.mu.Lock()
	hold = l.holdAfter
	l.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if !ok {
		return schemas.Entry{}, medialog.ErrNoTopic
	}
	if seq < f.expired {
		return schemas.Entry{}, medialog.ErrExpired
	}
	for _, e := range f.entries {
		if e.Seq == seq {
			return e, l.Available(ctx, t, e)
		}
	}
	return schemas.Entry{}, medialog.ErrNotFound
}

func (l *fakeLog) Available(_ context.Context, t schemas.Topic, e schemas.Entry) error {
	f, ok := l.topic(t)
	switch err := l.failure(); {
	case err != nil:
		return err
	case !ok:
		return medialog.ErrNoTopic
	case e.Seq < f.expired:
		return medialog.ErrExpired
	case f.beyond != 0 && e.Seq >= f.beyond:
		return medialog.ErrBeyond
	}
	return nil
}

// reads is how often an index was read.
func (l *fakeLog) reads() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lookups
}

func (l *fakeLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away
}

func (l *fakeLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = err
}

func (l *fakeLog) Topics(context.Context) ([]schemas.Topic, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lists++
	if l.away != nil {
		return nil, l.away
	}
	var all []schemas.Topic
	for t := range l.topics {
		all = append(all, t)
	}
	return all, nil
}

func (l *fakeLog) Tail(ctx context.Context, t schemas.Topic, from medialog.Position) iter.Seq2[medialog.Event, error] {
	return func(yield func(medialog.Event, error) bool) {
		var last uint64
		at := -1 // the event to tell next; -1: the past comes first
		l.mu.Lock()
		broken, away := l.broken, l.away
		l.mu.Unlock()
		if away != nil && from == (medialog.Position{}) { // a read of the newest entry
			yield(medialog.Event{}, away)
			return
		}
		for {
			l.mu.Lock()
			changed, isBroken := l.changed, l.broken != broken
			l.mu.Unlock()
			if isBroken {
				yield(medialog.Event{}, medialog.ErrSlow)
				return
			}
			f, ok := l.topic(t)
			if ok && at < 0 {
				at = len(f.events)
				if !f.past(from, &last, yield) {
					return
				}
			}
			for ; ok && at < len(f.events); at++ {
				ev := f.events[at]
				if ev.Chunk != nil && ev.Chunk.Seq <= last {
					continue
				}
				if ev.Entry != nil {
					last = ev.Entry.Seq
				}
				if !yield(ev, nil) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(medialog.Event{}, ctx.Err())
				return
			}
		}
	}
}

// past tells what stood in the log when a tail began.
func (f *fakeTopic) past(from medialog.Position, last *uint64, yield func(medialog.Event, error) bool) bool {
	first := len(f.entries)
	var sum time.Duration
	for first > 0 {
		e := f.entries[first-1]
		if from.Seq != 0 && e.Seq < from.Seq || from.Seq == 0 && sum >= from.Back && sum > 0 {
			break
		}
		sum += schemas.FromTicks(e.Duration)
		first--
	}
	if len(f.entries) > 0 {
		*last = f.entries[len(f.entries)-1].Seq
	}
	for _, e := range f.entries[first:] {
		if !yield(medialog.Event{Entry: &e}, nil) {
			return false
		}
	}
	var epoch int64
	var opened *schemas.Entry
	for _, ev := range f.events {
		if ev.Opened != nil {
			epoch, opened = ev.Opened.Offset, ev.Opened
		}
		if ev.Chunk != nil {
			epoch = max(epoch, ev.Chunk.Epoch)
		}
	}
	if opened != nil && !yield(medialog.Event{Opened: opened}, nil) {
		return false
	}
	for _, ev := range f.events {
		if ev.Chunk != nil && ev.Chunk.Seq > *last && ev.Chunk.Epoch == epoch && !yield(ev, nil) {
			return false
		}
	}
	return yield(medialog.Event{Live: true}, nil)
}
