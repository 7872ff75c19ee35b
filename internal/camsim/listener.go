package camsim

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
)

// listener is a listener that can be taken down and put up again on the same
// port while a server accepts from it.
type listener struct {
	tls  *tls.Config // nil: plain TCP
	addr net.Addr
	// bound is the socket until open is called, which happens on the goroutine of
	// listen.
	bound net.Listener

	mu      sync.Mutex
	socket  net.Listener  // nil while down
	changed chan struct{} // closed and replaced when socket or closed changes
	closed  bool
}

func listen(ctx context.Context, addr string, c *tls.Config) (*listener, error) {
	var lc net.ListenConfig
	s, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &listener{tls: c, addr: s.Addr(), bound: s, changed: make(chan struct{})}, nil
}

// open lets Accept begin. Clients that came before have waited.
func (l *listener) open() {
	s := l.bound
	l.bound = nil
	l.set(s, false)
}

// Accept waits while the listener is down.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		socket, changed, closed := l.socket, l.changed, l.closed
		l.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if socket == nil {
			<-changed
			continue
		}
		c, err := socket.Accept()
		if err != nil {
			l.mu.Lock()
			same := l.socket == socket && !l.closed
			l.mu.Unlock()
			if same {
				return nil, err
			}
			continue
		}
		if l.tls != nil {
			c = tls.Server(c, l.tls)
		}
		return &conn{Conn: c, out: map[uint32]uint16{}}, nil
	}
}

// Close ends the listener for good.
func (l *listener) Close() error {
	if l.bound != nil {
		l.bound.Close()
	}
	l.set(nil, true)
	return nil
}

// Addr returns the address that was bound at the start.
func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) down() { l.set(nil, false) }

func (l *listener) up() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil || l.closed {
		return nil
	}
	var lc net.ListenConfig
	s, err := lc.Listen(context.Background(), "tcp", l.addr.String())
	if err != nil {
		return fmt.Errorf("camsim: listen again: %w", err)
	}
	l.socket = s
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *listener) set(s net.Listener, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil {
		l.socket.Close()
	}
	l.socket, l.closed = s, l.closed || closed
	close(l.changed)
	l.changed = make(chan struct{})
}

// conn is a connection into which bytes can be put between two writes, and
// which knows the last RTP packet of each source that went out on it.
type conn struct {
	net.Conn
	mu sync.Mutex

	outMu sync.Mutex // not held while a write waits
	out   map[uint32]uint16
}

func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.Conn.Write(b)
	// An interleaved frame (RFC 2326 section 10.12) comes in one write: four
	// bytes of its own, then the packet.
	if err == nil && len(b) >= 16 && b[0] == '$' {
		c.outMu.Lock()
		c.out[binary.BigEndian.Uint32(b[12:])] = binary.BigEndian.Uint16(b[6:])
		c.outMu.Unlock()
	}
	return n, err
}

// wrote reports whether a packet was the last of its source to go out.
func (c *conn) wrote(ssrc uint32, seq uint16) bool {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	last, ok := c.out[ssrc]
	return ok && last == seq
}
