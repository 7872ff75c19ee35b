package testmedia

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// Footage reads a file of real footage: of the folder shared/media beside the repository,
// or above it. The test is skipped where the file is missing.
func Footage(t testing.TB, name string) Clip {
	t.Helper()
	for dir := testenv.Root(t); ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, "shared", "media", name)
		if _, err := os.Stat(path); err == nil {
			out := filepath.Join(t.TempDir(), "footage.mp4")
			FFmpeg(t, "-i", path, "-c", "copy", "-movflags", "frag_keyframe+empty_moov+default_base_moof", out)
			return readClip(t, out)
		}
		if dir == filepath.Dir(dir) {
			t.Skipf("testmedia: no shared/media/%s beside the repository: there is no real footage to test with", name)
		}
	}
}
