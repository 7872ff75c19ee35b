package medialog

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
)

// crash ends a follower as the death of its process does: it tells nothing.
func crash(f *Follower) {
	f.mu.Lock()
	f.core.alone = notAlone
	f.mu.Unlock()
	f.Close()
}

// TestFollowKilled: the death of a process that is alone with a fragment is a failure of
// this fragment, unless the process has told what became of the work.
func TestFollowKilled(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		l := e.log()
		source := record(t, l, newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 1), 4)
		one := source[1]
		begin := func(failures, starts uint32, killed bool) *Follower {
			t.Helper()
			f := follow(t, l)
			if seq, n := f.Next(); seq == one.Seq && (n != failures || f.Starts() != starts || f.Killed() != killed) {
				t.Errorf("%d failures, %d starts, killed: %t; want %d, %d, %t", n, f.Starts(), f.Killed(), failures, starts, killed)
			}
			return f
		}
		alone := func(f *Follower) {
			t.Helper()
			if err := f.Alone(t.Context()); err != nil {
				t.Fatal(err)
			}
		}

		f := begin(0, 0, false)
		if err := f.Jump(t.Context(), source[0].Seq); err != nil {
			t.Fatal(err)
		}
		copyFragments(t, l, f, source[:1])
		alone(f)
		waits := func(why string) {
			t.Helper()
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := f.Begin(short, chunksOf(t, l, cam, source[2])[0]); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("another work begins %s: %v", why, err)
			}
		}
		waits("beside the one that is alone")
		crash(f)

		f = begin(1, 1, true)
		w, _ := work(t, l, f, one, 0)
		if n, err := w.Fail(t.Context()); n != 2 || err != nil || f.Killed() {
			t.Errorf("%d failures, killed: %t, %v", n, f.Killed(), err)
		}
		crash(f)

		f = begin(2, 2, false)
		alone(f)
		f.Close() // in an orderly way

		f = begin(2, 3, false)
		alone(f)
		w, _ = work(t, l, f, one, 0)
		w.Drop()
		waitFor(t, "the log tells that the work was given up", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.core.alone == notAlone
		})
		crash(f)

		f = begin(2, 4, false)
		alone(f)
		w, _ = work(t, l, f, one, 1)
		if _, err := w.Fail(t.Context()); err != nil {
			t.Fatal(err)
		}
		alone(f) // for the next attempt
		crash(f)

		f = begin(4, 5, true)
		waits("although several processes have begun with the one before, and left nothing")
		w, _ = work(t, l, f, one, 0)
		if err := f.Alone(t.Context()); err == nil {
			t.Error("a process is alone with a fragment that it works on already")
		}
		w.Drop()
		copyFragments(t, l, f, source[1:3])
		crash(f)
		if seq, n := follow(t, l).Next(); seq != source[3].Seq || n != 0 {
			t.Errorf("goes on at %d with %d failures", seq-source[0].Seq, n)
		}
		sameAsSource(t, l, source[:3], renditionOf(t, l))
		if got, want := opens(t, l, source[0].Seq), "start 0/0 hole 0/0 alone 1/0 start 1/0 failure 1/2 start 1/2 alone 1/2 start 1/2 alone 1/2 dropped 1/2 "+
			"start 1/2 alone 1/2 failure 1/3 alone 1/3 start 1/3"; got != want {
			t.Errorf("opens: %s\nwant:  %s", got, want)
		}
	})
}

// TestFollowDies: a process that the fragment kills at once has told that it has begun.
func TestFollowDies(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		l := e.log()
		source := record(t, l, newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 1), 2)
		for deaths, n := range []int{1, 0, 0} { // not always the oldest one
			f := follow(t, l)
			if err := f.Jump(t.Context(), source[0].Seq); err != nil {
				t.Fatal(err)
			}
			if starts := f.Starts(); starts != uint32(deaths) {
				t.Errorf("%d starts after %d deaths", starts, deaths)
			}
			work(t, l, f, source[n], 0)
			f.Close()
		}
	})
}

