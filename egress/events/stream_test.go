package events

import (
	"bytes"
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

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/schemas"
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
		{Key: "ce_id", Value: fmt.Appendf(nil, "life.%d.detector.0", n)}, {Key: "ce_source", Value: []byte("/cameras/" + camera + "/found")},
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
	return slices.Clone(f.begin), slices.Clone(f.end), nil
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
	mux, err := access.NewMux(func(_ *http.Request, camera, _ string, _ access.Action) bool { return camera != hidden }, s.Routes(),
		func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		panic(err)
	}
	return mux
}

// reader reads a stream. While hold is not nil, a write blocks until it is closed.
type reader struct {
	mu    sync.Mutex
	hold  chan struct{}
	got   bytes.Buffer
	head  http.Header
	code  int
	ended bool
	leave context.CancelFunc
}

func (v *reader) Header() http.Header { return v.head }
func (v *reader) WriteHeader(code int) {
	v.code = code
}
func (v *reader) Flush() {}

func (v *reader) Write(b []byte) (int, error) {
	v.mu.Lock()
	hold := v.hold
	v.mu.Unlock()
	if hold != nil {
		<-hold
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.got.Write(b)
}

// read opens a stream behind an id; "" for a new one.
func (s *scene) read(path, id string) *reader {
	ctx, cancel := context.WithCancel(context.Background())
	v := &reader{head: http.Header{}, leave: cancel}
	r := httptest.NewRequestWithContext(ctx, "GET", path, nil)
	if id != "" {
		r.Header.Set("Last-Event-ID", id)
	}
	go func() {
		s.mux.ServeHTTP(v, r)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.ended = true
	}()
	synctest.Wait()
	return v
}

// told is one message of a stream.
type told struct {
	id, kind string // kind is the event's name: "" for an event, "missed"
	Event
}

// take gives the messages since the last call. Those without data are left out; last is
// the id of the last message of any kind.
func (v *reader) take(t *testing.T) (all []told, last string) {
	t.Helper()
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	for text := range strings.SplitSeq(v.got.String(), "\n\n") {
		m, ok, err := parse(text)
		if err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		if m.id != "" {
			last = m.id
		}
		if ok {
			all = append(all, m)
		}
	}
	v.got.Reset()
	return all, last
}

// parse reads a message; ok is false without data.
func parse(text string) (m told, ok bool, err error) {
	for line := range strings.SplitSeq(text, "\n") {
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "id":
			m.id = value
		case "event":
			m.kind = value
		case "data":
			ok = true
			err = json.Unmarshal([]byte(value), &m.Event)
		}
	}
	return m, ok, err
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

func TestStream(t *testing.T) {
	inBubble(t, Config{}, 4, func(t *testing.T, s *scene) {
		s.topic.tell("yard", "motion", 1) // before anyone reads
		all := s.read("/v1/events", "")
		yard := s.read("/v1/events?camera=yard,gate&camera=lane&type=motion", "")
		s.topic.tell("yard", "motion", 2)
		s.topic.tell("shed", "motion", 3)
		s.topic.tell("lane", "person", 4)
		s.topic.tell(hidden, "motion", 5)
		s.topic.tell("lane", "motion", 6)
		got, _ := all.take(t)
		if numbers(got) != "2 3 4 6" {
			t.Errorf("all events but those that may not be watched: %s", numbers(got))
		}
		want := Event{
			ID: "life.2.detector.0", Type: "motion", Camera: "yard", Rendition: "found", Processor: "detector", Seq: 2,
			Start: epoch.Add(2 * time.Second), End: epoch.Add(3 * time.Second), Value: 2,
		}
		if fmt.Sprintf("%+v", got[0].Event) != fmt.Sprintf("%+v", want) {
			t.Errorf("%+v\nwant\n%+v", got[0].Event, want)
		}
		if got, _ := yard.take(t); numbers(got) != "2 6" {
			t.Errorf("of some cameras and a type: %s", numbers(got))
		}
		if n := testutil.ToFloat64(s.m.subscribers); n != 2 {
			t.Errorf("%v subscribers", n)
		}
		if h := all.head; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", h)
		}
		all.leave()
		yard.leave()
	})
}

