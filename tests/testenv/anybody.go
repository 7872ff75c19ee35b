package testenv

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// AsAnybody lets a program run as a user without rights if the test runs as root, as VLC
// needs it. It returns the program's home, where it may write.
func AsAnybody(t testing.TB, cmd *exec.Cmd) (home string) {
	t.Helper()
	home, err := os.MkdirTemp("", "framelog-anybody-") //nolint:usetesting // other users cannot enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := os.Chmod(home, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "HOME="+home)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return home
}
