package hls

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

var testPlace = testmedia.Place{Seq: 1_790_000_000, Session: 42, Epoch: 9, Layout: testmedia.Layout, Start: testmedia.Start}

// run starts a server inside a synctest bubble.
func run(t *testing.T, cfg Config, log Log) *Server {
	t.Helper()
	s, err := New(cfg, log, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx) // never fails
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

// blocks makes the segment of a fragment.
func blocks(t *testing.T, f testmedia.Fragment) cmaf.Blocks {
	t.Helper()
	b, err := cmaf.Segment(f.Entry, f.All())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func get(s http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// pending is a request under way.
type pending struct {
	w    *httptest.ResponseRecorder
	done chan struct{}
	took time.Duration
}

func ask(s http.Handler, url string) *pending {
	p := &pending{done: make(chan struct{})}
	begin := time.Now()
	go func() {
		defer close(p.done)
		p.w = get(s, url)
		p.took = time.Since(begin)
	}()
	synctest.Wait()
	return p
}

func (p *pending) answered() bool {
	synctest.Wait()
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func want(t *testing.T, w *httptest.ResponseRecorder, code int) string {
	t.Helper()
	if w.Code != code {
		t.Fatalf("status %d, want %d: %s", w.Code, code, w.Body)
	}
	if code >= 400 && w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("an error may be cached: %q", w.Header().Get("Cache-Control"))
	}
	return w.Body.String()
}

// last is the last line of a playlist that begins with tag.
func last(playlist, tag string) string {
	line := ""
	for l := range strings.Lines(playlist) {
		if strings.HasPrefix(l, tag) {
			line = strings.TrimSpace(l)
		}
	}
	return line
}

const playlist0 = "/hls/cam/raw.m3u8"

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		fragments := testmedia.Synthetic(testPlace, 12)
		log.add("cam", fragments[:10]...)
		s := run(t, Config{Window: 8 * time.Second}, log)
		seq := testPlace.Seq

		body := want(t, get(s, "/hls/cam/index.m3u8"), 200)
		if !strings.Contains(body, "CODECS=\"avc1.4D400D,mp4a.40.2\",RESOLUTION=320x180,FRAME-RATE=25.000\nraw.m3u8\n") {
			t.Errorf("multivariant:\n%s", body)
		}
		body = want(t, get(s, playlist0), 200)
		if !strings.Contains(body, fmt.Sprintf("#EXT-X-MEDIA-SEQUENCE:%d\n", seq+2)) {
			t.Errorf("the window is not 8 s:\n%s", body)
		}
		hint := fmt.Sprintf("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"raw/m1/%d.9.0.m4s\"", seq+10)
		if got := last(body, "#EXT-X-PRELOAD"); got != hint {
			t.Errorf("%s, want %s", got, hint)
		}

		// A blocking reload and the hinted part are answered by the chunk.
		reload := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=0", playlist0, seq+10))
		second := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=1&_HLS_skip=YES", playlist0, seq+10))
		whole := ask(s, fmt.Sprintf("%s?_HLS_msn=%d", playlist0, seq+10))
		beyond := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=5", playlist0, seq+10))
		part := ask(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.0.m4s", seq+10))
		if reload.answered() || part.answered() {
			t.Fatal("answered before there was anything")
		}
		f := fragments[10]
		log.chunk("cam", f.Chunks[0])
		if !reload.answered() || !part.answered() || second.answered() {
			t.Fatal("the first chunk answers the first reload and the part, and nothing else")
		}
		body = want(t, reload.w, 200)
		if got := last(body, "#EXT-X-PART:"); got != fmt.Sprintf("#EXT-X-PART:DURATION=0.200000,URI=\"raw/m1/%d.9.0.m4s\",INDEPENDENT=YES", seq+10) {
			t.Errorf("part: %s", got)
		}
		var parts []byte
		parts = append(parts, want(t, part.w, 200)...)
		for i, c := range f.Chunks[1:] {
			log.chunk("cam", c)
			parts = append(parts, want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.%d.m4s", seq+10, i+1)), 200)...)
		}
		if !second.answered() || whole.answered() || beyond.answered() {
			t.Fatal("chunks answer reloads of parts alone")
		}
		// After a fragment's last chunk the hint is the next one's first.
		if got := last(want(t, get(s, playlist0), 200), "#EXT-X-PRELOAD"); got != strings.Replace(hint, fmt.Sprint(seq+10), fmt.Sprint(seq+11), 1) {
			t.Errorf("hint after the last chunk: %s", got)
		}
		want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", seq+10)), 404) // not yet safe
		log.entry("cam", f.Entry)
		if !whole.answered() || beyond.answered() {
			t.Fatal("the entry answers a reload of the segment, and not that of a part beyond its last")
		}
		log.chunk("cam", fragments[11].Chunks[0])
		if !beyond.answered() {
			t.Fatal("a part beyond the last means the next segment's first")
		}
		loads := log.loads
		if got := want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", seq+10)), 200); got != string(parts) {
			t.Error("the segment is not its parts")
		}
		if log.loads != loads {
			t.Error("a segment that the tail made was read from the log")
		}
		if want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.3.m4s", seq+10)), 200); log.loads != loads {
			t.Error("an old part was read from the log")
		}

		for _, url := range []string{
			fmt.Sprintf("%s?_HLS_msn=%d", playlist0, seq+13), playlist0 + "?_HLS_part=0", playlist0 + "?_HLS_msn=x", playlist0 + "?_HLS_skip=maybe",
		} {
			want(t, get(s, url), 400)
		}
		timeout := ask(s, fmt.Sprintf("%s?_HLS_msn=%d", playlist0, seq+12))
		<-timeout.done
		want(t, timeout.w, 503)
		if timeout.took != 6*time.Second {
			t.Errorf("timed out after %v, want three target durations", timeout.took)
		}
	})
}

