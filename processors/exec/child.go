package exec

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pipeBytes is the size of the pipe to a child: more than a picture of 640×360.
	pipeBytes = 1 << 20
	// endTimeout is how long a child may take to end by itself.
	endTimeout = 5 * time.Second
	// lateOutput is how long the end of a child's output is awaited after its death: a
	// process that it has left behind may hold the pipe.
	lateOutput = time.Second
)

// child is a process of the program.
type child struct {
	cmd   *osexec.Cmd
	in    *os.File // to the program
	out   *os.File // from the program
	print []*os.File
	answers
	lines *lines
	began time.Time
	said  bool          // hello was written
	ready bool          // it has answered
	gone  chan struct{} // closed when the process has ended

	mu    sync.Mutex
	cause error // why it was killed
}

// start starts a child.
func (p *pool) start() (*child, error) {
	ours, theirs, err := openPipes()
	defer closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, fmt.Errorf("%w; raise the limit of open files (ulimit -n)", err)
	}
	cmd := osexec.Command(p.path, p.Command[1:]...) //nolint:noctx // the pool ends it
	cmd.Env = p.env()
	cmd.ExtraFiles = theirs[:2]
	cmd.Stdout, cmd.Stderr = theirs[2], theirs[3]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.starter.start(cmd); err != nil {
		closeAll(ours)
		return nil, fmt.Errorf("%w; check that it is a program, and may be run", err)
	}
	c := &child{
		cmd: cmd, in: ours[0], out: ours[1], print: ours[2:], answers: answers{r: bufio.NewReaderSize(ours[1], 64<<10)},
		lines: newLines(p.Log.With("processor", p.name, "pid", cmd.Process.Pid), p.dropped.Inc),
		began: time.Now(), gone: make(chan struct{}),
	}
	c.lines.copy("stdout", ours[2])
	c.lines.copy("stderr", ours[3])
	c.lines.wg.Go(c.wait)
	return c, nil
}

// openPipes makes the pipes to and from a child, and of its output and errors. It returns
// our and its ends of those that it could make.
func openPipes() (ours, theirs []*os.File, err error) {
	for i := range 4 {
		r, w, err := os.Pipe()
		if err != nil {
			return ours, theirs, err
		}
		if i == 0 {
			grow(w)
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	return ours, theirs, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// grow makes a pipe larger. Where the system does not allow it, pictures only go slower.
func grow(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeBytes) })
	}
}

// wait waits for the end of the process. It kills what the process has started.
func (c *child) wait() {
	_ = c.cmd.Wait() // ProcessState tells it
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	close(c.gone)
	_ = c.in.SetWriteDeadline(time.Now().Add(lateOutput))
	for _, f := range append(c.print, c.out) {
		c.hurry(f)
	}
}

// hurry ends reading from a pipe soon after the child's end.
func (c *child) hurry(f *os.File) { _ = f.SetReadDeadline(time.Now().Add(lateOutput)) }

// ended reports whether the child has ended, or was killed and is about to.
func (c *child) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause != nil || c.hasGone()
}

func (c *child) hasGone() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// kill ends the child because of an error.
func (c *child) kill(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasGone() {
		return
	}
	c.cause = cmp.Or(c.cause, cause)
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
}

// broken is called after an error of a pipe. It returns the reason. It kills a child that
// goes on without its pipes.
func (c *child) broken(err error) error {
	if _, ok := errors.AsType[*garbage](err); ok {
		c.kill(err)
		death := c.death()
		if !errors.Is(death, err) { // it has ended by itself
			death = fmt.Errorf("%w; %w", err, death)
		}
		return death
	}
	t := time.NewTimer(lateOutput)
	defer t.Stop()
	select {
	case <-c.gone:
	case <-t.C:
		c.kill(errors.New("it has closed its pipes, and goes on"))
	}
	return c.death()
}

// death waits for the end of a child, and tells why it ended.
func (c *child) death() error {
	<-c.gone
	c.lines.wg.Wait() // its last words
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	if cause != nil {
		return fmt.Errorf("%w; it was killed%s", cause, c.lines.said())
	}
	state := c.cmd.ProcessState
	if s, ok := state.Sys().(syscall.WaitStatus); ok && s.Signaled() { //nolint:misspell // the name of the method
		hint := ""
		if s.Signal() == syscall.SIGKILL {
			hint = " (the system does this to a process that needs too much memory)"
		}
		return fmt.Errorf("the program was killed by signal %d, %v%s%s", s.Signal(), s.Signal(), hint, c.lines.said())
	}
	return fmt.Errorf("the program ended with %v%s", state, c.lines.said())
}

// handshake says hello, and waits until the child is ready. If ctx ends it can be called
// again. Errors: that of ctx; why the child is to be killed.
func (c *child) handshake(ctx context.Context, hello helloHeader, timeout time.Duration) error {
	if !c.said {
		c.said = true
		if err := writeFrame(c.in, kindHello, hello); err != nil { // it fits into the pipe
			return c.broken(err)
		}
	}
	_ = c.out.SetReadDeadline(c.began.Add(timeout))
	stop := context.AfterFunc(ctx, func() { _ = c.out.SetReadDeadline(time.Now()) })
	err := c.await()
	if !stop() {
		return fmt.Errorf("it is not ready: %w", context.Cause(ctx))
	}
	var m *answer
	if err == nil {
		m, err = c.next()
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && !c.ended():
		return fmt.Errorf("it was not ready within %v; raise start_timeout if it needs longer", timeout)
	case err != nil:
		return c.broken(err)
	case m.kind != kindReady:
		return garbagef("a frame %q, where ready is wanted", m.kind)
	case m.Version != version:
		return garbagef("it speaks version %d of the protocol, Framelog speaks %d", m.Version, version)
	}
	c.ready = true
	_ = c.out.SetReadDeadline(time.Time{})
	if c.hasGone() { // wait may have set its deadline before
		c.hurry(c.out)
	}
	return nil
}

// close ends the child: its input ends, and if it does not end within timeout it is
// killed. It waits for it.
func (c *child) close(timeout time.Duration) {
	c.in.Close()
	t := time.AfterFunc(timeout, func() { c.kill(errors.New("it did not end by itself")) })
	<-c.gone
	t.Stop()
	c.lines.wg.Wait()
	c.out.Close()
}

// environment returns the environment of the children: Framelog's own, without secrets,
// and with the Python module.
func (o *options) environment() []string {
	path, err := pythonModule()
	if err != nil {
		o.Log.Warn("a program in Python must find the module framelog by itself", "processor", o.name, "why", err)
	}
	var env []string
	for _, e := range os.Environ() {
		switch {
		case strings.HasPrefix(e, "FRAMELOG_SECRET_"), strings.HasPrefix(e, "FRAMELOG_KAFKA_"):
		case strings.HasPrefix(e, "PYTHONPATH="):
			path = strings.Trim(path+":"+strings.TrimPrefix(e, "PYTHONPATH="), ":")
		default:
			env = append(env, e)
		}
	}
	if path != "" {
		env = append(env, "PYTHONPATH="+path)
	}
	return append(env, "FRAMELOG_EXEC_VERSION=1", "FRAMELOG_EXEC_IN=3", "FRAMELOG_EXEC_OUT=4")
}
