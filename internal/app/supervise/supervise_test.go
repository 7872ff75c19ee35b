package supervise

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

const (
	helperMode = "FRAMELOG_TEST_SUPERVISE"
	helperDir  = "FRAMELOG_TEST_SUPERVISE_DIR"
	helperName = "FRAMELOG_TEST_SUPERVISE_NAME"
)

// TestMain makes the test binary a child or a supervisor, if the environment says so.
func TestMain(m *testing.M) {
	mode := os.Getenv(helperMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	dir, name := os.Getenv(helperDir), os.Getenv(helperName)
	note := func(what string) {
		f, err := os.OpenFile(filepath.Join(dir, "events"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(f, what, name, os.Getpid())
			f.Close()
		}
	}
	switch mode {
	case "supervisor":
		_ = Run(context.Background(), Config{Children: []Child{child(dir, "a", "serve"), child(dir, "b", "family")}}, slog.New(slog.DiscardHandler), nil)
	case "config":
		fmt.Println("framelog.yaml:1: nonsense")
		os.Exit(ExitConfig)
	case "panic":
		note("start")
		panic("at the disco")
	case "crash":
		note("start")
		os.Exit(1)
	case "family": // has a child of its own
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), helperMode+"=serve", helperName+"="+name+"-child")
		if err := c.Start(); err != nil {
			os.Exit(3)
		}
		fallthrough
	case "serve", "stubborn":
		sig := make(chan os.Signal, 1)
		signal.Notify(sig, syscall.SIGTERM)
		fmt.Println("time=now level=INFO msg=hello role=" + name)
		fmt.Println("plain words")
		note("start")
		_ = os.WriteFile(filepath.Join(dir, name+".ready"), nil, 0o600)
		<-sig
		if mode == "stubborn" {
			note("ignores")
			select {}
		}
		note("stop")
	}
	os.Exit(0)
}

func child(dir, name, mode string) Child {
	return Child{
		Role: name, WaitReady: true,
		Command: func() *exec.Cmd {
			_ = os.Remove(filepath.Join(dir, name+".ready"))
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), helperMode+"="+mode, helperDir+"="+dir, helperName+"="+name)
			return c
		},
		Ready: func(context.Context) error {
			_, err := os.Stat(filepath.Join(dir, name+".ready"))
			return err
		},
	}
}

// run runs a supervisor; stop ends it and returns Run's error.
func run(t *testing.T, cfg Config) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, slog.New(slog.NewTextHandler(cfg.Output, nil)), nil) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return stop
}

// events are the lines that helpers wrote: what, name, pid.
func events(t *testing.T, dir string) (out [][3]string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "events"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		if f := strings.Fields(s.Text()); len(f) == 3 {
			out = append(out, [3]string(f))
		}
	}
	return out
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testenv.Wait(t, testenv.Patience, what, ok)
}

func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z")
}

func names(ev [][3]string, what string) (out []string) {
	for _, e := range ev {
		if e[0] == what {
			out = append(out, e[1])
		}
	}
	return out
}