// A delta update leaves out no segment that the client cannot have, also when many
// came at once.
func TestDeltaAfterABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		fragments := testmedia.Synthetic(testPlace, 40)
		log.add("cam", fragments[:10]...)
		s := run(t, Config{}, log)
		want(t, get(s, playlist0), 200)
		next := fmt.Sprintf("%s?_HLS_msn=%d&_HLS_skip=YES", playlist0, testPlace.Seq+10)
		waiting := ask(s, next)
		log.add("cam", fragments[10:]...)
		synctest.Wait()
		for _, body := range []string{want(t, waiting.w, 200), want(t, get(s, next), 200)} {
			if !strings.Contains(body, fmt.Sprintf("\nraw/m1/%d.m4s\n", testPlace.Seq+10)) {
				t.Errorf("the segment that was asked for is left out:\n%s", body)
			}
		}
		if body := want(t, get(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_skip=YES", playlist0, testPlace.Seq+39)), 200); !strings.Contains(body, "SKIP:") {
			t.Errorf("no delta update for a client that has nearly all:\n%s", body)
		}
	})
}

// When a new writer opens, the parts that were promised are void: a request that waits
// for one is answered at once. Parts that were listed stay, and the settled entry
// brings the segment.
func TestNewWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		fragments := testmedia.Synthetic(testPlace, 9)
		log.add("cam", fragments[:8]...)
		s := run(t, Config{}, log)
		seq := testPlace.Seq
		want(t, get(s, playlist0), 200)
		f := fragments[8]
		log.chunk("cam", f.Chunks[0])
		log.chunk("cam", f.Chunks[1])
		synctest.Wait()
		part := ask(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.2.m4s", seq+8))
		if part.answered() {
			t.Fatal("the hinted part does not wait")
		}
		log.open("cam", 20, 0)
		if !part.answered() {
			t.Fatal("a part of an earlier writer still waits")
		}
		want(t, part.w, 404)
		body := want(t, get(s, playlist0), 200)
		if !strings.HasSuffix(body, fmt.Sprintf("m1/%d.9.1.m4s\"\n", seq+8)) {
			t.Errorf("parts that were listed are gone, or another is promised:\n%s", body)
		}
		// A client that asks late gets the parts that were listed.
		want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.1.m4s", seq+8)), 200)
		loads := log.loads
		settled := f.Entry
		settled.Kind, settled.Chunks, settled.Duration = schemas.KindTruncated, 2, f.Chunks[1].MediaEnd()-f.Entry.Media
		log.entry("cam", settled)
		synctest.Wait()
		body = want(t, get(s, playlist0), 200)
		if !strings.Contains(body, fmt.Sprintf("raw/m1/%d.9.1.m4s\"\n#EXTINF:0.400000,\nraw/m1/%d.m4s\n", seq+8, seq+8)) {
			t.Errorf("the settled segment is not listed with its two parts:\n%s", body)
		}
		seg := want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", seq+8)), 200)
		whole, err := cmaf.Segment(settled, testmedia.Fragment{Chunks: f.Chunks[:2]}.All())
		if err != nil || seg != string(bytes.Join(whole, nil)) {
			t.Errorf("the settled segment's bytes differ (%v)", err)
		}
		if log.loads != loads {
			t.Error("parts in memory were read from the log")
		}
		// The new writer goes on in the next session.
		p := testmedia.After(settled, testPlace)
		p.Epoch, p.Session = 20, p.Session+1
		next := testmedia.Synthetic(p, 1)[0]
		log.chunk("cam", next.Chunks[0])
		synctest.Wait()
		body = want(t, get(s, playlist0), 200)
		if !strings.Contains(body, "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME") || !strings.Contains(body, fmt.Sprintf("m1/%d.20.0.m4s", seq+9)) {
			t.Errorf("the new session's first part:\n%s", body)
		}
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 8)...)
		s := run(t, Config{MaxWaiters: 2, MaxTails: 1}, log)
		want(t, get(s, playlist0), 200)
		url := fmt.Sprintf("%s?_HLS_msn=%d", playlist0, testPlace.Seq+8)
		first, second := ask(s, url), ask(s, url)
		third := ask(s, url)
		if !third.answered() || first.answered() || second.answered() {
			t.Fatal("two may wait, the third may not")
		}
		want(t, third.w, 503)
		want(t, get(s, "/hls/other/index.m3u8"), 503) // a second tail
		<-first.done
		<-second.done
		if !s.waiters.TryAcquire(2) {
			t.Error("places of waiters are not given back")
		}
	})
}

