package testenv

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"
)

// Footage returns the path of a file of real footage, which is no part of the repository:
// in the folder that FRAMELOG_TEST_MEDIA names, or else in shared/media beside the
// repository. Where the file is not, the test is skipped.
func Footage(t testing.TB, name string) string {
	t.Helper()
	dir := cmp.Or(os.Getenv("FRAMELOG_TEST_MEDIA"), filepath.Join(filepath.Dir(Root(t)), "shared", "media"))
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("testenv: there is no %s; name its folder in FRAMELOG_TEST_MEDIA", path)
	}
	return path
}