func TestOrder(t *testing.T) {
	dir := t.TempDir()
	var out testenv.Log
	ready := make(chan struct{})
	stop := run(t, Config{
		Children: []Child{child(dir, "broker", "serve"), child(dir, "egress", "serve"), child(dir, "ingest", "serve")},
		Output:   &out, AllReady: func() { close(ready) },
	})
	<-ready
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	ev := events(t, dir)
	if got := names(ev, "start"); !slices.Equal(got, []string{"broker", "egress", "ingest"}) {
		t.Errorf("started %v", got)
	}
	if got := names(ev, "stop"); !slices.Equal(got, []string{"ingest", "egress", "broker"}) {
		t.Errorf("stopped %v", got)
	}
	for _, want := range []string{"msg=hello role=egress\n", `msg="plain words" role=broker`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
}

// A child that is never ready delays those after it only with WaitReady.
func TestNotReady(t *testing.T) {
	dir := t.TempDir()
	egress := child(dir, "egress", "serve")
	egress.WaitReady = false
	egress.Ready = func(context.Context) error { return errors.New("no") }
	stop := run(t, Config{
		Children: []Child{child(dir, "broker", "serve"), egress, child(dir, "ingest", "serve")},
		Output:   io.Discard, AllReady: func() { t.Error("not all are ready") },
	})
	until(t, "ingest", func() bool { return slices.Contains(names(events(t, dir), "start"), "ingest") })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestKilledIsStartedAgain(t *testing.T) {
	dir := t.TempDir()
	run(t, Config{Children: []Child{child(dir, "a", "serve"), child(dir, "b", "family")}, BackoffMin: 10 * time.Millisecond, Output: io.Discard})
	starts := func(n int, name string) func() bool {
		return func() bool {
			c := 0
			for _, s := range names(events(t, dir), "start") {
				if s == name {
					c++
				}
			}
			return c >= n
		}
	}
	until(t, "start", starts(1, "b"))
	until(t, "grandchild", starts(1, "b-child"))
	var old, grand string
	for _, e := range events(t, dir) {
		switch e[1] {
		case "b":
			old = e[2]
		case "b-child":
			grand = e[2]
		}
	}
	pid, err := strconv.Atoi(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "restart", starts(2, "b"))
	until(t, "end of what it had started", func() bool { return !alive(grand) })
	if starts(2, "a")() {
		t.Error("the other child was started again too")
	}
}

func TestConfigurationEndsAll(t *testing.T) {
	dir := t.TempDir()
	var out testenv.Log
	err := Run(t.Context(), Config{Children: []Child{child(dir, "a", "serve"), child(dir, "b", "config")}, Output: &out},
		slog.New(slog.NewTextHandler(&out, nil)), nil)
	var ce *ConfigError
	if !errors.As(err, &ce) || ce.Role != "b" || ce.Said != "framelog.yaml:1: nonsense" {
		t.Fatalf("%v, want a ConfigError of b", err)
	}
	if got := names(events(t, dir), "stop"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("stopped %v, want a", got)
	}
	if !strings.Contains(out.String(), "framelog.yaml:1: nonsense") {
		t.Errorf("what the child said is lost:\n%s", out.String())
	}
}

// A program that panics has the exit code of one that refuses its configuration.
func TestPanicIsNoRefusal(t *testing.T) {
	dir := t.TempDir()
	stop := run(t, Config{Children: []Child{child(dir, "a", "panic")}, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond, Output: io.Discard})
	until(t, "second start", func() bool { return len(events(t, dir)) >= 2 })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestBackoff(t *testing.T) {
	dir := t.TempDir()
	stop := run(t, Config{Children: []Child{child(dir, "a", "crash")}, BackoffMin: time.Millisecond, BackoffMax: 4 * time.Millisecond, Output: io.Discard})
	until(t, "fifth start", func() bool { return len(events(t, dir)) >= 5 })
	if err := stop(); err != nil { // though it was never ready
		t.Error(err)
	}
}

func TestStubbornIsKilled(t *testing.T) {
	dir := t.TempDir()
	ready := make(chan struct{})
	c := child(dir, "a", "stubborn")
	c.StopTimeout = 50 * time.Millisecond
	stop := run(t, Config{Children: []Child{c}, Output: io.Discard, AllReady: func() { close(ready) }})
	<-ready
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, e := range events(t, dir) {
		if alive(e[2]) {
			t.Errorf("%v is alive", e)
		}
	}
}

// TestParentDeath: when the supervisor is killed, all of its children end.
func TestParentDeath(t *testing.T) {
	dir := t.TempDir()
	sup := exec.Command(os.Args[0])
	sup.Env = append(os.Environ(), helperMode+"=supervisor", helperDir+"="+dir)
	if err := sup.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sup.Process.Kill() })
	until(t, "children", func() bool { return len(names(events(t, dir), "start")) == 3 })
	if err := sup.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sup.Wait()
	for _, e := range events(t, dir) {
		if e[1] == "b-child" { // a child looks after its own children
			if pid, err := strconv.Atoi(e[2]); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			continue
		}
		until(t, "end of "+e[1], func() bool { return !alive(e[2]) })
	}
}
