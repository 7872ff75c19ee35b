package hls

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			all = append(all, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Mode always: the files have the bytes that the server serves, from the first
// fragment on. They are removed 60 s after they left the window.
func TestFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		stale := filepath.Join(dir, "hls", "gone", "raw", "m1", "3.m4s")
		if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(stale, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 90)
		log.add("cam", f[:1]...)
		s := run(t, Config{Mode: Always, Dir: dir, Reserve: 1, Window: 10 * time.Second}, log)
		synctest.Wait()
		if _, err := os.Stat(stale); !os.IsNotExist(err) {
			t.Errorf("a stale file is left: %v", err)
		}
		for _, f := range f[1:40] {
			log.add("cam", f)
			time.Sleep(time.Second) // the bubble's clock: as in life
			synctest.Wait()
		}
		have := names(t, dir)
		if len(have) != 41 {
			t.Fatalf("%d files, want 40 segments and an init: %v", len(have), have)
		}
		for _, name := range have {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := want(t, get(s, "/"+name), 200); got != string(b) {
				t.Errorf("%s differs from what is served", name)
			}
		}
		for _, f := range f[40:] {
			log.add("cam", f)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		// 90 s in: 10 of the window, 60 more, and up to 5 until the next sweep.
		if n := len(names(t, dir)); n < 71 || n > 77 {
			t.Errorf("%d files, want about 71", n)
		}
		if _, err := os.Stat(filepath.Join(dir, "hls", "cam", "raw", "m1", "init-"+f[0].Entry.Config+".mp4")); err != nil {
			t.Errorf("the init is gone: %v", err)
		}
		log.mu.Lock()
		delete(log.topics, schemas.Topic{Camera: "cam"})
		log.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if have := names(t, dir); len(have) != 0 {
			t.Errorf("files of a camera that is gone: %v", have)
		}
	})
}

// A camera that was removed is not followed any more, though it has footage.
func TestRemovedCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 8)
		log.add("cam", f...)
		log.add("other", f...)
		var removed atomic.Bool
		s := run(t, Config{Mode: Always, Dir: dir, Reserve: 1, Known: func(c string) bool { return c != "cam" || !removed.Load() }}, log)
		synctest.Wait()
		if have := names(t, dir); len(have) != 14 {
			t.Fatalf("files %v", have)
		}
		removed.Store(true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		for _, name := range names(t, dir) {
			if !strings.HasPrefix(name, "hls/other/") {
				t.Errorf("a file of a removed camera: %s", name)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "hls", "cam")); !os.IsNotExist(err) {
			t.Errorf("the folder of a removed camera: %v", err)
		}
		if s.lookup(schemas.Topic{Camera: "cam"}) != nil || s.lookup(schemas.Topic{Camera: "other"}) == nil {
			t.Error("the wrong camera is followed")
		}
	})
}

// When the disk fills up, files make room for the log. Their segments are served
// from the log.
func TestReserveIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 8)
		log.add("cam", f...)
		var free atomic.Int64
		free.Store(2 << 30)
		s := run(t, Config{Mode: Always, Dir: dir, Reserve: 1 << 30, free: func(string) (int64, error) { return free.Load(), nil }}, log)
		synctest.Wait()
		if n := len(names(t, dir)); n != 7 {
			t.Fatalf("%d files", n)
		}
		url := fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[2].Entry.Seq)
		before := want(t, get(s, url), 200)
		free.Store(1 << 29)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if have := names(t, dir); len(have) != 0 {
			t.Errorf("left below the reserve: %v", have)
		}
		if want(t, get(s, url), 200) != before {
			t.Error("other bytes than before")
		}
	})
}

func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 8)
		log.add("cam", f...)
		s := run(t, Config{Mode: Always, Dir: dir, Reserve: 1 << 60}, log)
		want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[7].Entry.Seq)), 200)
		synctest.Wait()
		if have := names(t, dir); len(have) != 0 {
			t.Errorf("written in spite of the reserve: %v", have)
		}
	})
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{Mode: "sometimes"}, {Mode: Always}, {Window: -1}, {MaxTails: -1}, {CacheBytes: -1}} {
		if _, err := New(cfg, newFakeLog(), nil, nil); err == nil || !strings.HasPrefix(err.Error(), "hls: ") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestMetricNames(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 8)...)
		s, err := New(Config{}, log, nil, reg)
		if err != nil {
			t.Fatal(err)
		}
		want(t, get(s, playlist0), 200)
		newest := log.topics[schemas.Topic{Camera: "cam"}].entries[7]
		if at, ok := s.lookup(schemas.Topic{Camera: "cam"}).shown(); !ok || !at.Equal(newest.End()) {
			t.Errorf("shown up to %v, %v; the newest fragment ends at %v", at, ok, newest.End())
		}
		p := testmedia.After(newest, testPlace)
		f := testmedia.Synthetic(p, 1)[0]
		f.Chunks[0].Captured = time.Now().Add(-300 * time.Millisecond)
		log.chunk("cam", f.Chunks[0])
		synctest.Wait()
		if d := s.Delay("cam"); d != 300*time.Millisecond {
			t.Errorf("delay %v", d)
		}
		if n := testutil.ToFloat64(s.metrics.cameraDelay.WithLabelValues("cam")); n != 0.3 {
			t.Errorf("delay gauge %v", n)
		}
		if at, ok := s.lookup(schemas.Topic{Camera: "cam"}).shown(); !ok || !at.After(newest.End()) {
			t.Errorf("with a part behind %v it is shown up to %v, %v", newest.End(), at, ok)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.NewWithMetricFamilies(families).Lint()
		if err != nil || len(problems) > 0 || len(families) < 8 {
			t.Errorf("%d families, %v, %v", len(families), problems, err)
		}
		s.tasks.cancel()
		synctest.Wait()
	})
}
