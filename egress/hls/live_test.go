package hls

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// live is a followed camera that goes on, with what it holds in memory.
type live struct {
	t    *testing.T
	log  *fakeLog
	s    *Server
	f    []testmedia.Fragment
	sent int
}

var liveCam = schemas.Topic{Camera: "cam"}

func newLive(t *testing.T, cfg Config) *live {
	l := &live{t: t, log: newFakeLog(), f: testmedia.Synthetic(testPlace, 60)}
	l.log.add("cam", l.f[:6]...)
	l.sent = 6
	l.s = run(t, cfg, l.log)
	want(t, get(l.s, playlist0), 200)
	synctest.Wait()
	return l
}

// more records n fragments, one a second, with somebody watching.
func (l *live) more(n int) {
	for range n {
		l.log.add("cam", l.f[l.sent])
		l.sent++
		time.Sleep(time.Second) // the bubble's clock: as in life
		want(l.t, get(l.s, playlist0), 200)
		synctest.Wait()
	}
}

// ago is the fragment that is n behind the newest.
func (l *live) ago(n int) testmedia.Fragment { return l.f[l.sent-1-n] }

func (l *live) segment(n int) string {
	return fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", l.ago(n).Entry.Seq)
}

// inMemory is how many fragments behind the newest the segments in memory are.
func (l *live) inMemory() (ago []int) {
	for n := range l.sent {
		if l.s.cache.get(cacheKey{topic: liveCam, seq: l.ago(n).Entry.Seq}) != nil {
			ago = append(ago, n)
		}
	}
	return ago
}

// bytes is the size of complete segments in memory, by the cache.
func (l *live) bytes() int64 {
	n := l.s.cache.size()
	if init := l.s.cache.get(cacheKey{topic: liveCam, config: l.f[0].Entry.Config}); init != nil {
		n -= init.parts.Size()
	}
	return n
}

// same asks for a fragment's segment and for each of its parts, in whatever way
// the server has them, and compares them with the chunks of the log.
func (l *live) same(f testmedia.Fragment) {
	l.t.Helper()
	made := blocks(l.t, f)
	whole := bytes.Join(made, nil)
	url := fmt.Sprintf("/hls/cam/raw/m1/%d", f.Entry.Seq)
	var parts string
	for i := range f.Chunks {
		got := want(l.t, get(l.s, fmt.Sprintf("%s.%d.%d.m4s", url, f.Entry.Epoch, i)), 200)
		if got != string(made[i]) {
			l.t.Errorf("part %d of %d has other bytes than its chunk", i, f.Entry.Seq)
		}
		parts += got
	}
	if parts != string(whole) {
		l.t.Errorf("the parts of %d are not its segment", f.Entry.Seq)
	}
	w := get(l.s, url+".m4s")
	if want(l.t, w, 200) != string(whole) {
		l.t.Errorf("segment %d has other bytes than its chunks", f.Entry.Seq)
	}
	if n := w.Header().Get("Content-Length"); n != fmt.Sprint(len(whole)) || w.Header().Get("Content-Type") != typeMedia {
		l.t.Errorf("headers of segment %d: %v", f.Entry.Seq, w.Header())
	}
	from, to := len(whole)/3, len(whole)-5
	w = get(l.s, url+".m4s", "Range", fmt.Sprintf("bytes=%d-%d", from, to))
	if want(l.t, w, 206) != string(whole[from:to+1]) {
		l.t.Errorf("a range of segment %d has other bytes", f.Entry.Seq)
	}
	want(l.t, get(l.s, fmt.Sprintf("%s.%d.%d.m4s", url, f.Entry.Epoch, len(f.Chunks))), 404)
	want(l.t, get(l.s, fmt.Sprintf("%s.%d.0.m4s", url, f.Entry.Epoch+1)), 404)
}

