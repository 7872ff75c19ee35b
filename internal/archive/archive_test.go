package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

var topic = schemas.Topic{Camera: "yard"}

// log has fragments.
type log []testmedia.Fragment

func (l log) Entries(context.Context, schemas.Topic, medialog.Range) iter.Seq2[schemas.Entry, error] {
	return nil
}

func (l log) Chunks(_ context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return l[slices.IndexFunc(l, func(f testmedia.Fragment) bool { return f.Entry.Seq == e.Seq })].All()
}

// entries returns all of them as the index has them, and makes fragment gap a gap; -1: none.
func (l log) entries(gap int) (all []schemas.Entry) {
	for i := range l {
		l[i].Entry.Life, l[i].Entry.Partition, l[i].Entry.First, l[i].Entry.Last = "life1", 0, int64(10*i), int64(10*i+9)
		l[i].Entry.Offset = int64(i + 5)
		if i == gap {
			l[i].Entry = testmedia.GapAt(l[i-1].Entry, time.Second)
			l[i].Entry.Life = "life1"
		}
		all = append(all, l[i].Entry)
	}
	return all
}

func place() testmedia.Place {
	return testmedia.Place{Seq: 7, Session: 3, Epoch: 9, Layout: testmedia.Layout, Start: testmedia.Start}
}

// Cut cuts where a minute, a session, a configuration or a life begins, and at holes. Gaps stay
// with the fragment before. What is not complete is not yielded.
func TestCut(t *testing.T) {
	base := schemas.Entry{Kind: schemas.KindWhole, Life: "a", Session: 1, Config: "c"}
	for minuteOf(topic, &base) == 0 {
		base.Media += schemas.MediaTimescale
	}
	at := func(seq uint64, second int64, change func(*schemas.Entry)) schemas.Entry {
		e := base
		e.Seq, e.Media = seq, base.Media+second*schemas.MediaTimescale
		if change != nil {
			change(&e)
		}
		return e
	}
	gap := func(e *schemas.Entry) { e.Kind = schemas.KindGap }
	for name, c := range map[string]struct {
		entries []schemas.Entry
		want    string
	}{
		"minutes":         {[]schemas.Entry{at(1, 0, nil), at(2, 40, nil), at(3, 60, nil), at(4, 119, nil), at(5, 125, nil)}, "1-2 3-4"},
		"gaps":            {[]schemas.Entry{at(1, 0, gap), at(2, 40, nil), at(3, 60, gap), at(4, 61, gap), at(5, 62, nil), at(6, 63, gap), at(7, 125, nil)}, "2-4 5-6"},
		"a run of gaps":   {[]schemas.Entry{at(1, 0, nil), at(2, 10, func(e *schemas.Entry) { gap(e); e.Run = &schemas.GapRun{Durations: []int64{1, 2, 3}} }), at(5, 61, nil)}, "1-4"},
		"session":         {[]schemas.Entry{at(1, 0, nil), at(2, 1, func(e *schemas.Entry) { e.Session++ })}, "1-1"},
		"configuration":   {[]schemas.Entry{at(1, 0, nil), at(2, 1, func(e *schemas.Entry) { e.Config = "d" })}, "1-1"},
		"life":            {[]schemas.Entry{at(1, 0, nil), at(2, 1, func(e *schemas.Entry) { e.Life = "b" })}, "1-1"},
		"hole":            {[]schemas.Entry{at(1, 0, nil), at(5, 1, nil)}, "1-1"},
		"hole before gap": {[]schemas.Entry{at(1, 0, nil), at(5, 1, gap), at(6, 1, nil), at(7, 60, nil)}, "1-1 6-6"},
		"not complete":    {[]schemas.Entry{at(1, 0, nil), at(2, 1, nil)}, ""},
	} {
		for skip := range c.entries {
			var got []string
			for file, err := range Cut(topic, each(c.entries[skip:])) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, strings.TrimSuffix(filepath.Base(Path(topic, file)), ".mp4"))
			}
			want := strings.Fields(c.want)
			if skip > 0 && len(got) > 0 { // whoever begins later cuts alike from the next file on
				got = got[1:]
			}
			if len(got) > len(want) || !slices.Equal(got, want[len(want)-len(got):]) || skip == 0 && len(got) != len(want) {
				t.Errorf("%s, from entry %d on: %v, want %v", name, skip, got, want)
			}
		}
	}
}

