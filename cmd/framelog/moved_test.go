package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestMovedConfiguration: a configuration file that was renamed keeps its
// cameras; one beside another that is still there takes none from it.
func TestMovedConfiguration(t *testing.T) {
	t.Parallel()
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
	for _, w := range []string{
		`the configuration file "framelog" (line 6) has camera "front", which is kept by the configuration file "framelog" (line 6), `, ":" + old,
		"name: framelog", "framelog up --config " + old,
	} {
		if !strings.Contains(said, w) {
			t.Errorf("%q lacks %q", said, w)
		}
	}

	// A start in another folder, with other cameras, removes nothing.
	other := testenv.Up(t, testenv.UpOptions{Config: "ingest: {disk_reserve: 0}\ncameras:\n  - {id: shed, url: 'rtsp://127.0.0.1:1/shed'}\n", Data: f.Data})
	other.Wait(t, testenv.Patience, "the cameras of both", func() bool { return cameras(other) == "front=first shed= yard= " })
	if code := other.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}

	if err := os.Rename(old, old+".moved"); err != nil {
		t.Fatal(err)
	}
	third := testenv.Up(t, testenv.UpOptions{Config: head + "third}\n", Data: f.Data})
	third.Wait(t, testenv.Patience, "the cameras of the files that are there", func() bool { return cameras(third) == "front=third shed= " })
	third.Stop() // so that all that it printed has come
	if log := third.Log.String(); !strings.Contains(log, "a file that does not exist any more") || !strings.Contains(log, ":"+old+"]") {
		t.Error("the log does not say so")
	}
}

// TestConflictRemedies: what a conflict of cameras says to do.
func TestConflictRemedies(t *testing.T) {
	wants := schemas.Camera{ID: "front", Source: schemas.SourceFile, Origin: "framelog:7", Place: "nvr:/new.yaml"}
	api := schemas.Camera{ID: "front", Source: schemas.SourceAPI}
	file := schemas.Camera{ID: "front", Source: schemas.SourceFile, Origin: "office:3", Place: "nvr:/old.yaml"}
	for _, tt := range []struct {
		have    schemas.Camera
		brokers []string
		want    string
	}{
		{api, nil, "framelog up --data /data, and meanwhile: framelog cameras remove front"},
		{api, []string{"k:9092"}, "framelog cameras remove front --config /new.yaml"},
		{file, nil, "framelog up --config /old.yaml"},
		{file, nil, "write this line into it: name: office"},
		{file, []string{"k:9092"}, "write this line into it: name: office"},
		{schemas.Camera{ID: "front", Source: schemas.SourceFile, Origin: registry.Demo + ":1"}, nil, "--demo"},
	} {
		u := &up{cfg: &config.Config{Data: "/data", Path: "/new.yaml", Brokers: tt.brokers}}
		err := u.conflict(&registry.ConflictError{Have: tt.have, Wants: wants})
		if what := `the configuration file "framelog" (line 7) has camera "front", which is kept by ` + registry.Keeper(tt.have); !config.IsError(err) ||
			!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), what) {
			t.Errorf("kept by %+v: %v, want %q", tt.have, err, tt.want)
		}
	}
}
