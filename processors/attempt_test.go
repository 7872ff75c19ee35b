package processors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

var dlq = schemas.Topic{Camera: camID, Rendition: "dlq-upper"}

// poisoned is upperProcessor, but for one seq, with which it calls bad.
func poisoned(seq uint64, bad Func) Processor {
	p := upperProcessor()
	p.Process = func(ctx context.Context, in *Fragment, out *Output) error {
		if in.Seq == seq {
			return bad(ctx, in, out)
		}
		return upper(ctx, in, out)
	}
	return p
}

// tried notes the attempts at a fragment.
type tried struct {
	mu  sync.Mutex
	all []int
}

func (t *tried) note(in *Fragment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, in.Attempt)
}

func (t *tried) list() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}

// An attempt that fails is made again, with the number of the attempt: what it wrote
// before is void.
func TestFailedAttempts(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(3)
		var attempts tried
		e.start(poisoned(source[2].Seq, func(ctx context.Context, in *Fragment, out *Output) error {
			attempts.note(in)
			if err := upper(ctx, in, out); err != nil || in.Attempt == 3 {
				return err
			}
			return errors.New("the detector's service is away")
		}))
		e.waitFor("upper", source[2].Seq)
		e.sameAs("upper", source[2:])
		if got := attempts.list(); !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("attempts %v, want 1, 2, 3", got)
		}
	})
}

// A fragment at which all attempts fail stops nothing. It gets a gap, and is in the dead
// letters with its footage and the reason.
func TestDeadLetter(t *testing.T) {
	for name, c := range map[string]struct {
		bad   Func
		error string
		log   string
	}{
		"error":               {func(context.Context, *Fragment, *Output) error { return errors.New("no face found") }, "no face found", ""},
		"panic":               {func(context.Context, *Fragment, *Output) error { panic("index out of range") }, "panic: index out of range", "attempt_test.go"},
		"deadline":            {func(ctx context.Context, _ *Fragment, _ *Output) error { <-ctx.Done(); return ctx.Err() }, "the deadline has passed", ""},
		"no note is too long": {func(context.Context, *Fragment, *Output) error { return errors.New(strings.Repeat("„x“\n", 1000)) }, "„x“\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				first := e.cam.fragments(1)
				p := poisoned(first[0].Seq+2, c.bad)
				p.Deadline = time.Second
				e.start(p)
				e.waitFor("upper", first[0].Seq)
				source := append(first, e.cam.fragments(4)...)
				got := e.waitFor("upper", source[4].Seq)
				if got[2].Kind != schemas.KindGap || got[2].Reason != schemas.ReasonDeadLetter || got[2].Duration != source[2].Duration {
					t.Errorf("the output has %s (%s)", got[2].Kind, got[2].Reason)
				}
				letters := e.entries(dlq)
				if len(letters) != 1 || letters[0].Seq != source[2].Seq || letters[0].Role != schemas.RoleDeadLetter {
					t.Fatalf("dead letters %+v, want seq %d alone", letters, source[2].Seq)
				}
				if e.text(dlq, letters[0]) != e.text(raw, source[2]) {
					t.Errorf("the dead letter is\n%s\nthe camera has\n%s", e.text(dlq, letters[0]), e.text(raw, source[2]))
				}
				var n letterNote
				if err := json.Unmarshal([]byte(letters[0].Note), &n); err != nil || n.Processor != "upper" || n.Attempts != 3 || !strings.HasPrefix(n.Error, c.error) || n.Killed {
					t.Errorf("note %s: %v", letters[0].Note, err)
				}
				if !strings.Contains(e.lines.String(), c.log) {
					t.Errorf("the log does not have %q", c.log)
				}
				e.sameAs("upper", source, source[2].Seq)
			})
		})
	}
}

// A function that does not return ends its process. Its fragment becomes a dead letter
// after as many processes as there may be attempts.
func TestHang(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		first := e.cam.fragments(1)
		var attempts tried
		forever := make(chan struct{})
		defer close(forever) // before the processes are waited for
		p := poisoned(first[0].Seq+1, func(_ context.Context, in *Fragment, _ *Output) error {
			attempts.note(in)
			<-forever
			return nil
		})
		p.Deadline, p.HangTimeout = time.Second, time.Second
		one := e.startAgain(p)
		e.waitFor("upper", first[0].Seq)
		source := append(first, e.cam.fragments(3)...)
		got := e.waitFor("upper", source[3].Seq)
		if got[1].Reason != schemas.ReasonDeadLetter || len(e.entries(dlq)) != 1 {
			t.Errorf("the output has %s (%s), %d dead letters", got[1].Kind, got[1].Reason, len(e.entries(dlq)))
		}
		if got := attempts.list(); !slices.Equal(got, []int{1, 2, 3}) || one.count() != 4 {
			t.Errorf("attempts %v in %d processes, want 1, 2, 3 in four", got, one.count())
		}
		e.sameAs("upper", source, source[1].Seq)
	})
}

