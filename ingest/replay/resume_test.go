package replay

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// slowStore takes so long to tell where the copy stands that the former process goes on
// meanwhile.
type slowStore struct{ medialog.Store }

func (s slowStore) Bounds(ctx context.Context, t schemas.Topic) (oldest, newest schemas.Entry, err error) {
	oldest, newest, err = s.Store.Bounds(ctx, t)
	time.Sleep(1100 * time.Millisecond)
	return oldest, newest, err
}

// TestGoesOn: a replay goes on where its log ends, also if its process is killed again and
// again, or another process takes it over while the former one still writes. Every sample is
// there once.
func TestGoesOn(t *testing.T) {
	for name, end := range map[string]func(p *process, cancel func()){
		"killed":     func(p *process, cancel func()) { p.log.Close(); cancel() },
		"taken over": func(*process, func()) {},
		"stopped":    func(_ *process, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				r := e.film()
				results := make(chan error, 100)
				runs := 0
				for err := error(nil); !errors.Is(err, ingest.ErrEnded); runs++ {
					if runs == cap(results) {
						t.Fatalf("it has not ended after %d runs: %v", runs, err)
					}
					ctx, cancel := context.WithCancel(t.Context())
					p := &process{log: e.connect()}
					source := e.source(r)
					if name == "taken over" {
						source.cfg.Store = slowStore{e.log}
					}
					go func() {
						defer cancel()
						err := source.Run(ctx, p)
						if name == "stopped" && p.w != nil {
							err = errors.Join(err, p.w.Close(t.Context()))
						}
						results <- err
					}()
					select {
					case <-ctx.Done():
					case <-time.After(1700*time.Millisecond + time.Duration(runs)*600*time.Millisecond): // at last more than a gap lasts
						end(p, cancel)
					}
					select {
					case err = <-results:
					case <-time.After(50 * time.Millisecond): // it goes on until it is fenced
					}
				}
				if runs < 4 {
					t.Errorf("only %d runs", runs)
				}
				same(t, e.merged(copied, time.Time{}), e.merged(yard, r.From))

				entries, _ := e.told(copied, time.Time{}, true)
				for i, x := range entries[1:] {
					if x.Start.Before(entries[i].End().Add(-time.Millisecond)) {
						t.Errorf("public time steps back from %v to %v", entries[i].End(), x.Start)
					}
				}
			})
		})
	}
}

// TestFastGoesOn: a process that writes as fast as it can is killed with many fragments in
// the log that have no entry yet.
func TestFastGoesOn(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		r.Speed = 0
		for after := range 30 {
			p := &process{log: e.connect()}
			p.chunks = func(*schemas.Chunk) {
				if after--; after == 0 {
					p.log.Close()
				}
			}
			if err := e.source(r).Run(t.Context(), p); errors.Is(err, ingest.ErrEnded) {
				break
			}
		}
		err := e.run(t.Context(), r, nil)
		if !errors.Is(err, ingest.ErrEnded) {
			t.Fatal(err)
		}
		same(t, e.merged(copied, time.Time{}), e.merged(yard, r.From))
	})
}

// cutOff is a process in which a chunk inside the nth fragment cannot be written, once.
type cutOff struct {
	*process
	nth int
}

var errWrite = errors.New("the brokers are slow")

func (p *cutOff) Chunk(ctx context.Context, c *schemas.Chunk) error {
	if c.Index == 2 {
		if p.nth--; p.nth == 0 {
			return errWrite
		}
	}
	return p.process.Chunk(ctx, c)
}

// TestCutOff: if only a part of a fragment can be written, the rest of it is a gap when the
// replay goes on, also of the last one.
func TestCutOff(t *testing.T) {
	for name, nth := range map[string]int{"first": 1, "last": 8} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				r := e.film()
				source, _ := e.told(yard, r.From, true)
				p := &process{log: e.connect()}
				if err := e.source(r).Run(t.Context(), &cutOff{process: p, nth: nth}); !errors.Is(err, errWrite) {
					t.Fatalf("it ends with %v", err)
				}
				if err := p.w.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				e.must(r, nil)
				length := func(entries []schemas.Entry) (ticks int64) {
					for _, x := range entries {
						ticks += x.Duration
					}
					return ticks
				}
				copies, _ := e.told(copied, time.Time{}, true)
				if got, want := length(copies), length(source); got != want {
					t.Errorf("%v of footage and gaps, want %v", schemas.FromTicks(got), schemas.FromTicks(want))
				}
				cut := slices.IndexFunc(copies, func(x schemas.Entry) bool { return x.Kind == schemas.KindTruncated && x.Reason == schemas.ReasonSource })
				if cut < 0 || cut+1 == len(copies) || copies[cut+1].Kind != schemas.KindGap || copies[cut+1].Reason != schemas.ReasonSource {
					t.Error("no gap follows the fragment that was cut off")
				}
				before, _ := e.log.IndexEnd(t.Context(), copied)
				e.must(r, nil)
				if now, _ := e.log.IndexEnd(t.Context(), copied); now != before {
					t.Error("a replay that is complete has written")
				}
			})
		})
	}
}

