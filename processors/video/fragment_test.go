package video_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// damage returns a copy of a fragment in which f has changed all samples.
func damage(t *testing.T, in *processors.Fragment, f func(s *schemas.Sample)) *processors.Fragment {
	t.Helper()
	var chunks []*schemas.Chunk
	for _, c := range source(t, in) {
		copied := *c
		copied.Runs = slices.Clone(c.Runs)
		for i := range copied.Runs {
			copied.Runs[i].Samples = slices.Clone(c.Runs[i].Samples)
			for j := range copied.Runs[i].Samples {
				f(&copied.Runs[i].Samples[j])
			}
		}
		chunks = append(chunks, &copied)
	}
	return processors.NewFragment("cam", schemas.Entry{}, chunks...)
}

// What cannot be decoded gives an error that says of what, and why.
func TestUndecodable(t *testing.T) {
	need(t)
	for name, options := range map[string][]string{"avdec_h264": testmedia.H264Plain, "avdec_h265": testmedia.H265BFrames, "jpegdec": testmedia.MJPEG} {
		in := damage(t, fragments(testmedia.MakeClip(t, 1, false, options...), 5)[0], func(s *schemas.Sample) {
			s.Data = []byte(strings.Repeat("\x00\x00\x00\x04\x26\x01\x11\x22", 4))
		})
		var err error
		n := 0
		for _, err = range video.Pictures(t.Context(), in, video.Options{}) {
			n++
		}
		if err == nil || n != 1 || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "fragment 7 of cam") {
			t.Errorf("%s: after %d turns %v", name, n, err)
		}
		for _, err = range video.Transcode(t.Context(), in, "", video.Encoding{}) {
			if err == nil {
				t.Fatalf("%s: a chunk", name)
			}
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s, transcoded: %v", name, err)
		}
	}
}

