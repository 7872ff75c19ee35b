package live

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/framelog/framelog/tests/testenv"
)

// recorder is a connection that keeps what is written.
type recorder struct {
	net.Conn
	got bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { return r.got.Write(p) }

// Close ends nothing: a test that is paused goes on.
func (r *recorder) Close() error { return nil }

// TestBatch: what is written while a batch holds goes out with send, in order. Short slices may be
// used again at once.
func TestBatch(t *testing.T) {
	to := new(recorder)
	b := newBatch()
	b.writeTo(to)
	long := bytes.Repeat([]byte("long"), reused)
	var want []byte
	for round := range 2 {
		short := []byte("before;")
		_, _ = b.Write(short)
		want = append(want, short...)
		b.drain()
		if got := to.got.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("round %d: %d bytes, want %d before hold", round, len(got), len(want))
		}
		b.hold()
		for i := range 1000 { // more than one slice of copies holds
			short[0] = byte(i)
			_, _ = b.Write(short)
			want = append(want, short...)
		}
		_, _ = b.Write(long)
		want = append(want, long...)
		clear(short)
		if got := to.got.Len(); got != len(want)-1000*len(short)-len(long) {
			t.Fatalf("round %d: %d bytes went out before send", round, got)
		}
		if err := b.send(); err != nil {
			t.Fatal(err)
		}
		if got := to.got.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("round %d: %d other bytes, want %d", round, len(got), len(want))
		}
	}
}

// TestBatchEnds: a client that takes nothing holds up no other write, and only so many wait. When
// its connection ends, what comes behind half a message is not written.
func TestBatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe() // whose writes wait for a reader
		b := newBatch()
		b.writeTo(near)
		b.hold()
		long := bytes.Repeat([]byte("long"), reused)
		_, _ = b.Write(long)
		sent := make(chan error)
		go func() { sent <- b.send() }()
		synctest.Wait()
		if n, err := b.Write([]byte("ping")); n != 4 || err != nil {
			t.Errorf("while a message goes out: %d bytes, %v", n, err)
		}
		got := make([]byte, len(long)+2)
		if _, err := io.ReadFull(far, got); err != nil || string(got) != string(long)+"pi" {
			t.Errorf("the client got %d bytes, %v", len(got), err)
		}
		if before := b.taken(); before < uint64(len(long)) {
			t.Errorf("%d bytes are taken, want the %d of the message", before, len(long))
		}
		var err error
		for range maxCopies/reused + 2 {
			_, err = b.Write(long[:reused])
		}
		if !errors.Is(err, errUnread) || !b.waiting() {
			t.Errorf("the last of many: %v", err)
		}
		_ = near.Close()
		if err := <-sent; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("send: %v", err)
		}
		if n, err := b.Write([]byte("more")); n != 0 || err == nil {
			t.Errorf("behind it: %d bytes, %v", n, err)
		}
		b.flushes.Wait()
	})
}

// embedded is a connection as framelog up gives it to egress.
type embedded struct{ *net.TCPConn }

// TestTakenOverTCP: what the client's system has acknowledged counts, not what this one has taken.
func TestTakenOverTCP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	b := newBatch()
	b.writeTo(embedded{near.(*net.TCPConn)})
	before := b.taken()
	if before > 1 { // the system counts the connection's beginning as a byte
		t.Errorf("%d bytes are taken before there are any", before)
	}
	b.sent.Add(1 << 20) // what is only on its way does not count
	_, _ = b.Write(make([]byte, 10_000))
	testenv.Wait(t, testenv.Patience, "the acknowledgement", func() bool { return b.taken() == before+10_000 })
}

// TestTakenOverUnixSocket: what a proxy has taken of a message counts while the rest goes out. Its
// client may be slow.
func TestTakenOverUnixSocket(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "egress.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := newBatch()
	b.writeTo(near)
	b.hold()
	_, _ = b.Write(make([]byte, 8<<20)) // more than any buffer of the system
	sent := make(chan error)
	go func() { sent <- b.send() }()
	const read = 1 << 20
	if _, err := io.ReadFull(far, make([]byte, read)); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "the bytes that were read", func() bool { return b.taken() > read-pieceSize })
	if !b.waiting() {
		t.Error("the whole message went out before it was read")
	}
	_ = near.Close()
	if err := <-sent; err == nil {
		t.Error("send: no error after the end")
	}
}
