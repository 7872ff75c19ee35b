package native

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// tcpPair is a paced connection and its peer.
func tcpPair(t *testing.T) (*paced, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPaced(conn.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); peer.Close() })
	return p, peer
}

// What has come is consumed when read returns, however much it is, and the end of the
// connection is told too.
func TestPacedReadsAllThatIsThere(t *testing.T) {
	p, peer := tcpPair(t)
	p.start()
	got := make(chan []byte, 1)
	go func() {
		b, err := io.ReadAll(p)
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB: more than a buffer, and than what the system holds
	sent := make(chan error, 1)
	go func() {
		_, err := peer.Write(want)
		peer.Close()
		sent <- err
	}()
	testenv.Wait(t, testenv.Patience, "all of it", func() bool {
		p.read(testenv.Patience)
		select {
		case b := <-got:
			if !bytes.Equal(b, want) {
				t.Errorf("%d bytes, want %d", len(b), len(want))
			}
			return true
		default:
			return false
		}
	})
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// Nothing is read that is not asked for, and read waits until what came is consumed.
func TestPacedWaits(t *testing.T) {
	p, peer := tcpPair(t)
	read := make(chan byte)
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := p.Read(b); err != nil {
				close(read)
				return
			}
			read <- b[0]
		}
	}()
	if _, err := peer.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	if b := <-read; b != 0 {
		t.Errorf("%d before the start", b)
	}
	p.start() // while Read waits
	p.read(testenv.Patience)
	if _, err := peer.Write([]byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	returned := make(chan struct{})
	select {
	case <-read:
		t.Error("it was read at once")
	case <-time.After(50 * time.Millisecond):
	}
	go func() {
		p.read(testenv.Patience)
		close(returned)
	}()
	for _, want := range []byte{1, 2} {
		select {
		case <-returned:
			t.Fatal("read returned before all was consumed")
		case b := <-read:
			if b != want {
				t.Errorf("%d, want %d", b, want)
			}
		}
	}
	<-returned
	p.Close()
	if _, ok := <-read; ok {
		t.Error("there is more after the end")
	}
	p.read(testenv.Patience) // does not hang
	if _, err := p.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// The reader may see that the connection is paced before start has set the limit that ends a
// read which waits. The connection goes on all the same, and so it does after a second start.
func TestPacedStartsWhileItIsRead(t *testing.T) {
	p, peer := tcpPair(t)
	p.on.Store(true) // the first half of start
	read := make(chan byte)
	go func() {
		defer close(read)
		b := make([]byte, 1)
		for {
			if _, err := p.Read(b); err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			read <- b[0]
		}
	}()
	for i := range byte(3) {
		if _, err := peer.Write([]byte{i}); err != nil {
			t.Fatal(err)
		}
		received, returned := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(returned)
			for again := true; again; { // a byte may come a moment after Write
				p.read(testenv.Patience)
				select {
				case <-received:
					again = false
				default:
				}
			}
		}()
		b, ok := <-read
		close(received)
		<-returned // the reader waits
		if !ok || b != i {
			t.Fatalf("read %d, %v, want %d", b, ok, i)
		}
		p.start() // with the limit of its other half
	}
	p.Close()
	<-read
}
