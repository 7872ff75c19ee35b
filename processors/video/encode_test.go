package video_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"iter"
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testmedia"
)

// encoded is what Encode makes of a fragment.
func encoded(t testing.TB, seq iter.Seq2[*schemas.Chunk, error]) []*schemas.Chunk {
	t.Helper()
	var all []*schemas.Chunk
	for c, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		c.Index = uint32(len(all))
		all = append(all, c)
	}
	return all
}

// source is the chunks of a fragment.
func source(t testing.TB, f *processors.Fragment) []*schemas.Chunk {
	t.Helper()
	return encoded(t, f.Chunks(t.Context()))
}

// What Encode makes of all pictures has the times of the source, and looks like it.
func TestEncode(t *testing.T) {
	need(t)
	for name, options := range map[string][]string{
		"H.264": testmedia.H264Plain, "B-frames": testmedia.H264BFrames, "H.265": testmedia.H265BFrames, "MJPEG": testmedia.MJPEG,
	} {
		t.Run(name, func(t *testing.T) {
			clip := testmedia.MakeClip(t, 2, true, options...)
			var made [][]*schemas.Chunk
			for _, f := range fragments(clip, 5) {
				got := encoded(t, video.Encode(t.Context(), f, video.Pictures(t.Context(), f, video.Options{}), video.Encoding{Bitrate: 2e6}))
				pictures.SameTimes(t, got, source(t, f))
				made = append(made, got)
			}
			size := video.I420.Bytes(320, 180)
			pixels := "yuv420p"
			if name == "MJPEG" {
				pixels = "yuvj420p"
			}
			want, got := pictures.Decode(t, clip.Path, pixels, size), pictures.Decode(t, pictures.WriteFile(t, made...), pixels, size)
			if len(got) != len(want) {
				t.Fatalf("ffmpeg decodes %d pictures of %d", len(got), len(want))
			}
			for i := range got {
				if q := pictures.PSNR(got[i], want[i]); q < 33 {
					t.Errorf("picture %d: PSNR %.1f dB", i, q)
					break
				}
			}
		})
	}
}

// With few pictures the chunks still have the times of the source's: each begins with the
// last picture.
func TestEncodeFewPictures(t *testing.T) {
	need(t)
	clip := testmedia.MakeClip(t, 1, false, testmedia.H264BFrames...)
	f := fragments(clip, 5)[0]
	got := encoded(t, video.Encode(t.Context(), f, video.Pictures(t.Context(), f, video.Options{FPS: 2}), video.Encoding{}))
	want := source(t, f)
	var counts []int
	for i, c := range got {
		if c.MediaStart() != want[i].MediaStart() || c.MediaEnd() != want[i].MediaEnd() {
			t.Errorf("chunk %d: %d to %d, the source has %d to %d", i, c.MediaStart(), c.MediaEnd(), want[i].MediaStart(), want[i].MediaEnd())
		}
		counts = append(counts, len(c.Video()))
	}
	if fmt.Sprint(counts) != "[1 1 1 1 2]" {
		t.Errorf("pictures of the chunks: %v", counts)
	}
	if n := len(pictures.Decode(t, pictures.WriteFile(t, got), "yuv420p", video.I420.Bytes(320, 180))); n != 6 {
		t.Errorf("ffmpeg decodes %d pictures", n)
	}
}

// A thumbnail a fragment: one JPEG image that lasts as long as the fragment.
func TestEncodeMJPEG(t *testing.T) {
	need(t)
	clip := testmedia.MakeClip(t, 1, true, testmedia.H264BFrames...)
	f := fragments(clip, 5)[0]
	first := func(yield func(*video.Picture, error) bool) {
		for p, err := range video.Pictures(t.Context(), f, video.Options{Width: 160, Keyframes: true}) {
			yield(p, err)
			return
		}
	}
	got := encoded(t, video.Encode(t.Context(), f, first, video.Encoding{Codec: schemas.MJPEG}))
	if len(got) != 1 || len(got[0].Runs) != 1 || len(got[0].Video()) != 1 || len(got[0].Tracks) != 1 {
		t.Fatalf("%d chunks: %+v", len(got), got)
	}
	want := source(t, f)
	if got[0].MediaStart() != f.Media || got[0].MediaEnd() != want[len(want)-1].MediaEnd() || !got[0].Last || got[0].Tracks[0].Width != 160 {
		t.Errorf("%+v", got[0])
	}
	made, err := jpeg.Decode(bytes.NewReader(got[0].Video()[0].Data))
	if err != nil {
		t.Fatal(err)
	}
	if b := made.Bounds(); b.Dx() != 160 || b.Dy() != 90 {
		t.Errorf("the image is %v", b)
	}
	// The ranges of values of I420 and RGB differ, but not those of their JPEG images.
	one, err := video.JPEG(collect(t, video.Options{Width: 160, Keyframes: true, Format: video.RGB}, f)[0], 95)
	if err != nil {
		t.Fatal(err)
	}
	two, err := video.JPEG(collect(t, video.Options{Width: 160, Keyframes: true}, f)[0], 95)
	if err != nil {
		t.Fatal(err)
	}
	if q := pictures.PSNR(luma(t, one), luma(t, two)); q < 33 {
		t.Errorf("images of RGB and I420 differ: PSNR %.1f dB", q)
	}
}

// luma decodes the brightness of a JPEG image.
func luma(t *testing.T, b []byte) []byte {
	t.Helper()
	i, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return i.(*image.YCbCr).Y
}
