package medialog

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestClockAhead: a host's clock runs two hours ahead, the broker takes one,
// and somebody sets the clock. The writer must outlive it, and not stamp its
// records with the wrong time until that has come.
func TestClockAhead(t *testing.T) {
	virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
		e.partitions = 1
		ahead := func(r kmsg.Request) bool {
			for _, topic := range r.(*kmsg.ProduceRequest).Topics {
				for _, p := range topic.Partitions {
					// The base timestamp of a record batch stands at byte 27.
					at := time.UnixMilli(int64(binary.BigEndian.Uint64(p.Records[27:])))
					if time.Until(at) > time.Hour {
						return true
					}
				}
			}
			return false
		}
		refused := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidTimestamp, Count: -1, When: ahead})
		l := e.log()
		ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
		defer cancel()
		w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		ready(t, w)
		f := newFeed(w, 1)
		if err := f.fragment(1); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the first entry", func() bool { return w.items() == 0 })
		w.stamps.mu.Lock()
		w.stamps.newest = time.Now().Add(2 * time.Hour) // the clock was ahead, and is right again
		w.stamps.mu.Unlock()
		if err := f.fragment(1); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "what the broker refused has its entry", func() bool { return w.items() == 0 })
		if err := f.fragment(1); err != nil {
			t.Fatal(err)
		}
		closeWriter(t, w)
		if err := w.Err(); err != nil {
			t.Fatal(err)
		}
		var got string
		for _, x := range entriesOf(t, l, Range{}) {
			got += fmt.Sprintln(x.Kind, x.Reason)
		}
		want := fmt.Sprintln(schemas.KindWhole, "") + fmt.Sprintln(schemas.KindGap, schemas.ReasonProduce) + fmt.Sprintln(schemas.KindWhole, "")
		if got != want || refused.Hits() == 0 {
			t.Errorf("%d requests refused, entries:\n%swant:\n%s", refused.Hits(), got, want)
		}
	})
}
