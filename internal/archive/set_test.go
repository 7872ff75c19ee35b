package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// A reader whose context ends gets an error, and not what looks like all there is.
func TestReaderStops(t *testing.T) {
	onStores(t, func(t *testing.T, d Dir) {
		k := recorded()
		if paths := archiveAll(t, d, k); len(paths) < 3 {
			t.Fatal(paths)
		}
		set := NewSet(d, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		var failed error
		for _, err := range set.Entries(ctx, Series{"life1", topic}, medialog.Range{}) {
			cancel()
			if failed = err; err == nil {
				n++
			}
		}
		if !errors.Is(failed, context.Canceled) || n == 0 || n >= len(k.all) {
			t.Errorf("%d entries of %d, then %v", n, len(k.all), failed)
		}
		if n := testutil.ToFloat64(set.errors); n != 0 {
			t.Errorf("%v reads failed", n)
		}
	})
}

// Files may lie inside one another, after a crash or a stopped process. Each seq comes once, also
// if the longer file is damaged.
func TestOverlaps(t *testing.T) { onStores(t, testOverlaps) }

func testOverlaps(t *testing.T, d Dir) {
	k := recorded()
	dir := root(d)
	for _, part := range [][2]int{{0, 16}, {0, 10}, {4, 12}, {12, 16}} {
		if err := Write(t.Context(), d, k.log, topic, k.all[part[0]:part[1]]); err != nil {
			t.Fatal(err)
		}
	}
	of := Series{"life1", topic}
	check := func(last int) {
		t.Helper()
		set := NewSet(d, nil, nil)
		for from := range k.all[:16] {
			var want []schemas.Entry
			if from < last {
				want = k.all[from:last]
			}
			if got := collect(t, set.Entries(t.Context(), of, medialog.Range{FromSeq: k.all[from].Seq})); !reflect.DeepEqual(got, slices.Clone(want)) {
				t.Errorf("from %d: %d entries, want %d", from, len(got), len(want))
			}
			if e, err := set.Entry(t.Context(), of, k.all[from].Seq); (err == nil) != (from < last) || err == nil && e.Offset != k.all[from].Offset {
				t.Errorf("entry %d: %v", from, err)
			}
		}
		if oldest, newest, err := set.Bounds(t.Context(), of); err != nil || oldest.Seq != k.all[0].Seq || newest.Seq != k.all[last-1].Seq {
			t.Errorf("bounds %d to %d, %v", oldest.Seq, newest.Seq, err)
		}
	}
	check(16)
	if err := os.Truncate(filepath.Join(dir, Path(topic, k.all[:16])), 5000); err != nil {
		t.Fatal(err)
	}
	check(16)
	if err := os.Remove(filepath.Join(dir, Path(topic, k.all[12:16]))); err != nil {
		t.Fatal(err)
	}
	check(12)
}

// A file whose last box is damaged is left out, and told once.
func TestDamagedFile(t *testing.T) { onStores(t, testDamagedFile) }

func testDamagedFile(t *testing.T, d Dir) {
	k := recorded()
	paths := archiveAll(t, d, k)
	if err := os.Truncate(paths[1], 5000); err != nil {
		t.Fatal(err)
	}
	set := NewSet(d, nil, nil)
	of := Series{"life1", topic}
	l, err := set.lists.of(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	files := l.files
	for range 2 {
		for _, e := range collect(t, set.Entries(t.Context(), of, medialog.Range{})) {
			if e.Seq >= files[1].first && e.Seq <= files[1].last && !expired(e) {
				t.Errorf("entry %d of a file that is cut off", e.Seq)
			}
		}
	}
	if set.told.Len() != 1 {
		t.Errorf("damaged %v", set.told.Keys())
	}
}

// age makes a set compare its lists with their directories. Where the store does not tell when these
// have changed, it lists all files again.
func age(s *Set) {
	for _, of := range s.lists.all.Keys() {
		l, _ := s.lists.all.Get(of)
		l.read = l.read.Add(-fresh)
		if l.changed.IsZero() {
			l.read, l.again = l.read.Add(-freshTail), time.Time{}
		}
		s.lists.all.Add(of, l)
	}
}

// New and deleted files are seen.
func TestListChanges(t *testing.T) {
	k := recorded()
	dir := t.TempDir()
	paths := archiveAll(t, Local(dir), k)
	set := NewSet(Local(dir), nil, nil)
	of := Series{"life1", topic}
	old := time.Now().Add(-time.Hour) // the list is kept
	if err := os.Chtimes(filepath.Dir(paths[0]), old, old); err != nil {
		t.Fatal(err)
	}
	for n, change := range []func() error{
		func() error { return nil },
		func() error { return os.Rename(paths[0], filepath.Join(filepath.Dir(paths[0]), ".hidden")) },
		func() error { return os.Rename(filepath.Join(filepath.Dir(paths[0]), ".hidden"), paths[0]) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		l, err := set.lists.of(t.Context(), of)
		files := l.files
		age(set)
		if want := len(paths) - n%2; err != nil || len(files) != want {
			t.Errorf("%d files, %v; want %d", len(files), err, want)
		}
	}
}

// Of a store that does not tell changes, new files are seen when the last names are listed, deleted
// ones when all are.
func TestListGrows(t *testing.T) {
	d := s3Of(t, testenv.StartS3(t), nil)
	of := Series{"life1", topic}
	put := func(seq uint64) {
		putFile(t, d, topic, seq, testmedia.Start, 2, testmedia.Start)
	}
	const first = 1_700_000_000
	put(first)
	put(first + 10)
	set := NewSet(d, nil, nil)
	want := func(change func(*list), want ...uint64) {
		t.Helper()
		if l, ok := set.lists.all.Get(of); ok {
			change(&l)
			set.lists.all.Add(of, l)
		}
		l, err := set.lists.of(t.Context(), of)
		var got []uint64
		for _, q := range l.files {
			got = append(got, q.first)
		}
		if err != nil || !slices.Equal(got, want) || len(l.reach) != len(want) {
			t.Errorf("it lists %v, %v; want %v", got, err, want)
		}
	}
	kept := func(*list) {}
	tail := func(l *list) { l.read = l.read.Add(-freshTail) }
	all := func(l *list) { tail(l); l.again = time.Now() }
	want(kept, first, first+10)
	put(first + 20)
	want(kept, first, first+10)
	want(tail, first, first+10, first+20)
	want(tail, first, first+10, first+20)
	put(first + 5)
	if err := d.store.Remove(t.Context(), Kept{Series: of, First: first + 10, Last: first + 11}.Path()); err != nil {
		t.Fatal(err)
	}
	put(first + 30)
	want(tail, first, first+10, first+20, first+30)
	want(all, first, first+5, first+20, first+30)

	// The number of digits changes.
	other := Series{"life1", schemas.Topic{Camera: "gate"}}
	putFile(t, d, other.Topic, 98, testmedia.Start, 2, testmedia.Start)
	if l, err := set.lists.of(t.Context(), other); err != nil || len(l.files) != 1 {
		t.Error(l.files, err)
	}
	putFile(t, d, other.Topic, 100, testmedia.Start.Add(2*time.Second), 2, testmedia.Start)
	of = other
	want(tail, 98, 100)
}
