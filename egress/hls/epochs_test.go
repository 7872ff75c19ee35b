package hls

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// again returns the first n chunks of f as a writer with another epoch makes them.
func again(f testmedia.Fragment, epoch int64, n int) testmedia.Fragment {
	g := testmedia.Fragment{Entry: f.Entry}
	for _, c := range f.Chunks[:n] {
		c := *c
		c.Epoch = epoch
		g.Chunks = append(g.Chunks, &c)
	}
	g.Entry.Epoch, g.Entry.Chunks = epoch, uint32(n)
	g.Entry.Duration = g.Chunks[n-1].MediaEnd() - g.Entry.Media
	return g
}

// partsOf returns the URIs of the parts that a playlist lists for a seq.
func partsOf(playlist []byte, seq uint64) (uris []string) {
	for line := range strings.Lines(string(playlist)) {
		if _, uri, ok := strings.Cut(line, fmt.Sprintf("URI=\"raw/m1/%d.", seq)); ok && strings.HasPrefix(line, "#EXT-X-PART:") {
			uri, _, _ = strings.Cut(uri, ".m4s")
			uris = append(uris, uri)
		}
	}
	return uris
}

func feed(t *testing.T, m *model, chunks ...*schemas.Chunk) {
	t.Helper()
	for _, c := range chunks {
		if _, _, err := m.chunk(c); err != nil {
			t.Fatal(err)
		}
	}
}

// Listed parts of a fragment stay until its entry comes, also if other writers begin the
// fragment again. If the entry names another copy, the segment has no parts.
func TestListedPartsStay(t *testing.T) {
	f := testmedia.Synthetic(testPlace, 3)
	seq := f[1].Entry.Seq
	for name, c := range map[string]struct {
		entry schemas.Entry
		want  []string // parts of the segment
	}{
		"the copy that was listed":     {again(f[1], 9, 3).Entry, []string{"9.0", "9.1", "9.2"}},
		"more chunks than were listed": {again(f[1], 9, 4).Entry, []string{"9.0", "9.1", "9.2", "9.3"}},
		"fewer chunks":                 {again(f[1], 9, 2).Entry, nil},
		"another copy":                 {again(f[1], 20, 5).Entry, nil},
		"a copy after that":            {again(f[1], 30, 5).Entry, nil},
	} {
		m := newModel(time.Minute, 1<<20)
		m.entry(f[0].Entry, nil)
		feed(t, m, f[1].Chunks[:3]...)
		listed := []string{"9.0", "9.1", "9.2"}
		stay := func(when string) {
			t.Helper()
			if got := partsOf(m.playlist("raw", false, nil), seq); !slices.Equal(got, listed) {
				t.Errorf("%s: %s these are listed: %v", name, when, got)
			}
		}
		stay("at first")
		m.newEpoch(20)
		stay("after an open")
		second := again(f[1], 20, 5)
		feed(t, m, second.Chunks[:3]...)
		if _, coming := m.part(seq, 20, 3); !coming {
			t.Errorf("%s: the second writer's next part, which another server promises, is not waited for", name)
		}
		feed(t, m, second.Chunks[3:]...)
		feed(t, m, again(f[2], 20, 2).Chunks...)
		stay("after the chunks of a second writer")
		if h := m.hint(); h != nil {
			t.Errorf("%s: behind the parts of an earlier writer %v is promised", name, h)
		}
		// A client of another server may know the parts of the second writer.
		if data, _ := m.part(seq, 20, 1); len(data) == 0 {
			t.Errorf("%s: a part of the second writer is not served", name)
		}
		m.newEpoch(30)
		feed(t, m, again(f[1], 30, 1).Chunks...)
		stay("after those of a third")

		e := c.entry
		s := m.confirms(&e)
		if s == nil { // its chunks are read from the log
			s = &segment{tracks: f[1].Chunks[0].Tracks}
			for _, c := range again(f[1], e.Epoch, int(e.Chunks)).Chunks {
				s.detail.add(c, e.Media)
			}
		}
		m.entry(e, s)
		if got := partsOf(m.playlist("raw", false, nil), seq); !slices.Equal(got, c.want) {
			t.Errorf("%s: the segment is listed with the parts %v, want %v", name, got, c.want)
		}
		if len(m.missing()) > 1 { // f[0] alone has no parts here
			t.Errorf("%s: the parts come back: %v", name, m.missing())
		}
		// The fragment after it was never listed: only the latest writer's parts are.
		if got := partsOf(m.playlist("raw", false, nil), seq+1); len(got) != 0 {
			t.Errorf("%s: parts of a writer that has gone are listed: %v", name, got)
		}
		feed(t, m, again(f[2], 30, 1).Chunks...)
		if got := partsOf(m.playlist("raw", false, nil), seq+1); !slices.Equal(got, []string{"30.0"}) {
			t.Errorf("%s: of the next fragment these are listed: %v", name, got)
		}
	}
}

