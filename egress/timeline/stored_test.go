package timeline

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/summary"
	"github.com/framelog/framelog/schemas"
)

// stored is a log that has summaries of some hours.
type stored struct {
	index
	has func(at time.Time) bool
}

func (x *stored) Summaries(_ context.Context, _ schemas.Topic, from, to time.Time, step time.Duration) (map[int64]*summary.Hour, error) {
	from = from.Truncate(time.Hour)
	run := summary.NewRun(from, int(to.Sub(from)/time.Hour)+1)
	for i := range x.all {
		if e := &x.all[i]; e.Start.Before(to.Add(time.Hour)) && (e.End().After(from) || e.Duration == 0 && !e.Start.Before(from)) {
			run.Add(e)
		}
	}
	hours := map[int64]*summary.Hour{}
	for i, h := range run.Hours {
		at := from.Add(time.Duration(i) * time.Hour)
		if !at.Before(to) || !x.has(at) {
			continue
		}
		if h = h.Coarse(at, time.Minute); step%time.Hour == 0 {
			h = h.Coarse(at, time.Hour)
		}
		hours[at.Unix()] = h
	}
	return hours, nil
}

// A timeline is the same whether hours come from summaries or are read.
func TestStored(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		all := many(rng, 30)
		newest := all[len(all)-1].Start
		some := map[time.Time]bool{}
		x := &stored{index{all: all}, func(at time.Time) bool {
			if _, ok := some[at]; !ok {
				some[at] = rng.IntN(4) > 0
			}
			return some[at] && at.Add(time.Hour+skew).Before(newest)
		}}
		plain, quick := serve(&index{all: all}, Config{}), New(Config{}, Deps{Log: x, Known: func(c string) bool { return c == "cam" }})
		for range 8 {
			step := []time.Duration{time.Minute, 7 * time.Minute, time.Hour, 3 * time.Hour, 24 * time.Hour}[rng.IntN(5)]
			start := midnight.Add(time.Duration(rng.Int64N(int64(30*time.Hour))) - 2*time.Hour)
			params := between(start, start.Add(1+time.Duration(rng.Int64N(int64(24*time.Hour)))), step)
			_, want := get(t, plain, params)
			if _, got := get(t, quick, params); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, %v: %+v\nwant %+v", seed, params, got, want)
			}
		}
	}
}

// A month or a year of hours that have summaries is read without entries of these, and tells what
// these tell. So are ten years, of which there is footage of the last one.
func TestStoredIsNotRead(t *testing.T) {
	for _, c := range []struct {
		days, before int // before the footage
		step         time.Duration
	}{{days: 30, step: 24 * time.Hour}, {days: 365, step: 24 * time.Hour}, {days: 365, before: 9 * 365, step: 24 * time.Hour * 2}} {
		days := c.days
		end := midnight.Add(time.Duration(days) * 24 * time.Hour)
		x := &stored{has: func(at time.Time) bool { return at.Before(end.Add(-20 * time.Hour)) }}
		for i := range days * 12 {
			e := schemas.Entry{Kind: schemas.KindWhole, Life: "one", Seq: uint64(i), Start: midnight.Add(time.Duration(i) * 2 * time.Hour), Duration: schemas.Ticks(2 * time.Hour), Bytes: int64(i)}
			switch {
			case i%250 == 77:
				e.Kind, e.Bytes, e.Reason = schemas.KindGap, 0, schemas.ReasonBudget
			case i/12%17 == 5:
				continue
			case i/12%17 == 6 && i%12 == 0:
				e.Absent, e.AbsentReason = schemas.Ticks(24*time.Hour), schemas.AbsentCamera
			}
			x.all = append(x.all, e)
		}
		entries := &index{all: x.all}
		params := between(midnight.Add(-time.Duration(c.before)*24*time.Hour), end, c.step)
		_, want := get(t, serve(entries, Config{ReadTimeout: time.Hour}), params)
		_, a := get(t, New(Config{ReadTimeout: time.Hour}, Deps{Log: x, Known: func(c string) bool { return c == "cam" }}), params)
		footage, steps := 0.0, (c.days*24+int(c.step.Hours())-1)/int(c.step.Hours())
		for _, one := range a.Steps {
			footage += one.Footage
		}
		played := slices.DeleteFunc(slices.Clone(x.all), func(e schemas.Entry) bool { return !e.Playable() })
		if len(a.Steps) != steps || footage != float64(len(played)*2*3600) || c.before == 0 && len(a.Missing) != (days+11)/17 {
			t.Errorf("%d days: %d steps, %.0f s, %d times are missing", days, len(a.Steps), footage, len(a.Missing))
		}
		if !reflect.DeepEqual(a, want) {
			t.Errorf("%d days: with summaries it is not the same as without, which has %d steps, and misses %d times", days, len(want.Steps), len(want.Missing))
		}
		// The two oldest hours, from which retention takes, and the newest 20 are read. Without summaries
		// entries over a border of what is read at once are read twice.
		if x.read > 15 || entries.read < len(x.all) || entries.read > 2*len(x.all) {
			t.Errorf("%d days: with summaries %d entries are read, without %d of %d", days, x.read, entries.read, len(x.all))
		}
	}
}

// unmounted is a log whose archive is away.
type unmounted struct{ *index }

func (unmounted) Summaries(context.Context, schemas.Topic, time.Time, time.Time, time.Duration) (map[int64]*summary.Hour, error) {
	return nil, &fs.PathError{Op: "open", Path: "archive", Err: fs.ErrPermission}
}

func TestArchiveAway(t *testing.T) {
	s := New(Config{}, Deps{Log: unmounted{&index{all: []schemas.Entry{{Kind: schemas.KindWhole, Life: "one", Seq: 1, Start: midnight, Duration: schemas.Ticks(2 * time.Hour)}}}}, Known: func(string) bool { return true }})
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/v1/timeline/cam?"+between(midnight, midnight.Add(2*time.Hour), time.Hour).Encode(), nil)
	r.SetPathValue("camera", "cam")
	if s.get(w, r); w.Code != 503 || !strings.Contains(w.Body.String(), "archive.dir") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