// TestEnded: a replay is complete when the last fragment with media and all gaps behind it stand in
// the log, or when a gap stands for the rest of that fragment, or for all of it.
func TestEnded(t *testing.T) {
	all := Footage{Last: 9, newest: []left{{4, 30, 90}, {6, 40, 70}, {7, 50, 20}}} // 5 and 8 are gaps
	for _, c := range []struct {
		name string
		at   Position
		want bool
	}{
		{"before it", Position{Seq: 6, gap: 69}, false},
		{"before it, which is lost", Position{Seq: 6, gap: 70}, true},
		{"before two that are lost", Position{Seq: 4, cut: true, written: 10, gap: 110}, true},
		{"too early", Position{Seq: 3, gap: 1000}, false},
		{"behind it", Position{Seq: 7, gap: 19}, false},
		{"behind the gaps", Position{Seq: 7, gap: 20}, true},
		{"cut off", Position{Seq: 7, cut: true, written: 20}, false},
		{"cut off, behind its rest", Position{Seq: 7, cut: true, written: 20, gap: 30}, false},
		{"cut off, behind the gaps", Position{Seq: 7, cut: true, written: 20, gap: 50}, true},
		{"a whole one of the source that was truncated", Position{Seq: 7, cut: true, written: 50, gap: 20}, true},
		{"behind one that is gone since", Position{Seq: 9}, true},
	} {
		c.at.Found = true
		if got := c.at.Ended(schemas.Replay{}, all); got != c.want {
			t.Errorf("%s: ended is %v", c.name, got)
		}
	}
}

// TestGapsAtEnd: a replay whose range ends in gaps is complete behind them.
func TestGapsAtEnd(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		entries, _ := e.told(yard, r.From, true)
		i := slices.IndexFunc(entries, func(x schemas.Entry) bool { return x.Kind == schemas.KindGap && x.Reason != schemas.ReasonAbsent })
		r.To = entries[i].End()
		e.must(r, nil)
		all, err := Survey(t.Context(), e.log, r)
		if err != nil {
			t.Fatal(err)
		}
		if at, err := Find(t.Context(), e.log, copied, r); err != nil || !at.Ended(r, all) || at.Seq == all.Last {
			t.Errorf("it stands at %+v of %+v, %v", at, all, err)
		}
	})
}

// TestAgain: the same range once more is another run, behind what is there. A run that is
// complete opens nothing.
func TestAgain(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		e.must(r, nil)
		before, _ := e.log.IndexEnd(t.Context(), copied)
		e.must(r, nil)
		if now, _ := e.log.IndexEnd(t.Context(), copied); now != before {
			t.Error("a replay that is complete has written")
		}
		r.Run = "b"
		e.must(r, nil)
		once := e.merged(yard, r.From)
		same(t, e.merged(copied, time.Time{}), append(once, once...))
	})
}

// TestLoop: a loop begins again at once, until it is stopped.
func TestLoop(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		r.Loop, r.Speed = true, 2
		ctx, cancel := context.WithTimeout(t.Context(), r.To.Sub(r.From)*3/4) // one round and a half
		defer cancel()
		if err := e.run(ctx, r, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		at, err := Find(t.Context(), e.log, copied, r)
		if err != nil || !at.Found || at.Round != 1 {
			t.Errorf("it stands at %+v, %v", at, err)
		}
		once := e.merged(yard, r.From)
		got := e.merged(copied, time.Time{})
		if len(got) <= len(once) {
			t.Fatalf("%d entries, a round has %d", len(got), len(once))
		}
		same(t, got, append(once, once...)[:len(got)])
	})
}

// TestExpired: footage that retention removes before its turn is a gap of that reason.
func TestExpired(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		source, want := e.told(yard, r.From, true)
		fragment := source[1]
		done := false
		e.must(r, func(*schemas.Chunk) {
			if done {
				return
			}
			done = true
			offsets := kadm.Offsets{}
			offsets.Add(kadm.Offset{Topic: "cam.yard", Partition: fragment.Partition, At: fragment.Last})
			if err := e.expire(offsets); err != nil {
				t.Error(err)
			}
		})
		copies, got := e.told(copied, time.Time{}, true)
		if copies[1].Kind != schemas.KindGap || copies[1].Reason != schemas.ReasonExpired || copies[1].Duration != fragment.Duration {
			t.Errorf("the expired fragment is %+v", copies[1])
		}
		got[1], want[1] = "", ""
		same(t, got, want)
	})
}