// The same in any order of events: no listed part vanishes before the entry of its seq, and
// none comes back.
func TestListedPartsStayInAnyOrder(t *testing.T) {
	f := testmedia.Synthetic(testPlace, 12)
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newModel(time.Minute, int64(1500+r.IntN(1<<14)))
		m.entry(f[0].Entry, nil)
		epoch, next := int64(9), 1
		var copies [12]testmedia.Fragment // of the latest writer, or the one before it
		listed := map[uint64][]string{}
		for range 60 {
			switch at := min(next+r.IntN(3), 11); r.IntN(5) {
			case 0:
				epoch += 1 + int64(r.IntN(9))
				m.newEpoch(epoch)
			case 1:
				e := again(f[next], epoch, 5).Entry
				if c := copies[next]; c.Chunks != nil && r.IntN(2) == 0 {
					e = c.Entry
				}
				m.entry(e, m.confirms(&e))
				delete(listed, e.Seq)
				if next++; next == len(f) {
					next--
				}
			default:
				copies[at] = again(f[at], epoch, 1+r.IntN(5))
				feed(t, m, copies[at].Chunks...)
			}
			n := m.newest().Seq + 1
			got := partsOf(m.playlist("raw", false, nil), n)
			if before := listed[n]; len(got) < len(before) || !slices.Equal(got[:len(before)], before) {
				t.Fatalf("seed %d: of %d these were listed: %v, and now these: %v", seed, n, before, got)
			}
			listed[n] = got
		}
	}
}

// A playlist begins behind its newest hole. Nothing waits for what lies in the hole.
func TestHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		before := testmedia.Synthetic(testPlace, 8)
		log.add("cam", before...)
		s := run(t, Config{}, log)
		old := want(t, get(s, playlist0), 200)
		p := testPlace
		p.Seq, p.Session, p.Epoch = testPlace.Seq+1000, testPlace.Session+1, 50
		p.Start = p.Start.Add(time.Hour)
		after := testmedia.Synthetic(p, 3)
		next := before[7].Entry.Seq + 1
		hinted := ask(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.0.m4s", next))
		reload := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=0", playlist0, next))
		if hinted.answered() || reload.answered() {
			t.Fatal("the next part is not waited for")
		}
		log.open("cam", 50, p.Seq)
		if !hinted.answered() {
			t.Fatal("a part in the hole is waited for")
		}
		want(t, hinted.w, 404)
		log.chunk("cam", after[0].Chunks[0])
		synctest.Wait()
		if body := want(t, get(s, playlist0), 200); strings.Contains(body, fmt.Sprint(p.Seq)) || !strings.HasPrefix(old, body[:100]) {
			t.Errorf("before the first entry behind the hole:\n%s", body)
		}
		ahead := ask(s, fmt.Sprintf("%s?_HLS_msn=%d", playlist0, p.Seq+1)) // another server may list p.Seq
		if ahead.answered() {
			t.Fatalf("what comes behind the hole is not waited for: %s", ahead.w.Body)
		}
		want(t, get(s, fmt.Sprintf("%s?_HLS_msn=%d", playlist0, p.Seq+2)), 400)
		for _, c := range after[0].Chunks[1:] {
			log.chunk("cam", c)
		}
		log.chunk("cam", after[1].Chunks[0])
		loads := log.loads
		log.entry("cam", after[0].Entry)
		if !reload.answered() {
			t.Fatal("a reload waits for a segment in the hole")
		}
		head := fmt.Sprintf("#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:43\n#EXT-X-MAP", p.Seq)
		body := want(t, reload.w, 200)
		if !strings.Contains(body, head) || strings.Contains(body, fmt.Sprint(before[7].Entry.Seq)) || strings.Contains(body, "ENDLIST") ||
			!strings.Contains(body, fmt.Sprintf("URI=\"raw/m1/%d.50.4.m4s\"\n#EXTINF:1.000000,\nraw/m1/%d.m4s\n", p.Seq, p.Seq)) ||
			!strings.Contains(body, fmt.Sprintf("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"raw/m1/%d.50.1.m4s\"", p.Seq+1)) {
			t.Errorf("behind the hole:\n%s", body)
		}
		if log.loads != loads {
			t.Error("chunks in memory were read from the log")
		}
		for _, path := range []string{"m1/%d.m4s", "m1/%d.9.0.m4s"} {
			hole := ask(s, "/hls/cam/raw/"+fmt.Sprintf(path, next+5))
			if !hole.answered() {
				t.Fatal("a request for what lies in the hole waits")
			}
			want(t, hole.w, 404)
		}
		if again := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_skip=YES", playlist0, next+5)); !again.answered() || want(t, again.w, 200) != body {
			t.Error("a reload for what lies in the hole is not answered with the playlist")
		}
		want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", before[7].Entry.Seq)), 200)
		// A server that begins now lists the same.
		if late := want(t, get(run(t, Config{}, log), playlist0), 200); late != body {
			t.Errorf("another server lists\n%s\nwant\n%s", late, body)
		}
	})
}

// Dead letters: a hole before each. The playlist always has the newest one.
func TestHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		raw := derived(testmedia.Synthetic(testPlace, 9), schemas.RoleDeadLetter, 320)
		log.update("cam/dlq-x", func(*fakeTopic) {})
		s := run(t, Config{}, log)
		for i := 0; i < 9; i += 4 {
			f := again(raw[i], int64(10+i), 5)
			log.open("cam/dlq-x", f.Entry.Epoch, f.Entry.Seq)
			log.add("cam/dlq-x", f)
			synctest.Wait()
			body := want(t, get(s, "/hls/cam/dlq-x.m3u8"), 200)
			if strings.Count(body, "#EXTINF") != 1 || !strings.Contains(body, fmt.Sprintf("MEDIA-SEQUENCE:%d\n", f.Entry.Seq)) {
				t.Errorf("the playlist behind hole %d:\n%s", i, body)
			}
			want(t, get(s, fmt.Sprintf("/hls/cam/dlq-x/m1/%d.m4s", f.Entry.Seq)), 200)
		}
		want(t, get(s, fmt.Sprintf("/hls/cam/dlq-x/m1/%d.m4s", raw[0].Entry.Seq)), 200)
	})
}