func TestProvisionalBound(t *testing.T) {
	log := newFakeLog()
	f := testmedia.Synthetic(testPlace, 2)
	m := newModel(time.Minute, 600)
	m.entry(f[0].Entry, nil)
	drops := 0
	for _, c := range f[1].Chunks {
		if _, dropped, err := m.chunk(c); err != nil {
			t.Fatal(err)
		} else if dropped {
			drops++
		}
	}
	// The part that was listed before the limit stays listed, and can be had.
	if u := m.unfinished(); drops != 1 || m.bytes > 600 || m.hint() != nil || u == nil || len(u.Parts) != 1 {
		t.Errorf("%d drops, %d bytes, hint %v, unfinished %+v", drops, m.bytes, m.hint(), u)
	}
	if data, _ := m.part(f[1].Entry.Seq, f[1].Entry.Epoch, 0); len(data) == 0 {
		t.Error("a listed part is gone")
	}
	log.add("cam", f...)
	if seg := m.confirms(&f[1].Entry); seg != nil {
		t.Error("a dropped fragment is confirmed without the log")
	}
}

func TestOnDemandEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 8)...)
		s := run(t, Config{}, log)
		want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", testPlace.Seq)), 200)
		if tails(s) != 0 {
			t.Error("a segment's request begins a tail")
		}
		want(t, get(s, playlist0), 200)
		time.Sleep(29 * time.Second) // the bubble's clock
		synctest.Wait()
		if tails(s) != 1 {
			t.Error("the tail ended within 30 s")
		}
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if tails(s) != 0 {
			t.Error("the tail goes on though nobody watches")
		}
		want(t, get(s, playlist0), 200)
	})
}

// A tail that ends begins again where it was. The server answers as before meanwhile.
func TestTailEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 10)
		log.add("cam", f[:8]...)
		s := run(t, Config{}, log)
		log.chunk("cam", f[8].Chunks[0])
		before := want(t, get(s, playlist0), 200)
		log.breakTails()
		synctest.Wait()
		if now := want(t, get(s, playlist0), 200); now != before {
			t.Errorf("the playlist changed:\n%s\nwas\n%s", now, before)
		}
		for _, c := range f[8].Chunks[1:] {
			log.chunk("cam", c)
		}
		log.entry("cam", f[8].Entry)
		time.Sleep(time.Second)
		synctest.Wait()
		body := want(t, get(s, playlist0), 200)
		if !strings.Contains(body, fmt.Sprintf("m1/%d.m4s\n", f[8].Entry.Seq)) || !strings.Contains(body, fmt.Sprintf("MEDIA-SEQUENCE:%d\n", f[0].Entry.Seq)) {
			t.Errorf("after the tail began again:\n%s", body)
		}
	})
}

