package hls

import (
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// A variant of a range may lack a fragment at each end, and be some seconds behind where the camera
// is still recorded; it lacks nothing else.
func TestExtentReaches(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	of := func(first, last uint64) *extent {
		e := func(seq uint64) *schemas.Entry {
			return &schemas.Entry{Seq: seq, Start: start.Add(time.Duration(seq) * time.Second), Duration: schemas.MediaTimescale}
		}
		return &extent{e(first), e(last)}
	}
	soon, late := start.Add(110*time.Second), start.Add(time.Hour)
	for name, c := range map[string]struct {
		variant *extent
		now     time.Time
		want    bool
	}{
		"the same":                  {of(10, 100), late, true},
		"a fragment less":           {of(11, 99), late, true},
		"it begins later":           {of(12, 100), late, false},
		"it ends earlier":           {of(10, 98), late, false},
		"it is behind":              {of(10, 80), soon, true},
		"it is far behind":          {of(10, 30), soon, false},
		"it is behind, begins late": {of(30, 80), soon, false},
	} {
		if got := c.variant.reaches(of(10, 100), c.now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
