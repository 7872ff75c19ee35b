package live

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
)

// batch is where a socket writes to. Between hold and send it keeps what is written, which then
// goes out with one system call: a message consists of three frames and the library writes each
// alone, which wakes the client three times.
type batch struct {
	conn net.Conn

	mu     sync.Mutex
	held   bool
	err    error // of a send: what was written of it may end anywhere, so nothing follows
	pieces net.Buffers
	copies []byte // of pieces that the library uses again
}

// reused is the size of the library's buffer. What is longer is the caller's own slice, which
// nobody changes before send.
const reused = 4 << 10

// taking is a ResponseWriter whose connection writes to a batch after Hijack.
type taking struct {
	http.ResponseWriter
	out *batch
}

// Hijack is [http.Hijacker].
func (t taking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.out.conn = conn
	return conn, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(t.out, reused)), nil
}

func (b *batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if !b.held {
		return b.conn.Write(p)
	}
	if len(p) <= reused {
		b.copies = append(b.copies, p...)
		p = b.copies[len(b.copies)-len(p):]
	}
	b.pieces = append(b.pieces, p)
	return len(p), nil
}

// hold keeps what is written from now on.
func (b *batch) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
}

// send writes what was kept. When ctx ends before, the connection ends, as it does while the
// library writes.
func (b *batch) send(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = b.conn.Close() })
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = false
	all := b.pieces
	if b.err == nil {
		if _, b.err = all.WriteTo(b.conn); b.err != nil {
			_ = b.conn.Close() // its error would be of no use
		}
	}
	clear(b.pieces)
	b.pieces, b.copies = b.pieces[:0], b.copies[:0]
	return b.err
}
