package archive

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// An init segment is there if what stands beside the files is missing, and after files were read if
// it is damaged. Verify tells both, and Reindex writes it.
func TestInit(t *testing.T) { onStores(t, testInit) }

func testInit(t *testing.T, d Dir) {
	start, of := testmedia.Start, Series{"life1", topic}
	putFile(t, d, topic, 1, start, 4, start)
	putFile(t, d, topic, 5, start.Add(4*time.Second), 4, start)
	f, err := d.Open(t.Context(), of.kept(numbers{1, 4}))
	if err != nil {
		t.Fatal(err)
	}
	config := f.Entries[0].Config
	c, err := schemas.DecodeChunk(f.box.Entries[0].First)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	want, err := cmaf.Init(c.Tracks)
	if err != nil {
		t.Fatal(err)
	}
	at := path.Join(of.Path(), initName(config))
	serves := func(s *Set) {
		t.Helper()
		if b, err := s.Init(t.Context(), of, config); err != nil || !bytes.Equal(b, want) {
			t.Errorf("the init segment has %d bytes of %d, %v", len(b), len(want), err)
		}
	}
	bad := func(want ...string) {
		t.Helper()
		var got []string
		for c, err := range d.Verify(t.Context(), Selection{}) {
			if err != nil {
				t.Fatal(err)
			}
			if c.Result != Intact {
				got = append(got, c.Cause.Error())
			}
		}
		if len(got) != len(want) || len(want) > 0 && !strings.Contains(got[0], want[0]) {
			t.Errorf("wrong are %q, want %q", got, want)
		}
	}
	reindexed := func(want ...string) {
		t.Helper()
		for r, err := range d.Reindex(t.Context(), nil, slog.New(slog.DiscardHandler)) {
			if err != nil || r.Series != of || !slices.Equal(r.Written, want) || len(r.LeftOut) > 0 {
				t.Errorf("%+v, %v; want %q", r, err, want)
			}
		}
	}
	serves(NewSet(d, nil, nil))
	bad()
	reindexed()

	if err := d.store.Remove(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	serves(NewSet(d, nil, nil))
	bad("missing")
	reindexed(at)
	bad()

	if err := d.store.Remove(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(want)
	flipped[len(want)/2] ^= 1
	if err := d.writeInit(t.Context(), at, flipped); err != nil {
		t.Fatal(err)
	}
	s := NewSet(d, nil, nil)
	for _, err := range s.Entries(t.Context(), of, medialog.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	serves(s)
	bad("another one")
	reindexed(at)
	bad()
	serves(NewSet(d, nil, nil))
	if _, err := s.Init(t.Context(), of, strings.Repeat("0", 16)); !errors.Is(err, medialog.ErrNotFound) {
		t.Errorf("a configuration that nothing has: %v", err)
	}
}

// Reindex tells which files it could not read.
func TestReindexLeavesOut(t *testing.T) {
	d := Local(t.TempDir())
	putFile(t, d, topic, 1, testmedia.Start, 4, testmedia.Start)
	broken := putFile(t, d, topic, 5, testmedia.Start.Add(4*time.Second), 4, testmedia.Start)
	if err := os.Truncate(broken, 100); err != nil {
		t.Fatal(err)
	}
	for r, err := range d.Reindex(t.Context(), nil, slog.New(slog.DiscardHandler)) {
		if err != nil || len(r.LeftOut) != 1 || filepath.Join(root(d), r.LeftOut[0].Path) != broken {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// Reindex makes summaries of files that were copied here without them.
func TestReindexSummaries(t *testing.T) {
	d, of := Local(t.TempDir()), Series{"life1", topic}
	for i := range 5 { // an hour is complete when two hours have followed
		putFile(t, d, topic, uint64(1+4*i), testmedia.Start.Truncate(time.Hour).Add(time.Duration(i)*time.Hour), 4, testmedia.Start)
	}
	if _, err := d.store.List(t.Context(), summaryPath(of, ""), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before: %v", err)
	}
	for _, err := range d.Reindex(t.Context(), nil, slog.New(slog.DiscardHandler)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	found, err := d.store.List(t.Context(), summaryPath(of, ""), "")
	if err != nil || len(found) == 0 {
		t.Errorf("after: %v, %v", found, err)
	}
}
