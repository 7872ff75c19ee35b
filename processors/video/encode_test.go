package video_test

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
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

// file writes fragments as a player gets them, and returns the path.
func file(t testing.TB, fragments ...[]*schemas.Chunk) string {
	t.Helper()
	var b bytes.Buffer
	for i, f := range fragments {
		if i == 0 {
			init, err := cmaf.Init(f[0].Tracks)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(init)
		}
		for _, c := range f {
			made, err := cmaf.Chunk(f[0].Tracks, c)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(made)
		}
	}
	path := filepath.Join(t.TempDir(), "made.mp4")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// sameTimes checks that an output has the chunks of its source, to the tick: those in which
// the source's pictures are shown, and its sound.
func sameTimes(t testing.TB, f *processors.Fragment, got []*schemas.Chunk) {
	t.Helper()
	want := source(t, f)
	if len(got) != len(want) {
		t.Fatalf("%d chunks, the source has %d", len(got), len(want))
	}
	var pts, wantPTS []int64
	for i, c := range got {
		w := want[i]
		if c.MediaStart() != w.MediaStart() || c.MediaEnd() != w.MediaEnd() || !c.Start.Equal(w.Start) || c.Last != w.Last {
			t.Fatalf("chunk %d: %d to %d, the source has %d to %d", i, c.MediaStart(), c.MediaEnd(), w.MediaStart(), w.MediaEnd())
		}
		at := c.MediaStart()
		for j, s := range c.Video() {
			if s.DTS != at || s.Sync != (i == 0 && j == 0) {
				t.Fatalf("chunk %d: sample %d at %d, the one before ends at %d; sync is %v", i, j, s.DTS, at, s.Sync)
			}
			at += int64(s.Duration)
			pts = append(pts, s.DTS+int64(s.PTSOffset))
		}
		for _, s := range w.Video() {
			wantPTS = append(wantPTS, s.DTS+int64(s.PTSOffset))
		}
		if !slices.EqualFunc(sound(c), sound(w), func(a, b schemas.Sample) bool { return a.DTS == b.DTS && bytes.Equal(a.Data, b.Data) }) {
			t.Fatalf("chunk %d: other sound", i)
		}
	}
	slices.Sort(wantPTS)
	if !slices.Equal(pts, wantPTS) {
		t.Fatalf("pictures are shown at %v, those of the source at %v", pts, wantPTS)
	}
}

func sound(c *schemas.Chunk) []schemas.Sample {
	for _, r := range c.Runs {
		if r.Track == schemas.AudioTrack {
			return r.Samples
		}
	}
	return nil
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
				if len(f.Tracks) > 1 {
					sameTimes(t, f, got)
				}
				again := encoded(t, video.Encode(t.Context(), f, video.Pictures(t.Context(), f, video.Options{}), video.Encoding{Bitrate: 2e6}))
				for i := range got {
					if !slices.EqualFunc(got[i].Video(), again[i].Video(), func(a, b schemas.Sample) bool { return bytes.Equal(a.Data, b.Data) }) {
						t.Errorf("chunk %d of %d has other bytes the second time", i, f.Seq)
					}
				}
				made = append(made, got)
			}
			size := video.I420.Bytes(320, 180)
			pixels := "yuv420p"
			if name == "MJPEG" {
				pixels = "yuvj420p"
			}
			want, got := decoded(t, clip.Path, pixels, size), decoded(t, file(t, made...), pixels, size)
			if len(got) != len(want) {
				t.Fatalf("ffmpeg decodes %d pictures of %d", len(got), len(want))
			}
			for i := range got {
				if q := psnr(got[i], want[i]); q < 33 {
					t.Errorf("picture %d: PSNR %.1f dB", i, q)
					break
				}
			}
		})
	}
}

// With few pictures the chunks still have the times of the source's: the last picture is
// there again in each.
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
	if fmt.Sprint(counts) != "[1 1 1 1 1]" {
		t.Errorf("pictures of the chunks: %v", counts)
	}
	if n := len(decoded(t, file(t, got), "yuv420p", video.I420.Bytes(320, 180))); n != 5 {
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
	image, err := jpeg.Decode(bytes.NewReader(got[0].Video()[0].Data))
	if err != nil {
		t.Fatal(err)
	}
	if b := image.Bounds(); b.Dx() != 160 || b.Dy() != 90 {
		t.Errorf("the image is %v", b)
	}
	// JPEG has all values from 0 to 255.
	one, err := video.JPEG(collect(t, video.Options{Width: 160, Keyframes: true, Format: video.RGB}, f)[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := jpeg.Decode(bytes.NewReader(one))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range [][2]int{{10, 10}, {80, 45}, {150, 80}, {40, 60}} {
		r, g, b, _ := image.At(at[0], at[1]).RGBA()
		r2, g2, b2, _ := other.At(at[0], at[1]).RGBA()
		if far(r, r2) || far(g, g2) || far(b, b2) {
			t.Errorf("at %v: %d %d %d of I420, %d %d %d of RGB", at, r>>8, g>>8, b>>8, r2>>8, g2>>8, b2>>8)
		}
	}
}

func far(a, b uint32) bool { return max(a, b)-min(a, b) > 12<<8 }
