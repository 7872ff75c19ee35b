package camera

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// TestSweep: what is deleted when footage of a camera id is there after a purge.
func TestSweep(t *testing.T) {
	const old, young = 2 * sweepEvery, sweepEvery / 2
	for _, tc := range []struct {
		name    string
		purge   time.Duration // its age; 0: there was none
		wanted  bool          // the camera is in the registry as far as this process has read
		absent  bool          // it is not in the registry
		life    string        // of the index
		err     error         // of reading it
		deleted bool
	}{
		{name: "never purged", absent: true, life: "aa"},
		{name: "a process that stood still made topics", purge: old, absent: true, life: "cc", deleted: true},
		{name: "it made them and wrote nothing", purge: old, absent: true, err: medialog.ErrNoTopic, deleted: true},
		{name: "added again and recorded", purge: old, wanted: true, life: "cc"},
		{name: "added again, which this process has not read", purge: old, life: "cc"},
		{name: "added again before all was deleted", purge: old, wanted: true, life: "bb", deleted: true},
		{name: "the command that purges still runs", purge: young, absent: true, life: "bb"},
		{name: "brokers do not answer", purge: old, absent: true, err: errors.New("away")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.service(t, Config{})
			w.registry.absent = map[string]bool{"yard": tc.absent}
			s.deps.purges = func() map[string]share.Purge {
				if tc.purge == 0 {
					return map[string]share.Purge{"other": {}}
				}
				return map[string]share.Purge{"yard": {
					Purge:  schemas.Purge{Camera: "yard", Lives: []string{"aa", "bb"}, At: time.Now().Add(-tc.purge)},
					Wanted: tc.wanted,
				}}
			}
			s.deps.Life = func(context.Context, schemas.Topic) (string, error) { return tc.life, tc.err }
			var deleted []string
			s.deps.PurgeLate = func(_ context.Context, purged func(string) (bool, error)) (names []string, err error) {
				yes, err := purged("yard")
				if yes {
					names = []string{"cam.yard"}
				}
				deleted = append(deleted, names...)
				return names, err
			}
			s.sweepOnce(t.Context())
			if slices.Contains(deleted, "cam.yard") != tc.deleted {
				t.Errorf("deleted: %v, want %v", !tc.deleted, tc.deleted)
			}
			failed := tc.err != nil && !errors.Is(tc.err, medialog.ErrNoTopic)
			if got := strings.Contains(w.log.String(), "cannot look for footage"); got != failed {
				t.Errorf("said that it cannot look: %v", got)
			}
		})
	}
}

// TestOpeningKnowsPurges: a writer is told which lives of its camera were purged, and asks
// the registry before it creates topics.
func TestOpeningKnowsPurges(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.service(t, Config{})
		s.deps.purges = func() map[string]share.Purge {
			return map[string]share.Purge{"yard": {Purge: schemas.Purge{Camera: "yard", Lives: []string{"aa", "bb"}}}}
		}
		take(s, testCamera("yard"))
		after(time.Second)
		o := w.logs.newest()
		finish(t, s)
		if !slices.Equal(o.Purged, []string{"aa", "bb"}) {
			t.Errorf("purged: %v", o.Purged)
		}
		for _, absent := range []bool{false, true} {
			w.registry.absent = map[string]bool{"yard": absent}
			if may, err := o.Create(t.Context()); may == absent || err != nil {
				t.Errorf("it may create topics: %v, %v; the camera was removed: %v", may, err, absent)
			}
		}
	})
}
