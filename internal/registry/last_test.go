package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Where a camera's numbers stand is read from its newest status, also after its removal,
// and a thousand cameras that ask at once do not read the topic a thousand times.
func TestLastStatus(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	must(t, c.Ensure(ctx))
	if s, err := c.LastStatus(ctx, "gate"); err != nil || s != (schemas.Status{}) {
		t.Errorf("of a new camera: %+v, %v", s, err)
	}
	must(t, c.Put(ctx, apiCamera("gate")))
	stands := schemas.Standing{Life: "5f3a91c2", Seq: 70, Session: 3}
	put := func(id string, s schemas.State) {
		value, err := schemas.EncodeStatus(&schemas.Status{Camera: id, State: s, Stands: stands})
		must(t, err)
		must(t, c.produce(ctx, "t.cameras.status", id, value))
	}
	put("gate", schemas.StateLive)
	must(t, c.Delete(ctx, "gate"))
	put("gate", schemas.StateRemoved)
	if s, err := c.Load(ctx); err != nil || len(s.Cameras)+len(s.Status) != 0 {
		t.Errorf("a removed camera is shown: %+v, %v", s, err)
	}
	if s, err := c.LastStatus(ctx, "gate"); err != nil || s.State != schemas.StateRemoved || s.Stands != stands {
		t.Errorf("last status %+v, %v", s, err)
	}

	var reads atomic.Int32
	b.c.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.c.KeepControl()
		reads.Add(1)
		return nil, nil, false
	})
	ids := make([]string, 200)
	var all sync.WaitGroup
	for i := range ids {
		ids[i] = fmt.Sprintf("cam-%03d", i)
		put(ids[i], schemas.StateLive)
	}
	before := reads.Load()
	for _, id := range ids {
		all.Go(func() {
			if s, err := c.LastStatus(ctx, id); err != nil || s.Camera != id {
				t.Errorf("%s: %+v, %v", id, s, err)
			}
		})
	}
	all.Wait()
	if n := reads.Load() - before; n > 20 {
		t.Errorf("%d cameras asked for metadata %d times", len(ids), n)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.LastStatus(done, "gate"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}
