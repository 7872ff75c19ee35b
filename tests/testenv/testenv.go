// Package testenv runs what tests need beside Framelog's packages: a real Apache
// Kafka, the framelog binary, Nginx, Chromium, FFmpeg, and GStreamer's RTSP server.
// Everything runs as plain processes on free ports, in separate folders, and ends
// with the test (or with the test process, if it is shared).
//
// What is fetched or made once (Kafka's jars, clips) is kept in .cache/ at the root
// of the repository. If a tool is missing, the test is skipped with the reason.
// With CI=true in the environment it fails.
package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Root returns the root of the repository.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("testenv: find repository: no caller")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Cache returns the folder <root>/.cache/<elem...>. It makes the folder if it is
// missing.
func Cache(t testing.TB, elem ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{Root(t), ".cache"}, elem...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("testenv: make cache: %v", err)
	}
	return dir
}

// Locked runs fn while no other call of Locked with the same path runs, in this or
// another test process: packages are tested in parallel and share the cache. The
// lock is released when the process ends, however it ends.
func Locked(t testing.TB, path string, fn func() error) error {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("testenv: open lock: %w", err)
	}
	defer f.Close()
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR { //nolint:errorlint // a bare errno
			break
		}
	}
	if err != nil {
		return fmt.Errorf("testenv: lock %s: %w", path, err)
	}
	return fn()
}

// CachedFile returns the path of a file in the cache's folder of clips. If it is not
// there, build writes it to another path with the same extension, which is then
// renamed. The name must tell everything that the content depends on (see Digest).
func CachedFile(t testing.TB, name string, build func(path string) error) string {
	t.Helper()
	dir := Cache(t, "clips")
	path, unfinished := filepath.Join(dir, name), filepath.Join(dir, "unfinished-"+name)
	err := Locked(t, filepath.Join(dir, "lock"), func() error {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if err := build(unfinished); err != nil {
			return err
		}
		return os.Rename(unfinished, path)
	})
	if err != nil {
		t.Fatalf("testenv: make %s: %v", name, err)
	}
	return path
}

// Missing ends a test for which the machine lacks something. It skips the test with
// the reason. With CI=true it fails the test, so that CI leaves nothing out.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("testenv: "+format+" (CI=true: nothing may be left out)", args...)
	}
	t.Skipf("testenv: "+format, args...)
}

// SkipShort skips a test under -short (make check). need names what that run goes
// without: "Apache Kafka", "ffmpeg" or "seconds of real time".
func SkipShort(t testing.TB, need string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("testenv: -short: this test needs %s (make test runs it)", need)
	}
}

// Tool returns the path of a program, or ends the test as Missing does. Under
// -short the test is skipped.
func Tool(t testing.TB, name, debianPackage string) string {
	t.Helper()
	SkipShort(t, name)
	path, err := exec.LookPath(name)
	if err != nil && name == "nginx" {
		path, err = exec.LookPath("/usr/sbin/nginx") // not in every user's PATH
	}
	if err != nil {
		Missing(t, "%s is not installed (Debian package %s)", name, debianPackage)
	}
	return path
}

// Python returns Debian's Python, or ends the test as Missing does if imports, as
// "import cv2, numpy", fails. packages are Debian's that have the modules.
func Python(t testing.TB, imports, packages string) string {
	t.Helper()
	SkipShort(t, "Python")
	const python = "/usr/bin/python3" // another one in the PATH does not see Debian's packages
	if out, err := exec.CommandContext(t.Context(), python, "-c", imports).CombinedOutput(); err != nil {
		Missing(t, "Python cannot %s (Debian packages %s): %v %s", imports, packages, err, out)
	}
	return python
}

var ports struct {
	sync.Mutex
	given map[int]bool
	locks *os.File // a byte for each port; locked as long as this process lives
}

// FreePort returns a TCP port of 127.0.0.1 on which no process listens, and which
// stays free for the caller. It is below the ports that systems choose for port 0
// (IANA: from 49152 on, Linux: from 32768 on), and no port is returned twice,
// neither by this test process nor by another one beside it. A listener of the test
// itself that stays open should use port 0 instead.
func FreePort(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.locks == nil {
		f, err := os.OpenFile(filepath.Join(Cache(t), "ports"), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			t.Fatalf("testenv: find port: %v", err)
		}
		ports.locks, ports.given = f, map[int]bool{}
	}
	for range 1000 {
		port := 12000 + rand.IntN(20000)
		if ports.given[port] {
			continue
		}
		// Locked before the test whether it is free: its owner may be about to
		// listen.
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(port), Len: 1}
		err := unix.FcntlFlock(ports.locks.Fd(), unix.F_OFD_SETLK, &lock)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			continue // another process has it
		}
		if err != nil {
			t.Fatalf("testenv: find port: lock %d: %v", port, err)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		ports.given[port] = true
		return port
	}
	t.Fatal("testenv: find port: none is free")
	return 0
}

// Refusing returns an address that refuses connections during the whole test: a socket
// that does not listen has its port, so nobody else can listen there.
func Refusing(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("testenv: make address: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatalf("testenv: make address: %v", err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatalf("testenv: make address: %v", err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
}

// Wait polls cond until it is true, or fails the test after timeout with what.
func Wait(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	if !Poll(t, timeout, cond) {
		t.Fatalf("testenv: waited %v for %s", timeout, what)
	}
}

// Poll calls cond until it is true, the timeout is over or the test has ended. It
// reports whether cond came true. The first calls come quickly one after another,
// later ones every 50 ms: cond may cost the system that is tested some work.
func Poll(t testing.TB, timeout time.Duration, cond func() bool) bool {
	end := time.NewTimer(timeout)
	defer end.Stop()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if cond() {
			return true
		}
		select {
		case <-time.After(pause):
		case <-end.C:
			return cond()
		case <-t.Context().Done():
			return cond()
		}
	}
}

// dials reports whether a process listens on 127.0.0.1:port.
func dials(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// Digest returns a short hash of parts, for file names.
func Digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
