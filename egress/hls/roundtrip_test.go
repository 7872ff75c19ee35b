package hls

import (
	"context"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
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

// ffmpeg decodes the same pictures from the playlist as from the source files, and
// the packets of sound have the same bytes.
func TestRoundTrip(t *testing.T) {
	h265 := testmedia.Layout
	h265.Video, h265.Audio = schemas.H265, ""
	silent := testmedia.Layout
	silent.Audio = ""
	tests := []struct {
		name   string
		layout schemas.Layout
		clips  []testmedia.Clip
	}{
		{"h264", silent, []testmedia.Clip{testmedia.MakeClip(t, 4, false, testmedia.H264Plain...)}},
		{"h264 with B-frames and sound", testmedia.Layout, []testmedia.Clip{testmedia.MakeClip(t, 4, true, testmedia.H264BFrames...)}},
		{"h265 with B-frames", h265, []testmedia.Clip{testmedia.MakeClip(t, 4, false, testmedia.H265BFrames...)}},
		{"a session change", testmedia.Layout, []testmedia.Clip{testmedia.MakeClip(t, 3, true, testmedia.H264BFrames...), testmedia.MakeClip(t, 4, true, testmedia.H264Plain...)}},
		{"a session change of h265", h265, []testmedia.Clip{testmedia.MakeClip(t, 3, false, testmedia.H265BFrames...), testmedia.MakeClip(t, 4, false, testmedia.H265BFrames...)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := newFakeLog()
			p := testmedia.Place{Seq: 1000, Session: 7, Epoch: 3, Layout: test.layout, Start: testmedia.Start}
			var wantPictures, wantSound []string
			for _, c := range test.clips {
				fragments := c.Fragments(p, 5)
				log.add("cam", fragments...)
				last := fragments[len(fragments)-1].Entry
				// ffmpeg does not know EXT-X-GAP: it asks for the gap, and loses nothing.
				gap := testmedia.GapAt(last, 2*time.Second)
				log.entry("cam", gap)
				p.Seq, p.Session, p.Start = gap.Seq+1, p.Session+1, gap.End()
				wantPictures = append(wantPictures, testmedia.Hashes(t, c.Path, testmedia.Pictures...)...)
				if test.layout.Audio != "" {
					wantSound = append(wantSound, testmedia.Hashes(t, c.Path, testmedia.Sound...)...)
				}
			}
			_, base := serve(t, Config{}, log)
			url := base + "/hls/cam/raw.m3u8"
			if len(wantPictures) < 75 {
				t.Fatalf("the source has %d pictures", len(wantPictures))
			}
			if got := testmedia.Hashes(t, url, testmedia.Pictures...); !slices.Equal(got, wantPictures) {
				t.Errorf("pictures: %d of them, want %d\n%v\n%v", len(got), len(wantPictures), got, wantPictures)
			}
			if test.layout.Audio == "" {
				return
			}
			if got := testmedia.Hashes(t, url, testmedia.Sound...); !slices.Equal(got, wantSound) {
				t.Errorf("sound: %d packets, want %d", len(got), len(wantSound))
			}
		})
	}
}
