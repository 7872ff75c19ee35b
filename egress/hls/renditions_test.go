package hls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// derived makes fragments of a rendition of raw ones: half as large, with a width of its
// own, under another epoch.
func derived(raw []testmedia.Fragment, role schemas.Role, width uint16) (all []testmedia.Fragment) {
	for _, f := range raw {
		d := testmedia.Fragment{Entry: f.Entry}
		for _, c := range f.Chunks {
			c := *c
			if c.Epoch = 3; c.Index == 0 {
				c.Tracks = []schemas.Track{f.Chunks[0].Tracks[0]}
				c.Tracks[0].Width = width
				d.Entry.Config = schemas.ConfigHash(c.Tracks)
			}
			c.Layout.Audio = ""
			c.Runs = c.Runs[:1] // the pictures
			d.Chunks = append(d.Chunks, &c)
		}
		d.Entry.Epoch, d.Entry.Role, d.Entry.Layout.Audio, d.Entry.Bytes = 3, role, "", f.Entry.Bytes/2
		d.Entry.Source = schemas.Copy{Epoch: f.Entry.Epoch, Chunks: f.Entry.Chunks}
		all = append(all, d)
	}
	return all
}

// tails is how many topics a server follows.
func tails(s *Server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// A rendition is served with the code of raw, from its own topic.
func TestRendition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		raw := testmedia.Synthetic(testPlace, 10)
		small := derived(raw, schemas.RoleAlternative, 160)
		log.add("cam", raw...)
		log.add("cam/small", small[:8]...)
		gap := testmedia.GapAt(small[7].Entry, time.Second)
		gap.Role, gap.Reason = schemas.RoleAlternative, schemas.ReasonFiltered
		log.entry("cam/small", gap)
		s := run(t, Config{}, log)
		body := want(t, get(s, "/hls/cam/small.m3u8"), 200)
		for _, line := range []string{
			fmt.Sprintf("#EXT-X-MAP:URI=\"small/m1/init-%s.mp4\"\n", small[0].Entry.Config), fmt.Sprintf("\nsmall/m1/%d.m4s\n", small[7].Entry.Seq),
			fmt.Sprintf("#EXT-X-GAP\n#EXTINF:1.000000,\nsmall/m1/%d.m4s\n", gap.Seq),
		} {
			if !strings.Contains(body, line) {
				t.Errorf("no %q in\n%s", line, body)
			}
		}
		whole := blocks(t, small[2])
		url := fmt.Sprintf("/hls/cam/small/m1/%d", small[2].Entry.Seq)
		if want(t, get(s, url+".m4s"), 200) != string(bytes.Join(whole, nil)) || want(t, get(s, url+".3.1.m4s"), 200) != string(whole[1]) {
			t.Error("segment or part have other bytes than the chunks of the rendition")
		}
		want(t, get(s, "/hls/cam/small/m1/init-"+small[0].Entry.Config+".mp4"), 200)
		want(t, get(s, "/hls/cam/small/m1/init-"+raw[0].Entry.Config+".mp4"), 404)

		// Its own entries answer a reload, though raw is ahead.
		reload := ask(s, fmt.Sprintf("/hls/cam/small.m3u8?_HLS_msn=%d&_HLS_part=0", raw[9].Entry.Seq))
		if reload.answered() {
			t.Fatal("a reload of the rendition is answered by raw")
		}
		log.chunk("cam/small", small[9].Chunks[0])
		if !reload.answered() || !strings.Contains(want(t, reload.w, 200), fmt.Sprintf("small/m1/%d.3.0.m4s", small[9].Entry.Seq)) {
			t.Error("a reload of the rendition is not answered by its part")
		}
	})
}

