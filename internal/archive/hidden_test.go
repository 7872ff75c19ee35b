package archive

import (
	"bytes"
	"context"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// A file that a hold brings back is never away: who has read it while it was hidden reads on at once.
func TestHeldFileIsBack(t *testing.T) { onStores(t, testHeldFileIsBack) }

func testHeldFileIsBack(t *testing.T, d Dir) {
	k := recorded()
	archiveAll(t, d, k)
	set, at := NewSet(d, nil, nil), &clock{time.Now()}
	keep, _, _ := keeper(KeepConfig{Dir: d, Limit: 1, Delay: time.Minute}, at)
	look(t, keep) // hides all but the newest
	// One file is read while it is hidden, another one is known to be hidden and is not read.
	read, known := k.all[3], k.all[70]
	there := func(when string) {
		t.Helper()
		b, err := cmaf.Segment(read, set.Chunks(t.Context(), topic, read))
		source, _ := cmaf.Segment(read, k.log[3].All())
		if err != nil || !bytes.Equal(bytes.Join(b, nil), bytes.Join(source, nil)) {
			t.Errorf("%s: %v", when, err)
		}
	}
	there("hidden")
	for _, e := range []schemas.Entry{read, known} {
		if _, err := d.AddHold(t.Context(), Hold{Camera: topic.Camera, From: e.Start, To: e.End(), Reason: "a burglary", At: at.at}); err != nil {
			t.Fatal(err)
		}
	}
	look(t, keep) // brings them back
	there("back")
	if e, err := set.Entry(t.Context(), Series{"life1", topic}, known.Seq); err != nil || e.Seq != known.Seq {
		t.Errorf("the entry of a file that is back: %v", err)
	}
	if has, err := set.Has(t.Context(), topic, known); err != nil || !has {
		t.Errorf("a file that is back: %v, %v", has, err)
	}
	at.at = at.at.Add(time.Minute)
	look(t, keep) // removes the others
	there("held")
}

// lateStore lists at once, and tells it when its gate is open.
type lateStore struct {
	Store
	gate chan struct{}
}

func (s lateStore) List(ctx context.Context, dir, after string) ([]fs.DirEntry, error) {
	found, err := s.Store.List(ctx, dir, after)
	<-s.gate
	return found, err
}

// Whoever asks for deleted files does not get a list that another caller began to read before.
func TestHiddenListOfAnotherCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, gate, k := Local(t.TempDir()), make(chan struct{}), recorded()
		archiveAll(t, d, k)
		set, of, seq := NewSet(In(lateStore{d.store, gate}), nil, nil), Series{"life1", topic}, k.all[3].Seq
		ask := func() <-chan int {
			files := make(chan int, 1)
			since := time.Now()
			go func() {
				has, err := set.hidden.of(t.Context(), of, seq, since)
				if err != nil {
					t.Error(err)
				}
				files <- len(has)
			}()
			synctest.Wait()
			return files
		}
		before := ask()
		time.Sleep(time.Second)
		keep, _, _ := keeper(KeepConfig{Dir: d, Limit: 1, Delay: time.Minute}, &clock{time.Now()})
		look(t, keep) // hides all but the newest
		behind := ask()
		close(gate)
		if n, m := <-before, <-behind; n != 0 || m != 1 {
			t.Errorf("before a file was deleted there are %d with its seq, behind it %d", n, m)
		}
	})
}
