package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// A hold is read as it was added. A released one is gone, and its record stays.
func TestHolds(t *testing.T) { onStores(t, testHolds) }

func testHolds(t *testing.T, d Dir) {
	if all, err := d.Holds(t.Context()); err != nil || len(all.All) > 0 {
		t.Errorf("an archive without holds has %v, %v", all, err)
	}
	h, err := d.AddHold(t.Context(), Hold{
		Camera: "yard", Rendition: "raw", From: testmedia.Start, To: testmedia.Start.Add(time.Minute), Reason: "théft", By: "anna", At: testmedia.Start.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.AddHold(t.Context(), Hold{Camera: "gate", From: testmedia.Start, To: testmedia.Start.Add(1), At: testmedia.Start})
	if err != nil {
		t.Fatal(err)
	}
	all, err := d.Holds(t.Context())
	if err != nil || len(all.All) != 2 || len(all.Unreadable) > 0 || all.All[1] != h || all.All[0] != second {
		t.Errorf("holds %+v, %v; want %+v and %+v", all, err, second, h)
	}
	if err := d.ReleaseHold(t.Context(), h.ID, "berta", testmedia.Start.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if all, err := d.Holds(t.Context()); err != nil || len(all.All) != 1 {
		t.Errorf("holds %+v, %v", all, err)
	}
	b, err := os.ReadFile(filepath.Join(root(d), "holds", "released.log"))
	for _, want := range []string{h.ID, "théft", "anna", "berta"} {
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("released.log lacks %s: %s, %v", want, b, err)
		}
	}
	for _, id := range []string{h.ID, "", "../x", "a/b"} {
		if err := d.ReleaseHold(t.Context(), id, "berta", testmedia.Start); !errors.Is(err, ErrNoHold) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for name, h := range map[string]Hold{
		"a camera":   {Camera: "../x", From: testmedia.Start, To: testmedia.Start.Add(1)},
		"a range":    {Camera: "yard", From: testmedia.Start, To: testmedia.Start},
		"a rendtion": {Camera: "yard", Rendition: "index", From: testmedia.Start, To: testmedia.Start.Add(1)},
	} {
		if _, err := d.AddHold(t.Context(), h); err == nil {
			t.Errorf("%s that is none is taken", name)
		}
	}
	if _, err := Local(filepath.Join(root(d), "none")).AddHold(t.Context(), second); err == nil {
		t.Error("a hold is added to an archive that does not exist")
	}
}

// A file of a hold that is not exactly one is unreadable, and none is passed over.
func TestHoldDamaged(t *testing.T) {
	d := Local(t.TempDir())
	h, err := d.AddHold(t.Context(), Hold{Camera: "yard", From: testmedia.Start, To: testmedia.Start.Add(time.Minute), At: testmedia.Start})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root(d), "holds", h.ID+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.TrimSpace(string(b))
	damaged := map[string]string{
		"newer": strings.Replace(whole, `"version": 1`, `"version": 2`, 1), "other": strings.Replace(whole, h.ID, "x", 1),
		"without a version": strings.Replace(whole, `"version": 1,`, "", 1), "typo": strings.Replace(whole, `"from"`, `"form"`, 1),
		"no camera": strings.Replace(whole, "yard", "YARD", 1),
	}
	for i := range whole {
		damaged[fmt.Sprint("cut off at ", i)] = whole[:i]
	}
	for name, text := range damaged {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		all, err := d.Holds(t.Context())
		if err != nil || len(all.All) > 0 || len(all.Unreadable) != 1 || all.Unreadable[0].Path != path {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
		if newer := name == "newer"; len(all.Unreadable) == 1 && errors.Is(all.Unreadable[0].Cause, schemas.ErrNewer) != newer {
			t.Errorf("%s: %v", name, all.Unreadable[0].Cause)
		}
	}
	if err := d.ReleaseHold(t.Context(), h.ID, "berta", testmedia.Start); err != nil {
		t.Errorf("a damaged hold is not released: %v", err)
	}
}

// While a process deletes files, no hold is added: it would not know it.
func TestHoldWaitsForKeeper(t *testing.T) { onStores(t, testHoldWaitsForKeeper) }

func testHoldWaitsForKeeper(t *testing.T, d Dir) {
	h := Hold{Camera: "yard", From: testmedia.Start, To: testmedia.Start.Add(time.Minute), At: testmedia.Start}
	_, unlock, err := d.store.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := d.AddHold(ctx, h); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it is added meanwhile: %v", err)
	}
	unlock()
	if _, err := d.AddHold(t.Context(), h); err != nil {
		t.Error(err)
	}
}

// The search finds the files that a hold touches, as a look at each file does, where sessions
// step back in time and files cannot be read.
func TestSpansHold(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := spans{dir: Local(t.TempDir()), seen: map[string]span{}}
		s.begin()
		var files []stored
		at, latest := testmedia.Start, testmedia.Start
		for i := range uint64(rnd.IntN(200)) {
			f := stored{Kept: Kept{Series: Series{"a", topic}, First: i, Last: i}}
			if rnd.IntN(10) == 0 { // a session, whose clock may be another one
				at = latest.Add(time.Duration(rnd.Int64N(int64(3*maxStepBack))) - maxStepBack)
			}
			end := at.Add(time.Hour + time.Duration(rnd.Int64N(int64(time.Hour))))
			if rnd.IntN(20) > 0 {
				s.seen[f.path()] = span{at, end}
			}
			at = end
			if at.After(latest) {
				latest = at
			}
			files = append(files, f)
		}
		from := testmedia.Start.Add(time.Duration(rnd.Int64N(int64(200 * time.Hour))))
		h := Hold{From: from, To: from.Add(time.Duration(rnd.Int64N(int64(10 * time.Hour))))}
		s.hold(t.Context(), files, &h)
		for i, f := range files {
			t1, ok := s.seen[f.path()]
			if ok && f.held != h.touches(t1.from, t1.to) {
				t.Fatalf("seed %d: file %d, %v: held %v", seed, f.First, t1, f.held)
			}
			if !ok && i > 0 && i < len(files)-1 && files[i-1].held && files[i+1].held && !f.held {
				t.Fatalf("seed %d: file %d, which cannot be read and stands between held ones, is not held", seed, f.First)
			}
		}
	}
}

// A file that cannot be read is held if it may touch the hold: one that stands between a file
// long before the hold and one behind it.
func TestSpansUnreadable(t *testing.T) {
	h := Hold{From: testmedia.Start, To: testmedia.Start.Add(time.Minute)}
	s := spans{dir: Local(t.TempDir()), seen: map[string]span{}}
	s.begin()
	files := make([]stored, 4)
	for i := range files {
		files[i] = stored{Kept: Kept{Series: Series{"a", topic}, First: uint64(i), Last: uint64(i)}}
	}
	early, late := h.From.Add(-3*maxStepBack), h.To.Add(time.Hour)
	s.seen[files[0].path()] = span{early, early.Add(time.Minute)}
	s.seen[files[3].path()] = span{late, late.Add(time.Minute)}
	s.hold(t.Context(), files, &h)
	if files[0].held || !files[1].held || !files[2].held || files[3].held {
		t.Errorf("held: %v, %v, %v, %v", files[0].held, files[1].held, files[2].held, files[3].held)
	}
}

// A hold keeps a file whose last gap is of a later session, before which the clock has stepped back.
// Commands that choose files by time find it too.
func TestKeeperHoldsSteppedBackGap(t *testing.T) {
	d, at := Local(t.TempDir()), &clock{time.Now().Add(time.Hour)}
	l := log(testmedia.Synthetic(place(), 2))
	entries := l.entries(-1)
	gap := testmedia.GapAt(entries[1], 2*time.Second)
	gap.Life, gap.Session, gap.Start = "life1", gap.Session+1, gap.Start.Add(-2*time.Hour)
	gap.Run = &schemas.GapRun{Durations: []int64{gap.Duration / 2, gap.Duration / 2}}
	next := entries[0]
	next.Seq, next.Session, next.Start, next.Media = gap.LastSeq()+1, gap.Session, gap.End(), gap.MediaEnd()
	for file, err := range Cut(topic, each(append(entries, gap, next))) {
		if err == nil {
			err = Write(t.Context(), d, l, topic, file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, from, to time.Time) {
		t.Helper()
		h, err := d.AddHold(t.Context(), Hold{Camera: "yard", From: from, To: to, At: at.at})
		if err != nil {
			t.Fatal(err)
		}
		k, _, _ := keeper(KeepConfig{Dir: d, Limit: 1}, at)
		look(t, k)
		if got := seqs(t, d, topic); len(got) != 1 {
			t.Fatalf("a hold of %s: %v is left", what, got)
		}
		sel := Selection{From: from, To: to}
		if got := verdicts(t, d, sel); len(got) != 1 {
			t.Errorf("verify of %s: %v", what, got)
		}
		listed := 0
		for f, err := range d.Select(t.Context(), sel) {
			if listed++; err != nil || !f.From.Equal(gap.Start) || !f.To.Equal(entries[1].End()) {
				t.Errorf("list of %s: from %v to %v, %v", what, f.From, f.To, err)
			}
		}
		if listed != 1 {
			t.Errorf("list of %s: %d files", what, listed)
		}
		if err := d.ReleaseHold(t.Context(), h.ID, "me", at.at); err != nil {
			t.Fatal(err)
		}
	}
	want("the footage", entries[0].Start.Add(time.Second/2), entries[1].End())
	want("the gap", gap.Start, gap.End())
}
