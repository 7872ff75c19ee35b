package hls

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// joined makes one fragment of several.
func joined(f []testmedia.Fragment) testmedia.Fragment {
	one := f[0]
	one.Chunks = nil
	one.Entry.Duration = 0
	for i := range f {
		for _, c := range f[i].Chunks {
			c.Seq, c.Index, c.Last = one.Entry.Seq, uint32(len(one.Chunks)), i == len(f)-1 && c.Last
			one.Chunks = append(one.Chunks, c)
		}
		one.Entry.Duration += f[i].Entry.Duration
	}
	one.Entry.Chunks = uint32(len(one.Chunks))
	one.Entry.Layout = one.Entry.Layout.Fit(one.Entry.Duration)
	return one
}

// A fragment of a new layout goes on in the same playlist. The target duration of
// the playlist grows with the parts of the fragment.
func TestLayoutChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		fragments := testmedia.Synthetic(testPlace, 9)
		log.add("cam", fragments[:7]...)
		s := run(t, Config{}, log)
		want(t, get(s, playlist0), 200)
		long := joined(testmedia.Synthetic(testPlace, 10)[7:])
		chunks := long.Chunks
		for i, c := range chunks {
			part := ask(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.%d.m4s", c.Seq, i))
			reload := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", playlist0, c.Seq, i))
			if part.answered() || reload.answered() {
				t.Fatalf("part %d is answered before it is there", i)
			}
			log.chunk("cam", c)
			if !part.answered() || !reload.answered() {
				t.Fatalf("part %d does not come", i)
			}
			want(t, part.w, 200)
			target := "TARGETDURATION:2\n"
			if i >= 12 { // 2.6 s
				target = "TARGETDURATION:4\n"
			}
			if body := want(t, reload.w, 200); !strings.Contains(body, target) || strings.Contains(body, "ENDLIST") {
				t.Errorf("after part %d, want %s:\n%s", i, target, body)
			}
		}
		log.entry("cam", long.Entry)
		synctest.Wait()
		body := want(t, get(s, playlist0), 200)
		if !strings.Contains(body, "TARGETDURATION:4\n") || !strings.Contains(body, fmt.Sprintf("#EXTINF:3.000000,\nraw/m1/%d.m4s\n", long.Entry.Seq)) ||
			!strings.Contains(body, fmt.Sprintf("MEDIA-SEQUENCE:%d\n", fragments[0].Entry.Seq)) {
			t.Errorf("after the long fragment:\n%s", body)
		}
	})
}

// The first fragment of a topic is played while it is written, before it has an
// entry. When the source has ended no further part is promised.
func TestFirstParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		s := run(t, Config{}, log)
		f := joined(testmedia.Synthetic(testPlace, 3))
		seq := f.Entry.Seq
		index := ask(s, "/hls/cam/index.m3u8")
		for _, c := range f.Chunks[:13] { // 2.6 s
			if index.answered() {
				t.Fatal("the multivariant playlist comes before leadAfter")
			}
			log.chunk("cam", c)
		}
		if !index.answered() {
			t.Fatal("the multivariant playlist waits for more than parts")
		}
		if body := want(t, index.w, 200); !strings.Contains(body, "CODECS=\"avc1.4D400D,mp4a.40.2\",RESOLUTION=320x180,FRAME-RATE=25.000\nraw.m3u8\n") {
			t.Errorf("multivariant:\n%s", body)
		}
		body := want(t, get(s, playlist0), 200)
		for _, line := range []string{
			fmt.Sprintf("#EXT-X-MEDIA-SEQUENCE:%d\n", seq-leadGaps), "#EXT-X-DISCONTINUITY-SEQUENCE:42\n",
			fmt.Sprintf("#EXT-X-PART:DURATION=0.200000,URI=\"raw/m1/%d.0.0.m4s\",GAP=YES\n", seq-leadGaps),
			fmt.Sprintf("#EXT-X-GAP\n#EXTINF:2.000000,\nraw/m1/%d.m4s\n#EXT-X-MAP:", seq-1),
			fmt.Sprintf("URI=\"raw/m1/%d.9.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:", seq),
			fmt.Sprintf("URI=\"raw/m1/%d.9.12.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"raw/m1/%d.9.13.m4s\"\n", seq, seq),
		} {
			if !strings.Contains(body, line) {
				t.Errorf("no %q in\n%s", line, body)
			}
		}
		if delta := want(t, get(s, playlist0+"?_HLS_skip=YES"), 200); delta != body {
			t.Errorf("a delta update without an entry:\n%s", delta)
		}
		if seg := want(t, get(s, fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", seq-1)), 200); !strings.HasSuffix(seg, "\x0a") {
			t.Errorf("the gap before the first fragment: %q", seg)
		}
		reload := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=13", playlist0, seq))
		if reload.answered() {
			t.Fatal("a reload does not wait for its part")
		}
		log.chunk("cam", f.Chunks[13])
		if !reload.answered() {
			t.Fatal("a reload still waits though its part is there")
		}
		f.Chunks[14].Ended = true
		log.chunk("cam", f.Chunks[14])
		synctest.Wait()
		if body := want(t, get(s, playlist0), 200); strings.Contains(body, "HINT") {
			t.Errorf("the source has ended, and a part is promised:\n%s", body)
		}
		next := ask(s, fmt.Sprintf("/hls/cam/raw/m1/%d.9.0.m4s", seq+1))
		if !next.answered() {
			t.Error("a part after the source's end is waited for")
		}
		f.Entry.Ended = true
		log.entry("cam", f.Entry)
		synctest.Wait()
		body = want(t, get(s, playlist0), 200)
		if !strings.Contains(body, fmt.Sprintf("#EXT-X-MEDIA-SEQUENCE:%d\n", seq)) || strings.Contains(body, "GAP") || strings.Contains(body, "HINT") ||
			!strings.Contains(body, fmt.Sprintf("#EXTINF:3.000000,\nraw/m1/%d.m4s\n", seq)) {
			t.Errorf("with the first entry:\n%s", body)
		}
	})
}

