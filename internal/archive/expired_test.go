package archive

import (
	"testing"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// No gap is longer than its target duration allows, also if the camera was away for long in what has
// expired, which leaves fewer seqs than fragments of that time would have. Gaps of the longest target
// that do not suffice end early. The target is no longer than it has to be.
func TestLengthOfGaps(t *testing.T) {
	before := schemas.Entry{Kind: schemas.KindWhole, Seq: 99, Session: 1, Start: time.Unix(1e9, 0), Duration: 2 * schemas.MediaTimescale, Layout: schemas.Layout{ID: 3, Target: 2}}
	for name, c := range map[string]struct {
		seqs   uint64
		total  time.Duration
		target uint32
		n      int
		want   time.Duration // of all gaps
	}{
		"an hour of 2 s, and 3 hours away":  {1800, 4 * time.Hour, 12, 1200, 4 * time.Hour},
		"an hour of 2.4 s":                  {1500, time.Hour, 2, 1500, time.Hour},
		"a day of 2 s":                      {43_200, 24 * time.Hour, 6, 14_400, 24 * time.Hour},
		"20 s of 2 s, and 10 hours away":    {10, 10*time.Hour + 20*time.Second, 60, 10, 10 * time.Minute},
		"an hour of 2 s, and a month away":  {1800, 721 * time.Hour, 60, 1800, 30 * time.Hour},
		"one of 2 s, and 60.4 s in all":     {1, 60400 * time.Millisecond, 60, 1, 60400 * time.Millisecond},
		"one of 2 s, and a minute and more": {1, 61 * time.Second, 60, 1, time.Minute},
	} {
		next := before
		next.Seq, next.Session, next.Absent = 100+c.seqs, 3, 500*schemas.MediaTimescale
		next.Media = before.MediaEnd() + schemas.Ticks(c.total) + next.Absent
		g, last, n, total := lost(&before, &next), before, 0, int64(0)
		g.in(medialog.Range{}, func(e schemas.Entry, _ error) bool {
			if e.Seq != last.Seq+1 || e.Seq >= next.Seq || e.Media != last.MediaEnd() || e.Start.Sub(last.End()).Abs() > time.Millisecond {
				t.Fatalf("%s: %+v follows %+v", name, e, last)
			}
			if e.Layout.Target != c.target || e.Layout.Fit(e.Duration) != e.Layout {
				t.Fatalf("%s: a gap of %v with the target %d, want %d", name, schemas.FromTicks(e.Duration), e.Layout.Target, c.target)
			}
			last, n, total = e, n+1, total+e.Duration
			return true
		})
		if got := schemas.FromTicks(total); n != c.n || got != c.want {
			t.Errorf("%s: %d gaps of %v, want %d of %v", name, n, got, c.n, c.want)
		}
		g.in(medialog.Range{From: last.End()}, func(e schemas.Entry, _ error) bool {
			t.Errorf("%s: a gap at %v, behind the last one", name, e.Start)
			return false
		})
	}
}
