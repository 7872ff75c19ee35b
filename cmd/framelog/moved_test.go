package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/config"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/tests/testenv"
)

// TestMovedConfiguration: a configuration file that was renamed keeps its
// cameras; one beside another that is still there takes none from it.
func TestMovedConfiguration(t *testing.T) {
	const head = "ingest: {disk_reserve: 0}\ncameras:\n  - {id: front, url: 'rtsp://127.0.0.1:1/live', label: "
	f := testenv.Up(t, testenv.UpOptions{Config: head + "first}\n  - {id: yard, url: 'rtsp://127.0.0.1:1/yard'}\n"})
	cameras := func(f *testenv.Framelog) string {
		_, body, err := f.Get(t, "/v1/cameras")
		var list struct {
			Cameras []struct{ ID, Label string }
		}
		if err != nil || json.Unmarshal(body, &list) != nil {
			return ""
		}
		all := ""
		for _, c := range list.Cameras {
			all += c.ID + "=" + c.Label + " "
		}
		return all
	}
	f.Wait(t, testenv.Patience, "the cameras", func() bool { return cameras(f) == "front=first yard= " })
	line := testenv.CommandLine(f.PID())
	old := line[len(line)-1] // up --config FILE
	if code := f.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}

	second := testenv.Up(t, testenv.UpOptions{Config: head + "second}\n", Data: f.Data, NoWait: true})
	if code := second.ExitCode(2 * testenv.Patience); code != exitConfig {
		t.Errorf("with both files there: exit code %d", code)
	}
	said := strings.TrimSpace(second.Log.String())
	said = said[strings.LastIndexByte(said, '\n')+1:]
	for _, w := range []string{`framelog.yaml:6: camera "front" is kept by ` + old + ":6 already", "still there", "framelog up --config " + old} {
		if !strings.Contains(said, w) {
			t.Errorf("%q lacks %q", said, w)
		}
	}

	if err := os.Rename(old, old+".moved"); err != nil {
		t.Fatal(err)
	}
	third := testenv.Up(t, testenv.UpOptions{Config: head + "third}\n", Data: f.Data})
	third.Wait(t, testenv.Patience, "the cameras of the file that is there", func() bool { return cameras(third) == "front=third " })
	third.Stop() // so that all that it printed has come
	if log := third.Log.String(); !strings.Contains(log, "are taken over") || !strings.Contains(log, "was="+old) {
		t.Error("the log does not say so")
	}
}

// TestConflictRemedies: what a conflict of cameras says to do.
func TestConflictRemedies(t *testing.T) {
	for _, tt := range []struct {
		have    string
		brokers []string
		want    string
	}{
		{"the API", nil, "framelog up --data /data, and meanwhile: framelog cameras remove front"},
		{"the API", []string{"k:9092"}, "framelog cameras remove front --config /new.yaml"},
		{"/old.yaml:3", nil, "framelog up --config /old.yaml"},
		{"/old.yaml:3", []string{"k:9092"}, "framelog cameras apply -f /new.yaml --take-over /old.yaml"},
		{"demo:1", nil, "--demo"},
	} {
		u := &up{cfg: &config.Config{Data: "/data", Brokers: tt.brokers}}
		err := u.conflict(&registry.ConflictError{ID: "front", Have: tt.have, Wants: "/new.yaml:7"})
		if !config.IsError(err) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "/new.yaml:7: camera \"front\" is kept by "+tt.have) {
			t.Errorf("kept by %s: %v, want %q", tt.have, err, tt.want)
		}
	}
}

func TestGone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "there")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		file: false, filepath.Join(dir, "not"): true, filepath.Join(dir, "no", "folder"): true, filepath.Join(file, "below"): true, "demo": false,
	} {
		if gone(path) != want {
			t.Errorf("%s: gone %v", path, !want)
		}
	}
}