// Requests for a rendition that does not exist are answered at once with its name. They
// share one list of topics, and make no tail. One that has a topic is waited for.
func TestNoRendition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		raw := testmedia.Synthetic(testPlace, 4)
		log.add("cam", raw...)
		s := run(t, Config{}, log)
		for i := range 100 {
			for _, path := range []string{"%d.m3u8", "%d/index.m3u8", "%d/m1/7.m4s", "%d/m1/7.0.0.m4s", "%d/m1/init-0123456789abcdef.mp4"} {
				p := ask(s, "/hls/cam/"+fmt.Sprintf(path, i))
				if !p.answered() {
					t.Fatalf("%s: it waits", path)
				}
				if body := want(t, p.w, 404); body != fmt.Sprintf("camera \"cam\" has no rendition \"%d\"\n", i) {
					t.Fatalf("%s: %s", path, body)
				}
			}
		}
		if n := tails(s); n != 0 || log.lists != 1 || log.reads() != 0 {
			t.Errorf("%d tails, %d lists of topics, %d reads of indexes", n, log.lists, log.reads())
		}
		log.update("cam/small", func(*fakeTopic) {}) // it has a topic and nothing else
		time.Sleep(keepTopics)
		waits := ask(s, "/hls/cam/small.m3u8")
		if waits.answered() {
			t.Fatalf("a rendition that begins is not waited for: %s", waits.w.Body)
		}
		log.add("cam/small", derived(raw, schemas.RoleAlternative, 160)...)
		if !waits.answered() {
			t.Fatal("a rendition that has begun is still waited for")
		}
		want(t, waits.w, 200)

		// The old list serves while the log is away.
		log.fail(errors.New("away"))
		time.Sleep(keepTopics)
		want(t, get(s, "/hls/cam/other.m3u8"), 404)
		other := run(t, Config{}, log)
		want(t, get(other, "/hls/cam/small.m3u8"), 503)
	})
}

func streams(multivariant string) (uris []string) {
	for line := range strings.Lines(multivariant) {
		if !strings.HasPrefix(line, "#") {
			uris = append(uris, strings.TrimSpace(line))
		}
	}
	return uris
}

// The multivariant playlist of a camera lists raw and its variants alone, each with values
// of its own. That of a rendition lists it alone.
func TestRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		raw := testmedia.Synthetic(testPlace, 20)
		log.add("cam", raw...)
		log.add("cam/small", derived(raw[:19], schemas.RoleVariant, 160)...)
		log.add("cam/redacted", derived(raw, schemas.RoleAlternative, 320)...)
		log.add("cam/dlq-x", derived(raw[3:4], schemas.RoleDeadLetter, 320)...)
		log.update("cam/begins", func(*fakeTopic) {})
		log.add("other/tiny", derived(raw, schemas.RoleVariant, 80)...)
		s := run(t, Config{}, log)
		rate := func(f testmedia.Fragment) int64 {
			_, average := Bandwidth([]schemas.Entry{f.Entry})
			return average
		}
		line := "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=\"%s\",RESOLUTION=%dx180,FRAME-RATE=25.000\n%s.m3u8\n"
		one := func(f testmedia.Fragment, codecs string, width int, name string) string {
			return fmt.Sprintf(line, rate(f), rate(f), codecs, width, name)
		}
		head := "#EXTM3U\n#EXT-X-VERSION:9\n"
		small := derived(raw[:1], "", 0)[0]
		for url, text := range map[string]string{
			"/hls/cam/index.m3u8":          head + one(raw[0], "avc1.4D400D,mp4a.40.2", 320, "raw") + one(small, "avc1.4D400D", 160, "small"),
			"/hls/cam/redacted/index.m3u8": head + one(small, "avc1.4D400D", 320, "../redacted"),
			"/hls/cam/raw/index.m3u8":      head + one(raw[0], "avc1.4D400D,mp4a.40.2", 320, "../raw"),
		} {
			if got := want(t, get(s, url), 200); got != text {
				t.Errorf("%s:\n%s\nwant\n%s", url, got, text)
			}
		}
		if n := tails(s); n != 3 {
			t.Errorf("%d tails, want those of raw, the variant and the alternative that was asked for", n)
		}
	})
}

// A variant is listed while it lags less than six target durations behind raw.
func TestLateVariant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		raw := testmedia.Synthetic(testPlace, 20)
		log.add("cam", raw...)
		log.add("cam/small", derived(raw[:8], schemas.RoleVariant, 160)...) // 12 s
		s := run(t, Config{}, log)
		if got := streams(want(t, get(s, "/hls/cam/index.m3u8"), 200)); len(got) != 1 {
			t.Errorf("a variant that is late is listed: %v", got)
		}
		log.add("cam/small", derived(raw[8:9], schemas.RoleVariant, 160)...)
		synctest.Wait()
		if got := streams(want(t, get(s, "/hls/cam/index.m3u8"), 200)); len(got) != 2 {
			t.Errorf("a variant that is 11 s behind is not listed: %v", got)
		}
		// It stays listed while roles cannot be read from the log.
		log.fail(errors.New("away"))
		time.Sleep(keepFound)
		if got := streams(want(t, get(s, "/hls/cam/index.m3u8"), 200)); len(got) != 2 {
			t.Errorf("a variant is not listed while the log is away: %v", got)
		}
	})
}

