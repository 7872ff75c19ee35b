package archive

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// An archive lists its files in order, and nothing else that lies in its directories.
func TestDir(t *testing.T) {
	d := Local(filepath.Join(t.TempDir(), "archive"))
	if s, err := d.Series(t.Context()); err != nil || len(s) > 0 {
		t.Errorf("an archive that does not exist has %v, %v", s, err)
	}
	for _, path := range []string{
		"b/yard/raw/100-120.mp4", "b/yard/raw/9-99.mp4", "b/yard/raw/9-20.mp4", "b/yard/raw/.7.part", "b/yard/raw/5-4.mp4",
		"b/yard/raw/1-99999999999999999999.mp4", "b/yard/raw/x-1.mp4", "a/yard/360p/1-2.mp4", "a/yard/index/1-2.mp4", "a/YARD/raw/1-2.mp4", "..a/yard/raw/1-2.mp4", "holds",
	} {
		path = filepath.Join(d.String(), path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := d.Series(t.Context())
	raw := Series{"b", schemas.Topic{Camera: "yard"}}
	if want := (Series{"a", schemas.Topic{Camera: "yard", Rendition: "360p"}}); err != nil || len(s) != 2 || s[0] != want || s[1] != raw {
		t.Errorf("series %v, %v", s, err)
	}
	files, err := d.Files(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		if f.Size != 5 || f.Written.IsZero() {
			t.Errorf("%+v", f)
		}
		got = append(got, filepath.Base(f.Path()))
	}
	if len(got) != 3 || got[0] != "9-99.mp4" || got[1] != "9-20.mp4" || got[2] != "100-120.mp4" {
		t.Errorf("files %v", got)
	}
	if files, err := d.Files(t.Context(), Series{"c", raw.Topic}); err != nil || len(files) > 0 {
		t.Errorf("a series without a directory has %v, %v", files, err)
	}
	if _, err := d.Files(t.Context(), Series{"../b", raw.Topic}); err == nil {
		t.Error("a life with a slash was read")
	}
}
