package motion

import (
	"encoding/json"
	"iter"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// need skips a test where GStreamer lacks what decodes and encodes in software.
func need(t testing.TB) {
	t.Helper()
	testenv.SkipShort(t, "ffmpeg")
	pictures.Need(t, "avdec_h264", "x264enc", "h264parse")
}

func newMotion(t testing.TB, s Settings) processors.Processor {
	t.Helper()
	p, err := New("motion", s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConformance(t *testing.T) {
	need(t)
	processorstest.Run(t, newMotion(t, Settings{}), processorstest.Fragments(t, "h264-audio", "open-gop", "truncated")...)
}

var place = testmedia.Place{Seq: 7, Session: 3, Epoch: 5, Layout: testmedia.Layout, Start: testmedia.Start}

// encoded returns a scene as fragments of a second each.
func encoded(t testing.TB, s *scene, seconds int) (all []*processors.Fragment) {
	t.Helper()
	clip := testmedia.MakeClip(t, seconds, false, testmedia.H264Plain...) // its times alone matter
	for _, f := range clip.Fragments(place, 5) {
		in := processors.NewFragment("cam", f.Entry, f.Chunks...)
		var chunks []*schemas.Chunk
		e := video.Encoding{Bitrate: 600_000, Hardware: "software"}
		for c, err := range video.Encode(t.Context(), in, s.at(in.Start.Sub(place.Start).Seconds(), in.Media), e) {
			if err != nil {
				t.Fatal(err)
			}
			c.Session, c.Seq, c.Index = in.Session, in.Seq, uint32(len(chunks))
			chunks = append(chunks, c)
		}
		all = append(all, processors.NewFragment("cam", f.Entry, chunks...))
	}
	return all
}

// at yields 25 pictures, from second t of the scene on, with times from media on.
func (s *scene) at(t float64, media int64) iter.Seq2[*video.Picture, error] {
	return func(yield func(*video.Picture, error) bool) {
		for i := range 25 {
			p := s.picture(t + float64(i)/25)
			p.PTS, p.Duration = media+int64(i)*3600, 3600
			if !yield(p, nil) {
				return
			}
		}
	}
}

// The events of a camera's fragments follow one another without a hole while something
// moves, and the data says where it is.
func TestEvents(t *testing.T) {
	need(t)
	walk := person
	walk.at = along(0.1, 0.2, 0.5)
	p := newMotion(t, Settings{})
	var end time.Time
	for i, in := range encoded(t, &scene{noise: 3, things: []thing{walk}}, 4) {
		r, err := p.Collect(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		e, err := in.Entry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Events) != 1 {
			t.Fatalf("fragment %d: %d events, want 1: %+v", i, len(r.Events), r.Events)
		}
		v := r.Events[0]
		if v.Type != EventType || v.Start.Before(in.Start) || v.End.After(e.End()) || v.End.Sub(v.Start) < 800*time.Millisecond || v.Value < 0.01 || v.Value > 0.2 {
			t.Errorf("fragment %d from %v to %v: event %+v", i, in.Start, e.End(), v)
		}
		if i > 0 && !v.Start.Equal(end) {
			t.Errorf("fragment %d: its event begins at %v, and that of the fragment before ended at %v", i, v.Start, end)
		}
		end = v.End
		if !strings.Contains(r.Notes["motion"], `"t":"motion"`) {
			t.Errorf("fragment %d: note %q", i, r.Notes["motion"])
		}
		checkData(t, in, r.Chunks["motion"], walk)
	}
}

// checkData checks the boxes of pictures.
func checkData(t *testing.T, in *processors.Fragment, chunks []*schemas.Chunk, o thing) {
	t.Helper()
	pictures := 0
	for _, c := range chunks {
		for _, run := range c.Runs {
			for _, s := range run.Samples {
				var d schemas.Data
				if err := json.Unmarshal(s.Data, &d); err != nil {
					t.Fatal(err)
				}
				if len(d.Boxes) == 0 {
					continue
				}
				pictures++
				x, y := o.at(in.Time(s.DTS).Sub(place.Start).Seconds())
				b := d.Boxes[0]
				if math.Abs(b.X+b.W/2-x) > 0.1 || math.Abs(b.Y+b.H/2-y) > 0.15 || d.Score <= 0 {
					t.Errorf("at %d: box %+v, score %g, and it is at %.2f,%.2f", s.DTS, b, d.Score, x, y)
				}
			}
		}
	}
	if pictures < 4 || pictures > 5 {
		t.Errorf("boxes in %d pictures, want 4 or 5", pictures)
	}
}

// What the encoder makes of a still scene is no motion either.
func TestNoEvents(t *testing.T) {
	need(t)
	p := newMotion(t, Settings{Cameras: map[string]Camera{"other": {Sensitivity: 1}}})
	s := stills["a large clock of ms"]
	for i, in := range encoded(t, &s, 4) {
		r, err := p.Collect(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Events) > 0 || len(r.Chunks["motion"]) != 1 || len(r.Chunks["motion"][0].Runs) > 0 || len(r.Notes) > 0 {
			t.Errorf("fragment %d: %+v, want a chunk without samples", i, r)
		}
	}
}

// A single picture, as a processor gets it that is behind, tells nothing.
func TestOnePicture(t *testing.T) {
	need(t)
	in := encoded(t, &scene{things: []thing{person}}, 1)[0]
	var first *schemas.Chunk
	for c := range in.Chunks(t.Context()) {
		first = c
		break
	}
	one := *first
	one.Last, one.Runs = true, []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{first.Video()[0]}}}
	one.Runs[0].Samples[0].Duration = schemas.MediaTimescale
	e, err := in.Entry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := newMotion(t, Settings{})
	r, err := p.Collect(t.Context(), processors.NewFragment("cam", e, &one))
	if err != nil || len(r.Events) > 0 {
		t.Errorf("%+v, %v; want no event", r, err)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	for want, s := range map[string]Settings{
		"fps: 0.5; give 2 to 30":                 {FPS: 0.5},
		"sensitivity: 2; give 0 to 1":            {Sensitivity: 2},
		"min_area: -1; give a part":              {MinArea: -1},
		"masks[1]: a rectangle of 0 by 0":        {Masks: []Area{{W: 1, H: 1}, {}}},
		"cameras.yard.sensitivity: -1; give":     {Cameras: map[string]Camera{"yard": {Sensitivity: -1}}},
		"cameras.yard.masks[0]: a polygon of 1 ": {Cameras: map[string]Camera{"yard": {Masks: []Area{{Polygon: [][]float64{{0, 0}}}}}}},
	} {
		if _, err := New("motion", s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

// An entry of cameras replaces what it names, and nothing else.
func TestSettingsOfCameras(t *testing.T) {
	mask := []Area{{W: 0.5, H: 0.5}}
	all := Camera{Sensitivity: 0.7, Masks: mask}.over(Camera{})
	if all.MinArea != defaultMinArea || all.Sensitivity != 0.7 {
		t.Errorf("defaults: %+v", all)
	}
	if c := (Camera{MinArea: 0.1}).over(all); c.MinArea != 0.1 || c.Sensitivity != 0.7 || len(c.Masks) != 1 {
		t.Errorf("an entry with min_area alone: %+v", c)
	}
	if c := (Camera{Masks: []Area{}}).over(all); len(c.Masks) != 0 {
		t.Errorf("an entry with an empty list of masks: %+v", c)
	}
}
