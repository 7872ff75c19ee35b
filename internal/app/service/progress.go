package service

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/framelog/framelog/internal/tcpinfo"
)

// errUntaken: a client takes nothing of what is written.
var errUntaken = errors.New("service: the client takes nothing")

// WithProgress returns ln, with connections that end while something is written to them and the
// client takes nothing for a time from limit to twice that. Otherwise a client that keeps its
// connection, and takes nothing, would hold for ever what writes to it. A client that takes some
// is slow, and stays. So this is not TCP_USER_TIMEOUT: with a small window Linux ends the
// connection of a slow client too.
func WithProgress(ln net.Listener, limit time.Duration) net.Listener { return progress{ln, limit} }

type progress struct {
	net.Listener
	limit time.Duration
}

// Accept implements net.Listener.
func (l progress) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn, nil
	}
	return &watched{tcp, tcp, l.limit}, nil
}

// watched is a connection of WithProgress. It does not have all methods of tcp, since some of them
// write.
type watched struct {
	net.Conn
	tcp   *net.TCPConn
	limit time.Duration
}

// Write implements net.Conn.
func (c *watched) Write(p []byte) (int, error) {
	w := &watch{limit: c.limit, acked: func() (uint64, bool) { return tcpinfo.Acked(c.tcp) }, end: func() {
		_ = c.tcp.SetLinger(0) // the system forgets what waits; an error means that it has ended
		_ = c.tcp.Close()
	}}
	return w.during(func() (int, error) { return c.tcp.Write(p) })
}

// CloseWrite lets a server end an answer before it closes the connection.
func (c *watched) CloseWrite() error { return c.tcp.CloseWrite() }

// SyscallConn implements syscall.Conn, for Passer.
func (c *watched) SyscallConn() (syscall.RawConn, error) { return c.tcp.SyscallConn() }

// watch looks whether a client takes something during a Write.
type watch struct {
	limit time.Duration
	acked func() (uint64, bool) // bytes that the client has taken; false: the connection has ended
	end   func()                // ends the connection, and so the Write

	mu    sync.Mutex
	timer *time.Timer
	last  uint64
	looks int
	done  bool // the Write has returned
	ended bool // by end
}

func (w *watch) during(write func() (int, error)) (int, error) {
	w.mu.Lock()
	w.timer = time.AfterFunc(w.limit, w.look)
	w.mu.Unlock()
	n, err := write()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	w.timer.Stop()
	if w.ended {
		err = errUntaken
	}
	return n, err
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	n, ok := w.acked()
	if w.looks++; !ok || w.looks > 1 && n == w.last {
		w.ended = true
		w.end()
		return
	}
	w.last = n
	w.timer.Reset(w.limit)
}
