package native

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// paced is a TCP connection that is read only when read is called, all that is there at
// once. Without it each packet of each camera would wake this process, which costs more than
// the packet. Before start it is an ordinary connection.
type paced struct {
	*net.TCPConn
	raw syscall.RawConn
	on  atomic.Bool

	// Of the goroutine that reads.
	buf     *[]byte       // from buffers; nil: all of it is consumed
	rest    []byte        // of buf, not consumed yet
	drained bool          // the last read took all that was there
	asked   chan struct{} // closed when all that was there is consumed; nil: nobody waits
	roomy   bool          // the system was asked for room

	wake  chan chan struct{} // read asks
	ended chan struct{}      // nothing is read any more
	end   sync.Once
}

// queued is how many bytes the system holds at least between two reads: enough for 40 ms of
// 100 Mbit/s.
const queued = 512 << 10

// buffers hold what is read until it is consumed.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

func newPaced(conn *net.TCPConn) (*paced, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &paced{TCPConn: conn, raw: raw, wake: make(chan chan struct{}), ended: make(chan struct{})}, nil
}

// start makes reads wait for read from now on.
func (p *paced) start() {
	p.on.Store(true)
	_ = p.SetReadDeadline(time.Unix(1, 0)) // ends a read that waits now
}

// read has what is there read and consumed, and waits for that, at most for limit.
func (p *paced) read(limit time.Duration) {
	if !p.on.Load() {
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	consumed := make(chan struct{})
	select {
	case p.wake <- consumed:
	case <-p.ended:
		return
	case <-timer.C:
		return
	}
	select {
	case <-consumed:
	case <-p.ended:
	case <-timer.C:
	}
}

// Read implements net.Conn.
func (p *paced) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if !p.on.Load() {
			n, err := p.TCPConn.Read(b)
			if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				return n, err
			}
		}
		if err := p.fill(); err != nil {
			p.over()
			return 0, err
		}
	}
	n := copy(b, p.rest)
	if p.rest = p.rest[n:]; len(p.rest) == 0 {
		p.release()
	}
	return n, nil
}

func (p *paced) release() {
	buffers.Put(p.buf)
	p.buf = nil
}

// fill waits until something is there, and reads it.
func (p *paced) fill() error {
	if !p.roomy {
		p.roomy = true
		// The system wakes nobody before this many bytes are there, and makes room for
		// them (tcp(7)). Where it cannot do that, all works as well, at a higher cost.
		_ = p.raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, queued) })
	}
	for {
		if p.drained && !p.wait() {
			return net.ErrClosed
		}
		p.buf = buffers.Get().(*[]byte)
		n, err := p.poll(*p.buf)
		p.drained = n < len(*p.buf)
		if n > 0 {
			p.rest = (*p.buf)[:n]
			return nil
		}
		p.release()
		if err != nil {
			return err
		}
	}
}

// wait tells that all is consumed, and waits for the next read. It returns false after Close.
func (p *paced) wait() bool {
	if p.asked != nil {
		close(p.asked)
		p.asked = nil
	}
	select {
	case p.asked = <-p.wake:
		return true
	case <-p.ended:
		return false
	}
}

// poll reads what is there. Nothing is no error.
func (p *paced) poll(b []byte) (n int, err error) {
	read := func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), b)
		return true
	}
	waited := p.raw.Read(read)
	if errors.Is(waited, os.ErrDeadlineExceeded) {
		// The limit is that of start, the only one. It may come at any time after on is set,
		// and it is to end only a read that waits, which this one does not.
		if err := p.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
		waited = p.raw.Read(read)
	}
	switch {
	case waited != nil:
		return 0, waited
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (p *paced) over() { p.end.Do(func() { close(p.ended) }) }

// Close implements net.Conn.
func (p *paced) Close() error {
	p.over()
	return p.TCPConn.Close()
}
