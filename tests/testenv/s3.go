package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What a client of an [S3] needs.
const (
	S3Bucket = "archive"
	S3Region = "us-east-1"
	S3Access = "test-access"
	S3Secret = "test-secret-that-no-log-has"
)

var s3Server struct {
	sync.Mutex
	path string
}

// s3Binary builds the S3 server from its own module, once per test process.
func s3Binary(t testing.TB) string {
	t.Helper()
	s3Server.Lock()
	defer s3Server.Unlock()
	if s3Server.path != "" {
		return s3Server.path
	}
	cmd := exec.CommandContext(context.Background(), "go", "tool", "-n", "versitygw") // it prints the path
	cmd.Dir = filepath.Join(Root(t), "tests", "s3")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("testenv: build the S3 server: %v\n%s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatalf("testenv: build the S3 server: %v", err)
	}
	s3Server.path = strings.TrimSpace(string(out))
	return s3Server.path
}

// S3 is an S3 server with one bucket (Versity's gateway). Objects are files.
type S3 struct {
	Endpoint string
	Dir      string // of the objects
	CA       string // file of the authority of its certificate; "" without TLS

	cmd  func() *exec.Cmd
	port int
	p    *Process
}

// StartS3 starts an S3 server without TLS. It ends with the test.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	return startS3(t, nil)
}

// StartS3TLS is StartS3 with TLS.
func StartS3TLS(t testing.TB) *S3 {
	t.Helper()
	ca := NewCA(t)
	c := ca.Sign(t, "s3", time.Hour)
	s := startS3(t, []string{"--cert", c.Cert, "--key", c.Key})
	s.CA = ca.File
	return s
}

func startS3(t testing.TB, args []string) *S3 {
	t.Helper()
	SkipShort(t, "an S3 server")
	bin, dir := s3Binary(t), t.TempDir()
	objects, meta := filepath.Join(dir, "objects"), filepath.Join(dir, "meta")
	s := &S3{port: FreePort(t), Dir: filepath.Join(objects, S3Bucket)}
	s.Endpoint = fmt.Sprintf("127.0.0.1:%d", s.port)
	for _, d := range []string{s.Dir, meta} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.cmd = func() *exec.Cmd {
		all := append([]string{"--port", s.Endpoint, "--region", S3Region, "--quiet"}, args...)
		cmd := exec.CommandContext(context.Background(), bin, append(all, "posix", "--sidecar", meta, objects)...)
		cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+S3Access, "ROOT_SECRET_KEY="+S3Secret)
		return cmd
	}
	s.Restart(t)
	return s
}

// Kill ends the server at once.
func (s *S3) Kill() { s.p.KillTree() }

// Stop makes the server stand still: it takes connections and answers nothing.
func (s *S3) Stop(t testing.TB) {
	t.Helper()
	s.p.Signal(syscall.SIGSTOP)
	s.p.Wait(t, Patience, "standing still", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.p.PID())) // the pattern is right
		for _, path := range threads {
			b, err := os.ReadFile(path)
			if _, state, ok := strings.Cut(string(b), ") "); err == nil && ok && state[0] != 'T' {
				return false
			}
		}
		return true
	})
}

// Continue ends Stop.
func (s *S3) Continue() { s.p.Signal(syscall.SIGCONT) }

// Restart starts the server again after Kill.
func (s *S3) Restart(t testing.TB) {
	t.Helper()
	s.p = Start(t, "versitygw", s.cmd())
	s.p.Wait(t, Patience, "listening", func() bool { return dials(s.port) })
}
