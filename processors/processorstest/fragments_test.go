package processorstest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

var update = flag.Bool("update", false, "make the fragments of testdata anew")

// life is that of the fragments of testdata.
const life = "processorstest"

// TestMakeFragments makes the fragments of testdata with ffmpeg. It does so with -update
// only: encoders of other versions give other bytes.
func TestMakeFragments(t *testing.T) {
	if !*update {
		t.Skip("it runs with -update")
	}
	const frame = schemas.MediaTimescale / 25
	small := []string{"-crf", "40"}
	place := testmedia.Place{Seq: 1, Session: 1, Layout: testmedia.Layout, Start: testmedia.Start}
	first := func(p testmedia.Place, seconds int, audio bool, video []string) []testmedia.Fragment {
		clip := testmedia.MakeClip(t, seconds, audio, slices.Concat(video, small)...)
		for i, s := range clip.Samples[schemas.VideoTrack] { // ffmpeg has guessed the last duration of each moof
			s.Duration, s.DTS = frame, int64(i)*frame
			clip.Samples[schemas.VideoTrack][i] = s
		}
		return clip.Fragments(p, 5)
	}
	silent, h265 := place, place
	silent.Layout.Audio = ""
	h265.Layout.Audio, h265.Layout.Video = "", schemas.H265
	open := []string{"-c:v", "libx264", "-preset", "veryfast", "-g", "27", "-bf", "2", "-x264-params", "open-gop=1:min-keyint=27:scenecut=0:b-adapt=0"}

	save(t, "h264", first(silent, 2, false, testmedia.H264BFrames)[0])
	save(t, "h264-audio", first(place, 2, true, testmedia.H264Plain)[0])
	save(t, "h265", first(h265, 2, false, testmedia.H265BFrames)[0])
	gop := first(silent, 3, false, open)[1]
	gop.Chunks[0].OpenGOP, gop.Entry.OpenGOP = true, true
	save(t, "open-gop", gop)
	save(t, "mjpeg", mjpeg(t))
}

func save(t *testing.T, name string, f testmedia.Fragment) {
	t.Helper()
	r := recording{f.Entry, f.Chunks}
	r.entry.Life = life
	r.entry.Last = int64(len(f.Chunks)) - 1
	b, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/"+name+".fragment", b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// mjpeg makes a fragment of five JPEG images, which are a chunk each.
func mjpeg(t *testing.T) testmedia.Fragment {
	const frame = schemas.MediaTimescale / 5
	stream := testmedia.FFmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=5", "-t", "1", "-c:v", "mjpeg", "-huffman", "default",
		"-q:v", "8", "-pix_fmt", "yuvj420p", "-f", "mjpeg", "-")
	begin := []byte{0xff, 0xd8}
	clip := testmedia.Clip{
		Tracks:  []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.MJPEG, Timescale: schemas.MediaTimescale, Width: 160, Height: 90}},
		Samples: map[uint8][]schemas.Sample{},
	}
	for i, image := range bytes.Split(stream, begin)[1:] {
		clip.Samples[schemas.VideoTrack] = append(clip.Samples[schemas.VideoTrack], schemas.Sample{
			DTS: int64(i) * frame, Duration: frame, Data: slices.Concat(begin, image),
		})
	}
	clip.Samples[schemas.VideoTrack][0].Sync = true // so that it is one fragment
	f := clip.Fragments(testmedia.Place{Seq: 1, Session: 1, Layout: schemas.Layout{Target: 2, Video: schemas.MJPEG}, Start: testmedia.Start}, 1)[0]
	for _, c := range f.Chunks {
		c.Runs[0].Samples[0].Sync = true
	}
	return f
}

// The fragments are of the kinds that their names say.
func TestFragments(t *testing.T) {
	type seen struct {
		picture         codec.Picture // the first
		pictures, leads int
		reordered       bool
		sounds, chunks  int
		tracks          string
		kind            schemas.Kind
		open            bool
	}
	const whole = schemas.KindWhole
	want := map[string]seen{
		"h264":          {codec.Start, 25, 0, true, 0, 5, "h264", whole, false},
		"h264-audio":    {codec.Start, 25, 0, false, 47, 5, "h264 aac", whole, false},
		"h265":          {codec.Start, 25, 0, true, 0, 5, "h265", whole, false},
		"mjpeg":         {codec.Start, 5, 0, false, 0, 5, "mjpeg", whole, false},
		"open-gop":      {codec.Recovery, 27, 2, true, 0, 6, "h264", whole, true},
		"truncated":     {codec.Start, 15, 0, false, 29, 3, "h264 aac", schemas.KindTruncated, false},
		"one-chunk":     {codec.Start, 25, 0, false, 47, 1, "h264 aac", whole, false},
		"audio-missing": {codec.Start, 25, 0, false, 0, 5, "h264 aac", whole, false},
	}
	for _, f := range Fragments(t) {
		e, err := f.Entry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := seen{kind: e.Kind, open: f.OpenGOP}
		for i, track := range f.Tracks {
			got.tracks += []string{"", " "}[min(i, 1)] + string(track.Codec)
		}
		var shown, offset int64
		end := f.Media
		for c, err := range f.Chunks(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got.chunks++
			for _, run := range c.Runs {
				if run.Track == schemas.AudioTrack {
					got.sounds += len(run.Samples)
				}
			}
			for _, s := range c.Video() {
				u, err := codec.Classify(f.Tracks[0].Codec, s.Data)
				if err != nil || s.DTS != end {
					t.Fatalf("%s: picture %d is at %d, want %d, %v", f.Camera, got.pictures, s.DTS, end, err)
				}
				at := s.DTS + int64(s.PTSOffset)
				if got.pictures == 0 {
					got.picture, shown, offset = u.Picture, at, at-s.DTS
				}
				if at < shown {
					got.leads++
				}
				got.pictures++
				got.reordered = got.reordered || at-s.DTS != offset
				end += int64(s.Duration)
			}
		}
		if got != want[f.Camera] {
			t.Errorf("%s: %+v\nwant %+v", f.Camera, got, want[f.Camera])
		}
		if e.Duration != end-f.Media || int(e.Chunks) != got.chunks || e.Duration != int64(got.pictures)*schemas.MediaTimescale/25 && f.Camera != "mjpeg" {
			t.Errorf("%s: the entry tells %d ticks and %d chunks, there are %d and %d", f.Camera, e.Duration, e.Chunks, end-f.Media, got.chunks)
		}
	}
	if n := len(Fragments(t, "h265", "h264")); n != 2 {
		t.Errorf("%d fragments of two kinds", n)
	}
	if got := report(t, func(tb testing.TB) { Fragments(tb, "h266") }); fmt.Sprint(got) == "[]" {
		t.Error("an unknown kind is no error")
	}
}
