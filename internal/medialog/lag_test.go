package medialog

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
)

func TestLag(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		if _, err := l.Lag(t.Context(), cam, 0); !errors.Is(err, ErrNoTopic) {
			t.Errorf("lag without a topic: %v", err)
		}
		const second = schemas.MediaTimescale
		open := schemas.Entry{Kind: schemas.KindOpen, Prev: -1}
		whole := func(prev int64, seq uint64, media int64) schemas.Entry {
			return schemas.Entry{Kind: schemas.KindWhole, Prev: prev, Seq: seq, Media: media * second, Duration: 2 * second, Chunks: 1}
		}
		run := schemas.Entry{
			Kind: schemas.KindGap, Prev: 2, Seq: 12, Media: 4 * second, Duration: 60 * second,
			Run: &schemas.GapRun{Durations: []int64{30 * second, 30 * second}},
		}
		for _, e := range []schemas.Entry{
			open,                // 0
			whole(0, 10, 0),     // 1
			whole(1, 11, 2),     // 2
			run,                 // 3
			open,                // 4
			whole(3, 14, 64),    // 5: void
			whole(4, 14, 3_000), // 6: after an absence
			whole(6, 15, 3_002), // 7
			open,                // 8
		} {
			putIndex(t, l, indexRecord{e, time.Now()})
		}
		check := func(what string, committed, records int64, seconds float64, expired bool) {
			t.Helper()
			got, err := l.Lag(t.Context(), cam, committed)
			if want := (Lag{records, time.Duration(seconds * float64(time.Second)), expired}); err != nil || got != want {
				t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
			}
		}
		check("nothing is committed", -1, 9, 3_004, false)
		check("nothing is done", 0, 9, 3_004, false)
		check("one is done", 2, 7, 3_002, false)
		check("a run is not done", 3, 6, 3_000, false)
		check("a run is done", 4, 5, 4, false)
		check("at a void entry", 5, 4, 4, false)
		check("one is left", 7, 2, 2, false)
		check("what is left takes no seq", 8, 1, 0, false)
		check("all is done", 9, 0, 0, false)
		if _, err := l.Lag(t.Context(), cam, 10); !errors.Is(err, ErrBeyond) {
			t.Errorf("an offset of another index: %v", err)
		}
		expire(t, l, l.names.Index(cam), 0, 3)
		check("what is not done has expired", 1, 8, 3_000, true)
		check("nothing is committed, and the oldest have expired", -1, 6, 3_000, false)
		check("retention has not come so far", 3, 6, 3_000, false)
	})
}
