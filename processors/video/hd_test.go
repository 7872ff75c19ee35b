package video_test

import (
	"testing"

	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testmedia"
)

// Colours keep their meaning when large pictures, which have other colours than small ones by
// default (BT.709 and BT.601), become small.
func TestColoursOfLargePictures(t *testing.T) {
	need(t)
	clip := testmedia.MakeClip(t, 1, false, append([]string{"-vf", "scale=1280:720", "-r", "5"}, testmedia.H264Plain...)...)
	f := fragments(clip, 5)[:1]
	want := pictures.Decode(t, clip.Path, "yuv420p", video.I420.Bytes(320, 180), "-s", "320x180", "-sws_flags", "bilinear")
	for name, got := range map[string][]*video.Picture{
		"I420": collect(t, video.Options{Width: 320}, f...), "Gray8": collect(t, video.Options{Width: 320, Format: video.Gray8}, f...),
	} {
		for i, p := range got {
			if q := pictures.PSNR(p.Data, want[i][:len(p.Data)]); q < 33 {
				t.Errorf("%s: picture %d: PSNR %.1f dB", name, i, q)
			}
		}
	}
	var made []*schemas.Chunk
	for e, err := range video.Transcode(t.Context(), f[0], "", video.Encoding{Width: 320, Bitrate: 2e6}) {
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, e.Chunk)
	}
	for i, p := range pictures.Decode(t, pictures.WriteFile(t, made), "yuv420p", video.I420.Bytes(320, 180)) {
		if q := pictures.PSNR(p, want[i]); q < 31 {
			t.Errorf("transcoded: picture %d: PSNR %.1f dB", i, q)
		}
	}
}
