// Package e2e runs the whole of Framelog, with cameras over RTSP and HLS through
// Nginx, and checks what comes out.
package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// cases are encodings that must come out as they went in.
var cases = []struct {
	name string
	clip testenv.Clip
}{
	{"h264", testenv.Clip{Seconds: 8}},
	{"h264 with B-frames and aac", testenv.Clip{Seconds: 8, BFrames: 2, Audio: "aac"}},
	{"h265", testenv.Clip{Codec: "h265", Seconds: 8}},
	{"h265 with B-frames and aac", testenv.Clip{Codec: "h265", Seconds: 8, BFrames: 2, Audio: "aac", FPS: 25}},
}

// settled waits until a camera's live playlist has all of the footage, and returns
// the playlist. long is how long the footage is. A playlist that has not grown for
// a long time is returned too: what is missing shows when frames are compared.
func settled(t *testing.T, url string, long time.Duration) *system.Playlist {
	t.Helper()
	var last *system.Playlist
	since := time.Now()
	testenv.Wait(t, 3*testenv.Patience, "the end of the footage at "+url, func() bool {
		m := system.MediaPlaylist(t, url)
		if m == nil {
			since = time.Now()
			return false
		}
		if last == nil || m.Open.Seq != last.Open.Seq || len(m.Open.Parts) != len(last.Open.Parts) {
			since = time.Now()
		}
		last = m
		var all time.Duration
		for _, s := range m.Segments {
			all += s.Duration
		}
		return all > long-10*time.Millisecond && len(m.Open.Parts) == 0 || time.Since(since) > testenv.Patience/2
	})
	return last
}

// get fetches a URL. It returns "" if the answer is not 200.
func get(t *testing.T, url string) string {
	t.Helper()
	status, body, err := testenv.Get(t, url)
	if err != nil || status != http.StatusOK {
		return ""
	}
	return string(body)
}

// What a client decodes over HLS is, frame by frame, what the camera sent,
// from the first to the last.
func TestSamplesInAreSamplesOut(t *testing.T) {
	t.Parallel()
	system.Engines(t, testSamples)
}

func testSamples(t *testing.T, engine string) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := c.clip.File(t)
			cam, url := system.Camera(t, camsim.CameraConfig{Feed: system.Load(t, file), HangUp: true})
			f := system.Up(t, engine, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
			hls := system.Multivariant(testenv.Nginx(t, "", f.URL), "cam")
			testenv.Wait(t, 2*testenv.Patience, "the clip's end", cam.Over)
			p := settled(t, hls, time.Duration(c.clip.Seconds)*time.Second)
			if n := len(p.Segments); n < c.clip.Seconds-1 {
				t.Errorf("%d segments of %d seconds", n, c.clip.Seconds)
			}
			compare(t, file, hls, c.clip.Audio != "")
		})
	}
}

// fromTheStart makes FFmpeg read a live playlist from its first segment, and end
// once the playlist has not grown for three reloads.
var fromTheStart = []string{"-live_start_index", "0", "-max_reload", "3", "-m3u8_hold_counters", "3"}

// compare reads file and URL with FFmpeg and compares every frame.
func compare(t *testing.T, file, url string, audio bool) {
	t.Helper()
	live := testenv.HashOptions{Input: fromTheStart, Timeout: 3 * testenv.Patience, NoAudio: true}
	want := testenv.FrameHashes(t, file, testenv.HashOptions{NoAudio: true})
	got := testenv.FrameHashes(t, url, live)
	if d := media.Diff(want.Video, got.Video); d != "" {
		t.Errorf("video: %s (in: %s; out: %s)", d, media.Summary(want.Video), media.Summary(got.Video))
	}
	if !audio {
		return
	}
	live.NoAudio = false
	live.Copy = true
	wantA := testenv.FrameHashes(t, file, testenv.HashOptions{Copy: true}).Audio
	gotA := testenv.FrameHashes(t, url, live).Audio
	// The encoder's priming is before the first picture, and not recorded.
	from, d := media.Window(wantA, gotA)
	if d != "" || from > 2 || from+len(gotA) != len(wantA) {
		t.Errorf("sound: %s, from frame %d (in: %s; out: %s)", d, from, media.Summary(wantA), media.Summary(gotA))
	}
	live.Copy = false
	wantA = testenv.FrameHashes(t, file, testenv.HashOptions{}).Audio
	gotA = testenv.FrameHashes(t, url, live).Audio
	if len(gotA) < 2 || len(wantA) < from+2 {
		t.Fatalf("sound: %d frames of %d", len(gotA), len(wantA))
	}
	// A decoder's first frame depends on the frame before, which it does not have
	// here.
	if d := media.Diff(wantA[from+1:], gotA[1:]); d != "" {
		t.Errorf("decoded sound: %s (in: %s; out: %s)", d, media.Summary(wantA), media.Summary(gotA))
	}
}

// The same with a camera that does not use our code: GStreamer's RTSP server. It
// serves each connection the file from its start, so that after the file's end the
// camera comes back with the same footage, as a new session.
func TestSamplesOfGStreamersServer(t *testing.T) {
	t.Parallel()
	system.Engines(t, testSamplesOfGStreamersServer)
}

func testSamplesOfGStreamersServer(t *testing.T, engine string) {
	file := testenv.Clip{Seconds: 6, BFrames: 2, Audio: "aac"}.File(t)
	s := testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{File: file, Audio: "aac", User: "viewer", Pass: "canary-e2e"})
	f := system.Up(t, engine, testenv.UpOptions{
		Config: system.Cameras(map[string]string{"cam": strings.Replace(s.URL, "rtsp://", "rtsp://viewer:${FRAMELOG_SECRET_CAM}@", 1)}),
		Env:    []string{"FRAMELOG_SECRET_CAM=canary-e2e"},
	})
	hls := system.Multivariant(testenv.Nginx(t, "", f.URL), "cam")
	testenv.Wait(t, 2*testenv.Patience, "a second session", func() bool {
		p := system.MediaPlaylist(t, hls)
		return p != nil && len(p.Segments) > 8 && p.Segments[len(p.Segments)-1].DiscSeq > p.Segments[0].DiscSeq
	})
	want := testenv.FrameHashes(t, file, testenv.HashOptions{NoAudio: true}).Video
	got := testenv.FrameHashes(t, hls, testenv.HashOptions{
		Input: fromTheStart, NoAudio: true, Output: []string{"-frames:v", fmt.Sprint(len(want) + 30)},
	}).Video
	if d := media.Diff(append(append([]testenv.Hash{}, want...), want[:30]...), got); d != "" {
		t.Errorf("video: %s (in: %s; out: %s)", d, media.Summary(want), media.Summary(got))
		for _, s := range system.MediaPlaylist(t, hls).Segments {
			t.Logf("segment %d: session %d, %v, %v", s.Seq, s.DiscSeq, s.PDT, s.Duration)
		}
	}
}
