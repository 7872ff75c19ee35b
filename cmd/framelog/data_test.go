package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// TestDataModes: another user, as that of Nginx, can read the HLS files in the data
// directory, and nothing else there.
func TestDataModes(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	for dir := top; dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := testenv.Up(t, testenv.UpOptions{
		Data: filepath.Join(top, "data"), Args: []string{"--demo"},
		Config: "ingest: {disk_reserve: 0}\negress: {mode: always, disk_reserve: 1}\n" +
			"cameras:\n  - id: front\n    url: rtsp://viewer:" + canary + "@127.0.0.1:1/live\n",
	})
	for name, want := range map[string]os.FileMode{
		"": 0o711, "lock": 0o600, "broker": 0o700, "run": 0o700, "run/config.yaml": 0o600, "secrets": 0o700, "secrets/front": 0o600, "hls": 0o755, "archive": 0o700,
	} {
		info, err := os.Stat(filepath.Join(f.Data, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("data/%s: mode %#o, want %#o", name, got, want)
		}
	}
	if strings.Contains(f.Log.String(), "closed_to_others") {
		t.Error("it says that others cannot read HLS files")
	}
	if os.Getuid() != 0 {
		t.Log("not root: what others may read is not tried")
		return
	}
	var segments []string
	f.Wait(t, 2*testenv.Patience, "a segment's file", func() bool {
		segments, _ = filepath.Glob(filepath.Join(f.Data, "hls/hls/*/raw/m1/[0-9]*.m4s"))
		return len(segments) > 0
	})
	nobody := func(command ...string) error {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd.Run()
	}
	// It reads the newest segment, since the oldest may be removed meanwhile.
	if err := nobody("cat", segments[len(segments)-1]); err != nil {
		t.Errorf("another user reads %s: %v", segments[len(segments)-1], err)
	}
	for _, name := range []string{"secrets/front", "run/config.yaml", "lock", "broker/lock"} {
		if nobody("cat", filepath.Join(f.Data, name)) == nil {
			t.Errorf("another user can read data/%s", name)
		}
	}
	if nobody("ls", f.Data) == nil {
		t.Error("another user can list the data directory")
	}
}

func TestClosed(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "data", "hls")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := top; d != filepath.Clean(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if got := closed(dir); got != "" {
		t.Errorf("%s is closed", got)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := closed(dir); got != filepath.Dir(dir) {
		t.Errorf("closed: %q, want %s", got, filepath.Dir(dir))
	}
}