// Low-latency playlists of variants that are followed tell how far the others are.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		raw := testmedia.Synthetic(testPlace, 9)
		small := derived(raw, schemas.RoleVariant, 160)
		log.add("cam", raw[:8]...)
		log.add("cam/small", small[:7]...)
		log.add("cam/redacted", derived(raw[:8], schemas.RoleAlternative, 320)...)
		s := run(t, Config{}, log)
		report := func(url string) string {
			t.Helper()
			return last(want(t, get(s, url), 200), "#EXT-X-RENDITION-REPORT")
		}
		if got := report(playlist0); got != "" {
			t.Errorf("a rendition that nobody watches is followed for reports: %s", got)
		}
		want(t, get(s, "/hls/cam/index.m3u8"), 200)
		want(t, get(s, "/hls/cam/redacted.m3u8"), 200)
		seq := testPlace.Seq
		for url, line := range map[string]string{
			playlist0:             fmt.Sprintf("#EXT-X-RENDITION-REPORT:URI=\"small.m3u8\",LAST-MSN=%d,LAST-PART=4", seq+6),
			"/hls/cam/small.m3u8": fmt.Sprintf("#EXT-X-RENDITION-REPORT:URI=\"raw.m3u8\",LAST-MSN=%d,LAST-PART=4", seq+7),
			// A player must not switch to other content.
			"/hls/cam/redacted.m3u8": "",
		} {
			if got := report(url); got != line {
				t.Errorf("%s: %q, want %q", url, got, line)
			}
		}
		// The reports are new though nothing has come in the playlist itself.
		log.add("cam/small", small[7])
		log.chunk("cam/small", small[8].Chunks[0])
		synctest.Wait()
		if got, line := report(playlist0), fmt.Sprintf("#EXT-X-RENDITION-REPORT:URI=\"small.m3u8\",LAST-MSN=%d,LAST-PART=0", seq+8); got != line {
			t.Errorf("%q, want %q", got, line)
		}
	})
}

// A camera that sends MJPEG has the playlists of its variants.
func TestVariantOfMJPEG(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		raw := testmedia.Synthetic(testPlace, 8)
		for _, f := range raw {
			f.Entry.Layout = schemas.Layout{Target: 2, Video: schemas.MJPEG}
			log.entry("cam", f.Entry)
		}
		log.add("cam/h264", derived(raw, schemas.RoleVariant, 320)...)
		s := run(t, Config{}, log)
		if got := streams(want(t, get(s, "/hls/cam/index.m3u8"), 200)); len(got) != 1 || got[0] != "h264.m3u8" {
			t.Errorf("the multivariant playlist lists %v", got)
		}
		want(t, get(s, "/hls/cam/h264.m3u8"), 200)
		if body := want(t, get(s, playlist0), 406); !strings.Contains(body, "transcode") {
			t.Errorf("MJPEG: %s", body)
		}
	})
}