func TestFirstFootage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		s := run(t, Config{Known: func(c string) bool { return c != "nobody" }}, log)
		want(t, get(s, "/hls/nobody/index.m3u8"), 404)
		early := ask(s, "/hls/cam/index.m3u8")
		<-early.done
		want(t, early.w, 503)
		if early.took != 5*time.Second || early.w.Header().Get("Retry-After") == "" {
			t.Errorf("after %v, Retry-After %q", early.took, early.w.Header().Get("Retry-After"))
		}
		waiting := ask(s, "/hls/cam/index.m3u8")
		if waiting.answered() {
			t.Fatal("does not wait for the first footage")
		}
		log.add("cam", testmedia.Synthetic(testPlace, 1)...)
		if !waiting.answered() {
			t.Fatal("does not see the first footage")
		}
		want(t, waiting.w, 200)

		motion := schemas.Layout{Target: 2, Video: schemas.MJPEG}
		log.entry("jpeg", schemas.Entry{Kind: schemas.KindWhole, Seq: 5, Layout: motion, Chunks: 1, Duration: 90000})
		if body := want(t, get(s, "/hls/jpeg/index.m3u8"), 406); !strings.Contains(body, `camera "jpeg" is MJPEG`) || !strings.Contains(body, "transcode") {
			t.Errorf("MJPEG: %s", body)
		}
	})
}

// Nothing can be played where all entries are gaps and the parts of the unfinished
// fragment were too large to keep.
func TestVariantWithoutParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		s := run(t, Config{ProvisionalBytes: 10}, log)
		f := testmedia.Synthetic(testPlace, 2)
		gap := testmedia.GapAt(f[0].Entry, time.Second)
		gap.Seq = f[0].Entry.Seq
		log.entry("cam", gap)
		log.chunk("cam", f[1].Chunks[0])
		want(t, get(s, "/hls/cam/index.m3u8"), 503)
	})
}

// While the parts of a first fragment are listed, the multivariant playlist describes it,
// also before a new writer has sent anything.
func TestNewWriterOfFirstFragment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		s := run(t, Config{}, log)
		for _, c := range joined(testmedia.Synthetic(testPlace, 3)).Chunks[:13] {
			log.chunk("cam", c)
		}
		before := want(t, get(s, "/hls/cam/index.m3u8"), 200)
		log.open("cam", 20, 0)
		synctest.Wait()
		want(t, get(s, playlist0), 200)
		if after := want(t, get(s, "/hls/cam/index.m3u8"), 200); after != before {
			t.Errorf("with the new writer it is\n%s\nand it was\n%s", after, before)
		}
	})
}

// When another first fragment takes the place of one that a reload waits for, the
// reload does not get an empty playlist.
func TestAnotherFirstFragment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		s := run(t, Config{}, log)
		f := testmedia.Synthetic(testPlace, 4)
		first := joined(f[:3])
		for _, c := range first.Chunks[:13] {
			log.chunk("cam", c)
		}
		reload := ask(s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=13", playlist0, first.Entry.Seq))
		if reload.answered() {
			t.Fatal("a reload does not wait for its part")
		}
		log.open("cam", 20, f[3].Entry.Seq) // what was there before was deleted
		c := *f[3].Chunks[0]
		c.Epoch = 20
		log.chunk("cam", &c)
		if !reload.answered() {
			t.Fatal("a reload waits for a fragment that is given up")
		}
		want(t, reload.w, 503)
	})
}

// The last gap before footage has parts with GAP=YES. The gaps before it have no
// parts.
func TestPartsOfGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 8)
		log.add("cam", f...)
		one := testmedia.GapAt(f[7].Entry, 1500*time.Millisecond)
		two := testmedia.GapAt(one, 1500*time.Millisecond)
		s := run(t, Config{}, log)
		want(t, get(s, playlist0), 200)
		log.entry("cam", one)
		log.entry("cam", two)
		synctest.Wait()
		if body := want(t, get(s, playlist0), 200); strings.Contains(body, "GAP=YES") {
			t.Errorf("nothing follows the gaps yet:\n%s", body)
		}
		next := testmedia.Synthetic(testmedia.After(two, testPlace), 1)[0]
		log.chunk("cam", next.Chunks[0])
		synctest.Wait()
		body := want(t, get(s, playlist0), 200)
		var lines []string
		for line := range strings.Lines(body) {
			if strings.Contains(line, "GAP=YES") {
				lines = append(lines, line)
			}
		}
		if len(lines) != 8 || !strings.Contains(lines[7], fmt.Sprintf("DURATION=0.100000,URI=\"raw/m1/%d.0.7.m4s\"", two.Seq)) {
			t.Errorf("the parts of gaps are %q", lines)
		}
	})
}
