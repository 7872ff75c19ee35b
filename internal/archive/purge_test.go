package archive

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// A purge deletes what there is of one camera in one life, and nothing outside the archive,
// whatever the log calls a life. What is held stays.
func TestPurge(t *testing.T) {
	top := t.TempDir()
	d := Local(filepath.Join(top, "archive"))
	for _, path := range []string{"archive/a/yard/raw/1-2.mp4", "archive/a/yard/360p/1-2.mp4", "archive/b/yard/raw/3-4.mp4", "archive/b/gate/raw/3-4.mp4", "yard/raw/1-2.mp4"} {
		path = filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if lives, err := d.Lives(t.Context(), "yard"); err != nil || len(lives) != 2 || lives["a"].IsZero() || lives["b"].IsZero() {
		t.Errorf("lives %v, %v", lives, err)
	}
	for _, life := range []string{"..", ".", "", "a/.."} {
		if deleted, err := d.Purge(t.Context(), life, "yard"); err == nil || deleted {
			t.Errorf("the life %q is purged", life)
		}
	}
	h, err := d.AddHold(t.Context(), Hold{Camera: "yard", From: testmedia.Start, To: testmedia.Start.Add(1), At: testmedia.Start})
	if err != nil {
		t.Fatal(err)
	}
	if deleted, err := d.Purge(t.Context(), "a", "yard"); !errors.Is(err, ErrHeld) || deleted {
		t.Errorf("a held camera: deleted %v, %v", deleted, err)
	}
	if err := d.ReleaseHold(t.Context(), h.ID, "me", testmedia.Start); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if deleted, err := d.Purge(t.Context(), "a", "yard"); err != nil || deleted != want {
			t.Errorf("deleted %v, want %v (%v)", deleted, want, err)
		}
	}
	for path, want := range map[string]bool{"archive/a": false, "archive/b/yard/raw/3-4.mp4": true, "archive/b/gate/raw/3-4.mp4": true, "yard/raw/1-2.mp4": true} {
		if _, err := os.Stat(filepath.Join(top, path)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
}

// In a store without directories too a purge deletes one camera in one life, and not what is held.
// Several that write a file at once make one.
func TestPurgeInS3(t *testing.T) {
	d := s3Of(t, testenv.StartS3(t), nil)
	l := log(testmedia.Synthetic(place(), 3))
	entries := l.entries(-1)
	results := make(chan error)
	for range 4 {
		go func() { results <- Write(t.Context(), d, l, topic, entries) }()
	}
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	gate := schemas.Topic{Camera: "gate"}
	if err := Write(t.Context(), d, l, gate, entries); err != nil {
		t.Fatal(err)
	}
	if lives, err := d.Lives(t.Context(), "yard"); err != nil || len(lives) != 1 || lives["life1"].IsZero() {
		t.Errorf("lives %v, %v", lives, err)
	}
	h, err := d.AddHold(t.Context(), Hold{Camera: "yard", From: testmedia.Start, To: testmedia.Start.Add(1), At: testmedia.Start})
	if err != nil {
		t.Fatal(err)
	}
	if deleted, err := d.Purge(t.Context(), "life1", "yard"); !errors.Is(err, ErrHeld) || deleted {
		t.Errorf("a held camera: deleted %v, %v", deleted, err)
	}
	if err := d.ReleaseHold(t.Context(), h.ID, "me", testmedia.Start); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if deleted, err := d.Purge(t.Context(), "life1", "yard"); err != nil || deleted != want {
			t.Errorf("deleted %v, want %v (%v)", deleted, want, err)
		}
	}
	if all, err := d.Series(t.Context()); err != nil || len(all) != 1 || all[0].Topic != gate {
		t.Errorf("it has %v, %v", all, err)
	}
	if files, err := d.Files(t.Context(), Series{"life1", gate}); err != nil || len(files) != 1 {
		t.Error(files, err)
	}
}