// TestFollowRendition: a rendition is made of another one.
func TestFollowRendition(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		l := e.log()
		f, source := followFirst(t, l, 3)
		copyFragments(t, l, f, source[:2])
		if err := f.Gaps(t.Context(), schemas.ReasonDeadLetter, source[2]); err != nil {
			t.Fatal(err)
		}
		second := schemas.Topic{Camera: cam.Camera, Rendition: "second"}
		o := FollowOptions{Processor: "again", Role: schemas.RoleVariant, Writer: "p", Source: rendition}
		first := renditionOf(t, l)
		for range 2 { // the second one goes on behind what it finds
			f, err := l.Follow(t.Context(), second, o)
			if err != nil {
				t.Fatal(err)
			}
			if newest, ok := f.Newest(); ok && newest.Seq != first[0].Seq {
				t.Errorf("it goes on behind %d", newest.Seq)
			}
			if seq, _ := f.Next(); seq == 0 {
				if err := f.Jump(t.Context(), first[0].Seq); err != nil {
					t.Fatal(err)
				}
				copyRendition(t, l, f, first[0])
			} else {
				copyRendition(t, l, f, first[1])
				if err := f.Gaps(t.Context(), "", first[2]); err != nil {
					t.Fatal(err)
				}
			}
			f.Close()
		}
		derived := topicEntries(t, l, second, Range{})
		if len(derived) != len(first) {
			t.Fatalf("%d entries, the source has %d", len(derived), len(first))
		}
		for i, e := range derived {
			s := first[i]
			if e.Kind != s.Kind || e.Reason != s.Reason || e.Media != s.Media || e.Source != (schemas.Copy{Epoch: s.Epoch, First: s.First, Chunks: s.Chunks}) {
				t.Errorf("%+v\nits source is %+v", e, s)
			}
			if made := chunksOf(t, l, second, e); len(made) > 0 && made[0].Lineage.Source != l.names.Media(rendition) {
				t.Errorf("lineage %+v", made[0].Lineage)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		o.Source = schemas.Topic{Camera: cam.Camera, Rendition: "later"}
		if _, err := l.Follow(short, second, o); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it does not wait for its source: %v", err)
		}
		for what, s := range map[string]schemas.Topic{"itself": second, "another camera": {Camera: "b"}} {
			o.Source = s
			if _, err := l.Follow(t.Context(), second, o); err == nil {
				t.Errorf("a rendition follows %s", what)
			}
		}
	})
}

// copyRendition copies a fragment of another rendition.
func copyRendition(t *testing.T, l *Log, f *Follower, e schemas.Entry) {
	t.Helper()
	var w *Work
	for _, c := range chunksOf(t, l, rendition, e) {
		if c.Index == 0 {
			var err error
			if w, err = f.Begin(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		d := copied(c)
		if err := w.Write(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), e, Output{Used: e.Chunks}); err != nil {
		t.Fatal(err)
	}
}

// TestFollowGivesUp: the camera goes to another process while this one works on a fragment
// alone. It may not open any more, and tells that this was no failure.
func TestFollowGivesUp(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		var lost atomic.Bool
		f, source := followFirst(t, l, 1, func(o *FollowOptions) { o.MayOpen = func() bool { return !lost.Load() } })
		if err := f.Alone(t.Context()); err != nil {
			t.Fatal(err)
		}
		lost.Store(true)
		w, _ := work(t, l, f, source[0], 1)
		w.Drop()
		if <-f.Done(); !errors.Is(f.Err(), ErrFenced) {
			t.Errorf("the follower ended with %v", f.Err())
		}
		f = follow(t, l)
		if err := f.Jump(t.Context(), source[0].Seq); err != nil {
			t.Fatal(err)
		}
		if _, n := f.Next(); n != 0 || f.Killed() || f.Starts() != 1 {
			t.Errorf("%d failures, %d starts", n, f.Starts())
		}
	})
}
