package registry

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestTopicsMadeAgain: a client whose topics were deleted goes on to write, whether somebody
// has made them again or not. It does not make the topic of cameras for a status.
func TestTopicsMadeAgain(t *testing.T) {
	const n = 20 // at once
	for _, x := range []struct {
		name      string
		madeAgain bool
	}{{"deleted", false}, {"made again", true}} {
		t.Run(x.name, func(t *testing.T) {
			b := newBroker(t)
			other := connect(t, b)
			lines := &testenv.Log{}
			c, err := Connect(other.cfg, slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelWarn})))
			must(t, err)
			t.Cleanup(c.Close)
			ctx := limit(t, 4*testenv.Patience)
			must(t, c.Put(ctx, apiCamera("before")))
			c.PutStatus(schemas.Status{Camera: "before", State: schemas.StateLive})
			adm := kadm.NewClient(other.client)
			ends := func(topic string) int { // -1: there is no topic
				ends, err := EndOffsets(ctx, adm, topic)
				if err != nil {
					return -1
				}
				return len(ends)
			}
			cameras, statuses := c.cfg.Names().Cameras(), c.cfg.Names().Status()
			testenv.Wait(t, testenv.Patience, "the first status", func() bool { return ends(statuses) == 1 })

			_, err = adm.DeleteTopics(ctx, cameras, statuses)
			must(t, err)
			if x.madeAgain {
				must(t, other.Ensure(ctx))
			}
			for i := range n {
				c.PutStatus(schemas.Status{Camera: fmt.Sprint("cam-", i), State: schemas.StateLive})
			}
			testenv.Wait(t, testenv.Patience, "the statuses", func() bool {
				s, err := other.Load(ctx)
				must(t, err)
				return len(s.Status) == n
			})
			if got := ends(cameras); (got >= 0) != x.madeAgain {
				t.Errorf("the topic of cameras has the ends of %d partitions", got)
			}
			var puts sync.WaitGroup
			for i := range n {
				puts.Go(func() {
					if err := c.Put(ctx, apiCamera(fmt.Sprint("cam-", i))); err != nil {
						t.Error(err)
					}
				})
			}
			puts.Wait()
			must(t, c.Delete(ctx, "cam-0"))
			s, err := other.Load(ctx)
			must(t, err)
			if len(s.Cameras) != n-1 {
				t.Errorf("cameras %s", ids(s))
			}
			if out := lines.Lines("not written"); len(out) > 0 {
				t.Errorf("log: %q", out)
			}
		})
	}
}

// TestWriteDuringRenewal: a record that was written while the client was about to forget its topic
// fails with it, and is written once more.
func TestWriteDuringRenewal(t *testing.T) {
	c := connect(t, newBroker(t))
	ctx := limit(t, testenv.Patience)
	must(t, c.Put(ctx, apiCamera("before")))
	topic := c.cfg.Names().Cameras()
	must(t, c.renewing.Acquire(ctx, 1))
	c.renewal(topic) // begins
	value, err := schemas.EncodeCamera(new(apiCamera("during")))
	must(t, err)
	written := make(chan error, 1)
	before := c.renewed(topic)
	go func() {
		written <- c.again(ctx, topic, "during", value, before, errors.New("topic purged while buffered"))
	}()
	c.client.PurgeTopicsFromProducing(topic)
	c.renewal(topic) // ends
	c.renewing.Release(1)
	must(t, <-written)
	s, err := c.Load(ctx)
	must(t, err)
	if ids(s) != "before during" {
		t.Errorf("cameras %s", ids(s))
	}
	refused := errors.New("refused")
	if err := c.again(ctx, topic, "during", value, c.renewed(topic), refused); !errors.Is(err, refused) {
		t.Errorf("an error that no renewal explains: %v", err)
	}
}
