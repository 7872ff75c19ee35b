package video_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// need skips a test where GStreamer lacks what decodes and encodes in software.
func need(t testing.TB) {
	t.Helper()
	testenv.SkipShort(t, "ffmpeg")
	pictures.Need(t, "avdec_h264", "avdec_h265", "jpegdec", "x264enc", "jpegenc", "h264parse", "deinterlace")
}

// place is where the clips of tests begin.
var place = testmedia.Place{Seq: 7, Session: 3, Epoch: 5, Layout: testmedia.Layout, Start: testmedia.Start}

// fragments cuts a clip into fragments for processors.
func fragments(c testmedia.Clip, n int) []*processors.Fragment {
	var all []*processors.Fragment
	for _, f := range c.Fragments(place, n) {
		all = append(all, processors.NewFragment("cam", f.Entry, f.Chunks...))
	}
	return all
}

// collect copies the pictures of fragments.
func collect(t testing.TB, o video.Options, all ...*processors.Fragment) []*video.Picture {
	t.Helper()
	var got []*video.Picture
	for _, f := range all {
		for p, err := range video.Pictures(t.Context(), f, o) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p.Clone())
		}
	}
	return got
}

// times are the times at which the samples of fragments are shown.
func times(t testing.TB, all ...*processors.Fragment) map[int64]int64 {
	t.Helper()
	got := map[int64]int64{}
	for _, f := range all {
		for c, err := range f.Chunks(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.Video() {
				got[s.DTS+int64(s.PTSOffset)] = int64(s.Duration)
			}
		}
	}
	return got
}

func describe(p *video.Picture) string {
	return fmt.Sprintf("%dx%d %s at %d for %d, %d bytes", p.Width, p.Height, p.Format, p.PTS, p.Duration, len(p.Data))
}
