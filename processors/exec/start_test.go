package exec

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/tests/testenv"
)

// Without a program nothing starts, and no fragment is to blame.
func TestCannotStart(t *testing.T) {
	for mode, want := range map[string]string{
		"ends at once":  "the program does not start: the program ended with exit status 3; it printed last: ModuleNotFoundError: No module named 'cv2'",
		"never ready":   "it was not ready within 1.5s; raise start_timeout if it needs longer; it was killed",
		"other version": "it speaks version 2 of the protocol, Framelog speaks 1",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, mode, func(s *Settings) {
				if mode == "never ready" {
					s.StartTimeout = 1500 * time.Millisecond
				}
			})
			_, err := e.collect(t.Context(), 5, 3)
			if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, processors.ErrUnavailable) {
				t.Errorf("error %v\nwant %s", err, want)
			}
		})
	}
}

// A program that cannot start is started seldom.
func TestBackoff(t *testing.T) {
	e := newEnv(t, "ends at once")
	if _, err := e.collect(t.Context(), 5, 3); !errors.Is(err, processors.ErrUnavailable) {
		t.Fatalf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := e.collect(ctx, 5, 3); !errors.Is(err, processors.ErrUnavailable) {
			t.Fatalf("error %v", err)
		}
	}
	if n := e.starts(); n < 1 || n > 3 { // the first, and 0.25 and 0.75 s after it had failed
		t.Errorf("%d starts until a second after the first had failed", n)
	}
}

// A child that is not ready yet when its fragment is given up serves the next one.
func TestSlowStart(t *testing.T) {
	e := newEnv(t, "slow start")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		testenv.Poll(t, testenv.Patience, func() bool { return e.has("started") })
	}()
	_, err := e.collect(ctx, 5, 3)
	if !errors.Is(err, processors.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	e.leave(t, "go")
	if _, err := e.collect(t.Context(), 6, 3); err != nil {
		t.Error(err)
	}
	if e.starts() != 1 {
		t.Errorf("%d starts", e.starts())
	}
}

// The end of a child right after it was ready ends what reads its answers, also if a process
// that it has left behind holds the pipe.
func TestEndsWhenReady(t *testing.T) {
	out, left, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer left.Close()
	if _, err := left.Write(said(kindReady, `{"version":1}`, 0)); err != nil {
		t.Fatal(err)
	}
	c := &child{out: out, answers: answers{r: bufio.NewReader(out)}, said: true, began: time.Now(), gone: make(chan struct{})}
	close(c.gone)
	if err := c.handshake(t.Context(), helloHeader{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.await() }()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(testenv.Patience):
		t.Error("an answer is still awaited")
	}
}

// What the child has started ends with it, and Close waits for that.
func TestClose(t *testing.T) {
	for _, mode := range []string{"work", "deaf to its end"} {
		e := newEnv(t, mode)
		e.endTimeout = 100 * time.Millisecond
		r, err := e.collect(t.Context(), 5, 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := syscall.Kill(int(r.Events[0].Value), 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: the child is still there: %v", mode, err)
		}
		if _, err := e.collect(t.Context(), 5, 3); !errors.Is(err, errClosed) {
			t.Errorf("%s: after Close: %v", mode, err)
		}
	}
}

// family waits for a child of the mode "family", and returns its id and that of its own child.
func family(t *testing.T, dir string) (child, grandchild int) {
	t.Helper()
	testenv.Wait(t, testenv.Patience, "the child", func() bool {
		_, err := os.Stat(filepath.Join(dir, "began"))
		return err == nil
	})
	b, err := os.ReadFile(filepath.Join(dir, "pids"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(b), &child, &grandchild); err != nil {
		t.Fatal(err)
	}
	return child, grandchild
}

// alive reports whether a process runs. Nobody may have waited for one that does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

// With a child ends what it has started, also if the child is killed by others.
func TestFamily(t *testing.T) {
	e := newEnv(t, "family")
	done := make(chan error)
	go func() {
		_, err := e.collect(t.Context(), 5, 3)
		done <- err
	}()
	child, grandchild := family(t, e.dir)
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "killed by signal 9") {
		t.Errorf("error %v", err)
	}
	testenv.Wait(t, testenv.Patience, "the end of what the child has started", func() bool { return !alive(grandchild) })
}

// A child does not outlive Framelog.
func TestParentKilled(t *testing.T) {
	dir := t.TempDir()
	parent := osexec.CommandContext(t.Context(), os.Args[0], parentArg, dir, "")
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	child, grandchild := family(t, dir)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	testenv.Wait(t, testenv.Patience, "the child's end", func() bool { return !alive(child) })
	_ = syscall.Kill(grandchild, syscall.SIGKILL) // it has no such signal
}

func TestSettings(t *testing.T) {
	self := []string{os.Args[0]}
	for _, tt := range []struct {
		s    Settings
		want string
	}{
		{Settings{}, "exec: command: it is empty; name the program and its arguments"},
		{Settings{Command: []string{"no-such-program"}}, `exec: command: "no-such-program" is not a program that can be run: executable file not found in $PATH; install it, or give its full path`},
		{Settings{Command: self, Mode: "x"}, `exec: mode: "x" is no mode; want pictures or encoded`},
		{Settings{Command: self, Size: "640"}, `exec: size: "640" is no size; want width and height`},
		{Settings{Command: self, Size: "640x-1"}, `exec: size: "640x-1"`},
		{Settings{Command: self, Size: "0x0"}, `exec: size: "0x0"`},
		{Settings{Command: self, FPS: -1}, "exec: fps: -1 is out of range; want 0 to 240"},
		{Settings{Command: self, Format: "bgr"}, `exec: format: "bgr" is no format; want BGR`},
		{Settings{Command: self, Children: 65}, "exec: children: 65 is out of range; want 1 to 64"},
		{Settings{Command: self, Output: "raw"}, `exec: output: "raw" is no output`},
		{Settings{Command: self, OutputName: "x"}, "exec: output: the program gives no pictures; set it to"},
		{Settings{Command: self, Output: "variant", Mode: "encoded"}, "exec: output: a program that gets encoded chunks cannot give pictures; use the mode pictures"},
		{Settings{Command: self, Output: "variant", Bitrate: "1"}, `exec: bitrate: "1" is no bitrate; want 10k`},
		{Settings{Command: self, Output: "variant", Bitrate: "NaN"}, `exec: bitrate: "NaN"`},
	} {
		if _, err := New("people", tt.s); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.s, err, tt.want)
		}
	}
	o, err := Settings{Command: self, Size: "640x0", Output: "variant", OutputName: "marked", Bitrate: "1.5M", FPS: 5}.options("people")
	if err != nil {
		t.Fatal(err)
	}
	if want := (video.Options{Width: 640, FPS: 5, Format: video.BGR}); o.video() != want || o.bitrate != 1500000 || o.rendition != processors.Variant("marked") {
		t.Errorf("%+v %+v", o.video(), o)
	}
}