// The newest complete segment of a followed camera is in memory, and those of two
// target durations while a client fetches whole segments. A segment that has left
// the memory is made again with the same bytes, and counted.
func TestLiveEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLive(t, Config{})
		// A player that makes the server begin may ask for what it finds listed.
		if got := l.inMemory(); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5}) {
			t.Errorf("at the start these are in memory: %v", got)
		}
		l.more(10)
		if got := l.inMemory(); !slices.Equal(got, []int{0}) {
			t.Errorf("with low-latency players alone these are in memory: %v", got)
		}
		loads := l.log.loads
		want(t, get(l.s, fmt.Sprintf("/hls/cam/raw/m1/%d.%d.4.m4s", l.ago(0).Entry.Seq, l.ago(0).Entry.Epoch)), 200)
		want(t, get(l.s, l.segment(0)), 200)
		if misses := testutil.ToFloat64(l.s.metrics.liveMisses); l.log.loads != loads || misses != 0 {
			t.Errorf("the newest segment takes %d reads of the log, %v misses", l.log.loads-loads, misses)
		}

		l.more(6)
		if got := l.inMemory(); !slices.Equal(got, []int{0, 1, 2, 3}) {
			t.Errorf("with a player of whole segments these are in memory: %v", got)
		}
		l.same(l.ago(9))
		if misses := testutil.ToFloat64(l.s.metrics.liveMisses); l.log.loads != loads+1 || misses != 1 {
			t.Errorf("an older segment and its parts take %d reads of the log and are %v misses", l.log.loads-loads, misses)
		}
		l.same(l.ago(0))
		l.same(l.ago(3))

		// Nobody fetches whole segments any more.
		l.more(int(l.s.cfg.Linger/time.Second) + 6)
		if got := l.inMemory(); !slices.Equal(got, []int{0}) {
			t.Errorf("with low-latency players alone these are in memory: %v", got)
		}
		seg := l.s.cache.get(cacheKey{topic: liveCam, seq: l.ago(0).Entry.Seq})
		if l.bytes() != seg.parts.Size() {
			t.Errorf("%d bytes are held for a segment of %d", l.bytes(), seg.parts.Size())
		}
	})
}

// The complete segments of a followed camera have a bound in bytes.
func TestLiveBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newLive(t, Config{})
		size := probe.s.cache.get(cacheKey{topic: liveCam, seq: probe.ago(0).Entry.Seq}).parts.Size()
		probe.s.tasks.cancel()
		for _, c := range []struct {
			limit int64
			held  int
		}{{1, 1}, {size*5/2 + 10, 2}, {size*7/2 + 10, 3}} {
			l := newLive(t, Config{LiveBytes: c.limit})
			for range 20 {
				want(t, get(l.s, l.segment(0)), 200)
				if n := len(l.inMemory()); n > c.held || l.bytes() > max(c.limit, size+10) {
					t.Fatalf("%d segments of %d bytes in all with a limit of %d", n, l.bytes(), c.limit)
				}
				l.more(1)
			}
			if n := len(l.inMemory()); n != c.held {
				t.Errorf("%d segments in memory, want %d", n, c.held)
			}
			l.same(l.ago(3))
			l.s.tasks.cancel()
		}
	})
}

// In mode always no complete segment is in memory: segments and parts come from the
// files, or from the log if a file is missing or has another size.
func TestLiveFromFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := newLive(t, Config{Mode: Always, Dir: dir, Reserve: 1})
		l.more(20)
		if got, n := l.inMemory(), l.bytes(); len(got) != 0 || n != 0 {
			t.Errorf("in memory though they are files: %v, %d bytes", got, n)
		}
		loads := l.log.loads
		for _, n := range []int{0, 1, 10, 19} {
			l.same(l.ago(n))
		}
		if l.log.loads != loads {
			t.Errorf("%d reads of the log for segments that are files", l.log.loads-loads)
		}

		file := func(n int) string {
			return filepath.Join(dir, "hls", "cam", "raw", "m1", fmt.Sprintf("%d.m4s", l.ago(n).Entry.Seq))
		}
		if err := os.Truncate(file(1), 100); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file(2)); err != nil {
			t.Fatal(err)
		}
		l.same(l.ago(1))
		l.same(l.ago(2))
		if misses := testutil.ToFloat64(l.s.metrics.liveMisses); l.log.loads != loads+2 || misses != 2 {
			t.Errorf("two files that are no more: %d reads of the log, %v misses", l.log.loads-loads, misses)
		}
	})
}
