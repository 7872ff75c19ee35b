package camsim_test

import (
	"context"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testclip"
	"github.com/framelog/framelog/tests/testenv"
)

// TestFFmpegReads compares the decoded frames that ffmpeg gets over RTSP with
// those of the file.
func TestFFmpegReads(t *testing.T) {
	for _, tc := range []struct {
		name      string
		spec      testclip.Spec
		transport string
		cfg       camsim.Config
	}{
		{"H264/TCP", testclip.Spec{Video: schemas.H264}, "tcp", camsim.Config{}},
		{"H264-B/TCP", testclip.Spec{Video: schemas.H264, BFrames: 2}, "tcp", camsim.Config{}},
		{"H264/UDP", testclip.Spec{Video: schemas.H264}, "udp", camsim.Config{}},
		{"H264/TLS", testclip.Spec{Video: schemas.H264}, "tcp", camsim.Config{TLS: true}},
		{"H265/TCP", testclip.Spec{Video: schemas.H265}, "tcp", camsim.Config{}},
		{"MJPEG/TCP", testclip.Spec{Video: schemas.MJPEG}, "tcp", camsim.Config{}},
		{"AAC/TCP", testclip.Spec{Video: schemas.H264, Audio: schemas.AAC}, "tcp", camsim.Config{}},
		{"Opus/UDP", testclip.Spec{Video: schemas.H264, Audio: schemas.Opus}, "udp", camsim.Config{Auth: camsim.AuthBasic}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.spec.Duration = 2 * time.Second
			clip, file := testclip.MakeFile(t, tc.spec)
			ctx, cancel := context.WithTimeout(t.Context(), 5*testenv.Patience)
			defer cancel()
			tc.cfg.Cameras = []camsim.CameraConfig{{Path: "a", Feed: clip, User: "viewer", Password: "s3cret&/x", HangUp: true}}
			stream := "v"
			if tc.spec.Audio != "" {
				stream = "a"
			}
			want, err := testclip.Frames(ctx, file, stream)
			if err != nil {
				t.Fatal(err)
			}
			lossless(t, tc.transport == "udp", func(func() bool) func() {
				s, err := camsim.Start(ctx, tc.cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				got, err := testclip.Frames(ctx, s.LoginURL("a"), stream, "-rtsp_transport", tc.transport)
				return func() {
					if err != nil {
						t.Fatal(err)
					}
					if n := len(want); len(got) != n {
						t.Errorf("%d frames of %d", len(got), n)
					}
					for i := range min(len(got), len(want)) {
						if got[i].Hash != want[i].Hash {
							t.Fatalf("frame %d differs", i)
						}
					}
				}
			})
		})
	}
}
