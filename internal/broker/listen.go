package broker

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
)

// listener counts the bytes that clients send, so that the keeper checks the bound
// as soon as they have written much. It also checks the framing of each
// connection: kfake allocates as many bytes as the four bytes before a request
// say, and the four bytes "GET " mean 1.2 GB.
type listener struct {
	net.Listener
	log      *slog.Logger
	wrote    chan struct{} // gets a token each time that another `every` bytes have come
	every    int64         // bytes
	received atomic.Int64  // bytes
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, l: l}, nil
}

// conn follows the framing of requests: a length of 4 bytes, then as many bytes.
// One goroutine reads it.
type conn struct {
	net.Conn
	l      *listener
	header [4]byte
	have   int   // bytes of header that have come
	left   int64 // bytes of the request that are still to come
}

var errFrame = errors.New("broker: request is larger than any of Kafka's: not a Kafka client")

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		if ferr := c.follow(p[:n]); ferr != nil {
			c.l.log.Warn("connection closed", "remote", c.RemoteAddr().String(), "error", ferr)
			return 0, ferr
		}
		before := c.l.received.Add(int64(n)) - int64(n)
		if before/c.l.every != (before+int64(n))/c.l.every {
			select {
			case c.l.wrote <- struct{}{}:
			default:
			}
		}
	}
	return n, err
}

// follow takes the next bytes of the connection. Errors: errFrame.
func (c *conn) follow(p []byte) error {
	for len(p) > 0 {
		if c.left > 0 {
			n := min(c.left, int64(len(p)))
			c.left -= n
			p = p[n:]
			continue
		}
		n := copy(c.header[c.have:], p)
		c.have += n
		p = p[n:]
		if c.have < len(c.header) {
			return nil
		}
		c.have = 0
		c.left = int64(binary.BigEndian.Uint32(c.header[:]))
		if c.left > maxRequest {
			return errFrame
		}
	}
	return nil
}
