package events

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// fakeTopic is the topic of events in memory. Without partitions it does not exist.
type fakeTopic struct {
	mu      sync.Mutex
	changed chan struct{}
	begin   []int64
	end     []int64
	records []*kgo.Record // in the order in which they came
	reading int           // readers now
	reads   int           // readers so far
	failed  error         // what Read fails with
	away    error         // what Bounds fails with
}

func newTopic(partitions int) *fakeTopic {
	return &fakeTopic{changed: make(chan struct{}), begin: make([]int64, partitions), end: make([]int64, partitions)}
}

func (f *fakeTopic) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// tell appends an event. Its number is its seq.
func (f *fakeTopic) tell(camera, kind string, n int) {
	f.update(func() {
		h := fnv.New32()
		h.Write([]byte(camera))
		p := int32(h.Sum32() % uint32(len(f.end)))
		f.records = append(f.records, record(camera, kind, n, p, f.end[p]))
		f.end[p]++
	})
}

func record(camera, kind string, n int, partition int32, offset int64) *kgo.Record {
	value, err := json.Marshal(schemas.Event{Type: kind, Start: epoch.Add(time.Duration(n) * time.Second), End: epoch.Add(time.Duration(n+1) * time.Second), Value: float64(n)})
	if err != nil {
		panic(err)
	}
	return &kgo.Record{Partition: partition, Offset: offset, Key: []byte(camera), Value: value, Headers: []kgo.RecordHeader{
		{Key: "ce_id", Value: fmt.Appendf(nil, "life.%d.detector.0", n)},
		{Key: "ce_source", Value: []byte("/cameras/" + camera + "/found")},
		{Key: "ce_seq", Value: fmt.Append(nil, n)},
	}}
}

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// expire removes the records below an offset of each partition.
func (f *fakeTopic) expire(n int64) {
	f.update(func() {
		for p := range f.begin {
			f.begin[p] = min(n, f.end[p])
		}
		f.records = slices.DeleteFunc(f.records, func(r *kgo.Record) bool { return r.Offset < f.begin[r.Partition] })
	})
}

func (f *fakeTopic) Bounds(context.Context) (begin, end []int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.begin), slices.Clone(f.end), f.away
}

func (f *fakeTopic) Read(ctx context.Context, from []int64) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		f.mu.Lock()
		f.reading++
		f.reads++
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.reading--
		}()
		at := slices.Clone(from)
		for {
			f.mu.Lock()
			all, changed, failed := slices.Clone(f.records), f.changed, f.failed
			f.mu.Unlock()
			if failed != nil {
				yield(nil, failed)
				return
			}
			for _, r := range all {
				if r.Offset < at[r.Partition] {
					continue
				}
				at[r.Partition] = r.Offset + 1
				if !yield(r, nil) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// scene is a server in virtual time.
type scene struct {
	*Server
	topic *fakeTopic
	mux   http.Handler
}

// hidden is a camera that nobody may watch.
const hidden = "hidden"

func inBubble(t *testing.T, cfg Config, partitions int, f func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		topic := newTopic(partitions)
		srv := New(cfg, Deps{Source: topic, Known: func(camera string) bool { return camera != "nobody" }})
		s := &scene{Server: srv, topic: topic, mux: muxOf(srv)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); srv.Run(ctx) }()
		f(t, s)
		cancel()
		<-ended
		synctest.Wait()
	})
}

func muxOf(s *Server) http.Handler {
	mux, err := access.NewMux(access.Policy{Authorize: func(_ *http.Request, camera, _ string, _ access.Action) bool { return camera != hidden }}, s.Routes(),
		func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		panic(err)
	}
	return mux
}

// read opens a stream behind an id; "" for a new one.
func (s *scene) read(path, id string) *testenv.Stream {
	r := httptest.NewRequest("GET", path, nil)
	if id != "" {
		r.Header.Set("Last-Event-ID", id)
	}
	return testenv.ReadStream(s.mux, r)
}

// told is one message of a stream.
type told struct {
	id, kind string // kind is the event's name: "" for an event, "missed"
	Event
}

// take gives the messages with data since the last call. last is the id of the last message
// of any kind.
func take(t *testing.T, r *testenv.Stream) (all []told, last string) {
	t.Helper()
	for _, m := range r.Messages() {
		if m.ID != "" {
			last = m.ID
		}
		if m.Data != "" {
			all = append(all, toldOf(t, m))
		}
	}
	return all, last
}

func toldOf(t *testing.T, m testenv.StreamMessage) told {
	t.Helper()
	one := told{id: m.ID, kind: m.Event}
	if err := json.Unmarshal([]byte(m.Data), &one.Event); err != nil {
		t.Fatalf("%v: %+v", err, m)
	}
	return one
}

// numbers are the seqs of messages, and the names of others.
func numbers(all []told) string {
	var out []string
	for _, m := range all {
		if m.kind != "" {
			out = append(out, m.kind)
			continue
		}
		out = append(out, fmt.Sprint(m.Seq))
	}
	return strings.Join(out, " ")
}
