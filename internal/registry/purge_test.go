package registry

import (
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// A purge is remembered beside the camera, in its partition, also when the camera is
// removed and added again. It is no camera.
func TestPurgeIsRemembered(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	must(t, c.Ensure(ctx))
	now := time.Now().UTC().Truncate(time.Second)
	must(t, c.Put(ctx, apiCamera("gate")))
	must(t, c.PutPurge(ctx, schemas.Purge{Camera: "gate"}.With(now, "aa")))
	if ends, err := c.End(ctx); err != nil || len(ends) != 1 {
		t.Errorf("the camera and its purge are in several partitions: %v, %v", ends, err)
	}
	must(t, c.PutPurge(ctx, schemas.Purge{Camera: "shed"}.With(now, "bb")))
	s, err := c.Load(ctx)
	must(t, err)
	if ids(s) != "gate" || len(s.Purged) != 2 || !slices.Equal(s.Purged["gate"].Lives, []string{"aa"}) || !s.Purged["gate"].At.Equal(now) {
		t.Errorf("cameras %q, purges %+v", ids(s), s.Purged)
	}
	live := func(id string, want bool) {
		t.Helper()
		if got, err := c.Live(ctx, id); err != nil || got != want {
			t.Errorf("%s is in the registry: %v, %v", id, got, err)
		}
	}
	live("gate", true)
	live("shed", false)
	must(t, c.Delete(ctx, "gate"))
	live("gate", false)
	must(t, c.Put(ctx, apiCamera("gate")))
	live("gate", true)
	if s, err = c.Load(ctx); err != nil || len(s.Purged["gate"].Lives) != 1 {
		t.Errorf("after the camera was added again: %+v, %v", s.Purged, err)
	}
}