func each(entries []schemas.Entry) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// A file alone shows the pictures of its footage from 0 on, and has the entries and the bytes
// of the segments. Written again it stays; another one of the same name is an error.
func TestFile(t *testing.T) {
	source := testmedia.MakeClip(t, 4, true, testmedia.H264BFrames...)
	l := log(source.Fragments(place(), 5))
	entries := l.entries(2)
	dir := t.TempDir()
	if err := Write(t.Context(), Local(dir), l, topic, entries); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "life1", "yard", "raw", "7-10.mp4")
	pictures := testmedia.Hashes(t, source.Path, testmedia.Pictures...)
	want := slices.Concat(pictures[:50], pictures[75:])
	if got := testmedia.Hashes(t, path, testmedia.Pictures...); !slices.Equal(got, want) {
		t.Errorf("the file shows %d pictures, want %d", len(got), len(want))
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Topic != topic || f.Muxer != cmaf.Version {
		t.Errorf("it is of %v, muxer %s", f.Topic, f.Muxer)
	}
	for i, e := range entries {
		got := f.Entries[i]
		got.Start = got.Start.UTC()
		if !reflect.DeepEqual(got, e) {
			t.Errorf("entry %d is\n%+v, want\n%+v", i, got, e)
		}
		r, err := f.Segment(e.Seq)
		if !e.Playable() {
			if !errors.Is(err, ErrNotHere) {
				t.Errorf("the gap: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := cmaf.Segment(e, l[i].All())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, bytes.Join(s, nil)) {
			t.Errorf("segment %d has %d bytes, want %d (%v)", e.Seq, len(got), s.Size(), err)
		}
	}
	for _, seq := range []uint64{0, 6, 11} {
		if _, err := f.Segment(seq); !errors.Is(err, ErrNotHere) {
			t.Errorf("segment %d: %v", seq, err)
		}
	}
	if err := f.Verify(t.Context()); err != nil {
		t.Error(err)
	}

	if err := Write(t.Context(), Local(dir), l, topic, entries); err != nil {
		t.Errorf("again: %v", err)
	}
	entries[1].Offset++
	if err := Write(t.Context(), Local(dir), l, topic, entries); !errors.Is(err, ErrDiffers) {
		t.Errorf("another one: %v", err)
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 2 || !isInit.MatchString(names[1].Name()) {
		t.Errorf("it leaves %v (%v)", names, err)
	}
}

// busyStore refuses a file of footage twice, as if another process were making it.
type busyStore struct {
	Store
	refused *int
}

func (s busyStore) Create(ctx context.Context, path string, write func(io.Writer) error) error {
	if isInit.MatchString(filepath.Base(path)) || *s.refused == 2 {
		return s.Store.Create(ctx, path, write)
	}
	*s.refused++
	if err := write(io.Discard); err != nil {
		return err
	}
	return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
}

// A file that a store refuses, but does not have, is written again.
func TestWriteRefused(t *testing.T) {
	dir, l, refused := t.TempDir(), log(testmedia.Synthetic(place(), 3)), 0
	entries := l.entries(-1)
	if err := Write(t.Context(), In(busyStore{Local(dir).store, &refused}), l, topic, entries); err != nil || refused != 2 {
		t.Fatalf("%v, refused %d times", err, refused)
	}
	f, err := Open(filepath.Join(dir, Path(topic, entries)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// A write that fails leaves nothing behind. Names come from the log, and are checked.
func TestWriteFails(t *testing.T) {
	l := log(testmedia.Synthetic(place(), 3))
	entries := l.entries(-1)
	dir := t.TempDir()
	l[2].Chunks = l[2].Chunks[:1]
	l[2].Chunks[0].Runs = nil
	if err := Write(t.Context(), Local(dir), l, topic, entries); err == nil {
		t.Error("a chunk without samples is written")
	}
	for _, life := range []string{"", ".", "..", "a/b", "../a"} {
		entries[0].Life = life
		if err := Write(t.Context(), Local(dir), l, topic, entries); err == nil {
			t.Errorf("a life %q is taken", life)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = fmt.Errorf("it leaves %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Every changed byte is found, and a file that is cut off anywhere is not opened.
func TestChanged(t *testing.T) {
	l := log(testmedia.Synthetic(place(), 2))
	dir := t.TempDir()
	entries := l.entries(-1)
	if err := Write(t.Context(), Local(dir), l, topic, entries); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, Path(topic, entries)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "changed.mp4")
	changed, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer changed.Close()
	put := func(b byte, at int) {
		if _, err := changed.WriteAt([]byte{b}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	check := func() error {
		f, err := Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Verify(t.Context())
	}
	if _, err := changed.Write(whole); err != nil {
		t.Fatal(err)
	}
	for i, b := range whole {
		put(b^1, i)
		if err := check(); err == nil {
			t.Fatalf("byte %d of %d is changed, and nobody sees it", i, len(whole))
		}
		put(b, i)
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	for i := len(whole) - 1; i >= 0; i-- {
		if err := changed.Truncate(int64(i)); err != nil {
			t.Fatal(err)
		}
		if err := check(); err == nil {
			t.Fatalf("it is cut off at byte %d of %d, and nobody sees it", i, len(whole))
		}
	}
}