// A reader that goes on behind any event gets all events after it, once: those that are
// kept, and those that only Kafka has.
func TestResume(t *testing.T) {
	const events = 40
	for _, keep := range []int{1000, 3} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			inBubble(t, Config{Keep: keep}, 4, func(t *testing.T, s *scene) {
				first := s.read("/v1/events", "")
				_, start := first.take(t)
				ids := []string{start}
				for i := range events {
					s.topic.tell([]string{"a", "b", "c", "d", "e"}[i%5], "motion", i)
				}
				got, _ := first.take(t)
				if len(got) != events {
					t.Fatalf("%d events", len(got))
				}
				for _, m := range got {
					ids = append(ids, m.id)
				}
				for n, id := range ids {
					r := s.read("/v1/events", id)
					s.topic.tell("late", "motion", events)
					var seen []int
					after, _ := r.take(t)
					for _, m := range after {
						if m.kind != "" {
							t.Fatalf("behind %d: %s", n, m.kind)
						}
						if m.Camera != "late" {
							seen = append(seen, int(m.Seq))
						}
					}
					slices.Sort(seen) // history comes in order of each partition
					var want []int
					for i := n; i < events; i++ {
						want = append(want, i)
					}
					if !slices.Equal(seen, want) {
						t.Errorf("behind %d: %v, want %v", n, seen, want)
					}
					r.leave()
				}
				if n := testutil.ToFloat64(s.m.histories); (n > 0) != (keep < events) {
					t.Errorf("%v reads of older events", n)
				}
				first.leave()
			})
		})
	}
}

// A reader learns that events between have expired, and one whose id is none of this topic
// too.
func TestMissed(t *testing.T) {
	inBubble(t, Config{Keep: 3}, 1, func(t *testing.T, s *scene) {
		first := s.read("/v1/events", "")
		for i := range 20 {
			s.topic.tell("yard", "motion", i)
		}
		synctest.Wait()
		s.topic.expire(10)
		for id, want := range map[string]string{
			"12": "12 13 14 15 16 17 18 19", "9": "missed 10 11 12 13 14 15 16 17 18 19", "18": "18 19", "99": "", "7.7": "missed", "x": "missed",
		} {
			r := s.read("/v1/events", id)
			if got, _ := r.take(t); numbers(got) != want {
				t.Errorf("behind %s: %q, want %q", id, numbers(got), want)
			}
			r.leave()
		}
		first.leave()
	})
}

// A reader that does not read is ended, and can go on where it was. The others go on.
func TestSlowReader(t *testing.T) {
	inBubble(t, Config{Queue: 4}, 2, func(t *testing.T, s *scene) {
		quick, slow := s.read("/v1/events", ""), s.read("/v1/events", "")
		s.topic.tell("yard", "motion", 0)
		before, id := slow.take(t)
		hold := make(chan struct{})
		slow.mu.Lock()
		slow.hold = hold
		slow.mu.Unlock()
		for i := range 20 {
			s.topic.tell("yard", "motion", i+1)
			synctest.Wait()
		}
		if got, _ := quick.take(t); len(got) != 21 {
			t.Errorf("the other reader got %d events", len(got))
		}
		close(hold)
		synctest.Wait()
		after, last := slow.take(t)
		if !slow.ended || testutil.ToFloat64(s.m.slow) != 1 {
			t.Errorf("ended %v, %v counted", slow.ended, testutil.ToFloat64(s.m.slow))
		}
		if last != "" {
			id = last
		}
		again := s.read("/v1/events", id)
		rest, _ := again.take(t)
		if got := numbers(slices.Concat(before, after, rest)); got != "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20" {
			t.Errorf("it got %s", got)
		}
		quick.leave()
		again.leave()
	})
}

// The topic is read while somebody reads, once for all.
func TestOnDemand(t *testing.T) {
	inBubble(t, Config{Linger: time.Minute}, 2, func(t *testing.T, s *scene) {
		reading := func() int {
			synctest.Wait()
			s.topic.mu.Lock()
			defer s.topic.mu.Unlock()
			return s.topic.reading
		}
		if reading() != 0 {
			t.Error("read for nobody")
		}
		a, b := s.read("/v1/events", ""), s.read("/v1/events", "")
		if n := reading(); n != 1 {
			t.Errorf("%d reads for two readers", n)
		}
		a.leave()
		b.leave()
		time.Sleep(59 * time.Second)
		c := s.read("/v1/events", "")
		time.Sleep(2 * time.Minute)
		if n := reading(); n != 1 || s.topic.reads != 1 {
			t.Errorf("%d reads, %d in all, for a reader that came in time", n, s.topic.reads)
		}
		c.leave()
		time.Sleep(61 * time.Second)
		if n := reading(); n != 0 {
			t.Errorf("%d reads after the last reader", n)
		}
		d := s.read("/v1/events", "")
		s.topic.tell("yard", "motion", 7)
		if got, _ := d.take(t); numbers(got) != "7" {
			t.Errorf("after a pause: %s", numbers(got))
		}
		d.leave()
	})
}

