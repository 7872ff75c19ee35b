package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

var update = flag.Bool("update", false, "write the golden files anew")

var _ Registry = (*registry.Client)(nil)

const canary = "cAnArY-77"

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

type fakeRegistry struct {
	registry.Snapshot
	result registry.Result
	err    error
	hang   bool
	closed bool
	stuck  bool // owners do not stop

	topics  []string // of the log
	secrets []string // files
	stdin   string
	kept    []string // id, URL, password
	keepErr error    // of Keep
	putErr  error
	remote  bool // no secrets on this machine
}

func (f *fakeRegistry) Load(ctx context.Context) (registry.Snapshot, error) {
	if f.hang {
		<-ctx.Done()
		return registry.Snapshot{}, ctx.Err()
	}
	return registry.Snapshot{Cameras: maps.Clone(f.Cameras), Status: maps.Clone(f.Status), Purged: maps.Clone(f.Purged)}, f.err
}

func (f *fakeRegistry) Put(_ context.Context, c schemas.Camera) error {
	if f.putErr != nil {
		return f.putErr
	}
	f.Cameras[c.ID] = c
	return f.err
}

func (f *fakeRegistry) Delete(_ context.Context, id string) error {
	delete(f.Cameras, id)
	if !f.stuck {
		delete(f.Status, id)
	}
	return f.err
}

func (f *fakeRegistry) Reconcile(context.Context, registry.File, []schemas.Camera, bool) (registry.Result, error) {
	return f.result, f.err
}

func (f *fakeRegistry) PutPurge(_ context.Context, p schemas.Purge) error {
	f.Purged[p.Camera] = p
	return f.err
}

func (f *fakeRegistry) LastStatus(_ context.Context, id string) (schemas.Status, error) {
	return f.Status[id], f.err
}

func (f *fakeRegistry) DeleteStatus(id string) { delete(f.Status, id) }

func (f *fakeRegistry) Close() { f.closed = true }

func apiCamera(id string) schemas.Camera {
	return schemas.Camera{ID: id, URL: "rtsp://10.0.0.5/1", Source: schemas.SourceAPI}
}

func full() *fakeRegistry {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	f := &fakeRegistry{
		Snapshot: registry.Snapshot{Cameras: map[string]schemas.Camera{}, Status: map[string]schemas.Status{}, Purged: map[string]schemas.Purge{}},
		topics:   []string{"cam.gate", "cam.gate.index", "cam.gate.720p", "cam.shed", "cam.garage", "cam.yard"},
		secrets:  []string{"gate", "garage", "front-door"},
	}
	add := func(id, label, origin string, s *schemas.Status) {
		c := schemas.Camera{ID: id, Label: label, URL: "rtsp://10.0.0.5/1", User: "viewer", Password: "${file:" + id + "}", Source: schemas.SourceAPI, Updated: ago(time.Hour)}
		if origin != "" {
			c.Source, c.Origin = schemas.SourceFile, origin
		}
		c.Disabled = id == "cellar"
		f.Cameras[id] = c
		if s != nil {
			s.Camera, s.Owner, s.Host = id, "ingest-1", "nvr"
			if s.Updated.IsZero() {
				s.Updated = ago(3 * time.Second)
			}
			f.Status[id] = *s
		}
	}
	add("front-door", "Front door", "", &schemas.Status{State: schemas.StateLive, Since: ago(3 * time.Hour), Absent: 15.3, AbsentReason: schemas.AbsentRestart, Stands: schemas.Standing{Seq: 7}, Video: schemas.H264, Audio: schemas.AAC, Width: 1920, Height: 1080, FPS: 30, Bitrate: 4_120_000})
	add("garage", "Garage", "office:12", &schemas.Status{State: schemas.StateAway, Since: ago(190 * time.Second), Error: "no route\nto host, which takes a word or two more than would fit into any column of a table beside all of the others; look at the camera's network", Video: schemas.H265, Width: 2560, Height: 1440, FPS: 12.5})
	add("gate", "Überwachung der Toreinfahrt von der Straße aus", "", &schemas.Status{State: schemas.StateLive, Since: ago(50 * time.Hour), Problem: "no keyframe for 24 s", Video: schemas.MJPEG, Bitrate: 812_400, Substream: &schemas.StreamStatus{State: schemas.StateAway, Since: ago(time.Minute)}})
	add("roof", "", "", nil)
	add("yard", "", "", &schemas.Status{State: schemas.StateLive, Since: ago(time.Hour), Updated: ago(42 * time.Second), Substream: &schemas.StreamStatus{Stands: schemas.Standing{Seq: 3}}, Absent: 4, AbsentReason: schemas.AbsentCamera})
	add("cellar", "Cellar", "", &schemas.Status{State: schemas.StateDisabled, Since: ago(time.Hour)})
	gate := f.Cameras["gate"]
	gate.Substream = "rtsp://10.0.0.5/2"
	f.Cameras["gate"] = gate
	f.Status["gate"].Substream.Error = "no route to host"
	return f
}

