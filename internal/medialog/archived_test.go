package medialog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
)

// TestAboveTheArchive: the log has lost its end, and the archive has it. The next writer goes on above
// the archived numbers, behind a hole that it declares, and the one after it goes on behind it. An
// archive that does not answer delays nothing, and the numbers go on from the log.
func TestAboveTheArchive(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		var archived schemas.Entry
		var failed error
		asked := ""
		record := func(n int) []schemas.Entry {
			t.Helper()
			w := l.Open(t.Context(), cam, OpenOptions{Writer: "w", Archived: func(_ context.Context, life string, _ uint64) (schemas.Entry, error) {
				asked = life
				return archived, failed
			}})
			f := newFeed(w, 1)
			for range n {
				if err := f.fragment(3); err != nil {
					t.Fatal(err)
				}
			}
			closeWriter(t, w)
			return entriesOf(t, l, Range{})
		}
		es := record(3)
		if asked != "" {
			t.Errorf("a new life %q is asked for", asked)
		}
		last := es[len(es)-1]
		// Lower numbers change nothing, and neither do those of another life.
		archived = es[1]
		other := last
		other.Seq, other.Life = last.Seq+50, "another"
		for range 2 {
			before := last
			if es = record(1); es[len(es)-1].Seq != before.Seq+1 || asked != before.Life {
				t.Errorf("seq %d follows %d; asked for %q", es[len(es)-1].Seq, before.Seq, asked)
			}
			last, archived = es[len(es)-1], other
		}

		archived = last
		archived.Seq, archived.Session, archived.Media, archived.Start = last.Seq+50, last.Session+2, last.Media+100*schemas.MediaTimescale, last.Start.Add(time.Second)
		time.Sleep(10 * time.Second)
		es = record(2)
		e1, e2 := es[len(es)-2], es[len(es)-1]
		if e1.Seq <= archived.Seq || e1.Seq < uint64(time.Now().Unix())-100 || e1.Session != archived.Session+1 || e1.Media < archived.MediaEnd() || e1.Life != last.Life || e2.Seq != e1.Seq+1 {
			t.Errorf("behind %+v\nfollows %+v", archived, e1)
		}
		if absent := schemas.FromTicks(e1.Absent); absent != e1.Start.Sub(archived.End()) {
			t.Errorf("absent for %v, from %v to %v", absent, archived.End(), e1.Start)
		}
		opened := false
		for _, x := range indexOf(t, l, cam) {
			opened = opened || x.Kind == schemas.KindOpen && x.From == e1.Seq
		}
		if !opened || len(es) != 7 {
			t.Errorf("the hole is not declared, or %d entries are left", len(es))
		}
		if es = record(1); es[len(es)-1].Seq != e2.Seq+1 {
			t.Errorf("seq %d follows %d", es[len(es)-1].Seq, e2.Seq)
		}

		failed = errors.New("it is away")
		if es = record(1); es[len(es)-1].Seq != e2.Seq+2 {
			t.Errorf("seq %d follows %d", es[len(es)-1].Seq, e2.Seq+1)
		}
	})
}