// Wrong options are told, and so is a fragment without pictures.
func TestErrors(t *testing.T) {
	need(t)
	in := fragments(testmedia.MakeClip(t, 1, true, testmedia.H264Plain...), 5)[0]
	for want, o := range map[string]video.Options{
		"format": {Format: "YUYV"}, "-1x0": {Width: -1}, "pictures a second": {FPS: -5}, "nvidia": {Hardware: "gpu"},
	} {
		for _, err := range video.Pictures(t.Context(), in, o) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v", o, err)
			}
		}
	}
	silent := *in
	silent.Tracks = in.Tracks[1:]
	for _, err := range video.Pictures(t.Context(), &silent, video.Options{}) {
		if err == nil || !strings.Contains(err.Error(), "no pictures") {
			t.Errorf("sound alone: %v", err)
		}
	}
	one := func(yield func(*video.Picture, error) bool) {
		yield(&video.Picture{PTS: in.Media, Width: 4, Height: 4, Format: video.Gray8, Data: make([]byte, 16)}, nil)
	}
	if err := lastError(video.Encode(t.Context(), &silent, one, video.Encoding{})); err == nil || !strings.Contains(err.Error(), "no pictures") {
		t.Errorf("pictures for sound alone: %v", err)
	}
	small := func(yield func(*video.Picture, error) bool) {
		if yield(&video.Picture{PTS: in.Media, Width: 4, Height: 4, Format: video.Gray8, Data: make([]byte, 16)}, nil) {
			yield(&video.Picture{PTS: in.Media + 1, Width: 4, Height: 4, Format: video.Gray8, Data: make([]byte, 15)}, nil)
		}
	}
	broken := errors.New("broken")
	failing := func(yield func(*video.Picture, error) bool) { yield(nil, broken) }
	for name, c := range map[string]struct {
		pictures func(func(*video.Picture, error) bool)
		e        video.Encoding
		want     string
	}{
		"codec": {failing, video.Encoding{Codec: schemas.H265}, "h265"}, "quality": {failing, video.Encoding{Quality: 101}, "quality"},
		"rate": {failing, video.Encoding{Bitrate: -1}, "bit rate"}, "data": {small, video.Encoding{}, "15 bytes"}, "theirs": {failing, video.Encoding{}, "broken"},
	} {
		err := lastError(video.Encode(t.Context(), in, c.pictures, c.e))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// At the start of an open GOP the pictures that need the fragment before are left out, and
// all others come as ffmpeg decodes them, which decodes the fragment before too. What is made
// of the fragment begins with its first picture, without a hole.
func TestOpenGOP(t *testing.T) {
	need(t)
	for _, name := range []string{"h264", "h265"} {
		clip := testmedia.CopyClip(t, testenv.Clip{Codec: name, GOP: 24, BFrames: 2, OpenGOP: true, Seconds: 4, Size: "320x180"}.File(t))
		all := fragments(clip, 6)
		pixels := map[int64][]byte{}
		shown := slices.Sorted(maps.Keys(times(t, all...)))
		for i, p := range pictures.Decode(t, clip.Path, "yuv420p", video.I420.Bytes(320, 180)) {
			pixels[shown[i]] = p
		}
		for i, f := range all {
			first := source(t, f)[0].Video()[0]
			start := first.DTS + int64(first.PTSOffset)
			want := slices.DeleteFunc(slices.Sorted(maps.Keys(times(t, f))), func(pts int64) bool { return pts < start })
			if f.OpenGOP = len(want) < len(times(t, f)); !f.OpenGOP && i > 0 {
				t.Errorf("%s: fragment %d has no leading pictures", name, i)
			}
			var got []int64
			for _, p := range collect(t, video.Options{}, f) {
				got = append(got, p.PTS)
				if !bytes.Equal(p.Data, pixels[p.PTS]) {
					t.Errorf("%s: fragment %d: other pixels at %d", name, i, p.PTS-start)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: fragment %d: pictures at %v, want %v", name, i, got, want)
			}
			for j, c := range transcoded(t, f) {
				w := source(t, f)[j]
				if c.MediaStart() != w.MediaStart() || c.MediaEnd() != w.MediaEnd() {
					t.Errorf("%s: fragment %d: chunk %d: %d to %d, the source has %d to %d", name, i, j, c.MediaStart(), c.MediaEnd(), w.MediaStart(), w.MediaEnd())
				}
				for k, s := range c.Video() {
					if pts := s.DTS + int64(s.PTSOffset); j+k == 0 && pts != slices.Min(shownBy(w)) || j+k > 0 && !slices.Contains(want, pts) {
						t.Errorf("%s: fragment %d: made with a picture at %d", name, i, pts-start)
					}
				}
			}
		}
	}
}

// inBand returns the first fragment of a clip, with parameter sets in the stream too.
func inBand(t *testing.T, clip testmedia.Clip) *processors.Fragment {
	t.Helper()
	sets, err := codec.ParameterSets(clip.Tracks[0].Codec, clip.Tracks[0].Config)
	if err != nil {
		t.Fatal(err)
	}
	return damage(t, fragments(clip, 5)[0], func(s *schemas.Sample) {
		if s.Sync {
			s.Data = slices.Concat(codec.JoinNALs(sets), s.Data)
		}
	})
}

// Pictures of two sizes are an error: a fragment has one decoder configuration.
func TestTwoSizes(t *testing.T) {
	need(t)
	small := inBand(t, testmedia.MakeClip(t, 1, false, append([]string{"-vf", "scale=160:96"}, testmedia.H264Plain...)...))
	small = damage(t, small, func(s *schemas.Sample) { s.DTS += schemas.MediaTimescale })
	large := fragments(testmedia.MakeClip(t, 1, false, testmedia.H264Plain...), 5)[0]
	in := processors.NewFragment("cam", schemas.Entry{}, append(source(t, large), source(t, small)...)...)
	var widths []int
	for p, err := range video.Pictures(t.Context(), in, video.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		widths = append(widths, p.Width)
	}
	if !slices.Equal(slices.Compact(widths), []int{320, 160}) {
		t.Fatalf("pictures of widths %v", widths)
	}
	for name, err := range map[string]error{
		"encoded":    lastError(video.Encode(t.Context(), in, video.Pictures(t.Context(), in, video.Options{}), video.Encoding{})),
		"transcoded": lastError(video.Transcode(t.Context(), in, "", video.Encoding{})),
	} {
		if err == nil || !strings.Contains(err.Error(), "one size") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Parameter sets in the stream count, not those beside it.
func TestParameterSetsInBand(t *testing.T) {
	need(t)
	for c, options := range map[schemas.Codec][]string{schemas.H264: testmedia.H264BFrames, schemas.H265: testmedia.H265BFrames} {
		other := testmedia.MakeClip(t, 1, false, append([]string{"-vf", "scale=160:96"}, options...)...)
		in := inBand(t, other)
		in.Tracks = fragments(testmedia.MakeClip(t, 1, false, options...), 5)[0].Tracks // 320x180
		want := pictures.Decode(t, other.Path, "yuv420p", video.I420.Bytes(160, 96))
		got := collect(t, video.Options{}, in)
		if len(got) != len(want) {
			t.Fatalf("%s: %d pictures of %d", c, len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i].Data, want[i]) {
				t.Fatalf("%s: picture %d: %s", c, i, describe(got[i]))
			}
		}
	}
}

// shownBy is when the pictures of a chunk are shown.
func shownBy(c *schemas.Chunk) (all []int64) {
	for _, s := range c.Video() {
		all = append(all, s.DTS+int64(s.PTSOffset))
	}
	return all
}

// transcoded is what Transcode makes of a fragment with one encoding.
func transcoded(t *testing.T, f *processors.Fragment) []*schemas.Chunk {
	t.Helper()
	return encoded(t, func(yield func(*schemas.Chunk, error) bool) {
		for e, err := range video.Transcode(t.Context(), f, "", video.Encoding{}) {
			if !yield(e.Chunk, err) {
				return
			}
		}
	})
}

// stepwise is a fragment whose chunks arrive when the test says so.
func stepwise(t *testing.T, in *processors.Fragment) (f *processors.Fragment, arrive func()) {
	t.Helper()
	chunks := source(t, in)
	arrivals := make([]chan struct{}, len(chunks)+1)
	for i := range arrivals {
		arrivals[i] = make(chan struct{})
	}
	n := 0
	return processors.NewLiveFragment("cam", "life", chunks[0], func(ctx context.Context, i int) (*schemas.Chunk, error) {
			select {
			case <-arrivals[min(i, len(chunks))]:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			if i >= len(chunks) {
				return nil, io.EOF
			}
			return chunks[i], nil
		}, func(ctx context.Context) (schemas.Entry, error) {
			<-ctx.Done()
			return schemas.Entry{}, ctx.Err()
		}), func() {
			close(arrivals[n])
			n++
		}
}

// A chunk of the output comes before the source's next chunk. Nothing waits at the edge.
func TestStreaming(t *testing.T) {
	need(t)
	in := fragments(testmedia.MakeClip(t, 1, true, testmedia.H264Plain...), 5)[0]
	f, arrive := stepwise(t, in)
	arrive()
	n := 0
	for _, err := range video.Transcode(t.Context(), f, "", video.Encoding{Height: 90}, video.Encoding{Height: 180}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%2 == 0 {
			arrive() // both outputs of the chunk have come
		}
	}
	if n != 10 {
		t.Errorf("%d chunks", n)
	}
	f, arrive = stepwise(t, in)
	arrive()
	n = 0
	for _, err := range video.Pictures(t.Context(), f, video.Options{Format: video.Gray8, Width: 64}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%5 == 0 {
			arrive()
		}
	}
	if n != 25 {
		t.Errorf("%d pictures", n)
	}
}

// The end of the context ends it all, whatever it waits for.
func TestCancel(t *testing.T) {
	need(t)
	in := fragments(testmedia.MakeClip(t, 1, false, testmedia.H264BFrames...), 5)[0]
	f, arrive := stepwise(t, in)
	arrive()
	for name, run := range map[string]func(ctx context.Context, cancel func()) error{
		"pictures": func(ctx context.Context, cancel func()) (err error) {
			for _, err = range video.Pictures(ctx, f, video.Options{}) {
				cancel()
			}
			return err
		},
		"transcode": func(ctx context.Context, cancel func()) (err error) {
			time.AfterFunc(50*time.Millisecond, cancel)
			return lastError(video.Transcode(ctx, f, "", video.Encoding{}))
		},
		"encode": func(ctx context.Context, cancel func()) (err error) {
			time.AfterFunc(50*time.Millisecond, cancel)
			return lastError(video.Encode(ctx, f, video.Pictures(ctx, f, video.Options{}), video.Encoding{}))
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- run(ctx, cancel) }()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(testenv.Patience):
			t.Fatalf("%s goes on", name)
		}
		cancel()
	}
}

// resident returns the memory of this process in bytes.
func resident(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(raw), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func count(t *testing.T, dir string) int {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Skip(err)
	}
	return len(all)
}

// Hundreds of fragments leave nothing behind: no goroutine, thread, file or memory. Some are
// left in the middle.
func TestNothingIsLeft(t *testing.T) {
	need(t)
	whole := fragments(testmedia.MakeClip(t, 1, true, testmedia.H264BFrames...), 5)[0]
	in := processors.NewFragment("cam", schemas.Entry{}, source(t, whole)[0])
	work := func(n int) {
		for i := range n {
			stop := -1
			if i%3 == 0 {
				stop = 2
			}
			if i%2 == 0 {
				for _, err := range video.Pictures(t.Context(), in, video.Options{Format: video.RGB}) {
					if err != nil {
						t.Fatal(err)
					}
					if stop--; stop == 0 {
						break
					}
				}
				continue
			}
			for _, err := range video.Transcode(t.Context(), in, "", video.Encoding{Height: 90}) {
				if err != nil {
					t.Fatal(err)
				}
				if stop--; stop == 0 {
					break
				}
			}
		}
	}
	work(40)
	debug.FreeOSMemory()
	routines, threads, files, memory := runtime.NumGoroutine(), count(t, "/proc/self/task"), count(t, "/proc/self/fd"), resident(t)
	work(500)
	debug.FreeOSMemory()
	t.Logf("goroutines %d, %d; threads %d, %d; files %d, %d; MB %d, %d", routines, runtime.NumGoroutine(), threads, count(t, "/proc/self/task"),
		files, count(t, "/proc/self/fd"), memory>>20, resident(t)>>20)
	testenv.Wait(t, testenv.Patience, "goroutines to end", func() bool { return runtime.NumGoroutine() <= routines })
	if n := count(t, "/proc/self/task"); n > threads+8 { // those of pools come and go
		t.Errorf("%d threads, %d before", n, threads)
	}
	if n := count(t, "/proc/self/fd"); n > files+4 {
		t.Errorf("%d files, %d before", n, files)
	}
	if n := resident(t); n > memory+32<<20 {
		t.Errorf("%d MB, %d before", n>>20, memory>>20)
	}
}

// A processor of pictures keeps the rules, with all kinds of fragments.
func TestConformance(t *testing.T) {
	need(t)
	processorstest.Run(t, processors.Processor{
		Name: "blur", Outputs: []processors.Rendition{processors.Alternative("blur")},
		Process: func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
			pictures := video.Pictures(ctx, in, video.Options{Width: 64, Format: video.BGR})
			for c, err := range video.Encode(ctx, in, pictures, video.Encoding{}) {
				if err != nil {
					return err
				}
				if err := out.Write(ctx, c); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// lastError reads all of seq.
func lastError[T any](seq iter.Seq2[T, error]) (last error) {
	for _, err := range seq {
		last = err
	}
	return last
}