// run types a command line.
func run(t *testing.T, r *fakeRegistry, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	timeout := testenv.Patience
	if r.hang {
		timeout = 50 * time.Millisecond
	}
	env := &Env{
		Connect: func(context.Context) (Registry, string, error) { return r, "kafka-1:9092", nil },
		Cameras: func(path string) (registry.File, []schemas.Camera, error) {
			return registry.File{Name: strings.TrimSuffix(path, ".yaml")}, nil, nil
		},
		Log: func() (Log, error) { return fakeLog{r}, nil },
		In:  strings.NewReader(r.stdin),
		Keep: func(cam schemas.Camera, password string) (func() error, error) {
			if r.remote || r.keepErr != nil {
				return nil, r.keepErr
			}
			r.kept = append(r.kept, cam.ID, secrets.Join(cam), password)
			return func() error { r.kept = nil; return nil }, nil
		},
		Forget: func(id string, cameras map[string]schemas.Camera) (bool, error) {
			for _, cam := range cameras {
				if secrets.Refers(id, cam) {
					return false, nil
				}
			}
			had := len(r.secrets)
			r.secrets = slices.DeleteFunc(r.secrets, func(s string) bool { return s == id })
			return len(r.secrets) < had, nil
		},
		Out: &out, Now: func() time.Time { return now }, Timeout: timeout, StopWait: time.Millisecond,
	}
	var line struct {
		Cameras CamerasCmd `cmd:""`
	}
	p, err := kong.New(&line, kong.Bind(env), kong.BindTo(t.Context(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	k, err := p.Parse(append([]string{"cameras"}, args...))
	if err != nil {
		return "", err
	}
	err = k.Run()
	return out.String(), err
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestPrints(t *testing.T) {
	empty := func() *fakeRegistry { return &fakeRegistry{} }
	applied := func() *fakeRegistry {
		return &fakeRegistry{result: registry.Result{Added: []string{"gate", "yard"}, Changed: []string{"front-door"}, Removed: []string{"roof"}, Kept: []string{"cellar"}, Unchanged: []string{"garage"}}}
	}
	for _, c := range []struct {
		name string
		reg  func() *fakeRegistry
		args string
	}{
		{"list", full, "list"},
		{"list-json", full, "list --output json"},
		{"list-empty", empty, "list"},
		{"list-empty-json", empty, "--output json list"},
		{"apply", applied, "apply -f framelog.yaml --prune"},
		{"apply-json", applied, "apply -f framelog.yaml -o json"},
		{"apply-empty", empty, "apply -f framelog.yaml"},
		{"add", full, "add shed rtsp://viewer:${file:shed}@10.0.0.7/1 --label Shed --no-audio"},
		{"add-json", full, "add shed rtsp://viewer:${file:shed}@10.0.0.7/1 -o json"},
		{"replace", full, "add roof rtsp://10.0.0.7/1 --replace"},
		{"remove", full, "remove roof yard"},
		{"remove-json", full, "remove roof -o json"},
		{"remove-password", full, "remove gate front-door roof"},
		{"remove-purge", full, "remove gate shed yard cellar --purge"},
		{"remove-purge-json", full, "remove gate --purge -o json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.reg()
			out, err := run(t, r, strings.Fields(c.args)...)
			if err != nil || !r.closed {
				t.Fatalf("%v, closed %v", err, r.closed)
			}
			if strings.HasSuffix(c.name, "json") && !json.Valid([]byte(out)) {
				t.Errorf("no JSON: %s", out)
			}
			golden(t, c.name, out)
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, args, want string
		usage            bool
		set              func(*fakeRegistry)
	}{
		{"bad id", "add Front_Door rtsp://h/", "camera id", true, nil},
		{"bad scheme", "add shed http://h/", "rtsp://", true, nil},
		{"password", "add shed rtsp://u:" + canary + "@h/", "${file:shed}", true, nil},
		{"another's secret", "add shed rtsp://u:${file:gate}@h/", "", true, nil},
		{"taken", "add roof rtsp://h/", "--replace", true, nil},
		{"of a file", "add garage rtsp://h/ --replace", `the configuration file "office" (line 12)`, true, nil},
		{"remove a file's", "remove roof garage", `the configuration file "office" (line 12)`, true, nil},
		{"of a file that is no more", "remove garage", "that says name: office", true, nil},
		{"remove nothing", "remove roof nobody", "nobody", true, nil},
		{"purge a file's", "remove garage --purge", `the configuration file "office" (line 12)`, true, nil},
		{"the demo's", "remove roof", "without --demo", true, func(f *fakeRegistry) {
			c := f.Cameras["roof"]
			c.Source, c.Origin = schemas.SourceFile, registry.Demo+":1"
			f.Cameras["roof"] = c
		}},
		{"purge nothing", "remove nobody --purge", "no footage", true, nil},
		{"brokers away", "list", "kafka-1:9092 did not answer", true, func(f *fakeRegistry) { f.hang = true }},
		{"conflict", "apply -f framelog.yaml", "kept by", true, func(f *fakeRegistry) {
			f.err = &registry.ConflictError{Have: apiCamera("roof"), Wants: schemas.Camera{ID: "roof", Source: schemas.SourceFile, Origin: "framelog:3"}}
		}},
		{"other", "list", "broken", false, func(f *fakeRegistry) { f.err = errors.New("broken") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := full()
			if c.set != nil {
				c.set(r)
			}
			out, err := run(t, r, strings.Fields(c.args)...)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(out+err.Error(), canary) {
				t.Fatalf("%q, %v", out, err)
			}
			var usage *UsageError
			if got := errors.As(err, &usage); got != c.usage {
				t.Errorf("%T: the caller's fault %v, want %v", err, got, c.usage)
			}
			if len(r.Cameras) != 6 {
				t.Errorf("something was changed: %d cameras", len(r.Cameras))
			}
		})
	}
}

func TestAddReadsPassword(t *testing.T) {
	const url, ref = "rtsp://viewer@10.0.0.5/a", "rtsp://viewer:${file:new}@10.0.0.5/a"
	tests := map[string]struct {
		url, stdin string
		remote     bool
		keepErr    error
		putErr     error
		fails      string // what the error names
		stays      bool   // the password, nonetheless
	}{
		"of the user":            {url: url, stdin: "s e:c@r/et\n"},
		"without an end of line": {url: url, stdin: "s e:c@r/et"},
		"from Windows":           {url: url, stdin: "s e:c@r/et\r\nmore\n"},
		"by its reference":       {url: ref, stdin: "s e:c@r/et\n"},
		"nothing":                {url: url, stdin: "\n", fails: "no password came"},
		"too long":               {url: url, stdin: strings.Repeat("x", maxPassword+1) + "\n", fails: "longer than 4096 bytes"},
		"far too long":           {url: url, stdin: strings.Repeat("x", 3*maxPassword), fails: "longer than 4096 bytes"},
		"of nobody":              {url: "rtsp://10.0.0.5/a", stdin: "x\n", fails: "write the user into the url"},
		"two passwords":          {url: "rtsp://viewer:other@10.0.0.5/a", stdin: "x\n", fails: "--password-stdin"},
		"an @ in the path":       {url: "rtsp://10.0.0.5/a@b", stdin: "x\n", fails: "write the user into the url"},
		"secrets elsewhere":      {url: url, stdin: "x\n", remote: true, fails: "--data or secrets_dir"},
		"not in the registry":    {url: url, stdin: "x\n", putErr: errors.New("no broker"), fails: "no broker"},
		"perhaps there":          {url: url, stdin: "x\n", putErr: registry.ErrUncertain, fails: "not known", stays: true},
		"a file made by hand":    {url: url, stdin: "x\n", keepErr: secrets.ErrHandMade, fails: "not replaced"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			r := &fakeRegistry{Snapshot: registry.Snapshot{Cameras: map[string]schemas.Camera{}}, stdin: c.stdin, remote: c.remote, keepErr: c.keepErr, putErr: c.putErr}
			out, err := run(t, r, "add", "new", c.url, "--password-stdin")
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || len(r.Cameras) != 0 || (len(r.kept) != 0) != c.stays {
					t.Errorf("error %v, want one that names %q; cameras %v, kept %q", err, c.fails, r.Cameras, r.kept)
				}
				return
			}
			if err != nil || !slices.Equal(r.kept, []string{"new", ref, "s e:c@r/et"}) || secrets.Join(r.Cameras["new"]) != ref || strings.Contains(out, "s e:c") {
				t.Errorf("error %v, kept %q, camera %+v, printed %q", err, r.kept, r.Cameras["new"], out)
			}
		})
	}
}

// The password is for the user of each stream that has none.
func TestAddReadsPasswordOfSubstream(t *testing.T) {
	for args, want := range map[string][]string{
		"rtsp://viewer@h/1 --substream rtsp://viewer@h/2":         {"rtsp://viewer:${file:new}@h/1", "rtsp://viewer:${file:new}@h/2"},
		"rtsp://h/1 --substream rtsp://viewer@h/2":                {"rtsp://h/1", "rtsp://viewer:${file:new}@h/2"},
		"rtsp://viewer@h/1 --substream rtsp://h/2":                {"rtsp://viewer:${file:new}@h/1", "rtsp://h/2"},
		"rtsp://viewer:${file:new}@h/1 --substream rtsp://w@g/2":  {"rtsp://viewer:${file:new}@h/1", "rtsp://w@g/2"},
		"rtsp://viewer@h/1 --substream rtsp://w:${file:new}@g/2 ": {"rtsp://viewer@h/1", "rtsp://w:${file:new}@g/2"},
	} {
		r := &fakeRegistry{Snapshot: registry.Snapshot{Cameras: map[string]schemas.Camera{}}, stdin: "secret\n"}
		out, err := run(t, r, append([]string{"add", "new", "--password-stdin"}, strings.Fields(args)...)...)
		streams := r.Cameras["new"].Streams()
		if err != nil || len(streams) != 2 || secrets.Join(streams[0]) != want[0] || secrets.Join(streams[1]) != want[1] {
			t.Errorf("%s: %v, %+v", args, err, streams)
			continue
		}
		var kept []string
		for _, url := range want {
			if strings.Contains(url, "${file:new}") {
				kept = append(kept, "new", url, "secret")
			}
		}
		if !slices.Equal(r.kept, kept) || strings.Contains(out, "secret") {
			t.Errorf("%s: kept %q, printed %s", args, r.kept, out)
		}
	}
	r := &fakeRegistry{Snapshot: registry.Snapshot{Cameras: map[string]schemas.Camera{}}}
	if _, err := run(t, r, "add", "new", "rtsp://h/1", "--substream", "rtsp://u:"+canary+"@h/2"); err == nil || strings.Contains(err.Error(), canary) || len(r.Cameras) > 0 {
		t.Errorf("a password on the command line: %v", err)
	}
}
