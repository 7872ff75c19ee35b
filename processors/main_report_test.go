package processors

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// TestPrintProgress: a line for each fragment, and how far the work is.
func TestPrintProgress(t *testing.T) {
	at := time.Date(2026, 11, 28, 13, 0, 0, 0, time.UTC)
	all := []Progress{
		{
			Camera: "gate", Done: 1, Total: 3, Seq: 7, Start: at, Duration: 1040 * time.Millisecond, Took: 12345 * time.Microsecond,
			Bytes:  map[string]int64{"motion": 120, "crop": 9000},
			Events: []schemas.Event{{Type: "motion", Value: 0.423, Start: at.Add(200 * time.Millisecond), End: at.Add(time.Second)}},
		},
		{Camera: "gate", Done: 2, Total: 3, Seq: 8, Start: at.Add(time.Second), Duration: time.Second, Err: errors.New("model:\n out of memory")},
		{Camera: "gate", Done: 3, Total: 3, Seq: 9, Start: at.Add(2 * time.Second), Duration: time.Second},
	}
	var out, errs bytes.Buffer
	for report, i := PrintProgress(&out, &errs, false), 0; i < len(all); i++ {
		report(all[i])
	}
	lines := strings.Split(out.String(), "\n")
	want := [][]string{
		strings.Fields("CAMERA SEQ START LENGTH TOOK OUTPUT AND EVENTS"),
		strings.Fields("gate 7 2026-11-28T13:00:00.000Z 1.04s 12ms crop 9000 B; motion 120 B; motion 0.423, 0.2 to 1.0 s"),
		strings.Fields("gate 8 2026-11-28T13:00:01.000Z 1s 0s failed: model: out of memory"),
		strings.Fields("gate 9 2026-11-28T13:00:02.000Z 1s 0s -"),
		nil,
	}
	if !slices.EqualFunc(lines, want, func(l string, w []string) bool { return slices.Equal(strings.Fields(l), w) }) {
		t.Errorf("%s", out.String())
	}
	if !strings.HasSuffix(errs.String(), "gate: 3 of 3 fragments\n") {
		t.Errorf("progress: %s", errs.String())
	}

	out.Reset()
	for report, i := PrintProgress(&out, &errs, true), 0; i < len(all); i++ {
		report(all[i])
	}
	dec := json.NewDecoder(&out)
	for _, p := range all {
		var l progressLine
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		failed := ""
		if p.Err != nil {
			failed = p.Err.Error()
		}
		if l.Seq != p.Seq || !l.Start.Equal(p.Start) || l.Duration != p.Duration.Seconds() || l.Error != failed || l.Events == nil || len(l.Events) != len(p.Events) || l.Bytes["crop"] != p.Bytes["crop"] {
			t.Errorf("%+v, want %+v", l, p)
		}
	}
}
