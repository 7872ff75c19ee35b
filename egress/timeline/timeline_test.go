package timeline

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

var cam = schemas.Topic{Camera: "cam", Rendition: schemas.Raw}

// index is a log. It counts the entries that are read.
type index struct {
	all  []schemas.Entry
	read int
}

func (x *index) Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		if t != cam || len(x.all) == 0 {
			yield(schemas.Entry{}, medialog.ErrNoTopic)
			return
		}
		for _, e := range x.all {
			if ctx.Err() != nil {
				yield(schemas.Entry{}, ctx.Err())
				return
			}
			if (r.To.IsZero() || e.Start.Before(r.To)) && (e.End().After(r.From) || e.Duration == 0 && !e.Start.Before(r.From)) {
				x.read++
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

func (x *index) Bounds(_ context.Context, t schemas.Topic) (oldest, newest schemas.Entry, err error) {
	if t != cam {
		return oldest, newest, medialog.ErrNoTopic
	}
	if len(x.all) == 0 {
		return oldest, newest, medialog.ErrNotFound
	}
	return x.all[0], x.all[len(x.all)-1], nil
}

var midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// many makes hours of entries with gaps, absences, clocks that step back and pauses.
func many(rng *rand.Rand, hours float64) []schemas.Entry {
	var all []schemas.Entry
	at, seq := midnight.Add(time.Duration(rng.Int64N(int64(time.Hour)))), uint64(1)
	here := at // the clock is not set back behind the end of an absence
	for end := at.Add(time.Duration(hours * float64(time.Hour))); at.Before(end); seq++ {
		e := schemas.Entry{Kind: schemas.KindWhole, Life: "one", Seq: seq, Start: at, Bytes: rng.Int64N(1 << 20), Duration: schemas.Ticks(time.Duration(rng.Int64N(int64(40 * time.Second))))}
		switch rng.IntN(30) {
		case 0, 1, 2:
			e.Kind, e.Bytes, e.Reason = schemas.KindGap, 0, []string{schemas.ReasonBudget, schemas.ReasonProduce}[rng.IntN(2)]
		case 3:
			d := time.Duration(rng.Int64N(int64(3 * time.Hour)))
			e.Start, e.Absent, e.AbsentReason = at.Add(d), schemas.Ticks(d), schemas.AbsentCamera
			here = e.Start
		case 4:
			e.Start = when.Later(here, at.Add(-time.Duration(rng.Int64N(int64(20*time.Minute))))) // the clock was set
		case 5:
			e.Start = at.Add(time.Duration(rng.Int64N(int64(10 * time.Minute)))) // nobody knows why
		case 6:
			e.Note = "{}"
		case 7:
			e.Duration = 0
		}
		all = append(all, e)
		at = e.End()
	}
	return all
}

// want adds up all entries for each step.
func want(all []schemas.Entry, a *Timeline) map[time.Time]Step {
	step := time.Duration(a.Step) * time.Second
	out := map[time.Time]Step{}
	for at := a.Start.Truncate(step); at.Before(a.End); at = at.Add(step) {
		s := Step{Start: at}
		overlap := func(start, end time.Time) float64 {
			return max(0, min(end.Sub(at).Seconds(), step.Seconds())-max(start.Sub(at).Seconds(), 0))
		}
		for i := range all {
			e := &all[i]
			begins := !e.Start.Before(at) && e.Start.Before(at.Add(step))
			s.Missing += overlap(e.Start.Add(-schemas.FromTicks(e.Absent)), e.Start)
			switch in := overlap(e.Start, e.End()); {
			case e.Kind == schemas.KindGap:
				s.Missing += in
			case e.Duration == 0 && begins:
				s.Bytes += e.Bytes
			case e.Duration > 0:
				s.Footage += in
				s.Bytes += int64(float64(e.Bytes) * in / e.End().Sub(e.Start).Seconds())
			}
			if e.Note != "" && begins {
				s.Notes++
			}
		}
		if s.Footage > 0 || s.Missing > 0 || s.Bytes > 0 || s.Notes > 0 {
			out[at] = s
		}
	}
	return out
}

func get(t *testing.T, s *Server, params url.Values) (int, *Timeline) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/timeline/cam?"+params.Encode(), nil)
	r.SetPathValue("camera", "cam")
	w := httptest.NewRecorder()
	s.get(w, r)
	var a Timeline
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return w.Code, &a
}

func serve(x *index, cfg Config) *Server {
	return New(cfg, Deps{Log: x, Known: func(c string) bool { return c == "cam" }})
}

func between(start, end time.Time, step time.Duration) url.Values {
	return url.Values{"start": {start.Format(time.RFC3339Nano)}, "end": {end.Format(time.RFC3339Nano)}, "step": {step.String()}}
}

// The steps of any range are the sums over all entries, whether they come from entries, from
// hours that were read or from memory.
func TestSums(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		x := &index{all: many(rng, 1+rng.Float64()*9)}
		s := serve(x, Config{Keep: 1 + rng.IntN(12)})
		for range 6 {
			step := []time.Duration{20 * time.Second, time.Minute, 7 * time.Minute, time.Hour, 24 * time.Hour}[rng.IntN(5)]
			start := midnight.Add(time.Duration(rng.Int64N(int64(14*time.Hour))) - 2*time.Hour)
			code, a := get(t, s, between(start, start.Add(1+time.Duration(rng.Int64N(int64(6*time.Hour)))), step))
			if code != http.StatusOK {
				t.Fatalf("seed %d: %d", seed, code)
			}
			wanted, beyond := want(x.all, a), a.End // where absences begin that end behind the range
			for i := range x.all {
				if e := &x.all[i]; !e.Start.Before(a.End) {
					beyond = when.Earlier(beyond, e.Start.Add(-schemas.FromTicks(e.Absent)))
				}
			}
			for _, got := range a.Steps {
				w := wanted[got.Start]
				if got.Start.Add(step).After(beyond) {
					got.Missing, w.Missing = 0, 0 // TestMissing: what is behind the range
				}
				if math.Abs(got.Footage-w.Footage) > 1e-3 || math.Abs(got.Missing-w.Missing) > 1e-3 || math.Abs(float64(got.Bytes-w.Bytes)) > 400 || got.Notes != w.Notes {
					t.Fatalf("seed %d, %v from %v: %+v, want %+v", seed, step, start, got, w)
				}
				delete(wanted, got.Start)
			}
			for _, w := range wanted {
				if w.Footage > 1e-3 || w.Missing > 1e-3 && !w.Start.Add(step).After(beyond) {
					t.Fatalf("seed %d, %v from %v: a step is missing: %+v", seed, step, start, w)
				}
			}
		}
	}
}

