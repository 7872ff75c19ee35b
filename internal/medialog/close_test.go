package medialog

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestCloseEndsReaders: Close ends readers that wait for a topic or a broker.
func TestCloseEndsReaders(t *testing.T) {
	b := stoppableEmbedded(t)
	e := newEnv(t, b.brokers, 1)
	l := e.log()
	w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
	f := newFeed(w, 1)
	if err := f.fragment(1); err != nil {
		t.Fatal(err)
	}
	closeWriter(t, w)
	es := entriesOf(t, l, Range{})

	ended := make(chan string, 3)
	go func() {
		drain(l.Tail(t.Context(), schemas.Topic{Camera: "absent"}, Position{}))
		ended <- "tail of an absent topic"
	}()
	live := make(chan struct{})
	go func() {
		for ev := range l.Tail(t.Context(), cam, Position{}) {
			if ev.Live {
				close(live)
			}
		}
		ended <- "tail"
	}()
	<-live
	b.stop()
	go func() {
		drain(l.Chunks(t.Context(), cam, es[0]))
		ended <- "reader of chunks"
	}()
	l.Close()
	for range 3 {
		select {
		case <-ended:
		case <-time.After(testenv.Patience):
			t.Fatal("long after Close a reader is still waiting")
		}
	}
	b.start()
}

// TestCloseCancelsOpen: the `open` of a writer that was closed must not reach the index
// later, and fence the camera's next owner.
func TestCloseCancelsOpen(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		e.partitions = 1
		l := e.log()
		if err := l.Ensure(t.Context(), cam); err != nil {
			t.Fatal(err)
		}
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		waitFor(t, "the open is on its way", func() bool { return l.producer.BufferedProduceRecords() == 1 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Close(ctx); err == nil {
			t.Fatal("Close says that all is in the log")
		}
		waitFor(t, "the client has dropped the open", func() bool { return l.producer.BufferedProduceRecords() == 0 })
	})
}

func drain[V any](seq iter.Seq2[V, error]) {
	seq(func(V, error) bool { return true })
}
