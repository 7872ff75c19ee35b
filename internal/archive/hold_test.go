package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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

// spansOf are those of files, of which some can be read. Times have whole microseconds, as in entries.
func spansOf(t *testing.T, files []stored, known map[uint64]span) *spans {
	s := &spans{dir: Local(t.TempDir())}
	s.begin([]scanned{{Series: Series{"a", topic}, files: files}})
	for i := range files {
		if at, ok := known[files[i].First]; ok {
			s.known[files[i].Series][files[i].numbers()] = at.micros()
		}
	}
	return s
}

// The files that a hold touches are those that are held, and those that cannot be read, where sessions step
// back in time by any amount.
func TestSpansHold(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		random := func(most time.Duration) time.Duration {
			return time.Duration(rnd.Int64N(int64(most))).Truncate(time.Microsecond)
		}
		known := map[uint64]span{}
		var files []stored
		at, latest := testmedia.Start, testmedia.Start
		for i := range uint64(rnd.IntN(200)) {
			f := stored{Kept: Kept{Series: Series{"a", topic}, First: i, Last: i}}
			if rnd.IntN(10) == 0 { // a session, whose clock may be another one
				at = latest.Add(random(3*maxStepBack) - maxStepBack)
				if rnd.IntN(4) == 0 {
					at = at.AddDate(-2, 0, 0)
				}
			}
			end := at.Add(time.Hour + random(time.Hour))
			if rnd.IntN(20) > 0 {
				known[i] = span{at, end}
			}
			at = end
			if at.After(latest) {
				latest = at
			}
			files = append(files, f)
		}
		from := testmedia.Start.Add(random(200*time.Hour)).AddDate(-2*rnd.IntN(2), 0, 0)
		h := Hold{From: from, To: from.Add(random(10 * time.Hour))}
		s := spansOf(t, files, known)
		if err := s.read(t.Context(), Series{"a", topic}, files); err != nil {
			t.Fatal(err)
		}
		s.hold(files, []Hold{h})
		for i, f := range files {
			t1, ok := known[uint64(i)]
			if ok && f.held != h.touches(t1.from, t1.to) {
				t.Fatalf("seed %d: file %d, %v: held %v", seed, f.First, t1, f.held)
			}
			if f.unsure == ok {
				t.Fatalf("seed %d: file %d: unsure %v, and it can be read: %v", seed, f.First, f.unsure, ok)
			}
		}
	}
}

// A file that cannot be read stays if its camera has a hold. Times of files that do not exist any more are
// forgotten.
func TestSpansUnreadable(t *testing.T) {
	h := Hold{From: testmedia.Start, To: testmedia.Start.Add(time.Minute)}
	files := make([]stored, 4)
	for i := range files {
		files[i] = stored{Kept: Kept{Series: Series{"a", topic}, First: uint64(i), Last: uint64(i)}}
	}
	early, late := h.From.Add(-3*maxStepBack), h.To.Add(time.Hour)
	s := spansOf(t, files, map[uint64]span{0: {early, early.Add(time.Minute)}, 3: {late, late.Add(time.Minute)}})
	for _, holds := range [][]Hold{nil, {h}} {
		if err := s.read(t.Context(), Series{"a", topic}, files); err != nil {
			t.Fatal(err)
		}
		s.hold(files, holds)
		for i, f := range files {
			if want := len(holds) > 0 && (i == 1 || i == 2); f.held || f.unsure != want {
				t.Errorf("%d holds; file %d: held %v, unsure %v", len(holds), i, f.held, f.unsure)
			}
		}
	}
	s.begin([]scanned{{Series: Series{"a", topic}, files: files[2:]}})
	if known := s.known[Series{"a", topic}]; len(known) != 1 || len(s.known) != 1 {
		t.Errorf("the times of %v are in memory", known)
	}
	s.begin(nil)
	if len(s.known) != 0 {
		t.Errorf("the times of %v are in memory", s.known)
	}
}

// Files are read before the lock is taken, so that who adds a hold does not wait for that. Those of
// another camera are not read.
func TestKeeperReadsBeforeLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, at := Local(t.TempDir()), &clock{testmedia.Start.Add(time.Hour)}
		putFile(t, d, topic, 1, testmedia.Start, 2, testmedia.Start)
		putFile(t, d, schemas.Topic{Camera: "gate"}, 1, testmedia.Start, 2, testmedia.Start)
		if _, err := d.AddHold(t.Context(), Hold{Camera: "yard", From: testmedia.Start, To: testmedia.Start.Add(time.Second), At: at.at}); err != nil {
			t.Fatal(err)
		}
		_, unlock, err := d.store.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		k, _, _ := keeper(KeepConfig{Dir: d, Limit: 1}, at)
		looked := make(chan error)
		go func() { looked <- k.look(t.Context()) }()
		synctest.Wait()
		if yard, gate := k.spans.known[Series{"life1", topic}], k.spans.known[Series{"life1", schemas.Topic{Camera: "gate"}}]; len(yard) != 1 || len(gate) != 0 {
			t.Errorf("under the lock of another process it has read %v and %v", yard, gate)
		}
		unlock()
		if err := <-looked; err != nil {
			t.Error(err)
		}
		if got := seqs(t, d, topic); len(got) != 1 {
			t.Errorf("%v is left", got)
		}
	})
}

// A store that goes away while files are read does not take the time of all files.
func TestSpansAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := make([]stored, 10_000)
		for i := range files {
			files[i] = stored{Kept: Kept{Series: Series{"a", topic}, First: uint64(i), Last: uint64(i)}}
		}
		s := spansOf(t, files, nil)
		s.dir = In(slowStore{s.dir.store})
		began := time.Now()
		err := s.read(t.Context(), Series{"a", topic}, files)
		if took := time.Since(began); err != nil || !errors.Is(s.failure, fs.ErrNotExist) || took != 3*20*time.Second {
			t.Errorf("after %v: %v, %v", took, err, s.failure)
		}
		if s.hold(files, []Hold{{}}); !files[0].unsure || !files[len(files)-1].unsure {
			t.Error("what was not read may be deleted")
		}
	})
}

// slowStore has no file, and tells that after a while.
type slowStore struct{ Store }

func (s slowStore) Open(ctx context.Context, path string) (Object, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(20 * time.Second):
		return s.Store.Open(ctx, path)
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

// A hold is exact, however far public time has stepped back for a while: on the footage of that time and
// on other footage.
func TestKeeperHoldsSteppedBackTime(t *testing.T) { onStores(t, testKeeperHoldsSteppedBackTime) }

func testKeeperHoldsSteppedBackTime(t *testing.T, d Dir) {
	at := &clock{time.Now().Add(time.Hour)}
	const files = 21
	start := func(n int) time.Time {
		s := testmedia.Start.Add(time.Duration(n) * 10 * time.Minute)
		if n >= 8 && n < 13 { // a host without a clock of its own was started again
			s = s.AddDate(-2, 0, 0)
		}
		return s
	}
	for n := range files {
		putFile(t, d, topic, uint64(1+10*n), start(n), 2, at.at.Add(-2*time.Hour))
	}
	for _, n := range []int{2, 11, 18} {
		if _, err := d.AddHold(t.Context(), Hold{Camera: "yard", From: start(n), To: start(n).Add(time.Second), At: at.at}); err != nil {
			t.Fatal(err)
		}
	}
	k, _, _ := keeper(KeepConfig{Dir: d, Limit: 1}, at)
	look(t, k)
	if got := seqs(t, d, topic); !slices.Equal(got, []uint64{21, 111, 181}) {
		t.Errorf("%v is left", got)
	}
}
