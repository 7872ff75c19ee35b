package video_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testmedia"
)

// Every picture of every codec comes once, in order, with its time, and with the pixels
// that ffmpeg decodes. H.264 and H.265 define them to the bit.
func TestPictures(t *testing.T) {
	need(t)
	for name, c := range map[string]struct {
		options []string
		pixels  string
		floor   float64
	}{
		"H.264":               {testmedia.H264Plain, "yuv420p", 99},
		"H.264 with B-frames": {testmedia.H264BFrames, "yuv420p", 99},
		"H.265 with B-frames": {testmedia.H265BFrames, "yuv420p", 99},
		"MJPEG":               {testmedia.MJPEG, "yuvj420p", 45},
		"H.264, interlaced":   {append(testmedia.H264Plain, "-flags", "+ilme+ildct"), "yuv420p", 25},
	} {
		t.Run(name, func(t *testing.T) {
			clip := testmedia.MakeClip(t, 2, false, c.options...)
			all := fragments(clip, 5)
			got := collect(t, video.Options{}, all...)
			want := pictures.Decode(t, clip.Path, c.pixels, video.I420.Bytes(320, 180))
			at := times(t, all...)
			if len(got) != len(want) || len(got) != len(at) {
				t.Fatalf("%d pictures of %d", len(got), len(want))
			}
			for i, p := range got {
				if i > 0 && p.PTS <= got[i-1].PTS || at[p.PTS] != p.Duration || at[p.PTS] == 0 || p.Width != 320 || p.Height != 180 {
					t.Fatalf("picture %d: %s", i, describe(p))
				}
				if q := pictures.PSNR(p.Data, want[i]); q < c.floor {
					t.Fatalf("picture %d: PSNR %.1f dB", i, q)
				}
			}
		})
	}
}

// Sizes and formats are as asked, and near what ffmpeg makes.
func TestFormatsAndSizes(t *testing.T) {
	need(t)
	clip := testmedia.MakeClip(t, 1, false, testmedia.H264BFrames...)
	f := fragments(clip, 5)
	for _, c := range []struct {
		o      video.Options
		w, h   int
		pixels string
		floor  float64
	}{
		{video.Options{Format: video.Gray8}, 320, 180, "yuv420p", 99},
		{video.Options{Format: video.RGB}, 320, 180, "rgb24", 30},
		{video.Options{Format: video.BGR, Width: 160}, 160, 90, "bgr24", 25},
		{video.Options{Height: 90}, 160, 90, "yuv420p", 28},
		{video.Options{Width: 101, Height: 51}, 101, 51, "yuv420p", 25},
		{video.Options{Height: 77, Format: video.Gray8}, 136, 77, "yuv420p", 25},
	} {
		got := collect(t, c.o, f...)
		o := c.o
		if o.Format == "" {
			o.Format = video.I420
		}
		size := o.Format.Bytes(c.w, c.h)
		if o.Format == video.Gray8 {
			size = video.I420.Bytes(c.w, c.h) // Gray8 is its first plane
		}
		want := pictures.Decode(t, clip.Path, c.pixels, size, "-s", fmt.Sprintf("%dx%d", c.w, c.h), "-sws_flags", "bilinear")
		if len(got) != 25 {
			t.Fatalf("%+v: %d pictures", c.o, len(got))
		}
		for i, p := range got {
			if p.Width != c.w || p.Height != c.h || p.Format != o.Format || len(p.Data) != o.Format.Bytes(c.w, c.h) {
				t.Fatalf("%+v: %s", c.o, describe(p))
			}
			if q := pictures.PSNR(p.Data, want[i][:len(p.Data)]); q < c.floor {
				t.Errorf("%+v: picture %d: PSNR %.1f dB", c.o, i, q)
				break
			}
		}
	}
}

// Leaving the loop leaves the rest, and a clone outlives the loop.
func TestFirstPicture(t *testing.T) {
	need(t)
	clip := testmedia.MakeClip(t, 1, false, testmedia.H264Plain...)
	f := fragments(clip, 5)[0]
	all := collect(t, video.Options{}, f)
	var first *video.Picture
	for p, err := range video.Pictures(t.Context(), f, video.Options{Keyframes: true}) {
		if err != nil {
			t.Fatal(err)
		}
		first = p.Clone()
		clear(p.Data)
		break
	}
	if !bytes.Equal(first.Data, all[0].Data) {
		t.Error("the first keyframe is another picture")
	}
}
