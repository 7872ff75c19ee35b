package medialog

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// checkpointFrom makes a checkpoint from records: "start 5/0" is an `open` with its cause,
// seq and failures; "left 5"; "entry 5".
func checkpointFrom(t *testing.T, records string) (c checkpoint) {
	t.Helper()
	for at, r := range strings.Split(records, ", ") {
		e := schemas.Entry{Offset: int64(at), Kind: schemas.KindOpen, Life: "a"}
		what, rest, _ := strings.Cut(r, " ")
		if n, _ := fmt.Sscanf(rest, "%d/%d", &e.Seq, &e.Attempt); n == 0 {
			t.Fatal(r)
		}
		switch what {
		case "left":
			e.Kind = schemas.KindLeft
		case "entry":
			e.Kind = schemas.KindGap
		default:
			e.Reason = what
		}
		c.add(e)
	}
	return c
}

// TestTries: what a follower finds behind the newest entry about seq 5.
func TestTries(t *testing.T) {
	for records, want := range map[string]tries{
		"start 4/0, entry 4":                        {},
		"start 5/0":                                 {starts: 1},
		"start 5/0, hole 5/0, failure 5/1":          {failures: 1, starts: 1},
		"start 5/0, start 5/0, start 5/0":           {starts: 3},
		"start 4/0, hole 5/0":                       {starts: 1},
		"entry 4, alone 5/0":                        {failures: 1, starts: 1, killed: true},
		"start 5/0, alone 5/0, start 5/0":           {failures: 1, starts: 2, killed: true},
		"start 5/0, alone 5/0, failure 5/1":         {failures: 1, starts: 1},
		"start 5/0, alone 5/0, dropped 5/0":         {starts: 1},
		"start 5/0, alone 5/0, alone 5/0":           {failures: 1, starts: 1, killed: true},
		"start 5/0, alone 5/0, left 5":              {starts: 1},
		"start 5/0, alone 5/0, left 5, start 5/0":   {starts: 2},
		"start 5/2, alone 5/2, start 5/2":           {failures: 3, starts: 2, killed: true},
		"alone 5/0, start 5/0, failure 5/2":         {failures: 2, starts: 2},
		"alone 5/0, start 5/0, alone 5/1":           {failures: 2, starts: 2, killed: true},
		"start 5/0, alone 5/0, start 5/0, left 5":   {failures: 1, starts: 2, killed: true},
		"start 4/0, alone 4/0, start 4/0, hole 5/0": {starts: 1},
		"alone 5/3, entry 5":                        {},
	} {
		c := checkpointFrom(t, records)
		c.kill()
		if got := c.tries[5]; got != want {
			t.Errorf("%s: %+v, want %+v", records, got, want)
		}
	}
}

// TestTriesMeanwhile: another process may write until a follower's first `open`.
func TestTriesMeanwhile(t *testing.T) {
	const died = "entry 4, start 5/0, alone 5/0"
	for meanwhile, want := range map[string]error{
		"":                           nil,
		", failure 5/1":              nil,
		", entry 5":                  nil,
		", dropped 5/0":              errMeanwhile, // it lives, and this was no failure
		", left 5":                   errMeanwhile,
		", alone 5/0":                nil, // it has died again, later
		", start 5/0":                nil,
		", failure 5/1, dropped 5/1": nil,
	} {
		f := newFollowCore(schemas.Entry{}, "a", 2, 1, 1)
		f.partitions = 1
		if err := f.resume(checkpointFrom(t, died)); err != nil {
			t.Fatal(err)
		}
		if got := f.tries[5]; got != (tries{1, 1, true}) {
			t.Errorf("before the first open: %+v", got)
		}
		if _, err := f.begin(&schemas.Chunk{Seq: 5, Captured: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
		a, ok := f.action()
		if !ok || a.entry.Reason != CauseStart || a.entry.Attempt != 0 {
			t.Fatalf("the first record is %+v", a.entry)
		}
		f.opened(100)
		if err := f.resume(checkpointFrom(t, died+meanwhile)); !errors.Is(err, want) {
			t.Errorf("meanwhile%s: %v, want %v", meanwhile, err, want)
		}
	}
}