// A fragment that kills its process is tried alone, and becomes a dead letter when it has
// killed as many processes so as there may be attempts.
func TestKilled(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		first := e.cam.fragments(1)
		var attempts tried
		var one *again
		p := poisoned(first[0].Seq+1, func(ctx context.Context, in *Fragment, _ *Output) error {
			attempts.note(in)
			one.newest().kill()
			<-ctx.Done()
			return ctx.Err()
		})
		p.Concurrency = 2
		one = e.startAgain(p)
		e.waitFor("upper", first[0].Seq)
		source := append(first, e.cam.fragments(6)...)
		got := e.waitFor("upper", source[6].Seq)
		letters := e.entries(dlq)
		if got[1].Reason != schemas.ReasonDeadLetter || len(letters) != 1 {
			t.Fatalf("the output has %s (%s), %d dead letters", got[1].Kind, got[1].Reason, len(letters))
		}
		var n letterNote
		if err := json.Unmarshal([]byte(letters[0].Note), &n); err != nil || !n.Killed {
			t.Errorf("note %s: %v", letters[0].Note, err)
		}
		// The log shows of the second and the third process that they have begun with it.
		if got := attempts.list(); !slices.Equal(got, []int{1, 1, 1, 1, 2, 3}) || n.Attempts != 3 {
			t.Errorf("attempts %v, the dead letter tells %d; want 1, 1, 1, then 1, 2, 3 alone", got, n.Attempts)
		}
		e.sameAs("upper", source, source[1].Seq)
	})
}

// A fragment that kills the first process of a processor becomes a dead letter, if no newer
// one has come.
func TestKilledFirst(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(1)
		var attempts tried
		processes := make(chan *again, 1)
		processes <- e.startAgain(poisoned(source[0].Seq, func(ctx context.Context, in *Fragment, _ *Output) error {
			attempts.note(in)
			one := <-processes
			processes <- one
			one.newest().kill()
			<-ctx.Done()
			return ctx.Err()
		}))
		if got := e.waitFor("upper", source[0].Seq); len(got) != 1 || got[0].Reason != schemas.ReasonDeadLetter || len(e.entries(dlq)) != 1 {
			t.Errorf("the output has %+v", got)
		}
		if got := attempts.list(); !slices.Equal(got, []int{1, 1, 1, 2, 3}) {
			t.Errorf("attempts %v, want 1, 1, then 1, 2, 3 alone", got)
		}
	})
}

// A process that the camera is taken from does not try a fragment alone: the log would take
// the new owner's first record for a sign that the fragment has killed this one.
func TestReleasedWithASuspect(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		e.idle(1)
		var attempts tried
		hangs := upperProcessor()
		hangs.Process = func(ctx context.Context, in *Fragment, _ *Output) error {
			attempts.note(in)
			<-ctx.Done()
			return ctx.Err()
		}
		for n := range medialog.MaxStarts {
			one := e.start(hangs)
			e.wait("it works on the fragment", func() bool { return len(attempts.list()) > n })
			one.kill()
			one.stop()
		}
		r := e.runner(hangs)
		r.metrics = newMetrics(nil)
		w := &work{role: role{r, e.log}, camera: camID}
		w.Mute(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Run(ctx, "", func() bool { return true }); !errors.Is(err, errReleased) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// A process is killed while it writes the entry of a dead letter, or the output's gap behind
// it. The next one completes both, and none is there twice.
func TestDeadLetterAndCrash(t *testing.T) {
	for what, mark := range map[string]string{"the dead letter": `"attempts":`, "the gap": "variant"} {
		t.Run(what, func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				first := e.cam.fragments(1)
				one := e.startAgain(poisoned(first[0].Seq+1, func(context.Context, *Fragment, *Output) error { return errors.New("no") }))
				e.waitFor("upper", first[0].Seq)
				var victim *running
				e.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
					e.cluster.KeepControl()
					records := req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
					if !bytes.Contains(records, []byte("dead-letter")) || !bytes.Contains(records, []byte(mark)) {
						return nil, nil, false
					}
					if victim == nil {
						victim = one.newest()
						go victim.kill()
					}
					select {
					case <-victim.died:
						return nil, nil, false
					default:
						return nil, errors.New("the process is killed"), true
					}
				})
				source := append(first, e.cam.fragments(2)...)
				got := e.waitFor("upper", source[2].Seq)
				letters := e.entries(dlq)
				if one.count() != 2 {
					t.Fatalf("%d processes: the test misses what it is for", one.count())
				}
				if got[1].Reason != schemas.ReasonDeadLetter || len(letters) != 1 || letters[0].Seq != source[1].Seq {
					t.Errorf("the output has %s (%s), the dead letters are %+v", got[1].Kind, got[1].Reason, letters)
				}
				e.sameAs("upper", source, source[1].Seq)
			})
		})
	}
}

// again is a process that is started again when it ends, as a supervisor does.
type again struct {
	mu   sync.Mutex
	runs []*running
}

func (e *env) startAgain(p Processor) *again {
	a := &again{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	start := func() *running {
		r := e.start(p)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.runs = append(a.runs, r)
		return r
	}
	r := start()
	go func() {
		defer close(ended)
		for {
			select {
			case <-r.died:
				time.Sleep(time.Second)
				r = start()
			case <-ctx.Done():
				return
			}
		}
	}()
	e.t.Cleanup(func() { cancel(); <-ended })
	return a
}

func (a *again) newest() *running {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.runs[len(a.runs)-1]
}

func (a *again) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.runs)
}
