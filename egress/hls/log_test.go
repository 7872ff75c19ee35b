package hls

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

var (
	hintLine  = regexp.MustCompile(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="(raw/m1/(\d+)\.\d+\.(\d+)\.m4s)"`)
	firstPart = regexp.MustCompile(`#EXT-X-PART:DURATION=[0-9.]+,URI="raw/m1/(\d+)\.\d+\.0\.m4s",INDEPENDENT=YES`) // not of a gap
	partLine  = regexp.MustCompile(`#EXT-X-PART:DURATION=[0-9.]+,URI="(raw/m1/(\d+)\.\d+\.\d+\.m4s)"`)
	mapLine   = regexp.MustCompile(`#EXT-X-MAP:URI="([^"]+)"`)
	segLine   = regexp.MustCompile(`(?m)^raw/m1/(\d+)\.m4s$`)
)

// newKafka starts a Kafka in memory. connect connects a log to it, admin asks for topics.
func newKafka(t *testing.T) (connect func() *medialog.Log, admin *kadm.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "9437184"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return func() *medialog.Log {
		t.Helper()
		l, err := medialog.Connect(medialog.Config{Kafka: kafka.Config{Brokers: c.ListenAddrs()}}, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		return l
	}, kadm.NewClient(cl)
}

// With a real log: a writer records a clip, and another writer takes over in the
// middle of a fragment, while a low-latency client follows hint by hint. The parts
// that the client gets are the segments, on a second server too, and ffmpeg reads
// from them what the camera sent.
func TestOverKafka(t *testing.T) {
	connect, _ := newKafka(t)
	log := connect()
	clip := testmedia.MakeClip(t, 8, true, testmedia.H264BFrames...)
	var chunks []*schemas.Chunk
	for _, f := range clip.Fragments(testmedia.Place{Layout: testmedia.Layout, Start: testmedia.Start}, 5) {
		chunks = append(chunks, f.Chunks...)
	}
	topic := schemas.Topic{Camera: "cam"}
	feed := func(w *medialog.Writer, chunks []*schemas.Chunk) {
		for _, c := range chunks {
			if err := w.Write(c); err != nil {
				t.Errorf("write chunk: %v", err)
			}
		}
	}
	w := log.Open(t.Context(), topic, medialog.OpenOptions{Writer: "a", Host: "h", Reason: "start"})
	feed(w, chunks[:10]) // two fragments of the eight

	_, base := serve(t, Config{Window: time.Hour}, connect())
	url := base + "/hls/cam/"
	res, playlist := fetch(t, url+"raw.m3u8")
	if res.StatusCode != 200 {
		t.Fatalf("%s: %s", res.Status, playlist)
	}
	parts := map[string]string{} // by URI
	listed := firstPart.FindStringSubmatch(playlist)
	if listed == nil {
		t.Fatalf("no part in\n%s", playlist)
	}
	first, err := strconv.ParseUint(listed[1], 10, 64) // seq of the camera's first fragment
	if err != nil {
		t.Fatal(err)
	}
	// follow takes parts by their hints until the hint is that of a fragment,
	// counted from the first, and a part.
	follow := func(fragment uint64, part int) {
		for {
			h := hintLine.FindStringSubmatch(playlist)
			if h == nil {
				t.Fatalf("no hint in\n%s", playlist)
			}
			if h[2] == strconv.FormatUint(first+fragment, 10) && h[3] == strconv.Itoa(part) {
				return
			}
			res, body := fetch(t, url+h[1])
			if res.StatusCode != 200 {
				t.Fatalf("hinted part %s: %s %s", h[1], res.Status, body)
			}
			parts[h[1]] = body
			if res, playlist = fetch(t, fmt.Sprintf("%sraw.m3u8?_HLS_msn=%s&_HLS_part=%s", url, h[2], h[3])); res.StatusCode != 200 {
				t.Fatalf("reload for %s: %s %s", h[1], res.Status, playlist)
			}
			if !strings.Contains(playlist, `URI="`+h[1]+`"`) {
				t.Fatalf("the hinted part %s is not listed in\n%s", h[1], playlist)
			}
		}
	}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for _, c := range chunks[10:23] { // up to the third chunk of a fragment
			feed(w, []*schemas.Chunk{c})
			time.Sleep(5 * time.Millisecond) // a camera is not instant
		}
	}()
	follow(4, 3)
	<-fed

	// A second writer opens while the first is still there. It settles three chunks
	// of five, and begins a session.
	other := log.Open(t.Context(), topic, medialog.OpenOptions{Writer: "b", Host: "h", Reason: "takeover"})
	select {
	case <-other.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("the second writer is not ready")
	}
	other.NewSession("")
	feed(other, chunks[25:26])
	wait := func(want string) {
		t.Helper()
		for begin := time.Now(); !strings.Contains(playlist, want); {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("no %q in\n%s", want, playlist)
			}
			_, playlist = fetch(t, url+"raw.m3u8")
		}
	}
	wait("#EXT-X-DISCONTINUITY\n")
	fed = make(chan struct{})
	go func() {
		defer close(fed)
		for _, c := range chunks[26:] {
			feed(other, []*schemas.Chunk{c})
			time.Sleep(5 * time.Millisecond)
		}
	}()
	follow(8, 0)
	<-fed
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(fmt.Sprintf("\nraw/m1/%d.m4s\n", first+7))

	// Segments are the parts that the client got, and the same elsewhere.
	_, second := serve(t, Config{}, connect())
	segments := segLine.FindAllStringSubmatch(playlist, -1)
	if len(segments) != 8 {
		t.Fatalf("%d segments of 8:\n%s", len(segments), playlist)
	}
	res, init := fetch(t, url+mapLine.FindStringSubmatch(playlist)[1])
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	film := []byte(init)
	for _, m := range segments {
		_, body := fetch(t, url+m[0])
		if _, twin := fetch(t, second+"/hls/cam/"+m[0]); twin != body {
			t.Errorf("%s differs between servers", m[0])
		}
		film = append(film, body...)
		got, complete := "", true
		for _, p := range partLine.FindAllStringSubmatch(playlist, -1) {
			if p[2] == m[1] {
				data, ok := parts[p[1]]
				got, complete = got+data, complete && ok
			}
		}
		if complete && got != "" && got != body {
			t.Errorf("%s is not the parts that the client got", m[0])
		}
	}
	path := filepath.Join(t.TempDir(), "film.mp4")
	if err := os.WriteFile(path, film, 0o644); err != nil {
		t.Fatal(err)
	}
	// The source less the ten frames that no writer recorded, in decode order:
	// with B-frames those at the cut decode without the ones they refer to, so
	// packets are compared.
	packets := []string{"-map", "0:v", "-c", "copy"}
	want := testmedia.Hashes(t, sourceWithSets(t, clip), packets...)
	want = slices.Concat(want[:115], want[125:])
	if got := testmedia.Hashes(t, path, packets...); !slices.Equal(got, want) {
		t.Errorf("%d packets, want %d", len(got), len(want))
	}
}

// sourceWithSets is a clip as a file with parameter sets before each keyframe,
// as segments have them.
func sourceWithSets(t *testing.T, c testmedia.Clip) string {
	t.Helper()
	init, err := cmaf.Init(c.Tracks)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Fragments(testmedia.Place{Layout: testmedia.Layout, Start: testmedia.Start}, 1<<10) {
		init = append(init, bytes.Join(blocks(t, f), nil)...)
	}
	path := filepath.Join(t.TempDir(), "source.mp4")
	if err := os.WriteFile(path, init, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
