package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

func (f *fakeRegistry) TakeOver(_ context.Context, file string, pick func(old string, ids []string) bool) (map[string][]string, error) {
	taken := map[string][]string{}
	for id, cam := range f.Cameras {
		old := registry.FileOf(cam.Origin)
		if cam.Source == schemas.SourceFile && pick(old, []string{id}) {
			taken[old] = append(taken[old], id)
			cam.Origin = file + ":1"
			f.Cameras[id] = cam
		}
	}
	return taken, f.err
}

// A file that was moved takes its cameras over where it is told to, and never
// from a file that is still there.
func TestApplyTakeOver(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.yaml")
	r := full()
	cam := r.Cameras["garage"]
	cam.Origin = old + ":12"
	r.Cameras["garage"] = cam

	if _, err := run(t, r, "remove", "garage"); err == nil || !strings.Contains(err.Error(), "apply -f FILE --take-over "+old) {
		t.Errorf("remove of a file's camera: %v", err)
	}
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, r, "apply", "-f", "new.yaml", "--take-over", old); err == nil || !strings.Contains(err.Error(), "is still there") {
		t.Errorf("from a file that is there: %v", err)
	}
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, r, "apply", "-f", "new.yaml", "--take-over", filepath.Join(dir, "none.yaml")); err == nil || !strings.Contains(err.Error(), "no camera is kept by") {
		t.Errorf("from a file that never was: %v", err)
	}
	if got := r.Cameras["garage"].Origin; got != old+":12" {
		t.Fatalf("taken already: %s", got)
	}
	if _, err := run(t, r, "apply", "-f", "new.yaml", "--take-over", old); err != nil || r.Cameras["garage"].Origin != "new.yaml:1" {
		t.Errorf("%v, %s", err, r.Cameras["garage"].Origin)
	}
}
