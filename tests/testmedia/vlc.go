package testmedia

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// CheckVLC checks that VLC shows the same pictures of an MP4 file as ffmpeg, in the same order. It
// does not come to the last picture of any file, and draws one again that stands for long.
//
// On a busy machine VLC leaves out the first picture of any file: the second one is due before its
// window is ready. CheckVLC plays the file again then. If the file is wrong, the picture is missing
// each time.
func CheckVLC(t testing.TB, path string) {
	t.Helper()
	again := func(a, b testenv.Hash) bool { return a.Sum == b.Sum }
	want := slices.CompactFunc(testenv.FrameHashes(t, path, testenv.HashOptions{EditList: true, NoAudio: true}).Video, again)
	var got []testenv.Hash
	for range 10 {
		got = slices.CompactFunc(playVLC(t, path), again)
		if len(got) == 0 || got[0].Sum != want[1].Sum {
			break
		}
		t.Log("VLC left out the first picture")
	}
	if len(got) < len(want)-1 || len(got) > len(want) {
		t.Fatalf("VLC shows %d pictures, ffmpeg %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Sum != want[i].Sum {
			t.Fatalf("VLC: picture %d is not that of ffmpeg", i)
		}
	}
}

// playVLC returns the pictures that VLC draws of a file.
func playVLC(t testing.TB, path string) []testenv.Hash {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "cvlc", "vlc-bin"), "-q", "-I", "dummy", "--no-audio", "--no-osd", "--no-spu",
		"--no-drop-late-frames", "--no-skip-frames", "--vout", "yuv", "--yuv-yuv4mpeg2", "--yuv-file", "pictures.y4m", "file.mp4", "vlc://quit")
	cmd.Dir = testenv.AsAnybody(t, cmd)
	if err := os.WriteFile(filepath.Join(cmd.Dir, "file.mp4"), file, 0o644); err != nil { //nolint:gosec // VLC runs as another user
		t.Fatal(err)
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("VLC: %v\n%s", err, text)
	}
	return testenv.FrameHashes(t, filepath.Join(cmd.Dir, "pictures.y4m"), testenv.HashOptions{}).Video
}
