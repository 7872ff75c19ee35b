package hls

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// With a real log: a variant of a camera that stands in topics of its own, with a retry, is
// listed and served.
func TestRenditionOverKafka(t *testing.T) {
	connect, admin := newKafka(t)
	log := connect()
	camera := log.Open(t.Context(), schemas.Topic{Camera: "cam"}, medialog.OpenOptions{Writer: "a", Host: "h", Reason: "start"})
	for _, f := range testmedia.Synthetic(testmedia.Place{Layout: testmedia.Layout, Start: testmedia.Start}, 6) {
		for _, c := range f.Chunks {
			if err := camera.Write(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := camera.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var raw []schemas.Entry
	for e, err := range log.Entries(t.Context(), schemas.Topic{Camera: "cam"}, medialog.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, e)
	}
	if len(raw) != 6 {
		t.Fatalf("%d entries of raw", len(raw))
	}

	follower, err := log.Follow(t.Context(), schemas.Topic{Camera: "cam", Rendition: "small"}, medialog.FollowOptions{
		Processor: "scale", Role: schemas.RoleVariant, Writer: "p", Host: "h",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.Close)
	if err := follower.Jump(t.Context(), raw[0].Seq); err != nil {
		t.Fatal(err)
	}
	gap := raw[3] // the work on it fails
	var written []testmedia.Fragment
	for _, e := range raw {
		source := testmedia.Fragment{Entry: e}
		for c, err := range log.Chunks(t.Context(), schemas.Topic{Camera: "cam"}, e) {
			if err != nil {
				t.Fatal(err)
			}
			source.Chunks = append(source.Chunks, c)
		}
		f := derived([]testmedia.Fragment{source}, schemas.RoleVariant, 160)[0]
		work, err := follower.Begin(t.Context(), source.Chunks[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range f.Chunks {
			if err := work.Write(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if e.Seq == gap.Seq {
			if _, err := work.Fail(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := follower.Gaps(t.Context(), schemas.ReasonDeadLetter, e); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if f.Entry, err = work.Commit(t.Context(), e, medialog.Output{Used: e.Chunks}); err != nil {
			t.Fatal(err)
		}
		written = append(written, f)
	}

	_, base := serve(t, Config{}, log)
	if res, text := fetch(t, base+"/hls/cam/index.m3u8"); res.StatusCode != 200 || fmt.Sprint(streams(text)) != "[raw.m3u8 small.m3u8]" {
		t.Fatalf("the multivariant playlist: %s\n%s", res.Status, text)
	}
	res, text := fetch(t, base+"/hls/cam/small.m3u8")
	if res.StatusCode != 200 || !strings.Contains(text, fmt.Sprintf("#EXT-X-GAP\n#EXTINF:1.000000,\nsmall/m1/%d.m4s\n", gap.Seq)) {
		t.Errorf("the playlist of the rendition: %s\n%s", res.Status, text)
	}
	for _, f := range written {
		made := blocks(t, f)
		url := fmt.Sprintf("%s/hls/cam/small/m1/%d", base, f.Entry.Seq)
		if _, got := fetch(t, url+".m4s"); got != string(bytes.Join(made, nil)) {
			t.Errorf("segment %d has other bytes than the chunks of the log", f.Entry.Seq)
		}
		if _, got := fetch(t, fmt.Sprintf("%s.%d.1.m4s", url, f.Entry.Epoch)); got != string(made[1]) {
			t.Errorf("part 1 of segment %d has other bytes than the chunk of the log", f.Entry.Seq)
		}
	}
	if res, text := fetch(t, base+"/hls/cam/large.m3u8"); res.StatusCode != 404 {
		t.Errorf("a rendition that does not exist: %s %s", res.Status, text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if topics, err := admin.ListTopics(ctx); err != nil || topics.Has("cam.cam.large") {
		t.Errorf("a request has made a topic: %v (%v)", topics.Names(), err)
	}
}
