package live

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// recorder is a connection that keeps what is written.
type recorder struct {
	net.Conn
	got bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error)      { return r.got.Write(p) }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

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
		if err := b.send(time.Second); err != nil {
			t.Fatal(err)
		}
		if got := to.got.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("round %d: %d other bytes, want %d", round, len(got), len(want))
		}
	}
}
