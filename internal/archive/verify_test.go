package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// verdicts are what Verify says, one line a file.
func verdicts(t *testing.T, d Dir, s Selection) (all []string) {
	t.Helper()
	for c, err := range d.Verify(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		if (c.Cause != nil) != (c.Result == Damaged || c.Result == Differs) {
			t.Errorf("%s is %s, because of: %v", c.Path, c.Result, c.Cause)
		}
		all = append(all, fmt.Sprint(strings.TrimPrefix(c.Path, "life1/yard/"), " ", c.Result))
	}
	slices.Sort(all)
	return all
}

// Verify tells each file that is not as it was written, lies in the place of another one, or is
// not complete. Of files that overlap it tells those that differ in a fragment.
func TestVerify(t *testing.T) { onStores(t, testVerify) }

func testVerify(t *testing.T, d Dir) {
	start, now := testmedia.Start, testmedia.Start.Add(time.Hour)
	path := putFile(t, d, topic, 1, start, 4, now)
	want := func(s Selection, want ...string) {
		t.Helper()
		slices.Sort(want)
		if got := verdicts(t, d, s); !slices.Equal(got, want) {
			t.Errorf("it says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	// Overlaps: 3-4 are the same fragments, and 4-6 begin with another one. 7-8 overlap none.
	l := log(testmedia.Synthetic(testmedia.Place{Seq: 1, Session: 3, Epoch: 9, Layout: testmedia.Layout, Start: start}, 4))
	if err := Write(t.Context(), d, l, topic, l.entries(-1)[2:]); err != nil {
		t.Fatal(err)
	}
	want(Selection{}, "raw/1-4.mp4 intact", "raw/3-4.mp4 intact")
	putFile(t, d, topic, 4, start.Add(3*time.Second), 3, now)
	putFile(t, d, topic, 7, start.Add(6*time.Second), 2, now)
	putFile(t, d, schemas.Topic{Camera: "yard", Rendition: "360p"}, 1, start, 4, now)
	differ := []string{"raw/1-4.mp4 intact", "raw/3-4.mp4 intact", "raw/4-6.mp4 differs", "raw/7-8.mp4 intact"}
	want(Selection{}, append(differ, "360p/1-4.mp4 intact")...)

	raw := func(s Series) bool { return s.Topic == topic }
	want(Selection{Series: raw}, differ...)
	want(Selection{Series: raw, From: start.Add(6 * time.Second)}, "raw/7-8.mp4 intact")
	want(Selection{Series: raw, To: start.Add(2 * time.Second)}, "raw/1-4.mp4 intact")
	want(Selection{Series: raw, From: start.Add(2 * time.Second), To: start.Add(3 * time.Second)}, "raw/1-4.mp4 intact", "raw/3-4.mp4 intact")

	// One byte of a segment is changed, a file lies in the place of another one, one is cut off,
	// one is not complete, and one is deleted.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for name, b := range map[string][]byte{"50-53.mp4": b, "60-63.mp4": b[:len(b)-1], ".1.part": b, "8-9.mp4.damaged": b, ".deleted-5-70-73.mp4": b} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	want(Selection{Series: raw}, "raw/1-4.mp4 damaged", "raw/3-4.mp4 intact", "raw/4-6.mp4 differs", "raw/7-8.mp4 intact",
		"raw/50-53.mp4 damaged", "raw/60-63.mp4 damaged", "raw/.1.part leftover", "raw/8-9.mp4.damaged leftover", "raw/.deleted-5-70-73.mp4 in-removal")
	// Whether it is in the range cannot be read.
	want(Selection{Series: raw, From: start.Add(7 * time.Second)}, "raw/7-8.mp4 intact",
		"raw/50-53.mp4 damaged", "raw/60-63.mp4 damaged", "raw/.1.part leftover", "raw/8-9.mp4.damaged leftover", "raw/.deleted-5-70-73.mp4 in-removal")
}

// A file that was listed can be opened until it is removed.
func TestOpenDeleted(t *testing.T) { onStores(t, testOpenDeleted) }

func testOpenDeleted(t *testing.T, d Dir) {
	at := &clock{testmedia.Start}
	putFile(t, d, topic, 1, testmedia.Start, 2, at.at)
	files, err := d.Files(t.Context(), Series{"life1", topic})
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	k, _, _ := keeper(KeepConfig{Dir: d, Limit: 1}, at)
	look(t, k)
	f, err := d.Open(t.Context(), files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Verify(t.Context()), f.Close()); err != nil {
		t.Error(err)
	}
	at.at = at.at.Add(time.Minute)
	look(t, k)
	if _, err := d.Open(t.Context(), files[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}

// What there is of a series is told by the files that can be read.
func TestFootage(t *testing.T) { onStores(t, testFootage) }

func testFootage(t *testing.T, d Dir) {
	start := testmedia.Start
	first := putFile(t, d, topic, 1, start, 2, start)
	putFile(t, d, topic, 10, start.Add(10*time.Second), 3, start)
	putFile(t, d, topic, 20, start.Add(20*time.Second), 1, start)
	if err := os.Truncate(first, 1000); err != nil {
		t.Fatal(err)
	}
	all, err := d.Footage(t.Context(), nil)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if f := all[0]; f.Topic != topic || f.Files != 3 || f.Bytes < 3000 || !f.From.Equal(start.Add(10*time.Second)) || !f.To.Equal(start.Add(21*time.Second)) {
		t.Errorf("%+v", f)
	}
	if all, err := d.Footage(t.Context(), func(s Series) bool { return s.Topic.Camera == "gate" }); err != nil || len(all) > 0 {
		t.Error(all, err)
	}
}
