package testmedia

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// Footage reads real footage, which is no part of this project: seconds of a file, from a
// keyframe at or before from on; 0 seconds: the whole file. The file is in shared/media,
// beside the repository or above it, or in the folder that FRAMELOG_TEST_FOOTAGE names.
// The test is skipped where the file is missing.
func Footage(t testing.TB, name string, from, seconds int) Clip {
	t.Helper()
	path := findFootage(t, name)
	if path == "" {
		t.Skipf("testmedia: there is no real footage: shared/media/%s is missing beside the repository (FRAMELOG_TEST_FOOTAGE names its folder)", name)
	}
	var cut []string
	if seconds > 0 {
		cut = []string{"-ss", fmt.Sprint(from), "-t", fmt.Sprint(seconds)}
	}
	out := filepath.Join(t.TempDir(), "footage.mp4")
	FFmpeg(t, append(cut, "-i", path, "-map", "0:v", "-c", "copy", "-avoid_negative_ts", "make_zero",
		"-movflags", "frag_keyframe+empty_moov+default_base_moof", out)...)
	return readClip(t, out)
}

// findFootage returns the path of a file of footage, "" if there is none.
func findFootage(t testing.TB, name string) string {
	t.Helper()
	var places []string
	if dir := os.Getenv("FRAMELOG_TEST_FOOTAGE"); dir != "" {
		places = []string{dir}
	} else {
		for dir := testenv.Root(t); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			places = append(places, filepath.Join(dir, "shared", "media"))
		}
	}
	for _, dir := range places {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