// Timed metadata is listed in segments alone, also a fragment without a sample.
func TestDataRendition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		tracks := []schemas.Track{{ID: schemas.DataTrack, Codec: schemas.JSON, Timescale: schemas.MediaTimescale}}
		layout := schemas.Layout{Target: 2, Part: testmedia.Layout.Part, Data: schemas.JSON} // the source's
		var data []testmedia.Fragment
		for i, f := range testmedia.Synthetic(testPlace, 8) {
			c := &schemas.Chunk{
				Epoch: 3, Session: testPlace.Session, Layout: layout, Seq: f.Entry.Seq, Last: true, Start: f.Entry.Start,
				Media: f.Entry.Media, Duration: f.Entry.Duration, Tracks: tracks,
			}
			if i%2 == 0 {
				c.Runs = []schemas.Run{{Track: schemas.DataTrack, Samples: []schemas.Sample{{DTS: c.Media + 900, Duration: 3600, Data: []byte(`{"score":1}`)}}}}
			}
			e := f.Entry
			e.Layout, e.Epoch, e.Role, e.Chunks, e.Config = layout, 3, schemas.RoleData, 1, schemas.ConfigHash(tracks)
			data = append(data, testmedia.Fragment{Chunks: []*schemas.Chunk{c}, Entry: e})
		}
		log.add("cam/boxes", data[:7]...)
		s := run(t, Config{}, log)
		body := want(t, get(s, "/hls/cam/boxes.m3u8"), 200)
		head := fmt.Sprintf(`#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0
#EXT-X-MEDIA-SEQUENCE:%d
#EXT-X-DISCONTINUITY-SEQUENCE:42
#EXT-X-MAP:URI="boxes/m1/init-%s.mp4"
`, testPlace.Seq, data[0].Entry.Config)
		if !strings.HasPrefix(body, head) || strings.Contains(body, "PART") || strings.Contains(body, "HINT") ||
			!strings.HasSuffix(body, fmt.Sprintf("#EXTINF:1.000000,\nboxes/m1/%d.m4s\n", data[6].Entry.Seq)) {
			t.Errorf("the playlist:\n%s", body)
		}
		for _, f := range data[5:7] { // without a sample, and with one
			if got := want(t, get(s, fmt.Sprintf("/hls/cam/boxes/m1/%d.m4s", f.Entry.Seq)), 200); got != string(blocks(t, f)[0]) {
				t.Errorf("segment %d has other bytes than its chunk", f.Entry.Seq)
			}
		}
		want(t, get(s, "/hls/cam/boxes/m1/init-"+data[0].Entry.Config+".mp4"), 200)
		if got := streams(want(t, get(s, "/hls/cam/boxes/index.m3u8"), 200)); len(got) != 1 || got[0] != "../boxes.m3u8" {
			t.Errorf("its multivariant playlist lists %v", got)
		}
		reload := ask(s, fmt.Sprintf("/hls/cam/boxes.m3u8?_HLS_msn=%d", data[7].Entry.Seq))
		log.chunk("cam/boxes", data[7].Chunks[0])
		if reload.answered() {
			t.Fatal("a chunk answers a reload of a playlist without parts")
		}
		log.entry("cam/boxes", data[7].Entry)
		if !reload.answered() {
			t.Fatal("the entry does not answer a reload")
		}
		gap := testmedia.GapAt(data[7].Entry, time.Second)
		log.entry("cam/boxes", gap)
		synctest.Wait()
		if body := want(t, get(s, fmt.Sprintf("/hls/cam/boxes/m1/%d.m4s", gap.Seq)), 200); !strings.HasSuffix(body, "mdatnull") {
			t.Errorf("a gap: %q", body)
		}
	})
}

// The playlist of sound alone has parts.
func TestSoundRendition(t *testing.T) {
	raw := testmedia.Synthetic(testPlace, 1)[0]
	m := newModel(time.Minute, 1<<20)
	for _, c := range raw.Chunks {
		sound := *c
		sound.Media, sound.Duration = c.MediaStart(), c.MediaEnd()-c.MediaStart()
		sound.Layout.Video = ""
		sound.Runs = c.Runs[1:]
		if c.Index == 0 {
			sound.Tracks = c.Tracks[1:]
		}
		if _, _, err := m.chunk(&sound); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range m.unfinished().Parts {
		if p != (PartInfo{Start: int64(i) * 18000, Duration: 18000, Independent: true}) {
			t.Errorf("part %d: %+v", i, p)
		}
	}
}

// A request waits for the list of topics no longer than for a camera's first footage.
func TestListOfTopicsHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &hangingLog{newFakeLog()}
		log.add("cam", testmedia.Synthetic(testPlace, 8)...)
		s := run(t, Config{}, log)
		p := ask(s, "/hls/cam/small.m3u8")
		<-p.done
		if want(t, p.w, 503); p.took != 5*time.Second {
			t.Errorf("held for %v", p.took)
		}
	})
}

type hangingLog struct{ *fakeLog }

func (l *hangingLog) Topics(ctx context.Context) ([]schemas.Topic, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
