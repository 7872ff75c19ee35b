package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// BinaryVariable names a framelog binary to test instead of building one.
const BinaryVariable = "FRAMELOG_TEST_BINARY"

var binary struct {
	sync.Mutex
	path string
}

// Binary returns the path of the framelog binary. It is built from this tree, once
// per test process, with the race detector if the tests have it.
func Binary(t testing.TB) string {
	t.Helper()
	SkipShort(t, "the framelog binary")
	if v := os.Getenv(BinaryVariable); v != "" {
		return v
	}
	binary.Lock()
	defer binary.Unlock()
	if binary.path != "" {
		return binary.path
	}
	name := "framelog"
	args := []string{"build"}
	if raceEnabled {
		name += "-race"
		args = append(args, "-race")
	}
	// One path for all test processes: go build does not link again if nothing has
	// changed. It is built under another name and renamed, because another test may
	// be running it.
	dir := Cache(t, "bin")
	path, part := filepath.Join(dir, name), filepath.Join(dir, name+".part")
	err := Locked(t, filepath.Join(dir, name+".lock"), func() error {
		if err := os.RemoveAll(part); err != nil {
			return err
		}
		if err := os.Link(path, part); err != nil && !os.IsNotExist(err) {
			return err
		}
		cmd := exec.CommandContext(context.Background(), "go", append(args, "-o", part, "./cmd/framelog")...)
		cmd.Dir = Root(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
		return os.Rename(part, path)
	})
	if err != nil {
		t.Fatalf("testenv: build framelog: %v", err)
	}
	binary.path = path
	return path
}

// UpOptions are options of Up.
type UpOptions struct {
	// Config is YAML below the lines that Up writes itself: listen, data and
	// broker_listen.
	Config string
	Args   []string // more arguments of `framelog up`
	Env    []string // more variables of the environment, as KEY=value
	Data   string   // data directory, default a fresh one
	Port   int      // of HTTP, default a free one
	// NoWait returns at once instead of waiting for /readyz.
	NoWait bool
}

// Framelog is a running `framelog up`.
type Framelog struct {
	*Process
	URL    string // http://127.0.0.1:port
	Data   string
	Broker string // address of the embedded broker
	// Env has more variables of the environment for the next Start.
	Env []string

	binary, config string
	args           []string
}

// Up starts `framelog up` with a data directory and ports of its own and waits
// until it is ready. The test's end kills it and all of its children.
func Up(t testing.TB, o UpOptions) *Framelog {
	t.Helper()
	f := &Framelog{Data: o.Data, binary: Binary(t), args: o.Args, Env: o.Env}
	if f.Data == "" {
		f.Data = filepath.Join(t.TempDir(), "data")
	}
	if o.Port == 0 {
		o.Port = FreePort(t)
	}
	f.URL = fmt.Sprintf("http://127.0.0.1:%d", o.Port)
	f.Broker = fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	f.config = filepath.Join(t.TempDir(), "framelog.yaml")
	yaml := fmt.Sprintf("listen: 127.0.0.1:%d\ndata: %s\nbroker_listen: %s\n%s\n", o.Port, f.Data, f.Broker, o.Config)
	if err := os.WriteFile(f.config, []byte(yaml), 0o600); err != nil {
		t.Fatalf("testenv: write configuration: %v", err)
	}
	f.Start(t)
	if !o.NoWait {
		f.WaitReady(t)
	}
	return f
}

// Config is the path of its configuration file.
func (f *Framelog) Config() string { return f.config }

// Start starts it again after Stop or KillAll, on the same ports and data.
func (f *Framelog) Start(t testing.TB) {
	t.Helper()
	// Not bound to the test's context: the test's cleanup ends it, and then logs
	// what it printed.
	cmd := exec.CommandContext(context.Background(), f.binary, append([]string{"up", "--config", f.config}, f.args...)...)
	cmd.Env = append(os.Environ(), f.Env...)
	f.Process = Start(t, "framelog up", cmd)
}

// WaitReady waits until /readyz answers 200.
func (f *Framelog) WaitReady(t testing.TB) {
	t.Helper()
	f.Wait(t, 2*Patience, "ready", func() bool {
		status, _, err := f.Get(t, "/readyz")
		return err == nil && status == http.StatusOK
	})
}

// Get fetches a path.
func (f *Framelog) Get(t testing.TB, path string) (status int, body []byte, err error) {
	t.Helper()
	return Get(t, f.URL+path)
}

// Get fetches a URL.
func Get(t testing.TB, url string) (status int, body []byte, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// JSON fetches a path and decodes the answer, or fails the test.
func (f *Framelog) JSON(t testing.TB, path string, into any) {
	t.Helper()
	status, body, err := f.Get(t, path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		t.Fatalf("testenv: get %s: %v", path, err)
	}
}

// Children returns the process ids of the children of `framelog up`, by role.
func (f *Framelog) Children() map[string][]int {
	roles := map[string][]int{}
	for _, pid := range Descendants(f.PID()) {
		args := CommandLine(pid)
		if len(args) < 2 {
			continue
		}
		for _, a := range args[1:] {
			if !strings.HasPrefix(a, "-") {
				roles[a] = append(roles[a], pid)
				break
			}
		}
	}
	return roles
}

// Kill kills the children of one role as a crash would, and returns how many.
func (f *Framelog) Kill(t testing.TB, role string) (killed int) {
	t.Helper()
	for _, pid := range f.Children()[role] {
		switch err := syscall.Kill(pid, syscall.SIGKILL); {
		case err == nil:
			killed++
		case errors.Is(err, syscall.ESRCH): // it has just ended
		default:
			t.Fatalf("testenv: kill %s (%d): %v", role, pid, err)
		}
	}
	return killed
}

// KillAll kills the parent and every child at once, as a power failure would.
func (f *Framelog) KillAll() { f.KillTree() }

// Stop ends it as an operator would, and returns its exit code.
func (f *Framelog) Stop() int {
	f.Terminate(Patience)
	return f.ExitCode(0)
}
