package medialog

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

// TestMediaStartsShared: calls that come together share one answer of the brokers, and a call
// that looks for chunks without an entry does not change it.
func TestMediaStartsShared(t *testing.T) {
	shared := []span{{0, 100}, {0, 80}, {0, 5}}
	l := &Log{connection: &connection{}}
	l.spanning.do = func(context.Context, []string) map[string]result[[]span] {
		return map[string]result[[]span]{"media": {value: shared}}
	}
	l.ctx = t.Context()
	got, err := l.mediaStarts(t.Context(), "media", &newest{offsets: map[int32]int64{0: 50, 1: 80, 2: 900}})
	// The third partition was cut back.
	if err != nil || !slices.Equal(got, []span{{50, 100}, {80, 80}, {0, 5}}) {
		t.Errorf("the chunks without an entry are %v (%v)", got, err)
	}
	if !slices.Equal(shared, []span{{0, 100}, {0, 80}, {0, 5}}) {
		t.Errorf("the answer that other calls have is now %v", shared)
	}
}

// TestLeftoverWithoutTopic: the media topic is deleted while a writer opens. The writer ends,
// and does not wait for ever for a topic that nobody creates.
func TestLeftoverWithoutTopic(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := e.log().readLeftover(ctx, "deleted", newest{}); !errors.Is(err, ErrNoTopic) {
			t.Errorf("the error is %v, want %v", err, ErrNoTopic)
		}
	})
}

// TestLongLeftover: a writer dies in a fragment with more chunks than
// leftoverWindow, in a partition that no entry names. The next writer settles it.
func TestLongLeftover(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		ctx, crash := context.WithCancel(t.Context())
		w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		ready(t, w)
		f := newFeed(w, 1)
		if err := f.fragment(2); err != nil { // has its entry, in one of two partitions
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		const chunks = leftoverWindow + 100
		for i := range uint32(chunks) {
			if err := f.chunk(i, 1, false, 100); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		crash()
		<-w.Fenced()

		w = e.log().Open(t.Context(), cam, OpenOptions{Writer: "w2"})
		ready(t, w)
		if err := newFeed(w, 2).fragment(2); err != nil {
			t.Fatal(err)
		}
		closeWriter(t, w)
		got := entriesOf(t, e.log(), Range{})
		dense(t, got)
		if len(got) != 3 || got[1].Kind != schemas.KindTruncated || got[1].Chunks != chunks {
			t.Errorf("entries %+v, want one with the %d chunks that were left", got, chunks)
		}
	})
}

// TestIndexGone: an index is gone, and its media are there. A new writer is ready
// after it has read the ends of the partitions, and goes on above all that they hold.
func TestIndexGone(t *testing.T) {
	for _, x := range []struct {
		name    string
		remove  func(t *testing.T, l *Log, entries []schemas.Entry)
		settles bool // what the ends of the partitions hold
	}{
		// The epochs of a new index begin at 0 again, so chunks of the old one are no
		// earlier writer's.
		{"deleted", func(t *testing.T, l *Log, _ []schemas.Entry) {
			if _, err := l.admin.DeleteTopic(t.Context(), l.names.Index(cam)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"emptied", func(t *testing.T, l *Log, entries []schemas.Entry) {
			expire(t, l, l.names.Index(cam), 0, entries[len(entries)-1].Offset+1)
		}, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
				l := e.log()
				w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
				ready(t, w)
				f := newFeed(w, 1)
				const fragments, chunks = 1000, 3 // 1500 records in each partition
				for i := range fragments {
					if i%100 == 50 {
						w.NewSession("")
					}
					if i == 500 { // a fragment that outgrows its layout
						if err := f.chunk(0, 75, false, 10); err != nil {
							t.Fatal(err)
						}
					}
					if err := f.fragment(chunks); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second) // the entry is there
				}
				closeWriter(t, w)
				before := entriesOf(t, l, Range{})
				last := before[len(before)-1]
				ends, err := l.spans(t.Context(), l.names.Media(cam))
				if err != nil {
					t.Fatal(err)
				}
				x.remove(t, l, before)

				// All that the next writer fetches of the media before it is ready.
				var requests atomic.Int32
				id := l.describe(t.Context(), 0, l.names.Media(cam))[l.names.Media(cam)].value.id
				c.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					for _, topic := range r.(*kmsg.FetchRequest).Topics {
						if topic.TopicID != id {
							continue
						}
						requests.Add(1)
						for _, p := range topic.Partitions {
							if first := ends[p.Partition].end - leftoverWindow; p.FetchOffset < first {
								t.Errorf("reads partition %d from offset %d on, want %d", p.Partition, p.FetchOffset, first)
							}
						}
					}
					return nil, nil, false
				})
				next := e.log()
				w = next.Open(t.Context(), cam, OpenOptions{Writer: "w2", Remember: func(context.Context) (schemas.Standing, error) {
					return schemas.Standing{Life: last.Life, Seq: last.Seq, Session: last.Session}, nil
				}})
				f2 := newFeed(w, 2)
				f2.media = last.Media - 3600*schemas.MediaTimescale // a clock that is behind
				if err := f2.fragment(2); err != nil {
					t.Fatal(err)
				}
				ready(t, w)
				if n := requests.Load(); n < 2 || n > 4 {
					t.Errorf("%d requests for media before the writer is ready, want one or two a partition", n)
				}
				closeWriter(t, w)
				after := entriesOf(t, next, Range{})
				dense(t, after)
				own := after[len(after)-1]
				if n := counts(t, next, own, f2.sent); len(n) != 10 || binary.BigEndian.Uint32(f2.sent[n[0]]) != 2 {
					t.Errorf("the new writer's fragment %+v holds samples %v", own, n)
				}
				if own.Seq <= last.Seq || own.Session != last.Session+1 || own.Media < last.MediaEnd() || own.Life != last.Life ||
					own.Layout.ID < last.Layout.ID || (own.Layout.ID == last.Layout.ID) != (own.Layout == last.Layout) {
					t.Errorf("%+v\ngoes on behind\n%+v", own, last)
				}
				settled := after[:len(after)-1]
				if (len(settled) > 0) != x.settles || len(settled) > 2*leftoverWindow/chunks {
					t.Errorf("%d fragments are settled", len(settled))
				}
				for i, e := range settled {
					old := before[len(before)-len(settled)+i]
					old.Offset, old.Prev = e.Offset, e.Prev
					if e != old {
						t.Fatalf("settled\n%+v, was\n%+v", e, old)
					}
				}
			})
		})
	}
}
