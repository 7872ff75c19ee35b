package archive

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/tests/testmedia"
)

// What a file of the archive has is given as a part of it, with the bytes of the segment, if the
// log does not have it any more.
func TestSegment(t *testing.T) {
	k := recorded()
	dir := t.TempDir()
	paths := archiveAll(t, Local(dir), k)
	j := NewJoined(k, NewSet(Local(dir), nil, nil))
	opened := 0
	for i, e := range k.all {
		k.expired = e.Seq
		if s, err := j.Segment(t.Context(), topic, e); err != nil || s != nil {
			t.Fatalf("%d, which the log has: %v, %v", e.Seq, s, err)
		}
		k.expired++
		s, err := j.Segment(t.Context(), topic, e)
		if err != nil {
			t.Fatal(err)
		}
		has, err := j.set.Has(t.Context(), topic, e)
		if err != nil || has != (s != nil) {
			t.Errorf("%d: archived %v, opened %v, %v", e.Seq, has, s != nil, err)
		}
		if s == nil {
			continue
		}
		want, err := cmaf.Segment(e, k.log[i].All())
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if n, err := s.WriteTo(&got); err != nil || n != s.Size || !bytes.Equal(got.Bytes(), bytes.Join(want, nil)) {
			t.Errorf("%d: %d other bytes, %v", e.Seq, n, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		opened++
	}
	if opened < len(k.all)/2 {
		t.Errorf("%d segments of %d entries", opened, len(k.all))
	}
	k.expired = 1 << 60
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	if s, err := j.Segment(t.Context(), topic, k.all[0]); err != nil || s != nil {
		t.Errorf("a file that is gone: %v, %v", s, err)
	}
	other, err := j.Segment(t.Context(), topic, k.all[len(k.all)/2])
	if err != nil || other == nil {
		t.Fatal(other, err)
	}
	_ = other.Close()
	for _, box := range j.set.boxes.Values() {
		box.Muxer = "m0" // of another version, whose bytes are others
	}
	if s, err := j.Segment(t.Context(), topic, k.all[len(k.all)/2]); err != nil || s != nil {
		t.Errorf("of another muxer: %v, %v", s, err)
	}
}

// A clip of the archive, of the log and over the border of both has the same bytes, however it is
// read. One whose file is cut off meanwhile is an error.
func TestClipOfFiles(t *testing.T) {
	k := &kafka{log: testmedia.Synthetic(place(), 150)}
	k.all = k.entries(-1)
	dir := t.TempDir()
	archiveAll(t, Local(dir), k)
	j := NewJoined(k, NewSet(Local(dir), nil, nil))
	of := func() *clip.File {
		t.Helper()
		from := k.all[0].Start
		all, err := clip.Plan(t.Context(), j, topic, from.Add(1500*time.Millisecond), from.Add(100*time.Second))
		if err != nil || len(all) != 1 {
			t.Fatal(len(all), err)
		}
		f, err := all[0].Prepare(t.Context(), j, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	read := func(f *clip.File) []byte {
		t.Helper()
		r := f.Reader(t.Context())
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := read(of())
	for name, expired := range map[string]uint64{"archive": 1 << 60, "both": k.all[40].Seq} {
		k.expired = expired
		f := of()
		if got := read(f); !bytes.Equal(got, want) {
			t.Errorf("%s: %d other bytes, want %d", name, len(got), len(want))
		}
		r := f.Reader(t.Context())
		if err := iotest.TestReader(r, want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Seek(int64(len(want)/3), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(t.TempDir(), "clip.mp4")) // the system copies
		if err != nil {
			t.Fatal(err)
		}
		n, err := r.WriteTo(out)
		if err != nil || n != int64(len(want)-len(want)/3) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(out.Name()); err != nil || !bytes.Equal(got, want[len(want)/3:]) {
			t.Errorf("%s: %d other bytes, %v", name, len(got), err)
		}
		_ = r.Close()
	}
	k.expired = 1 << 60
	f := of()
	if len(f.Segments()) < 90 {
		t.Errorf("the clip has %d segments", len(f.Segments()))
	}
	paths, err := filepath.Glob(filepath.Join(dir, "life1/yard/raw/*.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	// A changed sample is not looked at, and a changed table is: then the whole segment is.
	for place, want := range map[string]error{"mdat": nil, "tfdt": medialog.ErrExpired} {
		b, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Clone(b)
		first := f.Segments()[2].At // of the clip, whose segments are those of the file
		at := bytes.Index(changed, read(f)[first:first+64]) + 8
		changed[at+bytes.Index(changed[at:], []byte(place))+8] ^= 0x40
		if err := os.WriteFile(paths[0], changed, 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := clip.Plan(t.Context(), j, topic, k.all[0].Start, k.all[0].Start.Add(100*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := all[0].Prepare(t.Context(), j, func(int64) {}); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("a changed %s: %v, want %v", place, err, want)
		}
		if err := os.WriteFile(paths[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range paths {
		if err := os.Truncate(path, 3000); err != nil {
			t.Fatal(err)
		}
	}
	r := f.Reader(t.Context())
	defer r.Close()
	if n, err := r.WriteTo(io.Discard); err == nil {
		t.Errorf("%d bytes of files that are cut off", n)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err == nil {
		t.Errorf("%d bytes of files that are cut off", len(b))
	}
}