// What is missing comes with its reason, in one piece over hours and their borders. What is
// shorter than a step is in the sums alone.
func TestMissing(t *testing.T) {
	at := func(minutes float64) time.Time { return midnight.Add(time.Duration(minutes * float64(time.Minute))) }
	entry := func(kind schemas.Kind, from, to float64, reason string) schemas.Entry {
		return schemas.Entry{Kind: kind, Start: at(from), Duration: schemas.Ticks(at(to).Sub(at(from))), Reason: reason}
	}
	x := &index{}
	x.all = append(x.all, entry(schemas.KindWhole, 0, 50, ""))
	for m := 50.0; m < 130; m++ { // one after another, over two hours
		x.all = append(x.all, entry(schemas.KindGap, m, m+1, schemas.ReasonBudget))
	}
	x.all = append(x.all, entry(schemas.KindGap, 130, 130.5, schemas.ReasonProduce))
	back := entry(schemas.KindWhole, 400, 401, "")
	back.Absent, back.AbsentReason = schemas.Ticks(269*time.Minute+30*time.Second), schemas.AbsentCamera
	x.all = append(x.all, back, entry(schemas.KindWhole, 600, 601, ""))

	missing := func(start, end time.Time, kind, reason string) Missing {
		return Missing{Start: start, End: end, Kind: kind, Reason: reason}
	}
	gap := missing(at(50), at(130), "gap", schemas.ReasonBudget)
	short := missing(at(130), at(130.5), "gap", schemas.ReasonProduce)
	away := missing(at(130.5), at(400), "absence", schemas.AbsentCamera)
	for name, c := range map[string]struct {
		from, to float64
		step     time.Duration
		want     []Missing
	}{
		"all":                          {0, 600, time.Minute, []Missing{gap, away}},
		"in seconds":                   {100, 140, time.Second, []Missing{missing(at(100), at(130), "gap", schemas.ReasonBudget), short, missing(at(130.5), at(140), "absence", schemas.AbsentCamera)}},
		"before an absence has ended":  {140, 200, time.Minute, []Missing{missing(at(140), at(200), "absence", schemas.AbsentCamera)}},
		"longer than what is missing":  {0, 1440, 24 * time.Hour, []Missing{}},
		"behind the newest, in future": {700, 2000, time.Hour, []Missing{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(x, Config{})
			for range 2 {
				if _, a := get(t, s, between(at(c.from), at(c.to), c.step)); !slices.Equal(a.Missing, c.want) {
					t.Errorf("%+v\nwant %+v", a.Missing, c.want)
				}
			}
		})
	}
}

