package registry

import (
	"errors"
	"fmt"
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

func TestPlanFile(t *testing.T) {
	const file = "/etc/framelog.yaml"
	have := map[string]schemas.Camera{
		"same":    fileCamera("same", file+":3"),
		"differs": fileCamera("differs", file+":5"),
		"moved":   fileCamera("moved", file+":7"),
		"gone":    fileCamera("gone", file+":9"),
		"other":   fileCamera("other", "/etc/other.yaml:4"),
		"hand":    apiCamera("hand"),
	}
	for id, cam := range have {
		cam.Updated = time.Unix(1, 0)
		have[id] = cam
	}
	wants := []schemas.Camera{
		fileCamera("same", file+":3"),
		relabel(fileCamera("differs", file+":5"), "Gate"),
		fileCamera("moved", file+":8"),
		fileCamera("new", file+":11"),
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
			cams:  []schemas.Camera{fileCamera("hand", file+":2")},
			fails: []string{file + ":2", "the API"},
		},
		{
			name:  "taken by another file",
			cams:  []schemas.Camera{fileCamera("other", file+":2")},
			fails: []string{file + ":2", "/etc/other.yaml:4"},
		},
		{
			name:  "twice in the file",
			cams:  []schemas.Camera{fileCamera("x", file+":2"), fileCamera("x", file+":4")},
			fails: []string{file + ":2", file + ":4"},
		},
		{
			name:  "password",
			cams:  []schemas.Camera{{ID: "x", URL: "rtsp://u:c4n4ry@h/", Origin: file + ":2"}},
			fails: []string{file + ":2", "FRAMELOG_SECRET_"},
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

func TestReconcile(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	must(t, c.Ensure(ctx))
	must(t, c.Put(ctx, apiCamera("hand")))
	one, two := fileCamera("one", "f.yaml:2"), fileCamera("two", "f.yaml:4")
	if r, err := c.Reconcile(ctx, "f.yaml", []schemas.Camera{one, two}, true); err != nil || len(r.Added) != 2 {
		t.Fatalf("%v, %v", r, err)
	}
	first, err := c.Load(ctx)
	must(t, err)
	if r, err := c.Reconcile(ctx, "f.yaml", []schemas.Camera{one}, true); err != nil || len(r.Removed) != 1 || len(r.Unchanged) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	second, err := c.Load(ctx)
	must(t, err)
	if ids(second) != "hand one" || second.Cameras["one"] != first.Cameras["one"] {
		t.Errorf("got %v", second.Cameras)
	}
	_, err = c.Reconcile(ctx, "f.yaml", []schemas.Camera{fileCamera("new", "f.yaml:1"), fileCamera("hand", "f.yaml:2")}, true)
	if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.ID != "hand" {
		t.Errorf("error %v", err)
	}
	if third, err := c.Load(ctx); err != nil || ids(third) != "hand one" {
		t.Errorf("after a conflict: %v, %v", third.Cameras, err)
	}
}
