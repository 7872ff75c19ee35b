package testenv_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// What the server serves is the file, frame by frame.
func TestGstRTSPServerServesTheFile(t *testing.T) {
	file := testenv.Clip{Seconds: 3, BFrames: 2, Audio: "aac"}.File(t)
	s := testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{File: file, Audio: "aac", User: "viewer", Pass: "canary"})
	url := strings.Replace(s.URL, "rtsp://", "rtsp://viewer:canary@", 1)
	o := testenv.HashOptions{NoAudio: true}
	want := testenv.FrameHashes(t, file, o).Video
	o.Input, o.Timeout = []string{"-rtsp_transport", "tcp"}, 2*testenv.Patience
	o.Output = []string{"-frames:v", fmt.Sprint(len(want))}
	got := testenv.FrameHashes(t, url, o).Video
	if len(got) != len(want) {
		t.Fatalf("%d frames of %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Sum != want[i].Sum {
			t.Fatalf("frame %d differs", i)
		}
	}
}

func TestGstRTSPServerLive(t *testing.T) {
	s := testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{BFrames: 2, Audio: "aac"})
	h := testenv.FrameHashes(t, s.URL, testenv.HashOptions{
		Input: []string{"-rtsp_transport", "tcp"}, Output: []string{"-t", "2"}, Timeout: 2 * testenv.Patience,
	})
	if len(h.Video) < 40 || len(h.Audio) < 40 {
		t.Errorf("%d frames of video, %d of audio", len(h.Video), len(h.Audio))
	}
}
