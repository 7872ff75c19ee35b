package processors

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// The samples of a run follow one another: where two overlap, the first one ends; where
// there is nothing, a null is between.
func TestDataRun(t *testing.T) {
	sample := func(at int64, duration uint32, data string) schemas.Sample {
		return schemas.Sample{DTS: at, Duration: duration, Sync: true, Data: []byte(data)}
	}
	for name, c := range map[string]struct {
		in   []schemas.Sample
		want string
	}{
		"none":                {nil, ""},
		"one":                 {[]schemas.Sample{sample(100, 50, "a")}, "100+50 a"},
		"in a row":            {[]schemas.Sample{sample(100, 50, "a"), sample(150, 50, "b")}, "100+50 a, 150+50 b"},
		"a hole":              {[]schemas.Sample{sample(100, 50, "a"), sample(180, 20, "b")}, "100+50 a, 150+30 null, 180+20 b"},
		"overlap":             {[]schemas.Sample{sample(100, 90, "a"), sample(120, 10, "b")}, "100+20 a, 120+10 b"},
		"not in order":        {[]schemas.Sample{sample(120, 10, "b"), sample(100, 20, "a")}, "100+20 a, 120+10 b"},
		"at the same time":    {[]schemas.Sample{sample(100, 50, "a"), sample(100, 50, "b"), sample(100, 50, "c")}, "100+1 a, 101+1 b, 102+50 c"},
		"no duration":         {[]schemas.Sample{sample(100, 0, "a"), sample(110, 0, "b")}, "100+1 a, 101+9 null, 110+1 b"},
		"beyond the end":      {[]schemas.Sample{sample(190, 50, "a")}, "190+10 a"},
		"at the end":          {[]schemas.Sample{sample(200, 0, "a")}, "199+1 a"},
		"several at the end":  {[]schemas.Sample{sample(199, 5, "a"), sample(200, 5, "b"), sample(200, 5, "c")}, "197+1 a, 198+1 b, 199+1 c"},
		"behind the fragment": {[]schemas.Sample{sample(201, 5, "a")}, "error: processors: data at media time 201: the fragment ends at 200"},
	} {
		t.Run(name, func(t *testing.T) {
			run, err := dataRun(c.in, 100, 200)
			var all []string
			at := int64(0)
			for _, s := range run.Samples {
				if at != 0 && s.DTS != at {
					t.Errorf("a sample begins at %d, the one before ends at %d", s.DTS, at)
				}
				at = s.DTS + int64(s.Duration)
				all = append(all, fmt.Sprintf("%d+%d %s", s.DTS, s.Duration, s.Data))
			}
			got := strings.Join(all, ", ")
			if err != nil {
				got = "error: " + err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if _, err := dataRun(make([]schemas.Sample, 101), 0, 100); err == nil {
		t.Error("101 samples in 100 ticks: no error")
	}
}

// seer is a processor that tells two events that overlap, and boxes, of each fragment.
func seer() Processor {
	return Processor{Name: "seer", Process: func(ctx context.Context, in *Fragment, out *Output) error {
		for c, err := range in.Chunks(ctx) {
			if err != nil {
				return err
			}
			if err := out.Data(c.MediaStart(), 4*frame, schemas.Data{Boxes: []schemas.Box{{X: 0.5, Label: "cat"}}, Score: 0.25}); err != nil {
				return err
			}
		}
		if err := out.Event(ctx, schemas.Event{Type: "cat", Value: 0.75}); err != nil {
			return err
		}
		at := in.Time(in.Media + 15*frame)
		return out.Event(ctx, schemas.Event{Type: "dog", Start: at, End: at.Add(time.Second), Data: json.RawMessage(fmt.Sprintf(`{"seq":%d}`, in.Seq))})
	}}
}

// An output of data has one chunk a fragment. What is in the log is what the function has
// said, also where it overlaps; the note has the events.
func TestData(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.cam.fragments(1)
		e.start(seer())
		e.waitFor("seer", source[0].Seq)
		source = append(source, e.cam.fragments(2)...)
		topic := schemas.Topic{Camera: camID, Rendition: "seer"}
		for i, g := range e.waitFor("seer", source[2].Seq) {
			if g.Seq != source[i].Seq || g.Role != schemas.RoleData || g.Layout.Data != schemas.JSON || g.Layout.Video != "" || g.Media != source[i].Media || g.Duration != source[i].Duration {
				t.Errorf("entry %+v, the camera has %+v", g, source[i])
			}
			if want := `{"events":[{"t":"cat","s":0,"e":2,"v":0.75},{"t":"dog","s":0.6,"e":1.6}]}`; g.Note != want {
				t.Errorf("note %s, want %s", g.Note, want)
			}
			chunks := e.chunks(topic, g)
			if len(chunks) != 1 || !chunks[0].Last {
				t.Fatalf("%d chunks", len(chunks))
			}
			boxes, events := 0, map[string]schemas.Event{}
			for _, s := range chunks[0].Runs[0].Samples {
				var d schemas.Data
				if err := json.Unmarshal(s.Data, &d); err != nil {
					t.Errorf("sample %s: %v", s.Data, err)
				}
				boxes += len(d.Boxes)
				if d.Event != nil {
					events[d.Event.Type] = *d.Event
				}
			}
			cat, dog := events["cat"], events["dog"]
			if boxes != 5 || !cat.Start.Equal(source[i].Start) || !cat.End.Equal(source[i].End()) || dog.End.Sub(dog.Start) != time.Second || string(dog.Data) != fmt.Sprintf(`{"seq":%d}`, g.Seq) {
				t.Errorf("seq %d: %d boxes, events %+v", g.Seq, boxes, events)
			}
		}
	})
}
