package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/app/program"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/transcode"
)

// TestProcessLine: which processor a command line names, and what overrides what.
func TestProcessLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "framelog.yaml")
	if err := os.WriteFile(path, []byte(`
broker_listen: 127.0.0.1:1
processors:
  - name: night
    kind: transcode
    cameras: [yard]
    max_lag: 30s
    settings: {ladder: [{name: dark, height: 360, bitrate: 600k}], hardware: software}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, err string
		check     func(p processors.Processor, s *transcode.Settings) bool
	}{
		{args: "transcode", check: func(p processors.Processor, _ *transcode.Settings) bool {
			return p.Name == "transcode" && len(p.Outputs) == 2 && len(p.Cameras) == 0
		}},
		{args: "night -c " + path, check: func(p processors.Processor, s *transcode.Settings) bool {
			return p.Name == "night" && p.Outputs[0] == processors.Variant("dark") && p.Cameras[0] == "yard" && p.MaxLag == 30*time.Second && s.Hardware == "software"
		}},
		{args: "night --config=" + path + " --cameras=* --max-lag 5s --hardware=", check: func(p processors.Processor, s *transcode.Settings) bool {
			return p.Cameras[0] == "*" && p.MaxLag == 5*time.Second && s.Hardware == "" && s.Ladder[0].Bitrate == 600_000
		}},
		{args: "transcode --name night -c " + path, check: func(p processors.Processor, _ *transcode.Settings) bool { return p.Outputs[0].Name == "dark" }},
		{args: "transcode --name day -c " + path, check: func(p processors.Processor, _ *transcode.Settings) bool {
			return p.Name == "day" && len(p.Outputs) == 2 && p.Cameras == nil
		}},
		{args: "night", err: `there is no processor "night"`},
	} {
		args := strings.Fields(tt.args)
		_, cfg, err := processLine(args[0], args[1:], nil, io.Discard)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", tt.args, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		p, err := newProcessor(cfg, &cfg.Processors[0], telemetry{})
		if err != nil || !tt.check(p, cfg.Processors[0].Own().(*transcode.Settings)) {
			t.Errorf("%s: %+v, %v", tt.args, p, err)
		}
	}
}

// TestKinds: no kind has a setting with the name of a flag that all have, and the help of
// each shows its settings.
func TestKinds(t *testing.T) {
	for _, k := range kinds() {
		var out strings.Builder
		_, _, err := processLine(k.Name, []string{"--help"}, nil, &out)
		if !errors.Is(err, program.ErrHelp) || !strings.Contains(out.String(), k.Help) {
			t.Errorf("%s: %v\n%s", k.Name, err, out.String())
		}
	}
}