// A reader that waits for the topic gets its first event.
func TestNoTopicYet(t *testing.T) {
	inBubble(t, Config{}, 0, func(t *testing.T, s *scene) {
		r := s.read("/v1/events", "")
		time.Sleep(time.Minute)
		s.topic.update(func() { s.topic.begin, s.topic.end = make([]int64, 4), make([]int64, 4) })
		s.topic.tell("yard", "motion", 1)
		time.Sleep(2 * missingPause)
		if got, _ := r.take(t); numbers(got) != "1" {
			t.Errorf("got %q", numbers(got))
		}
		r.leave()
	})
}

// If the topic cannot be read, streams end, and readers go on with the same id when it is
// back.
func TestTopicFails(t *testing.T) {
	inBubble(t, Config{}, 2, func(t *testing.T, s *scene) {
		r := s.read("/v1/events", "")
		s.topic.tell("yard", "motion", 1)
		_, id := r.take(t)
		s.topic.update(func() { s.topic.failed = context.DeadlineExceeded })
		synctest.Wait()
		if !r.ended {
			t.Error("the stream goes on")
		}
		s.topic.tell("yard", "motion", 2)
		again := s.read("/v1/events", id)
		s.topic.update(func() { s.topic.failed = nil })
		time.Sleep(time.Minute)
		if got, _ := again.take(t); numbers(got) != "2" {
			t.Errorf("got %q", numbers(got))
		}
		again.leave()
	})
}

// A reader that wants few events is told how far the stream is, and that it is alive.
func TestPosition(t *testing.T) {
	inBubble(t, Config{}, 1, func(t *testing.T, s *scene) {
		r := s.read("/v1/events?camera=gate", "")
		_, start := r.take(t)
		for i := range 5 {
			s.topic.tell("yard", "motion", i)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if !strings.Contains(r.got.String(), ":\n\n") {
			t.Errorf("no sign of life: %q", r.got.String())
		}
		if got, id := r.take(t); len(got) != 0 || start != "0" || id != "5" {
			t.Errorf("%d events, from %q to %q", len(got), start, id)
		}
		r.leave()
	})
}

func TestTooManyReaders(t *testing.T) {
	inBubble(t, Config{MaxSubscribers: 2}, 1, func(t *testing.T, s *scene) {
		a, b, c := s.read("/v1/events", ""), s.read("/v1/events", ""), s.read("/v1/events", "")
		if a.ended || b.ended || c.code != http.StatusServiceUnavailable || c.head.Get("Retry-After") == "" {
			t.Errorf("the third reader got %d", c.code)
		}
		a.leave()
		synctest.Wait()
		if d := s.read("/v1/events", ""); d.ended {
			t.Error("a place that was left is not free")
		} else {
			d.leave()
		}
		b.leave()
	})
}

// A record that is no event of ours moves the position, and nothing else.
func TestForeignRecord(t *testing.T) {
	inBubble(t, Config{}, 1, func(t *testing.T, s *scene) {
		r := s.read("/v1/events", "")
		bad := []*kgo.Record{
			{Value: []byte("nonsense")}, {Value: []byte(`{"type":"motion"}`)}, {Value: []byte(`{}`), Headers: record("yard", "x", 1, 0, 0).Headers},
			{Value: []byte(`{"type":"motion"}`), Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("a.b")}, {Key: "ce_source", Value: []byte("/cameras/yard/found")}}},
		}
		s.topic.update(func() {
			for _, x := range bad {
				x.Offset = s.topic.end[0]
				s.topic.end[0]++
				s.topic.records = append(s.topic.records, x)
			}
		})
		s.topic.tell("yard", "motion", 9)
		if got, id := r.take(t); numbers(got) != "9" || id != fmt.Sprint(len(bad)+1) {
			t.Errorf("%q up to %q", numbers(got), id)
		}
		if n := testutil.ToFloat64(s.m.unreadable); n != float64(len(bad)) {
			t.Errorf("%v counted", n)
		}
		r.leave()
	})
}
