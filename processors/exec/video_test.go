package exec

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// withVideo makes a pool use the pictures of package video.
func withVideo(e *env) *env {
	e.pictures, e.encode = video.Pictures, video.Encode
	return e
}

// fragments cuts a clip into fragments for processors.
func fragments(t testing.TB, c testmedia.Clip) (all []*processors.Fragment) {
	t.Helper()
	pictures.Need(t, "avdec_h264", "x264enc", "h264parse")
	for _, f := range c.Fragments(testmedia.Place{Seq: 1, Session: 1, Layout: testmedia.Layout, Start: testmedia.Start}, 5) {
		all = append(all, processors.NewFragment("cam", f.Entry, f.Chunks...))
	}
	return all
}

// A program gets the very pixels of the decoder, and its pictures are encoded.
func TestVideo(t *testing.T) {
	e := withVideo(python(t, "testdata/answers.py", func(s *Settings) {
		s.Size, s.FPS, s.Output, s.Bitrate = "160x90", 5, "alternative", "2M"
	}))
	in := fragments(t, testmedia.MakeClip(t, 1, false, testmedia.H264BFrames...))[0]
	in.Attempt = 2
	r, err := e.Collect(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Seen [][]any }
	if err := json.Unmarshal(r.Events[0].Data, &told); err != nil {
		t.Fatal(err)
	}
	var want []*video.Picture
	for p, err := range video.Pictures(t.Context(), in, video.Options{Width: 160, Height: 90, FPS: 5, Format: video.BGR}) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, p.Clone())
	}
	if len(told.Seen) != len(want) || len(want) != 5 {
		t.Fatalf("the program got %d pictures of %d", len(told.Seen), len(want))
	}
	for i, p := range want {
		if told.Seen[i][1] != sum(p.Data) || told.Seen[i][2] != float64(p.PTS) {
			t.Errorf("picture %d at %d is another one for the program", i, p.PTS)
		}
	}

	// The first picture was inverted, the second one dropped.
	entry, err := in.Entry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []*video.Picture
	for p, err := range video.Pictures(t.Context(), processors.NewFragment("cam", entry, r.Chunks["people-video"]...), video.Options{Format: video.BGR}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Clone())
	}
	for i := range want[0].Data {
		want[0].Data[i] ^= 0xff
	}
	at := func(pts int64) *video.Picture {
		for _, p := range got {
			if p.PTS <= pts && pts < p.PTS+p.Duration {
				return p
			}
		}
		t.Fatalf("no picture of the output is shown at %d", pts)
		return nil
	}
	for i, like := range []int{0, 0, 2} { // for the second one, the first one stays
		if d := difference(at(want[i].PTS).Data, want[like].Data); d > 8 {
			t.Errorf("the output's picture %d differs by %.1f from what the program gave", i, d)
		}
	}
}

// difference is the mean difference of two pictures' bytes.
func difference(a, b []byte) float64 {
	if len(a) != len(b) {
		return 255
	}
	sum := 0
	for i := range a {
		sum += max(int(a[i])-int(b[i]), int(b[i])-int(a[i]))
	}
	return float64(sum) / float64(len(a))
}

// people.py finds the people in real footage, and none among cars.
func TestPeople(t *testing.T) {
	testenv.Python(t, "import cv2", "python3-opencv")
	e := withVideo(python(t, "../../docs/examples/people.py", func(s *Settings) { s.Size, s.FPS = "640x360", 1 }))
	for _, tt := range []struct {
		file          string
		from, seconds int
		people        bool
	}{
		{"one-by-one-person-detection.mp4", 32, 2, true},
		{"car-detection.mp4", 5, 2, false},
	} {
		var frames, found, events int
		for _, in := range fragments(t, testmedia.Footage(t, tt.file, tt.from, tt.seconds)) {
			r, err := e.Collect(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			events += len(r.Events)
			for _, s := range samplesOf(r) {
				var d schemas.Data
				if err := json.Unmarshal(s.Data, &d); err != nil {
					t.Fatal(err)
				}
				if d.Event == nil {
					frames++
				}
				// A man stands there, as high as the picture.
				if slices.ContainsFunc(d.Boxes, func(b schemas.Box) bool {
					return !tt.people || b.X < 0.58 && 0.58 < b.X+b.W && b.H > 0.8 && b.Label == "person" && b.Score > 0
				}) {
					found++
				}
			}
		}
		t.Logf("%s: people in %d of %d pictures, %d events", tt.file, found, frames, events)
		if (events > 0) != tt.people || (found > frames/2) != tt.people {
			t.Errorf("%s: people in %d of %d pictures, %d events", tt.file, found, frames, events)
		}
	}
}
