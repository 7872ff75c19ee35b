package events

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"
)

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
		got, _ := take(t, all)
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
		if got, _ := take(t, yard); numbers(got) != "2 6" {
			t.Errorf("of some cameras and a type: %s", numbers(got))
		}
		if n := testutil.ToFloat64(s.m.subscribers); n != 2 {
			t.Errorf("%v subscribers", n)
		}
		if h := all.Head; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", h)
		}
		all.Leave()
		yard.Leave()
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
				_, start := take(t, first)
				ids := []string{start}
				for i := range events {
					s.topic.tell([]string{"a", "b", "c", "d", "e"}[i%5], "motion", i)
				}
				got, _ := take(t, first)
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
					after, _ := take(t, r)
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
					r.Leave()
				}
				if n := testutil.ToFloat64(s.m.histories); (n > 0) != (keep < events) {
					t.Errorf("%v reads of older events", n)
				}
				first.Leave()
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
			if got, _ := take(t, r); numbers(got) != want {
				t.Errorf("behind %s: %q, want %q", id, numbers(got), want)
			}
			r.Leave()
		}
		first.Leave()
	})
}

// A reader that does not read is ended, and can go on where it was. The others go on.
func TestSlowReader(t *testing.T) {
	inBubble(t, Config{Queue: 4}, 2, func(t *testing.T, s *scene) {
		quick, slow := s.read("/v1/events", ""), s.read("/v1/events", "")
		s.topic.tell("yard", "motion", 0)
		before, id := take(t, slow)
		release := slow.Hold()
		for i := range 20 {
			s.topic.tell("yard", "motion", i+1)
			synctest.Wait()
		}
		if got, _ := take(t, quick); len(got) != 21 {
			t.Errorf("the other reader got %d events", len(got))
		}
		release()
		after, last := take(t, slow)
		if !slow.Ended() || testutil.ToFloat64(s.m.slow) != 1 {
			t.Errorf("ended %v, %v counted", slow.Ended(), testutil.ToFloat64(s.m.slow))
		}
		if last != "" {
			id = last
		}
		again := s.read("/v1/events", id)
		rest, _ := take(t, again)
		if got := numbers(slices.Concat(before, after, rest)); got != "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20" {
			t.Errorf("it got %s", got)
		}
		quick.Leave()
		again.Leave()
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
		a.Leave()
		b.Leave()
		time.Sleep(59 * time.Second)
		c := s.read("/v1/events", "")
		time.Sleep(2 * time.Minute)
		if n := reading(); n != 1 || s.topic.reads != 1 {
			t.Errorf("%d reads, %d in all, for a reader that came in time", n, s.topic.reads)
		}
		c.Leave()
		time.Sleep(61 * time.Second)
		if n := reading(); n != 0 {
			t.Errorf("%d reads after the last reader", n)
		}
		d := s.read("/v1/events", "")
		s.topic.tell("yard", "motion", 7)
		if got, _ := take(t, d); numbers(got) != "7" {
			t.Errorf("after a pause: %s", numbers(got))
		}
		d.Leave()
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
		if got, _ := take(t, r); numbers(got) != "1" {
			t.Errorf("got %q", numbers(got))
		}
		r.Leave()
	})
}

// If the topic cannot be read, streams end, and readers go on with the same id when it is
// back.
func TestTopicFails(t *testing.T) {
	inBubble(t, Config{}, 2, func(t *testing.T, s *scene) {
		r := s.read("/v1/events", "")
		s.topic.tell("yard", "motion", 1)
		_, id := take(t, r)
		s.topic.update(func() { s.topic.failed = context.DeadlineExceeded })
		if !r.Ended() {
			t.Error("the stream goes on")
		}
		s.topic.tell("yard", "motion", 2)
		again := s.read("/v1/events", id)
		s.topic.update(func() { s.topic.failed = nil })
		time.Sleep(time.Minute)
		if got, _ := take(t, again); numbers(got) != "2" {
			t.Errorf("got %q", numbers(got))
		}
		again.Leave()
	})
}

// While Kafka does not answer at all, streams stay open.
func TestTopicIsAway(t *testing.T) {
	inBubble(t, Config{}, 2, func(t *testing.T, s *scene) {
		s.topic.update(func() { s.topic.away = context.DeadlineExceeded })
		r := s.read("/v1/events", "")
		time.Sleep(time.Minute)
		s.topic.update(func() { s.topic.away = nil })
		time.Sleep(time.Minute)
		s.topic.tell("yard", "motion", 1)
		if got, _ := take(t, r); numbers(got) != "1" {
			t.Errorf("got %q", numbers(got))
		}
		r.Leave()
	})
}

// A reader that wants few events is told how far the stream is, and that it is alive.
func TestPosition(t *testing.T) {
	inBubble(t, Config{}, 1, func(t *testing.T, s *scene) {
		r := s.read("/v1/events?camera=gate", "")
		_, start := take(t, r)
		for i := range 5 {
			s.topic.tell("yard", "motion", i)
		}
		time.Sleep(6 * time.Second)
		if !strings.Contains(r.Text(), ":\n\n") {
			t.Errorf("no sign of life: %q", r.Text())
		}
		if got, id := take(t, r); len(got) != 0 || start != "0" || id != "5" {
			t.Errorf("%d events, from %q to %q", len(got), start, id)
		}
		r.Leave()
	})
}

func TestTooManyReaders(t *testing.T) {
	inBubble(t, Config{MaxSubscribers: 2}, 1, func(t *testing.T, s *scene) {
		a, b, c := s.read("/v1/events", ""), s.read("/v1/events", ""), s.read("/v1/events", "")
		if a.Ended() || b.Ended() || c.Code() != http.StatusServiceUnavailable || c.Head.Get("Retry-After") == "" {
			t.Errorf("the third reader got %d", c.Code())
		}
		a.Leave()
		synctest.Wait()
		if d := s.read("/v1/events", ""); d.Ended() {
			t.Error("a place that was left is not free")
		} else {
			d.Leave()
		}
		b.Leave()
	})
}

// A record that is no event of ours moves the position, and nothing else.
func TestForeignRecord(t *testing.T) {
	inBubble(t, Config{}, 1, func(t *testing.T, s *scene) {
		r := s.read("/v1/events", "")
		bad := []*kgo.Record{
			{Value: []byte("nonsense")},
			{Value: []byte(`{"type":"motion"}`)},
			{Value: []byte(`{}`), Headers: record("yard", "x", 1, 0, 0).Headers},
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
		if got, id := take(t, r); numbers(got) != "9" || id != fmt.Sprint(len(bad)+1) {
			t.Errorf("%q up to %q", numbers(got), id)
		}
		if n := testutil.ToFloat64(s.m.unreadable); n != float64(len(bad)) {
			t.Errorf("%v counted", n)
		}
		r.Leave()
	})
}
