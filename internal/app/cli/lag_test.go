package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/monitor/lag"
)

// lagReport is a report of two cameras.
func lagReport() lag.Report {
	left := lag.Seconds(90 * time.Minute)
	return lag.Report{
		At: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Up: true,
		Cameras: []lag.Camera{
			{
				ID: "yard", State: "live", Behind: lag.Seconds(20 * time.Second),
				Hops:    []lag.Hop{{Name: "log", Behind: lag.Seconds(1240 * time.Millisecond)}, {Name: "motion", Behind: lag.Seconds(75 * time.Second)}},
				Groups:  []lag.Behind{{Group: "g", Rendition: "raw", Records: 7, Seconds: lag.Seconds(20 * time.Second), Left: &left}, {Group: "h", Rendition: "720p"}},
				Letters: []lag.Letters{{Processor: "motion", Count: 2}, {Processor: "none"}},
			},
			{ID: "off", State: "disabled"},
		},
	}
}

// runLag runs lag over these reports.
func runLag(t *testing.T, c LagCmd, env LagEnv, reports ...lag.Report) (string, error) {
	t.Helper()
	var out bytes.Buffer
	env.Out = &out
	env.Watch = func(_ context.Context, _ time.Duration, report func(lag.Report) bool) error {
		for _, r := range reports {
			if !report(r) {
				return nil
			}
		}
		return nil
	}
	err := c.Run(t.Context(), &env)
	return out.String(), err
}

func TestLagTable(t *testing.T) {
	const want = `CAMERA  STATE     HOP OR GROUP     BEHIND  RECORDS  RETENTION IN
yard    live      motion           1 min
yard    live      group g          20 s    7        1 h
yard    live      log              1.2 s
yard    live      group h of 720p  0.0 s   0
off     disabled

1 of 2 cameras behind by 15 s or more; yard has 2 dead letters of motion
`
	got, err := runLag(t, LagCmd{}, LagEnv{}, lagReport(), lag.Report{})
	if got != want || err != nil {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	got, _ = runLag(t, LagCmd{}, LagEnv{Color: true}, lagReport())
	lines := strings.Split(got, "\n")
	plain := strings.Split(want, "\n")
	for i, color := range []string{"", "\x1b[31m", "\x1b[33m", "", "", ""} {
		line := plain[i]
		if color != "" {
			line = color + line + "\x1b[0m"
		}
		if lines[i] != line {
			t.Errorf("line %d with colours: %q, want %q", i, lines[i], line)
		}
	}
	if got, err := runLag(t, LagCmd{}, LagEnv{}, lag.Report{Up: true}); got != "There are no cameras.\n" || err != nil {
		t.Errorf("without cameras: %q, %v", got, err)
	}
	var usage *UsageError
	if got, err := runLag(t, LagCmd{}, LagEnv{}, lag.Report{}); got != "" || !errors.As(err, &usage) {
		t.Errorf("the brokers do not answer: %q, %v", got, err)
	}
}

func TestLagJSON(t *testing.T) {
	var r struct {
		Cameras []struct {
			ID     string
			Behind float64 `json:"behind_s"`
		}
	}
	got, err := runLag(t, LagCmd{Output: "json"}, LagEnv{}, lagReport())
	if err = errors.Join(err, json.Unmarshal([]byte(got), &r)); err != nil || len(r.Cameras) != 2 || r.Cameras[0].ID != "yard" || r.Cameras[0].Behind != 20 {
		t.Errorf("%v: %s", err, got)
	}
	got, err = runLag(t, LagCmd{Output: "json", Watch: true}, LagEnv{}, lagReport(), lagReport())
	if n := strings.Count(got, "\n"); n != 2 || err != nil {
		t.Errorf("--watch: %d lines, want one a report: %v", n, err)
	}
}

// On a terminal --watch shows as many lines as there is room for, each time from the top.
func TestLagWatch(t *testing.T) {
	away := lagReport()
	away.Up = false
	got, err := runLag(t, LagCmd{Watch: true}, LagEnv{Height: 6}, lagReport(), away)
	screens := strings.Split(got, "\x1b[H\x1b[J")
	if err != nil || len(screens) != 3 || screens[0] != "" {
		t.Fatalf("%v: %q", err, got)
	}
	for i, first := range []string{"CAMERA", "The brokers do not answer. This is of 2026-11-28T12:00:00Z."} {
		s := screens[i+1]
		if strings.Count(s, "\n") > 5 || !strings.HasPrefix(s, first) || !strings.Contains(s, "lines more") {
			t.Errorf("screen %d: %q", i, s)
		}
	}
	if got, _ := runLag(t, LagCmd{Watch: true}, LagEnv{}, lagReport(), lagReport()); strings.Count(got, "CAMERA") != 2 || strings.Contains(got, "\x1b") {
		t.Errorf("no terminal: %q", got)
	}
}
