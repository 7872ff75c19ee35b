package transcode_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/processors/transcode"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

func need(t testing.TB) {
	t.Helper()
	testenv.SkipShort(t, "ffmpeg")
	pictures.Need(t, "avdec_h264", "avdec_h265", "jpegdec", "x264enc", "h264parse", "deinterlace")
}

var place = testmedia.Place{Seq: 7, Session: 3, Epoch: 5, Layout: testmedia.Layout, Start: testmedia.Start}

func newProcessor(t testing.TB, ladder ...transcode.Rung) processors.Processor {
	t.Helper()
	p, err := transcode.New("transcode", transcode.Settings{Ladder: ladder, Hardware: gstreamer.Software})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// made is what a processor makes of the fragments of a clip: the chunks of each, by
// rendition.
func made(t testing.TB, p processors.Processor, clip testmedia.Clip) (source []testmedia.Fragment, out map[string][][]*schemas.Chunk) {
	t.Helper()
	out = map[string][][]*schemas.Chunk{}
	source = clip.Fragments(place, 5)
	for _, f := range source {
		r, err := p.Collect(t.Context(), processors.NewFragment("cam", f.Entry, f.Chunks...))
		if err != nil {
			t.Fatal(err)
		}
		for name, chunks := range r.Chunks {
			out[name] = append(out[name], chunks)
		}
	}
	return source, out
}

// Each variant of each codec has the times and the sound of the source, decodes without an
// error to as many pictures, looks like the source, and says what it is.
func TestVariants(t *testing.T) {
	need(t)
	p := newProcessor(t, transcode.Rung{Name: "large", Height: 720, Bitrate: 1_500_000}, transcode.Rung{Name: "small", Height: 90, Bitrate: 400_000})
	for name, c := range map[string]struct {
		video  []string
		pixels string
		w, h   int // of the large one
	}{
		"H.264":            {testmedia.H264Plain, "yuv420p", 320, 180},
		"B-frames":         {testmedia.H264BFrames, "yuv420p", 320, 180},
		"H.265":            {testmedia.H265BFrames, "yuv420p", 320, 180},
		"MJPEG, odd sizes": {append([]string{"-vf", "scale=321:181"}, testmedia.MJPEG...), "yuvj420p", 320, 180},
		"upright":          {append([]string{"-vf", "transpose=1"}, testmedia.H264Plain...), "yuv420p", 180, 320},
	} {
		t.Run(name, func(t *testing.T) {
			clip := testmedia.MakeClip(t, 2, true, c.video...)
			source, out := made(t, p, clip)
			for rendition, size := range map[string][2]int{"large": {c.w, c.h}, "small": {c.w * 90 / c.h, 90}} {
				if size[0]%2 != 0 {
					size[0]--
				}
				var fragments [][]*schemas.Chunk
				for i, f := range out[rendition] {
					pictures.SameTimes(t, f, source[i].Chunks)
					fragments = append(fragments, f)
				}
				if len(fragments) != len(source) {
					t.Fatalf("%s: %d fragments of %d", rendition, len(fragments), len(source))
				}
				v := fragments[0][0].Tracks[0]
				if got := [2]int{int(v.Width), int(v.Height)}; got != size || v.Codec != schemas.H264 || len(fragments[0][0].Tracks) != 2 {
					t.Errorf("%s: tracks %+v", rendition, fragments[0][0].Tracks)
				}
				if n, err := codec.Name(v); err != nil || !strings.HasPrefix(n, "avc1.6400") {
					t.Errorf("%s: codec %q, %v", rendition, n, err)
				}
				info, err := codec.Video(v.Codec, v.Config)
				if err != nil || info.Width != size[0] || info.Height != size[1] || info.Reorder != 0 {
					t.Errorf("%s: the decoder configuration says %+v, %v", rendition, info, err)
				}
				path := pictures.WriteFile(t, fragments...)
				testmedia.FFmpeg(t, "-xerror", "-err_detect", "explode", "-i", path, "-f", "null", "-")
				bytes := size[0]*size[1] + 2*((size[0]+1)/2)*((size[1]+1)/2)
				got := pictures.Decode(t, path, c.pixels, bytes)
				want := pictures.Decode(t, clip.Path, c.pixels, bytes, "-s", fmt.Sprintf("%dx%d", size[0], size[1]), "-sws_flags", "bilinear")
				if len(got) != len(want) {
					t.Fatalf("%s: %d pictures of %d", rendition, len(got), len(want))
				}
				worst := 99.0
				for i := range got {
					worst = min(worst, pictures.PSNR(got[i], want[i]))
				}
				t.Logf("%s: PSNR from %.1f dB on", rendition, worst)
				if worst < 27 {
					t.Errorf("%s: PSNR %.1f dB", rendition, worst)
				}
			}
		})
	}
}

// The bit rate holds in each fragment, however hard the pictures are to encode.
func TestBitrate(t *testing.T) {
	need(t)
	const rate = 300_000
	p := newProcessor(t, transcode.Rung{Name: "v", Bitrate: rate}, transcode.Rung{Name: "slow", Bitrate: rate, FPS: 10})
	clip := testmedia.MakeClip(t, 4, false, append([]string{"-vf", "noise=alls=40:allf=t"}, testmedia.H264Plain...)...)
	source, out := made(t, p, clip)
	for name, fragments := range out {
		total, seconds := 0.0, 0.0
		for i, f := range fragments {
			size := 0
			for _, c := range f {
				size += c.Size()
			}
			d := float64(source[i].Entry.Duration) / schemas.MediaTimescale
			t.Logf("%s: %.0f bit/s", name, float64(size)*8/d)
			if r := float64(size) * 8 / d; r > 1.3*rate {
				t.Errorf("%s: fragment %d has %.0f bit/s", name, i, r)
			}
			total, seconds = total+float64(size)*8, seconds+d
		}
		if r := total / seconds; math.Abs(r-rate) > 0.2*rate {
			t.Errorf("%s: %.0f bit/s on average", name, r)
		}
	}
	// At 10 pictures a second each chunk has 2.
	for i, c := range out["slow"][0] {
		if n := len(c.Video()); n != 2 || c.MediaEnd() != source[0].Chunks[i].MediaEnd() {
			t.Errorf("chunk %d: %d pictures", i, n)
		}
	}
}

// The shape of pixels stays, and interlaced pictures become whole ones.
func TestShapeAndInterlacing(t *testing.T) {
	need(t)
	p := newProcessor(t, transcode.Rung{Name: "v", Height: 96, Bitrate: 500_000})
	for name, options := range map[string][]string{
		"shape":      append([]string{"-vf", "setsar=16/11"}, testmedia.H264Plain...),
		"interlaced": append([]string{"-vf", "setsar=16/11,interlace", "-flags", "+ilme+ildct"}, testmedia.H264Plain...),
	} {
		clip := testmedia.MakeClip(t, 1, false, options...)
		source, out := made(t, p, clip)
		pictures.SameTimes(t, out["v"][0], source[0].Chunks)
		path := pictures.WriteFile(t, out["v"]...)
		if got, _ := testenv.Probe(t, path).Stream("video"); got.Aspect != "16:11" || got.FieldOrder != "progressive" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Real cameras: see testmedia.Footage.
func TestFootage(t *testing.T) {
	need(t)
	p := newProcessor(t)
	for _, name := range []string{"car-detection.mp4", "one-by-one-person-detection.mp4"} {
		t.Run(name, func(t *testing.T) {
			clip := testmedia.Footage(t, name, 0, 10)
			source, out := made(t, p, clip)
			for _, rendition := range p.Outputs {
				for i, f := range out[rendition.Name] {
					pictures.SameTimes(t, f, source[i].Chunks)
				}
			}
			path := pictures.WriteFile(t, out["720p"]...)
			want, got := pictures.Decode(t, clip.Path, "yuv420p", 768*432*3/2), pictures.Decode(t, path, "yuv420p", 768*432*3/2)
			if len(got) != len(want) {
				t.Fatalf("%d pictures of %d", len(got), len(want))
			}
			for i := range got {
				if q := pictures.PSNR(got[i], want[i]); q < 32 {
					t.Errorf("picture %d: PSNR %.1f dB", i, q)
					break
				}
			}
		})
	}
}

func TestConformance(t *testing.T) {
	need(t)
	processorstest.Run(t, newProcessor(t, transcode.Rung{Name: "a", Height: 96}, transcode.Rung{Name: "b", Width: 64, FPS: 5}))
}

// A camera without pictures has no variants.
func TestSoundAlone(t *testing.T) {
	f := testmedia.Synthetic(place, 1)[0]
	in := processors.NewFragment("cam", f.Entry, f.Chunks...)
	in.Tracks = in.Tracks[1:]
	p := newProcessor(t)
	r, err := p.Collect(t.Context(), in)
	if err != nil || len(r.Chunks) != 0 || fmt.Sprint(r.Filtered) != "[720p 360p]" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSettings(t *testing.T) {
	for want, s := range map[string]transcode.Settings{
		"":                  {Ladder: []transcode.Rung{{Name: "a"}, {Name: "b", Bitrate: 10_000}}},
		"ladder[1].name":    {Ladder: []transcode.Rung{{Name: "a"}, {}}},
		`"a" is the name`:   {Ladder: []transcode.Rung{{Name: "a"}, {Name: "a"}}},
		"ladder[0].bitrate": {Ladder: []transcode.Rung{{Name: "a", Bitrate: 600}}},
		"hardware":          {Hardware: "gpu"},
	} {
		_, err := transcode.New("t", s)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for text, want := range map[string]transcode.Bitrate{"600k": 600_000, "2M": 2_000_000, "1.5M": 1_500_000, "0": 0, "123456": 123456, "2 M": -1, "fast": -1, "-1k": -1, "": -1, "NaNk": -1} {
		var b transcode.Bitrate
		if err := b.UnmarshalText([]byte(text)); (err != nil) != (want < 0) || err == nil && b != want {
			t.Errorf("%q: %d, %v", text, b, err)
		}
		var again transcode.Bitrate
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%q: written as %q", text, b)
		}
	}
}
