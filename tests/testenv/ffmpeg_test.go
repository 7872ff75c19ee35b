package testenv_test

import (
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// Every clip has the codecs that it should, and no two of its frames are alike.
func TestClips(t *testing.T) {
	for name, c := range map[string]struct {
		clip    testenv.Clip
		codec   string
		reorder bool
		audio   int // at least so many frames
	}{
		"h264":        {testenv.Clip{Seconds: 2}, "h264", false, 0},
		"h264 b aac":  {testenv.Clip{Seconds: 2, BFrames: 2, Audio: "aac"}, "h264", true, 93},
		"h265":        {testenv.Clip{Codec: "h265", Seconds: 2, Audio: "opus"}, "hevc", false, 100},
		"h265 b open": {testenv.Clip{Codec: "h265", Seconds: 2, BFrames: 2, OpenGOP: true}, "hevc", true, 0},
		"mjpeg":       {testenv.Clip{Codec: "mjpeg", Seconds: 1, FPS: 10}, "mjpeg", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			file := c.clip.File(t)
			v, ok := testenv.Probe(t, file).Stream("video")
			if !ok || v.CodecName != c.codec || (v.HasBFrames > 0) != c.reorder || v.Width != 640 {
				t.Errorf("video is %+v", v)
			}
			h := testenv.FrameHashes(t, file, testenv.HashOptions{})
			if want := c.clip.Seconds * max(c.clip.FPS, 10); len(h.Video) < want {
				t.Errorf("%d frames of video, want %d", len(h.Video), want)
			}
			if len(h.Audio) < c.audio {
				t.Errorf("%d frames of audio, want %d", len(h.Audio), c.audio)
			}
			seen := map[string]int{}
			for i, f := range h.Video {
				if j, ok := seen[f.Sum]; ok {
					t.Errorf("frames %d and %d are alike", i, j)
				}
				seen[f.Sum] = i
			}
		})
	}
}
