package dashboards

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

const folder = "../../../../deploy/grafana/dashboards"

var update = flag.Bool("update", false, "write deploy/grafana/dashboards")

func TestMain(m *testing.M) {
	plugins.RegisterDefaultPlugins() // strict decoding of panels needs them
	os.Exit(m.Run())
}

// The files are what the code makes.
func TestFiles(t *testing.T) {
	for name, b := range All() {
		d, err := b.Build()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, '\n')
		path := filepath.Join(folder, name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
			t.Errorf("%s is not what the code makes (%v); run: go test ./dashboards -update", path, err)
		}
	}
}

// The files keep to Grafana's schema: a strict decoder takes them, and a panel has a title
// and a place of its own.
func TestSchema(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) != len(All()) {
		t.Fatalf("%d files, %v, want %d", len(files), err, len(All()))
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := decode(b)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		taken := map[[2]uint32]string{}
		for _, p := range d.Panels {
			if p.Panel == nil || p.Panel.Title == nil || *p.Panel.Title == "" || p.Panel.GridPos == nil {
				t.Errorf("%s: a panel has no title or no place", path)
				continue
			}
			at := p.Panel.GridPos
			for x := at.X; x < at.X+at.W; x++ {
				for y := at.Y; y < at.Y+at.H; y++ {
					if other := taken[[2]uint32{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %q overlaps %q, or leaves the page", path, *p.Panel.Title, other)
					}
					taken[[2]uint32{x, y}] = *p.Panel.Title
				}
			}
		}
	}
	if _, err := decode([]byte(`{"schemaVersion": 42, "templating": {}, "annotations": {}, "colour": 1}`)); err == nil || !strings.Contains(err.Error(), "colour") {
		t.Errorf("a key that Grafana does not know: %v", err)
	}
}

// decode decodes strictly. If nothing is wrong, the SDK returns an error without a text, and
// leaves out the panels.
func decode(b []byte) (d dashboard.Dashboard, err error) {
	err = new(dashboard.Dashboard).UnmarshalJSONStrict(b)
	if all, ok := errors.AsType[cog.BuildErrors](err); !ok || len(all) > 0 {
		return d, err
	}
	return d, json.Unmarshal(b, &d)
}