// Hours that cannot change are read once. Hours from which retention takes, and those that may
// still get footage, are read each time; another life is read anew.
func TestSettled(t *testing.T) {
	x := &index{}
	for m := range 12 * 60 {
		x.all = append(x.all, schemas.Entry{Kind: schemas.KindWhole, Life: "one", Seq: uint64(m), Start: midnight.Add(time.Duration(m) * time.Minute), Duration: schemas.Ticks(time.Minute), Bytes: 60})
	}
	s, day := serve(x, Config{}), between(midnight, midnight.Add(24*time.Hour), time.Minute)
	reads := func() int {
		was := x.read
		_, a := get(t, s, day)
		bytes := int64(0)
		for _, one := range a.Steps {
			bytes += one.Bytes
		}
		if all := int64(len(x.all) * 60); bytes != all {
			t.Errorf("%d bytes, want %d", bytes, all)
		}
		return x.read - was
	}
	if got := reads(); got != 12*60 {
		t.Errorf("the first time: %d entries are read", got)
	}
	// The two hours at the start, the two at the end.
	if got := reads(); got > 4*60+1 {
		t.Errorf("the second time: %d entries are read", got)
	}
	x.all = x.all[5*60+30:]
	if got := reads(); got < 2*60 || got > 4*60+1 {
		t.Errorf("after retention: %d entries are read", got)
	}
	for i := range x.all {
		x.all[i].Life = "two"
	}
	if got := reads(); got != len(x.all) {
		t.Errorf("of another life: %d entries are read, want %d", got, len(x.all))
	}
}

func TestRequests(t *testing.T) {
	s := serve(&index{}, Config{})
	for params, code := range map[string]int{
		"":                      200, // without footage
		"start=-1h&end=-30m":    200,
		"start=-9y":             400,
		"start=-1m&end=-1h":     400,
		"start=-1h&step=0s":     400,
		"start=-1h&step=1.5s":   400,
		"start=-1h&step=90s":    400,
		"start=-24h&step=1s":    400, // 86400 steps
		"start=1000000000":      400, // more than ten years
		"rendition=motion":      200,
		"rendition=a%20b":       400,
		"start=-1h&step=9999h":  200,
		"start=-1h&step=-1m":    400,
		"start=%00&step=1m":     400,
		"start=-87600h&end=-1h": 200,
	} {
		v, err := url.ParseQuery(params)
		if err != nil {
			t.Fatal(err)
		}
		if got, a := get(t, s, v); got != code || code == 200 && (len(a.Steps) > 0 || a.Oldest != nil) {
			t.Errorf("%s: %d %+v, want %d", params, got, a, code)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := &index{all: many(rand.New(rand.NewPCG(1, 1)), 2)}
	r := httptest.NewRequestWithContext(ctx, "GET", "/v1/timeline/cam?start=1772323200&end=1772330400", nil)
	r.SetPathValue("camera", "cam")
	w := httptest.NewRecorder()
	serve(x, Config{}).get(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("the log does not answer: %d", w.Code)
	}
}

// FuzzRequests: no request makes the server panic, or makes more steps than are allowed.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{"start=-1h&step=1m", "start=-24h", "end=2026-03-01T05:00:00Z&start=2026-03-01T04:00:00Z&step=24h", "step=1ns"} {
		f.Add(s)
	}
	x := &index{all: many(rand.New(rand.NewPCG(7, 7)), 3)}
	s := serve(x, Config{})
	f.Fuzz(func(t *testing.T, params string) {
		v, err := url.ParseQuery(params)
		if err != nil {
			return
		}
		if code, a := get(t, s, v); code == 200 && len(a.Steps) > MaxSteps || code != 200 && code != 400 {
			t.Errorf("%q: %d, %d steps", params, code, len(a.Steps))
		}
	})
}

// BenchmarkDay is the timeline of 24 hours in fragments of a second, first and again, without
// the log's own time.
func BenchmarkDay(b *testing.B) {
	x := &index{}
	for i := range 24 * 3600 {
		x.all = append(x.all, schemas.Entry{Kind: schemas.KindWhole, Seq: uint64(i), Start: midnight.Add(time.Duration(i) * time.Second), Duration: schemas.Ticks(time.Second), Bytes: 500_000})
	}
	q := query{topic: cam, first: midnight, last: midnight.Add(24 * time.Hour), start: midnight, end: midnight.Add(24 * time.Hour), step: time.Minute}
	for _, warm := range []bool{false, true} {
		b.Run(fmt.Sprintf("warm=%v", warm), func(b *testing.B) {
			s := serve(x, Config{})
			for b.Loop() {
				if !warm {
					s = serve(x, Config{})
				}
				if a, err := s.read(b.Context(), q); err != nil || len(a.Steps) != 24*60 {
					b.Fatal(err, len(a.Steps))
				}
			}
		})
	}
}