// Two servers serve the same, also when one began to follow the log later.
func TestReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 90)
		log.add("cam", f[:5]...)
		early := run(t, Config{}, log)
		want(t, get(early, playlist0), 200)
		waits := ask(early, fmt.Sprintf("%s?_HLS_msn=%d", playlist0, f[5].Entry.Seq)) // keeps the tail in use
		log.add("cam", f[5:70]...)
		gap := testmedia.GapAt(f[69].Entry, 1500*time.Millisecond)
		log.entry("cam", gap)
		p := testmedia.After(gap, testPlace)
		p.Session, p.Epoch = p.Session+1, 30
		log.open("cam", 30, 0)
		g := testmedia.Synthetic(p, 3)
		log.add("cam", g[:2]...)
		log.chunk("cam", g[2].Chunks[0])
		log.chunk("cam", g[2].Chunks[1])
		waits.answered()
		late := run(t, Config{}, log)
		for _, url := range []string{
			"/hls/cam/index.m3u8", playlist0, playlist0 + "?_HLS_skip=YES",
			fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", g[1].Entry.Seq), fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[3].Entry.Seq),
			fmt.Sprintf("/hls/cam/raw/m1/%d.30.1.m4s", g[2].Entry.Seq), fmt.Sprintf("/hls/cam/raw/m1/%d.30.1.m4s", g[0].Entry.Seq),
			"/hls/cam/raw/m1/init-" + f[0].Entry.Config + ".mp4",
		} {
			a, b := want(t, get(early, url), 200), want(t, get(late, url), 200)
			if a != b {
				t.Errorf("%s differs:\n%s\nand\n%s", url, a, b)
			}
		}
		body := want(t, get(late, playlist0), 200)
		if !strings.Contains(body, fmt.Sprintf("#EXT-X-GAP\n#EXTINF:1.500000,\nraw/m1/%d.m4s\n#EXT-X-DISCONTINUITY\n", gap.Seq)) {
			t.Errorf("gap and discontinuity:\n%s", body)
		}
	})
}

func TestSegmentRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 4)
		gap := testmedia.GapAt(f[3].Entry, time.Second)
		log.add("cam", f...)
		log.entry("cam", gap)
		s := run(t, Config{}, log)
		url := func(e schemas.Entry) string { return fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", e.Seq) }

		// Requests for one segment read the log once.
		log.hold = make(chan struct{})
		a, b := ask(s, url(f[1].Entry)), ask(s, url(f[1].Entry))
		close(log.hold)
		<-a.done
		<-b.done
		if want(t, a.w, 200) != want(t, b.w, 200) || log.loads != 1 {
			t.Errorf("%d reads of the log", log.loads)
		}
		if c := a.w.Header().Get("Cache-Control"); c != "public, immutable, max-age=3600" {
			t.Errorf("Cache-Control: %s", c)
		}
		if a.w.Header().Get("Etag") != "" || a.w.Header().Get("Last-Modified") != "" {
			t.Errorf("headers: %v", a.w.Header())
		}
		if w := get(s, url(f[1].Entry), "Range", "bytes=4-7"); w.Code != 206 || w.Body.String() != "moof" {
			t.Errorf("range: %d %q", w.Code, w.Body)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodHead, url(f[1].Entry), nil))
		if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != fmt.Sprint(a.w.Body.Len()) {
			t.Errorf("HEAD: %d, %d bytes, length %s", w.Code, w.Body.Len(), w.Header().Get("Content-Length"))
		}
		w = httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, url(f[1].Entry), nil))
		want(t, w, 405)
		// Package egress decides which pages may read.
		w = httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodOptions, url(f[1].Entry), nil))
		want(t, w, 405)
		for name := range maps.Keys(w.Header()) {
			if strings.HasPrefix(name, "Access-Control") {
				t.Errorf("header %s", name)
			}
		}
		for name := range maps.Keys(get(s, url(f[1].Entry), "Origin", "https://evil.example").Header()) {
			if strings.HasPrefix(name, "Access-Control") {
				t.Errorf("header %s", name)
			}
		}

		if body := want(t, get(s, url(gap)), 200); !strings.HasSuffix(body, "mdat\x00\x00\x00\x01\x0a") {
			t.Errorf("gap: %q", body)
		}
		log.expire("cam", f[1].Entry.Seq)
		want(t, get(s, url(f[0].Entry)), 410)
		want(t, get(s, "/hls/cam/raw/m1/7.m4s"), 410)
		want(t, get(s, "/hls/cam/raw/m1/9999999999.m4s"), 404)
		want(t, get(s, "/hls/nobody/raw/m1/7.m4s"), 404)
		want(t, get(s, "/hls/cam/raw/m1/init-0000000000000000.mp4"), 404)
		want(t, get(s, "/hls/cam/720p.m3u8"), 404)
		want(t, get(s, "/hls/cam/raw/m1/"+fmt.Sprint(f[2].Entry.Seq)+".8.0.m4s"), 404) // another epoch
		want(t, get(s, "/hls/cam/raw/m1/"+fmt.Sprint(f[2].Entry.Seq)+".9.0.m4s"), 200)
	})
}
