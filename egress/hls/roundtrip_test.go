package hls

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// serve starts a server over a log and gives its base URL.
func serve(t testing.TB, cfg Config, log Log) (*Server, string) {
	t.Helper()
	s, err := New(cfg, log, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		cancel()
		<-done
	})
	return s, web.URL
}

// hashes is the frame hashes of a stream, decoded or copied, in order.
func hashes(t testing.TB, url string, args ...string) []string {
	t.Helper()
	in := []string{"-i", url}
	if strings.HasPrefix(url, "http") {
		// A live playlist from its first segment, until it stands still.
		in = append([]string{"-live_start_index", "0", "-max_reload", "3", "-m3u8_hold_counters", "3"}, in...)
	}
	out := ffmpeg(t, append(append(in, args...), "-f", "framemd5", "-")...)
	var all []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSpace(line), ",")
		all = append(all, strings.TrimSpace(fields[len(fields)-1]))
	}
	return all
}

var (
	pictures = []string{"-map", "0:v", "-c:v", "rawvideo", "-fps_mode", "passthrough"}
	sound    = []string{"-map", "0:a", "-c", "copy"}
)

// What ffmpeg decodes from the playlist is what it decodes from the source
// files, picture by picture, and the sound's packets are the same bytes.
func TestRoundTrip(t *testing.T) {
	h265 := layout0
	h265.Video, h265.Audio = schemas.H265, ""
	silent := layout0
	silent.Audio = ""
	tests := []struct {
		name   string
		layout schemas.Layout
		clips  []clip
	}{
		{"h264", silent, []clip{makeClip(t, 4, false, h264Plain...)}},
		{"h264 with B-frames and sound", layout0, []clip{makeClip(t, 4, true, h264BFrames...)}},
		{"h265 with B-frames", h265, []clip{makeClip(t, 4, false, h265BFrames...)}},
		{"a session change", layout0, []clip{makeClip(t, 3, true, h264BFrames...), makeClip(t, 4, true, h264Plain...)}},
		{"a session change of h265", h265, []clip{makeClip(t, 3, false, h265BFrames...), makeClip(t, 4, false, h265BFrames...)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := newFakeLog()
			p := place{seq: 1000, session: 7, epoch: 3, layout: test.layout, start: testStart}
			var wantPictures, wantSound []string
			for _, c := range test.clips {
				fragments := c.fragments(p, 5)
				log.add("cam", fragments...)
				last := fragments[len(fragments)-1].entry
				// ffmpeg does not know EXT-X-GAP: it asks for the gap, and loses nothing.
				gap := gapAt(last, 2*time.Second)
				log.entry("cam", gap)
				p.seq, p.session, p.start = gap.Seq+1, p.session+1, gap.End()
				wantPictures = append(wantPictures, hashes(t, c.path, pictures...)...)
				if test.layout.Audio != "" {
					wantSound = append(wantSound, hashes(t, c.path, sound...)...)
				}
			}
			_, base := serve(t, Config{}, log)
			url := base + "/hls/cam/raw.m3u8"
			if len(wantPictures) < 75 {
				t.Fatalf("the source has %d pictures", len(wantPictures))
			}
			if got := hashes(t, url, pictures...); !slices.Equal(got, wantPictures) {
				t.Errorf("pictures: %d of them, want %d\n%v\n%v", len(got), len(wantPictures), got, wantPictures)
			}
			if test.layout.Audio == "" {
				return
			}
			if got := hashes(t, url, sound...); !slices.Equal(got, wantSound) {
				t.Errorf("sound: %d packets, want %d", len(got), len(wantSound))
			}
		})
	}
}
