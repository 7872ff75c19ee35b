package live

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framelog/framelog/internal/tcpinfo"
)

// batch is where a socket writes to. No write waits for the client: what is written goes out
// one behind the other, and [batch.send] alone waits until it has. So a ping, which the library
// gives 5 s, does not end the connection while a large message goes out slowly. Between hold and
// send nothing goes out: a message consists of three frames and the library writes each alone,
// which would be three system calls, and wake the client three times.
type batch struct {
	conn   net.Conn
	counts bool          // the system of conn counts what the client takes
	whole  bool          // a message goes out in one system call
	sent   atomic.Uint64 // bytes that the connection has taken, unless whole

	mu      sync.Mutex
	change  *sync.Cond // of busy
	held    bool
	busy    bool  // something is being written
	err     error // of a write: what was written of it may end anywhere, so nothing follows
	pieces  net.Buffers
	copies  []byte // of pieces that the library uses again
	flushes sync.WaitGroup
}

const (
	// reused is the size of the library's buffer. What is longer is the caller's own slice, which
	// nobody changes before it has gone out.
	reused = 4 << 10
	// maxCopies bounds what waits of messages other than media, for which send waits.
	maxCopies = 256 << 10
	// pieceCost is what a slice takes beside its bytes.
	pieceCost = 24
	// pieceSize is how much at most goes out before it counts, unless the system counts.
	pieceSize = 64 << 10
	// goodbye is how long the end of a connection waits for what was written before.
	goodbye = time.Second
)

// errUnread: a client reads nothing, and goes on to send what must be answered.
var errUnread = errors.New("live: the client does not read the answers to its messages")

func newBatch() *batch {
	b := &batch{}
	b.change = sync.NewCond(&b.mu)
	return b
}

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
	t.out.writeTo(conn)
	return draining{conn, t.out}, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(t.out, reused)), nil
}

// draining is a connection whose Close lets go out what was written before, such as the reason.
type draining struct {
	net.Conn
	out *batch
}

// Close implements net.Conn.
func (d draining) Close() error {
	d.out.drain()
	return d.Conn.Close()
}

// writeTo sets the connection, before the first Write. Whether its system counts is found out
// here: a Unix socket, which is that of a proxy, has system calls as TCP has, and counts nothing.
func (b *batch) writeTo(conn net.Conn) {
	_, secure := conn.(*tls.Conn)
	_, counts := tcpinfo.Acked(conn)
	b.conn, b.counts, b.whole = conn, counts, counts && !secure
}

func (b *batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	n := len(p)
	if n <= reused {
		if len(b.copies)+n+pieceCost*len(b.pieces) > maxCopies {
			return 0, errUnread
		}
		b.copies = append(b.copies, p...)
		p = b.copies[len(b.copies)-n:]
	}
	for ; len(p) > pieceSize; p = p[pieceSize:] {
		b.pieces = append(b.pieces, p[:pieceSize])
	}
	b.pieces = append(b.pieces, p)
	if !b.held && !b.busy {
		b.busy = true
		b.flushes.Go(b.flush)
	}
	return n, nil
}

// hold keeps what is written from now on.
func (b *batch) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
}

// send ends hold, and waits until all that was written has gone out, or the connection has
// ended.
func (b *batch) send() error {
	b.mu.Lock()
	b.held = false
	for b.busy {
		b.change.Wait()
	}
	mine := len(b.pieces) > 0
	b.busy = mine
	b.mu.Unlock()
	if mine {
		b.flush()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// flush writes what there is. Its caller has set busy, so that nobody else does.
func (b *batch) flush() {
	var out net.Buffers // and its copies, in turn with those that are written meanwhile
	var copies []byte
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pieces) > 0 && !b.held && b.err == nil {
		out, b.pieces = b.pieces, out[:0]
		copies, b.copies = b.copies, copies[:0]
		b.mu.Unlock()
		rest := out
		var err error
		if b.whole {
			_, err = rest.WriteTo(b.conn)
		} else {
			_, err = rest.WriteTo(counting{b})
		}
		clear(out)
		b.mu.Lock()
		if b.err = err; err != nil {
			_ = b.conn.Close() // its error would be of no use
		}
	}
	b.busy = false
	b.change.Broadcast()
}

// counting is a connection of which the batch counts what it has taken.
type counting struct{ *batch }

func (c counting) Write(p []byte) (int, error) {
	n, err := c.conn.Write(p)
	c.sent.Add(uint64(n))
	return n, err
}

// waiting reports whether something has not gone out.
func (b *batch) waiting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.busy || len(b.pieces) > 0
}

// taken is the number of bytes that the client has taken: those that its system has acknowledged,
// or those that the connection has taken. While it grows, the client is slow, and not dead.
func (b *batch) taken() uint64 {
	if b.counts {
		n, _ := tcpinfo.Acked(b.conn)
		return n
	}
	return b.sent.Load()
}

// drain waits until what was written has gone out, at most for a time, after which it ends the
// connection.
func (b *batch) drain() {
	late := time.AfterFunc(goodbye, func() { _ = b.conn.Close() })
	defer late.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.busy {
		b.change.Wait()
	}
}
