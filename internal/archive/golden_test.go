package archive

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/framelog/framelog/tests/testmedia"
)

var update = flag.Bool("update", false, "write the golden file")

// The golden file is what version 1 of the format was. It is never edited: archives hold such
// files for years. A change of the format gets another version, and this file is still read.
func TestGolden(t *testing.T) {
	l := log(testmedia.Synthetic(place(), 3))
	entries := l.entries(1)
	dir := t.TempDir()
	if err := Write(t.Context(), Local(dir), l, topic, entries); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, Path(topic, entries)))
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/1.mp4"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("a file of %d bytes differs from the golden one of %d", len(got), len(want))
	}
	f, err := Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	for i, e := range entries {
		if f.Entries[i].Seq != e.Seq || f.Entries[i].Kind != e.Kind || f.Entries[i].Media != e.Media {
			t.Errorf("entry %d is %+v", i, f.Entries[i])
		}
		if !e.Playable() {
			continue
		}
		chunks, err := f.box.chunks(f.file, i)
		if err != nil || len(chunks) != len(l[i].Chunks) || chunks[0].Size() != l[i].Chunks[0].Size() {
			t.Errorf("fragment %d: %d chunks, %v", e.Seq, len(chunks), err)
		}
	}
}
