package medialog

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// TestCloseEndsReaders: whoever waits for a topic or a broker is let go by
// Close.
func TestCloseEndsReaders(t *testing.T) {
	b := stoppables(t)[0](t)
	e := &env{t: t, brokers: b.brokers, parts: 1, prefix: fmt.Sprintf("t%d.", rand.Uint32())}
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
		for range l.Tail(t.Context(), schemas.Topic{Camera: "absent"}, Position{}) {
		}
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
		for range l.Chunks(t.Context(), cam, es[0]) {
		}
		ended <- "reader of chunks"
	}()
	l.Close()
	for range 3 {
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Fatal("5 s after Close a reader is still waiting")
		}
	}
	b.start()
}
