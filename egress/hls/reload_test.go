package hls

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// Directives that lie ahead, by RFC 8216bis section 6.2.5.2: a request for what comes
// soon waits, one for what is too far is refused at once, and a part beyond the last
// one of a complete segment means the first part of the next.
func TestReloadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		fragments := testmedia.Synthetic(testPlace, 11) // five parts of 200 ms each
		log.add("cam", fragments[:10]...)
		s := run(t, Config{}, log)
		want(t, get(s, playlist0), 200)
		newest := testPlace.Seq + 9
		limit := advanceParts(testPlace.Layout.Part)
		if limit < 14 || limit > 15 {
			t.Fatalf("the parts of 3 s are %d", limit)
		}
		for _, c := range fragments[10].Chunks[:2] { // the unfinished segment has the parts 0 and 1
			log.chunk("cam", c)
		}
		synctest.Wait()
		for _, c := range []struct {
			seq  uint64
			part int // -1: none
			code int // 0: it waits
		}{
			{newest, -1, 200},
			{newest, 4, 200},
			{newest, 5, 200},       // means 0 of the next
			{newest, 1 << 30, 200}, // and this too
			{newest - 1, 1 << 30, 200},
			{newest + 1, -1, 0},
			{newest + 1, 1, 200},
			{newest + 1, 2, 0},
			{newest + 1, limit, 0},
			{newest + 1, limit + 1, 400}, // by the limit beyond part 1
			{newest + 1, 1 << 30, 400},
			{newest + 2, -1, 0},
			{newest + 2, 0, 0},
			{newest + 2, limit - 2, 0},
			{newest + 2, limit - 1, 400},
			{newest + 3, -1, 400},
			{newest + 3, 0, 400},
			{1<<63 - 1, 0, 400},
		} {
			url := fmt.Sprintf("%s?_HLS_msn=%d", playlist0, c.seq)
			if c.part >= 0 {
				url += fmt.Sprintf("&_HLS_part=%d", c.part)
			}
			p := ask(s, url)
			switch {
			case c.code == 0 && p.answered():
				t.Errorf("newest+%d, part %d: status %d at once, want it to wait", int64(c.seq-newest), c.part, p.w.Code)
			case c.code != 0 && !p.answered():
				t.Errorf("newest+%d, part %d: it waits, want %d at once", int64(c.seq-newest), c.part, c.code)
			case c.code != 0 && p.w.Code != c.code:
				t.Errorf("newest+%d, part %d: status %d, want %d", int64(c.seq-newest), c.part, p.w.Code, c.code)
			}
			<-p.done
			if c.code == 0 && (p.w.Code != 503 || p.took != 6*time.Second) {
				t.Errorf("newest+%d, part %d: status %d after %v, want 503 after three target durations", int64(c.seq-newest), c.part, p.w.Code, p.took)
			}
		}
	})
}

func TestAdvanceParts(t *testing.T) {
	for ticks, want := range map[uint32]int{0: 3, 9000: 30, 19800: 14, 89999: 4, 90000: 3, 180000: 3} {
		if got := advanceParts(ticks); got != want {
			t.Errorf("parts of %d ticks: %d, want %d", ticks, got, want)
		}
	}
}

// While the source gives nothing, a client that has the playlist already waits for
// the footage that comes, for three target durations. Other requests do not wait.
func TestReloadWhileQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		fragments := testmedia.Synthetic(testPlace, 10)
		log.add("cam", fragments...)
		s := run(t, Config{}, log)
		want(t, get(s, playlist0), 200)
		if !ask(s, playlist0+"?_HLS_skip=YES").answered() {
			t.Error("a reload waits though the source has just given something")
		}
		time.Sleep(3 * time.Second)
		if !ask(s, playlist0).answered() {
			t.Error("the first request of a client waits")
		}
		idle := ask(s, playlist0+"?_HLS_skip=YES")
		<-idle.done
		if want(t, idle.w, 200); idle.took != 6*time.Second {
			t.Errorf("held for %v, want three target durations", idle.took)
		}
		held := ask(s, playlist0+"?_HLS_skip=YES")
		if held.answered() {
			t.Fatal("a reload is not held")
		}
		gap := testmedia.GapAt(fragments[9].Entry, time.Second)
		log.entry("cam", gap)
		if held.answered() {
			t.Fatal("a gap ends the waiting")
		}
		next := testmedia.Synthetic(testmedia.After(gap, testPlace), 1)[0]
		log.chunk("cam", next.Chunks[0])
		if !held.answered() {
			t.Fatal("a reload waits though something has come")
		}
		if body := want(t, held.w, 200); !strings.Contains(body, fmt.Sprintf("raw/m1/%d.9.0.m4s", next.Entry.Seq)) {
			t.Errorf("what came is not in it:\n%s", body)
		}
	})
}

// Behind a change of the initialization segment, the first part is listed together with the
// second: video.js stands still otherwise. The only part of a fragment is listed at once.
func TestTwoPartsBehindAnotherMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		before := testmedia.Synthetic(testPlace, 6)
		log.add("cam", before...)
		s := run(t, Config{}, log)
		want(t, get(s, playlist0), 200)
		p := testmedia.After(before[5].Entry, testPlace)
		p.Session++
		after := testmedia.Synthetic(p, 2)
		for i := range after {
			tracks := after[i].Chunks[0].Tracks
			tracks[0].Width = 640
			after[i].Entry.Config = schemas.ConfigHash(tracks)
		}
		first := after[0].Chunks[0]

		reload := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=0", playlist0, first.Seq))
		log.chunk("cam", first)
		if reload.answered() {
			t.Fatal("a part behind another initialization segment is listed alone")
		}
		body := want(t, get(s, playlist0), 200)
		hint := fmt.Sprintf("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"raw/m1/%d.9.0.m4s\"\n", first.Seq)
		if got := partsOf([]byte(body), first.Seq); len(got) > 0 || !strings.Contains(body, hint) || strings.Contains(body, after[0].Entry.Config) {
			t.Errorf("with one part:\n%s", body)
		}
		want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.0.m4s", first.Seq)), 200) // a client that follows the hint has it

		log.chunk("cam", after[0].Chunks[1])
		if !reload.answered() {
			t.Fatal("a reload waits though two parts are there")
		}
		body = want(t, reload.w, 200)
		if got := partsOf([]byte(body), first.Seq); !slices.Equal(got, []string{"9.0", "9.1"}) || !strings.Contains(body, after[0].Entry.Config) {
			t.Errorf("with two parts:\n%s", body)
		}
		for _, c := range after[0].Chunks[2:] {
			log.chunk("cam", c)
		}
		log.entry("cam", after[0].Entry)

		log.chunk("cam", after[1].Chunks[0])
		synctest.Wait()
		if got := partsOf([]byte(want(t, get(s, playlist0), 200)), after[1].Entry.Seq); !slices.Equal(got, []string{"9.0"}) {
			t.Errorf("of the next fragment these are listed: %v", got)
		}
	})

	f := testmedia.Synthetic(testPlace, 2)
	only := *f[1].Chunks[0]
	only.Last, only.Tracks = true, slices.Clone(only.Tracks)
	only.Tracks[0].Width = 640
	m := newModel(time.Minute, 1<<20)
	m.entry(f[0].Entry, nil)
	feed(t, m, &only)
	if got := partsOf(m.playlist("raw", false, nil), only.Seq); len(got) != 1 {
		t.Errorf("the only part of a fragment is not listed: %v", got)
	}
}
