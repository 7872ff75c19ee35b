// Package pictures decodes and compares pictures, and fragments made of them.
package pictures

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// Need skips a test where GStreamer lacks one of these elements.
func Need(t testing.TB, elements ...string) {
	t.Helper()
	err := gstreamer.Init()
	if err == nil {
		err = gstreamer.Require(elements...)
	}
	if err != nil {
		testenv.Missing(t, "%v", err)
	}
}

// Decode returns the pictures of a file as ffmpeg decodes them, in a pixel format of
// ffmpeg's. size is how many bytes a picture has, options are ffmpeg's for the output.
func Decode(t testing.TB, path, pixels string, size int, options ...string) [][]byte {
	t.Helper()
	args := append([]string{"-i", path}, options...)
	raw := testmedia.FFmpeg(t, append(args, "-map", "0:v", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "-")...)
	if len(raw)%size != 0 {
		t.Fatalf("ffmpeg gives %d bytes, pictures have %d", len(raw), size)
	}
	return slices.Collect(slices.Chunk(raw, size))
}

// PSNR compares two pictures, in dB. Those that are the same have 99. The race detector
// would only make it slow.
//
//go:norace
func PSNR(a, b []byte) float64 {
	if len(a) != len(b) {
		return 0
	}
	sum := 0
	for i, v := range a {
		d := int(v) - int(b[i])
		sum += d * d
	}
	if sum == 0 {
		return 99
	}
	return 10 * math.Log10(255*255*float64(len(a))/float64(sum))
}

// WriteFile writes fragments as a player gets them, and returns the path.
func WriteFile(t testing.TB, fragments ...[]*schemas.Chunk) string {
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

// SameTimes fails unless a fragment was made of all pictures of another one: it has the same
// chunks, in each of them samples without a hole, the pictures are shown at the same times,
// only the first one is a keyframe, and the sound is the same.
func SameTimes(t testing.TB, got, want []*schemas.Chunk) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d chunks, the source has %d", len(got), len(want))
	}
	var shown, wanted []int64
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
			shown = append(shown, s.DTS+int64(s.PTSOffset))
		}
		for _, s := range w.Video() {
			wanted = append(wanted, s.DTS+int64(s.PTSOffset))
		}
		if !slices.EqualFunc(sound(c), sound(w), func(a, b schemas.Sample) bool { return a.DTS == b.DTS && bytes.Equal(a.Data, b.Data) }) {
			t.Fatalf("chunk %d: other sound", i)
		}
	}
	slices.Sort(wanted)
	if !slices.Equal(shown, wanted) {
		t.Fatalf("pictures are shown at %v, those of the source at %v", shown, wanted)
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
