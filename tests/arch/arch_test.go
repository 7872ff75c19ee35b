// Package arch holds the structure of the code: who may import whom, and what
// no file may contain.
package arch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

const module = "github.com/framelog/framelog"

// pkg is one package of ours: its folder, what its code imports, and what
// its tests import besides.
type pkg struct {
	dir             string
	imports, deps   []string
	imports4Testing []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	const format = `{{.ImportPath}}|{{join .Imports ","}}|{{join .Deps ","}}|{{join .TestImports ","}},{{join .XTestImports ","}}`
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", format, "./...")
	cmd.Dir = testenv.Root(t)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.String())
	}
	var all []pkg
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Split(l, "|")
		p := pkg{dir: strings.TrimPrefix(strings.TrimPrefix(f[0], module), "/")}
		p.imports, p.deps, p.imports4Testing = strings.Split(f[1], ","), strings.Split(f[2], ","), strings.Split(f[3], ",")
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages", len(all))
	}
	return all
}

func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// ours is an import path as a folder of the repository, "" where it is not ours.
func ours(path string) string {
	if !under(path, module) {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

// The stages meet only in the log.
func TestStagesNeverImportEachOther(t *testing.T) {
	stages := []string{"ingest", "processors", "egress", "monitor"}
	common := []string{"internal/medialog", "internal/cmaf", "internal/kafka", "internal/share"}
	stage := func(dir string) string {
		i := slices.IndexFunc(stages, func(s string) bool { return under(dir, s) })
		if i < 0 {
			return ""
		}
		return stages[i]
	}
	for _, p := range packages(t) {
		for _, d := range slices.Concat(p.deps, p.imports4Testing) {
			to, from := stage(ours(d)), stage(p.dir)
			switch {
			case to == "":
			case from != "" && from != to:
				t.Errorf("%s imports %s", p.dir, ours(d))
			case under(p.dir, "schemas") || slices.Contains(common, p.dir):
				t.Errorf("%s, which all stages import, imports %s", p.dir, ours(d))
			}
		}
	}
}

// The contract of the log stands alone.
func TestSchemasImportNothingOfOurs(t *testing.T) {
	for _, p := range packages(t) {
		if !under(p.dir, "schemas") {
			continue
		}
		for _, d := range p.deps {
			if o := ours(d); o != "" && !under(o, "schemas") {
				t.Errorf("%s imports %s", p.dir, o)
			}
		}
	}
}

// GStreamer's bindings stand behind one package: upstream retracted them.
func TestOneImporterOfGStreamer(t *testing.T) {
	for _, p := range packages(t) {
		for _, d := range slices.Concat(p.imports, p.imports4Testing) {
			if strings.HasPrefix(d, "github.com/go-gst/") && p.dir != "internal/gstreamer" && p.dir != "" {
				t.Errorf("%s imports %s", p.dir, d)
			}
		}
	}
}

// Nothing that is shipped needs the tests.
func TestProductDoesNotImportTests(t *testing.T) {
	for _, p := range packages(t) {
		for _, d := range p.imports {
			if o := ours(d); under(o, "tests") && !under(p.dir, "tests") {
				t.Errorf("%s imports %s", p.dir, o)
			}
		}
	}
}

// Files say where packages come from by name, never by the host of a registry
// or mirror; and nothing of the machine that they were written on.
func TestNoHostsOfRegistries(t *testing.T) {
	root := testenv.Root(t)
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("no git checkout: %v", err)
	}
	// Put together from pieces, so that this file does not find itself.
	hosts := regexp.MustCompile(`(?i)` + strings.Join([]string{
		`registry\.` + `npmjs`, `proxy\.` + `golang\.org`, `sum\.` + `golang\.org`, `repo1?\.` + `maven`, `deb\.` + `debian\.org`,
		`pypi\.` + `org`, `docker\.` + `io`, `ghcr\.` + `io`, `quay\.` + `io`, `archive\.` + `ubuntu`, `GOPROXY` + `=http`,
	}, "|"))
	for _, name := range strings.Split(strings.Trim(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || bytes.IndexByte(b, 0) >= 0 {
			continue // removed and not committed, or binary
		}
		for i, l := range strings.Split(string(b), "\n") {
			if m := hosts.FindString(l); m != "" {
				t.Errorf("%s:%d: %s", name, i+1, m)
			}
		}
	}
}
