package processors

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// reportEvery is the time between two lines about the progress.
const reportEvery = 2 * time.Second

// PrintProgress returns a function for Backfill.Report. It prints to out a line for each
// fragment, as text or as JSON, and tells errs from time to time how far the work is.
func PrintProgress(out, errs io.Writer, asJSON bool) func(Progress) {
	line, header := printRow, true
	if asJSON {
		line, header = printLine, false
	}
	var told time.Time
	return func(p Progress) {
		if header {
			header = false
			fmt.Fprintf(out, rowFormat, "CAMERA", "SEQ", "START", "LENGTH", "TOOK", "OUTPUT AND EVENTS")
		}
		line(out, p) // if nobody reads it any more, the work goes on
		if now := time.Now(); now.Sub(told) >= reportEvery || p.Done == p.Total {
			told = now
			fmt.Fprintf(errs, "%s: %d of %d fragments\n", p.Camera, p.Done, p.Total)
		}
	}
}

// rowFormat is a line of the table. A camera's id may be longer.
const rowFormat = "%-16s %-11v %-24s %7s %7s  %s\n"

// printRow prints a fragment as a line of a table.
func printRow(out io.Writer, p Progress) {
	var made []string
	for _, name := range slices.Sorted(maps.Keys(p.Bytes)) {
		made = append(made, fmt.Sprintf("%s %d B", name, p.Bytes[name]))
	}
	for _, e := range p.Events {
		made = append(made, eventText(p, e))
	}
	switch {
	case p.Err != nil:
		made = append(made, "failed: "+strings.Join(strings.Fields(p.Err.Error()), " "))
	case len(made) == 0:
		made = []string{"-"}
	}
	fmt.Fprintf(out, rowFormat, p.Camera, p.Seq, p.Start.UTC().Format("2006-01-02T15:04:05.000Z"),
		p.Duration.Round(10*time.Millisecond), p.Took.Round(time.Millisecond), strings.Join(made, "; "))
}

// eventText is an event as "motion 0.42, 0.2 to 1.4 s": its times in the fragment.
func eventText(p Progress, e schemas.Event) string {
	text := e.Type
	if e.Value != 0 {
		text += fmt.Sprintf(" %.4g", e.Value)
	}
	return text + fmt.Sprintf(", %.1f to %.1f s", e.Start.Sub(p.Start).Seconds(), e.End.Sub(p.Start).Seconds())
}

// progressLine is a line of PrintProgress in JSON. Times are in seconds.
type progressLine struct {
	Camera   string           `json:"camera"`
	Seq      uint64           `json:"seq"`
	Start    time.Time        `json:"start"`
	Duration float64          `json:"duration"`
	Took     float64          `json:"took"`
	Bytes    map[string]int64 `json:"bytes"`
	Events   []schemas.Event  `json:"events"`
	Error    string           `json:"error,omitempty"`
}

// printLine prints a fragment as a line of JSON.
func printLine(out io.Writer, p Progress) {
	l := progressLine{
		Camera: p.Camera, Seq: p.Seq, Start: p.Start.UTC(), Duration: p.Duration.Seconds(), Took: p.Took.Seconds(),
		Bytes: p.Bytes, Events: p.Events,
	}
	if l.Events == nil {
		l.Events = []schemas.Event{}
	}
	if p.Err != nil {
		l.Error = p.Err.Error()
	}
	b, err := json.Marshal(l)
	if err != nil { // an event's own JSON is not valid
		b, _ = json.Marshal(progressLine{Camera: p.Camera, Seq: p.Seq, Error: err.Error()})
	}
	_, _ = out.Write(append(b, '\n'))
}
