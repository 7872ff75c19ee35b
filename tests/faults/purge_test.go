package faults

import (
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// TestPurgeIsAState: a camera is purged while its ingest stands still, and while no ingest
// runs. Nothing of it comes back, and the same id begins anew.
func TestPurgeIsAState(t *testing.T) {
	t.Parallel()
	servers, _ := serve(t, []camera{{id: "yard", clip: small}})
	f := startFleet(t, nil)
	ingest := startRole(t, "ingest", f.config)
	none := func(when string) {
		t.Helper()
		if topics, err := f.log.Topics(t.Context()); err != nil || len(topics) != 0 {
			t.Fatalf("%s: topics %v, %v", when, topics, err)
		}
	}
	life := func() string {
		t.Helper()
		life, err := f.log.Life(t.Context(), schemas.Topic{Camera: "yard"})
		if err != nil {
			t.Fatal(err)
		}
		return life
	}
	lives := map[string]bool{}
	record := func() {
		t.Helper()
		added := time.Now()
		f.cameras(t, "add", "yard", servers["yard"].URL("cam"))
		for _, e := range f.grown(t, "yard", added, 2) {
			// Public time may be a little ahead.
			if e.Session != 1 || e.Start.Before(added.Add(-time.Second)) {
				t.Fatalf("footage of before the purge is there: %+v", e)
			}
		}
		if lives[life()] {
			t.Fatalf("the life %q is used again", life())
		}
		lives[life()] = true
	}

	record()
	ingest.Signal(syscall.SIGSTOP)
	f.cameras(t, "remove", "yard", "--purge")
	none("after the purge")
	ingest.Signal(syscall.SIGCONT)
	ingest.Wait(t, 2*testenv.Patience, "it knows that the camera was removed", func() bool {
		none("while ingest does not know of the purge")
		return system.Metric(t, ingest.url, "framelog_ingest_cameras", "state") == 0
	})
	none("after ingest knows of the purge")

	record()
	ingest.KillTree()
	f.cameras(t, "remove", "yard", "--purge")
	none("after the purge without ingest")
	ingest = startRole(t, "ingest", f.config)

	// A process that stood still just before it created topics creates them now.
	if err := f.log.Ensure(t.Context(), schemas.Topic{Camera: "yard"}); err != nil {
		t.Fatal(err)
	}
	ingest.Wait(t, testenv.Patience+3*time.Minute, "the topics are deleted again", func() bool {
		topics, err := f.log.Topics(t.Context())
		return err == nil && len(topics) == 0
	})
	record()
}
