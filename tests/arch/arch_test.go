// Package arch tests the structure of the code: which package may import which, and
// what no file may contain.
package arch

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/framelog/framelog"

// pkg is one package of ours. imports are what its code imports, deps those and
// what they need, testImports what its tests import.
type pkg struct {
	dir                        string
	imports, deps, testImports []string
}

// packages lists all packages of ours. It runs go list once.
func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := listOnce()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var listOnce = sync.OnceValues(func() ([]pkg, error) {
	const format = `{{.ImportPath}}|{{join .Imports ","}}|{{join .Deps ","}}|{{join .TestImports ","}},{{join .XTestImports ","}}`
	cmd := exec.Command("go", "list", "-f", format, module+"/...")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, errs.String())
	}
	var all []pkg
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Split(l, "|")
		all = append(all, pkg{
			dir:     strings.TrimPrefix(strings.TrimPrefix(f[0], module), "/"),
			imports: strings.Split(f[1], ","), deps: strings.Split(f[2], ","), testImports: strings.Split(f[3], ","),
		})
	}
	if len(all) < 10 {
		return nil, fmt.Errorf("only %d packages", len(all))
	}
	return all, nil
})

func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// ours returns the folder of a package of ours, given its import path; "" for others.
func ours(path string) string {
	if !under(path, module) {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

// Stages meet only in the log.
func TestStagesNeverImportEachOther(t *testing.T) {
	stages := []string{"ingest", "processors", "egress", "monitor", "archiver"}
	common := []string{"internal/medialog", "internal/cmaf", "internal/kafka", "internal/share"}
	stage := func(dir string) string {
		i := slices.IndexFunc(stages, func(s string) bool { return under(dir, s) })
		if i < 0 {
			return ""
		}
		return stages[i]
	}
	for _, p := range packages(t) {
		for _, d := range slices.Concat(p.deps, p.testImports) {
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

// One package alone uses GStreamer's bindings, because upstream has retracted them.
func TestOneImporterOfGStreamer(t *testing.T) {
	for _, p := range packages(t) {
		for _, d := range slices.Concat(p.imports, p.testImports) {
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

// Files name packages, never the host of a registry or mirror.
func TestNoHostsOfRegistries(t *testing.T) {
	// Put together from pieces, so that this file does not find itself.
	hosts := regexp.MustCompile(`(?i)` + strings.Join([]string{
		`registry\.` + `npmjs`, `proxy\.` + `golang\.org`, `sum\.` + `golang\.org`, `repo1?\.` + `maven`, `deb\.` + `debian\.org`,
		`pypi\.` + `org`, `docker\.` + `io`, `ghcr\.` + `io`, `quay\.` + `io`, `archive\.` + `ubuntu`, `GOPROXY` + `=http`,
	}, "|"))
	for _, name := range tracked(t) {
		b := read(t, name)
		if bytes.IndexByte(b, 0) >= 0 {
			continue // binary
		}
		for i, l := range strings.Split(string(b), "\n") {
			if m := hosts.FindString(l); m != "" {
				t.Errorf("%s:%d: %s", name, i+1, m)
			}
		}
	}
}
