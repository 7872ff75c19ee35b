package live

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// recorder is a connection that keeps what is written.
type recorder struct {
	net.Conn
	got bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { return r.got.Write(p) }

// TestBatch: what is written while a batch holds goes out with send, in order. Short slices may be
// used again at once.
func TestBatch(t *testing.T) {
	to := new(recorder)
	b := &batch{conn: to}
	long := bytes.Repeat([]byte("long"), reused)
	var want []byte
	for round := range 2 {
		short := []byte("before;")
		_, _ = b.Write(short)
		want = append(want, short...)
		if got := to.got.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("round %d: %d bytes, want %d at once", round, len(got), len(want))
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
		if err := b.send(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := to.got.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("round %d: %d other bytes, want %d", round, len(got), len(want))
		}
	}
}

// TestBatchEnds: a client that takes nothing loses its connection when the context ends, and what
// comes behind half a message is not written.
func TestBatchEnds(t *testing.T) {
	near, far := net.Pipe() // whose writes wait for a reader
	defer far.Close()
	b := &batch{conn: near}
	b.hold()
	_, _ = b.Write(make([]byte, 2*reused))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.send(ctx); !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, os.ErrClosed) {
		t.Errorf("send: %v", err)
	}
	if n, err := b.Write([]byte("more")); n != 0 || err == nil {
		t.Errorf("behind it: %d bytes, %v", n, err)
	}
	if n, err := far.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the client got %d bytes, %v", n, err)
	}
}
