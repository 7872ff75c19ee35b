package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

func fileCamera(id, origin string) schemas.Camera {
	return schemas.Camera{ID: id, URL: "rtsp://10.0.0.5/" + id, Source: schemas.SourceFile, Origin: origin}
}

func relabel(c schemas.Camera, label string) schemas.Camera {
	c.Label = label
	return c
}

// site is a configuration file with the default name, as it is on one host.
func site(t *testing.T) File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return File{Name: "site", Host: "nvr", Path: path}
}

// of is a camera as the registry has it of a file.
func (f File) of(cam schemas.Camera) schemas.Camera {
	cam.Place, cam.Updated = f.place(), time.Unix(1, 0)
	return cam
}

func TestPlanFile(t *testing.T) {
	file, other := site(t), site(t)
	other.Name = "other"
	have := map[string]schemas.Camera{
		"same":    file.of(fileCamera("same", "site:3")),
		"differs": file.of(fileCamera("differs", "site:5")),
		"moved":   file.of(fileCamera("moved", "site:7")),
		"gone":    file.of(fileCamera("gone", "site:9")),
		"other":   other.of(fileCamera("other", "other:4")),
		"hand":    apiCamera("hand"),
	}
	wants := []schemas.Camera{
		fileCamera("same", "site:3"),
		relabel(fileCamera("differs", "site:5"), "Gate"),
		fileCamera("moved", "site:8"),
		fileCamera("new", "site:11"),
	}
	for _, tt := range []struct {
		name  string
		cams  []schemas.Camera
		prune bool
		want  string // added, changed, unchanged, removed, kept
		fails []string
	}{
		{name: "without prune", cams: wants, want: "[new] [differs moved] [same] [] [gone]"},
		{name: "with prune", cams: wants, prune: true, want: "[new] [differs moved] [same] [gone] []"},
		{name: "empty", want: "[] [] [] [] [differs gone moved same]"},
		{name: "empty with prune", prune: true, want: "[] [] [] [differs gone moved same] []"},
		{
			name:  "taken by the API",
			cams:  []schemas.Camera{fileCamera("hand", "site:2")},
			fails: []string{`the configuration file "site" (line 2)`, "the API", "framelog cameras remove hand"},
		},
		{
			name:  "taken by another file",
			cams:  []schemas.Camera{fileCamera("other", "site:2")},
			fails: []string{`the configuration file "site" (line 2)`, `the configuration file "other" (line 4), ` + other.place(), "name: other"},
		},
		{
			name:  "twice in the file",
			cams:  []schemas.Camera{fileCamera("x", "site:2"), fileCamera("x", "site:4")},
			fails: []string{"line 2", "line 4", "give one of them another id"},
		},
		{
			name:  "of another name",
			cams:  []schemas.Camera{fileCamera("x", "other:2")},
			fails: []string{"not a line of this file"},
		},
		{
			name:  "password",
			cams:  []schemas.Camera{{ID: "x", URL: "rtsp://u:c4n4ry@h/", Origin: "site:2"}},
			fails: []string{"site:2", "in plain text"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := planFile(have, file, tt.cams, tt.prune)
			if len(tt.fails) > 0 {
				for _, part := range tt.fails {
					if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "c4n4ry") {
						t.Errorf("error %v, want one with %q", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(p.Added, p.Changed, p.Unchanged, p.Removed, p.Kept); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if len(p.put) != len(p.Added)+len(p.Changed) {
				t.Errorf("writes %d records", len(p.put))
			}
		})
	}
}

// TestKeeps: whose a camera is when files were moved, renamed, or only have the
// same name. A file is known by its place and its name.
func TestKeeps(t *testing.T) {
	old := site(t)
	here := old
	here.Path = filepath.Join(t.TempDir(), "site.yaml")
	gone := File{Name: "site", Host: "nvr", Path: filepath.Join(old.Path, "no", "site.yaml")}
	named := func(f File, name string) File { f.Name, f.Named = name, true; return f }
	on := func(f File, host string) File { f.Host = host; return f }
	only := func(f File) File { f.OnlyHost = true; return f }
	for _, tt := range []struct {
		name    string
		was, is File
		ours    bool // the file has the cameras of the one before
		moved   bool // but only if they have one in common
	}{
		{"the same", old, old, true, false},
		{"another folder, both there", old, here, false, false},
		{"another folder, both there, embedded", old, only(here), false, false},
		{"moved", gone, here, true, true},
		{"moved, embedded, the host has a new name", gone, only(on(here, "pod-2")), true, true},
		{"gone, on another host", gone, on(here, "other"), false, false},
		{"the same path on another host", old, on(old, "other"), false, false},
		{"the same path, embedded, the host has a new name", old, only(on(old, "pod-2")), true, false},
		{"it gives itself the name, on another host", old, named(on(here, "other"), "site"), true, false},
		{"it gives itself a name at last", old, named(old, "office"), true, false},
		{"the other has the name from itself", named(old, "site"), here, false, false},
		{"another name, both there", old, named(here, "office"), false, false},
		{"renamed", gone, named(here, "office"), true, true},
		{"the demo", File{Name: Demo, Named: true}, here, false, false},
		{"of the demo", old, File{Name: Demo, Named: true}, false, false},
		{"the demo again", File{Name: Demo, Named: true}, File{Name: Demo, Named: true}, true, false},
	} {
		have := map[string]schemas.Camera{
			"x": tt.was.of(fileCamera("x", tt.was.Name+":7")), "y": tt.was.of(fileCamera("y", tt.was.Name+":9")), "hand": apiCamera("hand"),
		}
		p, err := planFile(have, tt.is, []schemas.Camera{relabel(fileCamera("x", tt.is.Name+":9"), "new")}, true)
		if _, conflict := errors.AsType[*ConflictError](err); conflict == tt.ours || !conflict && fmt.Sprint(p.Changed, p.Removed) != "[x] [y]" || (len(p.Moved) == 1) != tt.moved {
			t.Errorf("%s: changed %v, removed %v, %v", tt.name, p.Changed, p.Removed, err)
		}
		p, err = planFile(have, tt.is, []schemas.Camera{fileCamera("z", tt.is.Name+":9")}, true)
		if want := tt.ours && !tt.moved; err != nil || fmt.Sprint(p.Added) != "[z]" || (fmt.Sprint(p.Removed) == "[x y]") != want || (len(p.Removed) == 0) == want {
			t.Errorf("%s: without a camera in common removed %v, %v", tt.name, p.Removed, err)
		}
	}
}

func TestReconcile(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	must(t, c.Ensure(ctx))
	must(t, c.Put(ctx, apiCamera("hand")))
	file := site(t)
	one, two := fileCamera("one", "site:2"), fileCamera("two", "site:4")
	if r, err := c.Reconcile(ctx, file, []schemas.Camera{one, two}, true); err != nil || len(r.Added) != 2 {
		t.Fatalf("%v, %v", r, err)
	}
	first, err := c.Load(ctx)
	must(t, err)
	if r, err := c.Reconcile(ctx, file, []schemas.Camera{one}, true); err != nil || len(r.Removed) != 1 || len(r.Unchanged) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	second, err := c.Load(ctx)
	must(t, err)
	if ids(second) != "hand one" || second.Cameras["one"] != first.Cameras["one"] {
		t.Errorf("got %v", second.Cameras)
	}
	_, err = c.Reconcile(ctx, file, []schemas.Camera{fileCamera("new", "site:1"), fileCamera("hand", "site:2")}, true)
	if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Wants.ID != "hand" {
		t.Errorf("error %v", err)
	}
	if third, err := c.Load(ctx); err != nil || ids(third) != "hand one" {
		t.Errorf("after a conflict: %v, %v", third.Cameras, err)
	}
}
