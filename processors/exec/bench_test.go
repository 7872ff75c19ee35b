package exec

import (
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// BenchmarkPython measures pictures of 640×360 a second, and a second of processor time, to
// a program in Python that does nothing: from memory, decoded, and the decoding alone.
func BenchmarkPython(b *testing.B) {
	const fps = 25
	clip := fragments(b, testmedia.MakeClip(b, 8, false, append(testmedia.H264Plain, "-vf", "scale=640:360")...))
	measure := func(b *testing.B, f func(in *processors.Fragment), end func()) {
		f(clip[0]) // starts what is needed
		b.ResetTimer()
		began := testenv.CPU(b)
		for range b.N {
			for _, in := range clip {
				f(in)
			}
		}
		b.StopTimer()
		end()
		n := float64(b.N * len(clip) * fps)
		b.ReportMetric(n/b.Elapsed().Seconds(), "pictures/s")
		b.ReportMetric(n/(testenv.CPU(b)-began).Seconds(), "pictures/core-s")
	}
	through := func(b *testing.B, e *env) {
		measure(b, func(in *processors.Fragment) {
			if _, err := e.Collect(b.Context(), in); err != nil {
				b.Fatal(err)
			}
		}, func() { e.Close() })
	}
	size := func(s *Settings) { s.Size = "640x360" }
	b.Run("exec", func(b *testing.B) {
		e := python(b, "testdata/nothing.py", size)
		e.pictures = fake{width: 640, height: 360, same: true}.pictures
		through(b, e)
	})
	b.Run("decode", func(b *testing.B) {
		measure(b, func(in *processors.Fragment) {
			for _, err := range video.Pictures(b.Context(), in, video.Options{Format: video.BGR}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}, func() {})
	})
	b.Run("decode+exec", func(b *testing.B) { through(b, withVideo(python(b, "testdata/nothing.py", size))) })
}
