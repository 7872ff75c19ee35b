package arch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// tracked lists the files that git tracks and that are there; patterns as for git
// ls-files, none: all.
func tracked(t *testing.T, patterns ...string) (names []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"ls-files", "-z"}, patterns...)...)
	cmd.Dir = testenv.Root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("no git checkout: %v", err)
	}
	for _, name := range strings.Split(strings.Trim(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(cmd.Dir, name)); err == nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatalf("git tracks no file like %v", patterns)
	}
	return names
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLicence(t *testing.T) {
	if !bytes.Contains(read(t, "LICENSE"), []byte("Apache License")) {
		t.Error("LICENSE is not the Apache License")
	}
}

// maxLines is how long a file may be. Longer ones are hard to read as a whole.
const maxLines = 500

func TestNoLongFiles(t *testing.T) {
	for _, name := range tracked(t, "*.go", "*.ts", "*.c") {
		b := read(t, name)
		if bytes.Contains(b, []byte("\n// Code generated ")) || bytes.HasPrefix(b, []byte("// Code generated ")) {
			continue
		}
		if n := bytes.Count(b, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, at most %d are allowed", name, n, maxLines)
		}
	}
}
