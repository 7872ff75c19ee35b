package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/framelog/framelog/internal/app/config"
)

var freeze = flag.String("freeze", "", "keep what this tree reads as the configuration of this version")

// changedDefaults are defaults that have changed, with the version that has changed them. The
// changelog names them. Values that a file sets never change.
var changedDefaults = map[string]string{}

// The configuration files of earlier versions are read to the same values: a file with every
// key, and none, which gives the defaults. tests/upgrade has the files.
func TestConfigurationOfVersions(t *testing.T) {
	const data = "../../tests/upgrade/testdata"
	if *freeze != "" {
		freezeConfiguration(t, filepath.Join(data, *freeze))
	}
	all, err := filepath.Glob(data + "/v*")
	if err != nil || len(all) == 0 {
		t.Fatalf("no versions: %v", err)
	}
	for _, dir := range all {
		for name, file := range configurations(dir) {
			var want map[string]any
			b, err := os.ReadFile(name)
			if err == nil {
				err = yaml.Unmarshal(b, &want)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, diff := range lacks(want, values(t, file), "") {
				if key, _, _ := strings.Cut(diff, ":"); file != "" || changedDefaults[key] == "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		}
	}
}

// configurations are the files of a version: what was read, by the file that it was read
// from; "" is none.
func configurations(dir string) map[string]string {
	return map[string]string{filepath.Join(dir, "values.yaml"): filepath.Join(dir, "framelog.yaml"), filepath.Join(dir, "defaults.yaml"): ""}
}

// values returns what a file is read to.
func values(t *testing.T, file string) (out map[string]any) {
	t.Helper()
	cfg, err := loadConfig(file, nil, nil)
	if err == nil {
		_, err = makeUnused(cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := yaml.Marshal(cfg)
	if err == nil {
		err = yaml.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lacks returns which values of want got does not have.
func lacks(want, got any, key string) (diffs []string) {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for k, v := range w {
			diffs = append(diffs, lacks(v, g[k], strings.TrimPrefix(key+"."+k, "."))...)
		}
		return diffs
	case []any:
		g, _ := got.([]any)
		if len(g) == len(w) {
			for i, v := range w {
				diffs = append(diffs, lacks(v, g[i], fmt.Sprintf("%s[%d]", key, i))...)
			}
			return diffs
		}
	}
	if !reflect.DeepEqual(want, got) {
		diffs = append(diffs, fmt.Sprintf("%s: it is %v, and was %v", key, got, want))
	}
	return diffs
}

// freezeConfiguration writes what this version reads. Its file must have every key.
func freezeConfiguration(t *testing.T, dir string) {
	t.Helper()
	cfg, err := loadConfig(filepath.Join(dir, "framelog.yaml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tables := cfg.Reference()
	for i := range cfg.Processors {
		p := &cfg.Processors[i]
		k, _ := kindOf(p.Kind)
		own := "settings."
		if p.Exec != nil {
			own = "exec."
		}
		tables += regexp.MustCompile("(?m)^\\| `").ReplaceAllString(config.KindReference(k.Kind), "| `"+p.Place+"."+own)
	}
	text := string(must(t)(os.ReadFile(filepath.Join(dir, "framelog.yaml"))))
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(tables, -1) {
		// The places of values in lists and maps are not looked up one by one: the last word
		// must stand in the file.
		last := m[1][strings.LastIndexAny(m[1], ".]")+1:]
		if !regexp.MustCompile(`\b` + last + `:`).MatchString(text) {
			t.Errorf("%s/framelog.yaml lacks %s", dir, m[1])
		}
	}
	for name, file := range configurations(dir) {
		if _, err := os.Stat(name); err == nil {
			t.Fatalf("%s is there already, and never changes", name)
		}
		if err := os.WriteFile(name, must(t)(yaml.Marshal(values(t, file))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// must ends the test if there is an error.
func must(t *testing.T) func(b []byte, err error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}
