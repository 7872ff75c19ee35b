package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// putFile writes a file of seconds of footage, that begins at start and was archived at
// written. It returns the file's path.
func putFile(t *testing.T, d Dir, of schemas.Topic, seq uint64, start time.Time, seconds int, written time.Time) string {
	t.Helper()
	l := log(testmedia.Synthetic(testmedia.Place{Seq: seq, Session: 3, Epoch: 9, Layout: testmedia.Layout, Start: start}, seconds))
	entries := l.entries(-1)
	if err := Write(t.Context(), d, l, of, entries); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root(d), Path(of, entries))
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	return path
}

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func keeper(c KeepConfig, at *clock) (k *Keeper, reg *prometheus.Registry, said *bytes.Buffer) {
	reg, said = prometheus.NewRegistry(), new(bytes.Buffer)
	k = NewKeeper(c, slog.New(slog.NewTextHandler(said, nil)), reg)
	k.now, k.free = at.now, func(context.Context) (int64, error) { return 1 << 40, nil }
	return k, reg, said
}

func look(t *testing.T, k *Keeper) {
	t.Helper()
	if err := k.look(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// seqs are the first seqs of the files that readers list.
func seqs(t *testing.T, d Dir, of schemas.Topic) (all []uint64) {
	t.Helper()
	files, err := d.Files(t.Context(), Series{"life1", of})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		all = append(all, f.First)
	}
	return all
}

func exists(t *testing.T, pattern ...string) bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

// A deleted file is hidden at once, and removed later with its directories. Who has it open
// reads on. Two Keepers do not disturb each other.
func TestKeeper(t *testing.T) { onStores(t, testKeeper) }

func testKeeper(t *testing.T, d Dir) {
	at := &clock{testmedia.Start.Add(time.Hour)}
	path := putFile(t, d, topic, 1, testmedia.Start, 2, at.at.Add(-10*time.Minute))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := float64(len(whole))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	config := KeepConfig{Dir: d, MaxAge: 11 * time.Minute, Delay: time.Minute}
	k, reg, _ := keeper(config, at)
	other, _, _ := keeper(config, at)

	look(t, k)
	if got := seqs(t, d, topic); len(got) != 1 || gauge(t, reg, "framelog_archive_stored_bytes") != size {
		t.Fatalf("files %v", got)
	}
	if got := gauge(t, reg, "framelog_archive_oldest_timestamp_seconds"); got != float64(testmedia.Start.UnixMilli())/1e3 {
		t.Errorf("the oldest is of %v", got)
	}

	at.at = at.at.Add(time.Minute)
	look(t, k)
	look(t, other)
	if got := seqs(t, d, topic); len(got) != 0 || !exists(t, filepath.Dir(path), ".deleted-*") {
		t.Fatalf("files %v, or it is not only hidden", got)
	}
	if gauge(t, reg, "framelog_archive_stored_bytes") != 0 || gauge(t, reg, "framelog_archive_deleted_bytes_total") != size || gauge(t, reg, "framelog_archive_deleted_files_total") != 1 {
		t.Error("the metrics do not tell")
	}

	at.at = at.at.Add(time.Minute - time.Second)
	look(t, k)
	if !exists(t, filepath.Dir(path), ".deleted-*") {
		t.Error("it is removed too early")
	}
	at.at = at.at.Add(time.Second)
	look(t, other)
	look(t, k)
	if exists(t, root(d), "life1") {
		t.Error("its directories are left")
	}
	if err := f.Verify(t.Context()); err != nil {
		t.Errorf("who has it open: %v", err)
	}
	if gauge(t, reg, "framelog_archive_oldest_timestamp_seconds") != 0 {
		t.Error("there is an oldest, and no file")
	}
}

// What a look does not come to read stays as it is, deleted or not, if its camera has a hold. The files of
// other cameras are deleted meanwhile.
func TestKeeperUnsure(t *testing.T) { onStores(t, testKeeperUnsure) }

func testKeeperUnsure(t *testing.T, d Dir) {
	at := &clock{testmedia.Start.Add(time.Hour)}
	held, other := topic, schemas.Topic{Camera: "other"}
	putFile(t, d, held, 1, testmedia.Start, 10, at.at)
	putFile(t, d, held, 11, testmedia.Start.Add(time.Minute), 10, at.at)
	putFile(t, d, other, 1, testmedia.Start, 10, at.at)
	k, _, said := keeper(KeepConfig{Dir: d, Limit: 1, Delay: time.Minute}, at)
	at.at = at.at.Add(time.Second)
	if err := k.hide(t.Context(), &deletion{stored: stored{Kept: Kept{Series: Series{"life1", held}, First: 1, Last: 10}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AddHold(t.Context(), Hold{Camera: held.Camera, From: testmedia.Start, To: testmedia.Start.Add(time.Second), At: at.at, Reason: "a burglary"}); err != nil {
		t.Fatal(err)
	}
	k.spans.budget = -1
	at.at = at.at.Add(2 * time.Minute)
	for range 2 {
		look(t, k)
	}
	if got := seqs(t, d, held); len(got) != 1 || got[0] != 11 {
		t.Errorf("%v is left", got)
	}
	if got := seqs(t, d, other); len(got) != 0 {
		t.Errorf("of another camera %v is left", got)
	}
	if n := strings.Count(said.String(), "files=2"); n != 1 {
		t.Errorf("it says %d times how many it keeps:\n%s", n, said)
	}
	k.spans.budget = 0
	look(t, k)
	if got := seqs(t, d, held); len(got) != 1 || got[0] != 1 {
		t.Errorf("%v is left when all is read", got)
	}
}

// gauge is the sum of a metric; 0 without one.
func gauge(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// What a hold touches stays, on both sides of a file's border, and whatever the limits say. A
// deleted file comes back as it was when a hold touches it before it is removed.
func TestKeeperHolds(t *testing.T) { onStores(t, testKeeperHolds) }

func testKeeperHolds(t *testing.T, d Dir) {
	at := &clock{testmedia.Start.Add(time.Hour)}
	minute := func(n float64) time.Time { return testmedia.Start.Add(time.Duration(n * float64(time.Minute))) }
	// Minutes 0, 1, 2, …: one file of ten seconds each.
	for n := range 6 {
		putFile(t, d, topic, uint64(1+10*n), minute(float64(n)), 10, at.at)
	}
	other := schemas.Topic{Camera: "yard", Rendition: "360p"}
	putFile(t, d, other, 21, minute(2), 10, at.at)
	add := func(h Hold) Hold {
		h.Camera, h.At, h.Reason = "yard", at.at, "a burglary"
		h, err := d.AddHold(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	// It begins and ends inside of the files of minutes 2 and 3. What comes a minute before
	// it belongs to it: minute 1 ends 55 s before.
	h := add(Hold{Rendition: "raw", From: minute(2.08), To: minute(3.01)})
	k, reg, said := keeper(KeepConfig{Dir: d, Limit: 1, Delay: time.Minute}, at)
	look(t, k)
	if got := seqs(t, d, topic); len(got) != 3 || got[0] != 11 || got[2] != 31 {
		t.Errorf("%v is left", got)
	}
	if got := seqs(t, d, other); len(got) != 0 {
		t.Errorf("of another rendition %v is left", got)
	}
	held := gauge(t, reg, "framelog_archive_held_bytes")
	if held == 0 || gauge(t, reg, "framelog_archive_stored_bytes") != held || gauge(t, reg, "framelog_archive_over_limit_bytes") != held-1 {
		t.Errorf("%v bytes are held", held)
	}
	look(t, k)
	if n := strings.Count(said.String(), "larger than its limits"); n != 1 {
		t.Errorf("it says %d times that it is too large:\n%s", n, said)
	}

	// The hold of all renditions comes after they were deleted, and ends where minute 4 begins.
	all := add(Hold{From: minute(2.5), To: minute(4)})
	at.at = at.at.Add(time.Minute)
	look(t, k)
	if got := seqs(t, d, other); len(got) != 1 {
		t.Errorf("of another rendition %v is back", got)
	}
	if got := seqs(t, d, topic); len(got) != 3 {
		t.Errorf("%v is left", got)
	}
	file, err := Open(filepath.Join(root(d), "life1", "yard", "360p", "21-30.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Verify(t.Context()); err != nil {
		t.Error(err)
	}

	for _, id := range []string{h.ID, all.ID} {
		if err := d.ReleaseHold(t.Context(), id, "me", at.at); err != nil {
			t.Fatal(err)
		}
	}
	look(t, k)
	at.at = at.at.Add(time.Minute)
	look(t, k)
	if exists(t, root(d), "life1") || gauge(t, reg, "framelog_archive_held_bytes") != 0 {
		t.Error("something is left without a hold")
	}
}

// A hold that nobody can read holds everything, and is told. So does a directory of holds
// that nobody can read.
func TestKeeperUnreadableHold(t *testing.T) {
	d := Local(t.TempDir())
	at := &clock{testmedia.Start.Add(time.Hour)}
	putFile(t, d, topic, 1, testmedia.Start, 2, at.at)
	k, reg, said := keeper(KeepConfig{Dir: d, Limit: 1}, at)
	path := filepath.Join(root(d), "holds", "x.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"version": 1, "id": "x", "camera": "ga`), 0o644); err != nil {
		t.Fatal(err)
	}
	look(t, k)
	if got := seqs(t, d, topic); len(got) != 1 || gauge(t, reg, "framelog_archive_unreadable_holds") != 1 || !strings.Contains(said.String(), path) {
		t.Errorf("%v is left:\n%s", got, said)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Dir(path), filepath.Dir(path)+"-moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Dir(path), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := k.look(t.Context()); err == nil || len(seqs(t, d, topic)) != 1 {
		t.Errorf("the directory is none: %v", err)
	}
}

// Run looks again and again, until its context ends.
func TestKeeperRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Local(t.TempDir())
		path := putFile(t, d, topic, 1, testmedia.Start, 2, time.Now())
		k, _, _ := keeper(KeepConfig{Dir: d, MaxAge: 5 * time.Minute}, nil)
		k.now = time.Now
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		time.Sleep(5*time.Minute - time.Second)
		if synctest.Wait(); !exists(t, path) {
			t.Error("it is deleted too early")
		}
		time.Sleep(2 * time.Minute)
		if synctest.Wait(); exists(t, root(d), "life1") {
			t.Error("it is not deleted")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The newest file of each series stays, also if a file that begins later is shorter.
func TestKeeperNewest(t *testing.T) { onStores(t, testKeeperNewest) }

func testKeeperNewest(t *testing.T, d Dir) {
	at := &clock{testmedia.Start.Add(time.Hour)}
	putFile(t, d, topic, 1, testmedia.Start, 2, at.at)
	putFile(t, d, topic, 10, testmedia.Start.Add(9*time.Second), 5, at.at)
	putFile(t, d, topic, 11, testmedia.Start.Add(10*time.Second), 2, at.at)
	k, _, _ := keeper(KeepConfig{Dir: d, Limit: 1, Newest: time.Hour}, at)
	look(t, k)
	look(t, k)
	if got := seqs(t, d, topic); len(got) != 1 || got[0] != 10 {
		t.Errorf("%v is left", got)
	}
	at.at = at.at.Add(time.Hour)
	look(t, k)
	if got := seqs(t, d, topic); len(got) != 0 {
		t.Errorf("%v is left after an hour", got)
	}
}

// Several Keepers look at the same time: each file is deleted once, and nothing fails.
func TestSeveralKeepers(t *testing.T) { onStores(t, testSeveralKeepers) }

func testSeveralKeepers(t *testing.T, d Dir) {
	const files, keepers = 30, 4
	at := &clock{testmedia.Start.Add(time.Hour)}
	path := putFile(t, d, topic, 1, testmedia.Start, 2, testmedia.Start)
	for n := range files - 1 {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf("%d-%d.mp4", 10+n, 10+n))
		if err := os.Link(path, name); err != nil {
			t.Fatal(err)
		}
	}
	var regs []*prometheus.Registry
	var running sync.WaitGroup
	for range keepers {
		k, reg, _ := keeper(KeepConfig{Dir: d, MaxAge: time.Minute, Delay: time.Nanosecond}, at)
		regs = append(regs, reg)
		running.Go(func() {
			for range 3 {
				if err := k.look(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	deleted := 0.0
	for _, reg := range regs {
		deleted += gauge(t, reg, "framelog_archive_deleted_files_total")
	}
	if got := seqs(t, d, topic); len(got) > 0 || deleted != files {
		t.Errorf("%v is left, %v were deleted", got, deleted)
	}
}

// What killed writers have left is removed after an hour.
func TestKeeperParts(t *testing.T) {
	d := Local(t.TempDir())
	at := &clock{testmedia.Start}
	dir := filepath.Join(root(d), "life1", "yard", "raw")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, ".7.part")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at.at, at.at); err != nil {
		t.Fatal(err)
	}
	k, _, _ := keeper(KeepConfig{Dir: d, Limit: 1}, at)
	at.at = at.at.Add(time.Hour - 1)
	look(t, k)
	if !exists(t, path) {
		t.Error("a file that is being written is removed")
	}
	at.at = at.at.Add(1)
	look(t, k)
	look(t, k)
	if exists(t, root(d), "life1") {
		t.Error("it is left")
	}
}

// A damaged file that was set aside is removed after a week, unless its camera is held.
func TestKeeperDamaged(t *testing.T) {
	d, start := Local(t.TempDir()), time.Now()
	at := &clock{start}
	path := putFile(t, d, topic, 1, testmedia.Start, 2, testmedia.Start) // long ago
	if err := d.SetAside(t.Context(), Series{"life1", topic}.kept(numbers{1, 2})); err != nil {
		t.Fatal(err)
	}
	k, _, _ := keeper(KeepConfig{Dir: d}, at)
	hold, err := d.AddHold(t.Context(), Hold{Camera: topic.Camera, From: testmedia.Start.Add(time.Hour), To: testmedia.Start.Add(2 * time.Hour), Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	looked := func(after time.Duration, want bool) {
		t.Helper()
		at.at = start.Add(after)
		look(t, k)
		if got := exists(t, path+DamagedEnd); got != want {
			t.Errorf("after %v it is there: %v", after, got)
		}
	}
	looked(damagedAge+time.Hour, true)
	if err := d.ReleaseHold(t.Context(), hold.ID, "anna", at.at); err != nil {
		t.Fatal(err)
	}
	looked(damagedAge-time.Minute, true)
	looked(damagedAge+time.Minute, false)
}

// An archive that does not exist yet has nothing to delete, and is not made.
func TestKeeperWithoutArchive(t *testing.T) {
	d := Local(filepath.Join(t.TempDir(), "archive"))
	k, reg, _ := keeper(KeepConfig{Dir: d}, &clock{})
	look(t, k)
	if _, err := os.Stat(d.String()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
