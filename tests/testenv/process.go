package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program that a test started, with all that it prints.
type Process struct {
	Name string
	Log  *Log

	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; valid once done is closed
}

// spawner starts all processes from one thread that lives as long as the test
// process, since a parent-death signal comes when the starting *thread* ends.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread() // and never unlock
		for fn := range work {
			fn()
		}
	}()
	return work
})

// crash matches what a Go program prints when it crashes or has a data race, and
// what its supervisor prints then.
var crash = regexp.MustCompile(`(?m)WARNING: DATA RACE|^(.*msg=")?(panic: |fatal error: |SIG[A-Z]+: )|why="signal: (aborted|segmentation fault|bus error|illegal instruction)`)

// Start starts cmd in a process group of its own. The kernel kills it when the
// test process dies; when the test ends it and all its descendants are killed,
// and what it printed is logged if the test failed.
func Start(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p, err := spawn(name, cmd, &Log{})
	if err != nil {
		t.Fatalf("testenv: start %s: %v", name, err)
	}
	t.Cleanup(func() {
		p.KillTree()
		// A process that is killed does not exit with the race detector's code,
		// and a supervisor starts again what has crashed.
		log := p.Log.String()
		if at := crash.FindStringIndex(log); at != nil {
			lines := strings.Split(log[at[0]:], "\n")
			t.Errorf("%s crashed, or has a data race:\n%s", name, strings.Join(lines[:min(len(lines), 100)], "\n"))
		}
		if t.Failed() {
			t.Logf("last lines of %s:\n%s", name, p.Log.Tail(60))
		}
	})
	return p
}

func spawn(name string, cmd *exec.Cmd, log *Log) (*Process, error) {
	p := &Process{Name: name, Log: log, cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.Stderr == nil {
		cmd.Stderr = log
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.WaitDelay = 5 * time.Second // a descendant may hold the pipes
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode waits up to timeout for the process to end. It returns -1 if a signal
// ended the process, or if it did not end.
func (p *Process) ExitCode(timeout time.Duration) int {
	select {
	case <-p.done:
	case <-time.After(timeout):
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Wait polls cond until it is true, or fails the test: after timeout, or once
// the process has ended.
func (p *Process) Wait(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	ended := false
	if !Poll(t, timeout, func() bool {
		select {
		case <-p.done:
			ended = true
		default:
		}
		return cond() || ended
	}) {
		t.Fatalf("testenv: waited %v for %s: %s", timeout, p.Name, what)
	}
	if ended && !cond() {
		t.Fatalf("testenv: %s ended (%v) before %s", p.Name, p.cmd.ProcessState, what)
	}
}

// Signal sends sig to the process alone.
func (p *Process) Signal(sig syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = p.cmd.Process.Signal(sig)
	}
}

// Terminate sends SIGTERM, waits up to timeout and then kills everything.
func (p *Process) Terminate(timeout time.Duration) {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(timeout):
	}
	p.KillTree()
}

// KillTree kills the process and its descendants, and waits for its end.
func (p *Process) KillTree() {
	pids := append(Descendants(p.PID()), p.PID())
	select {
	case <-p.done: // its id may be another process's by now
		pids = pids[:0]
	default:
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.done
}

// Descendants returns the ids of all processes below pid.
func Descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		b, err := os.ReadFile(s)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state ppid …; the name may hold anything but ends at the last ')'.
		i := bytes.LastIndexByte(b, ')')
		f := strings.Fields(string(b[i+1:]))
		child, err1 := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		if len(f) < 2 || err1 != nil || f[0] == "Z" {
			continue
		}
		parent, err := strconv.Atoi(f[1])
		if err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	var all []int
	todo := []int{pid}
	for len(todo) > 0 {
		next := children[todo[0]]
		slices.Sort(next)
		all = append(all, next...)
		todo = append(todo[1:], next...)
	}
	return all
}

// CommandLine returns the arguments of a process; none if it has ended.
func CommandLine(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// Log keeps what processes print. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// String returns everything so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Contains reports whether s has been printed.
func (l *Log) Contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(s))
}

// Lines returns the lines with text in them.
func (l *Log) Lines(text string) (out []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

// Tail returns the last n lines.
func (l *Log) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// CPU returns the processor time of this process and of its children that have ended.
func CPU(t testing.TB) (sum time.Duration) {
	t.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatalf("testenv: read processor time: %v", err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
