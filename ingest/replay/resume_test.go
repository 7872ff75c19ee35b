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

// cutOff is a process in which a chunk inside a fragment cannot be written, once.
type cutOff struct {
	*process
	failed bool
}

var errWrite = errors.New("the brokers are slow")

func (p *cutOff) Chunk(ctx context.Context, c *schemas.Chunk) error {
	if c.Index == 2 && !p.failed {
		p.failed = true
		return errWrite
	}
	return p.process.Chunk(ctx, c)
}

// TestCutOff: if only a part of a fragment can be written, the rest of it is a gap when the
// replay goes on.
func TestCutOff(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		p := &process{log: e.connect()}
		if err := e.source(r).Run(t.Context(), &cutOff{process: p}); !errors.Is(err, errWrite) {
			t.Fatalf("it ends with %v", err)
		}
		if err := p.w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.must(r, nil)
		length := func(topic schemas.Topic, from time.Time) (ticks int64) {
			entries, _ := e.told(topic, from, true)
			for _, x := range entries {
				ticks += x.Duration
			}
			return ticks
		}
		if got, want := length(copied, time.Time{}), length(yard, r.From); got != want {
			t.Errorf("%v of footage and gaps, want %v", schemas.FromTicks(got), schemas.FromTicks(want))
		}
		entries, _ := e.told(copied, time.Time{}, true)
		if entries[0].Kind != schemas.KindTruncated || entries[1].Kind != schemas.KindGap || entries[1].Reason != schemas.ReasonSource {
			t.Errorf("it begins with %s and %s (%s)", entries[0].Kind, entries[1].Kind, entries[1].Reason)
		}
	})
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
