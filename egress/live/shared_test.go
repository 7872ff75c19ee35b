package live_test

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/framelog/framelog/egress/live"
	"github.com/framelog/framelog/egress/live/livetest"
	"github.com/framelog/framelog/schemas"
)

// noting is a handler that keeps, for each connection, the slices that are written to it.
type noting struct {
	http.Handler
	mu    sync.Mutex
	conns [][][]byte
}

func (n *noting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.Handler.ServeHTTP(noted{w, n}, r)
}

type noted struct {
	http.ResponseWriter
	to *noting
}

func (w noted) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	w.to.conns = append(w.to.conns, nil)
	return notedConn{conn, w.to, len(w.to.conns) - 1}, rw, err
}

type notedConn struct {
	net.Conn
	to *noting
	i  int
}

func (c notedConn) Write(p []byte) (int, error) {
	c.to.mu.Lock()
	c.to.conns[c.i] = append(c.to.conns[c.i], p)
	c.to.mu.Unlock()
	return c.Conn.Write(p)
}

// TestPartIsNotCopied: what all viewers get of a part are the bytes of the source, in the same
// memory. What each has of its own is less than the library's buffer, 4 KiB.
func TestPartIsNotCopied(t *testing.T) {
	inBubble(t, live.Config{}, func(t *testing.T, e *env) {
		const size, buffer = 50_000, 4 << 10
		e.add("yard", 7, 0, "a", size)
		server := &noting{Handler: e.handler}
		for channel := 1; channel <= 3; channel++ { // in the header of each message
			c, refused := livetest.Dial(t, server, "/live", nil)
			if refused != nil {
				t.Fatal(refused.Status)
			}
			c.Subscribe(channel, "yard", "", nil)
			synctest.Wait()
			if got := c.Media(); len(got) != 2 || !bytes.Equal(got[1].Data, make([]byte, size)) {
				t.Fatalf("viewer %d got %d messages", channel, len(got))
			}
		}
		e.mu.Lock()
		data := e.track(schemas.Topic{Camera: "yard"}).steps[0].Data
		e.mu.Unlock()
		server.mu.Lock()
		defer server.mu.Unlock()
		for i, writes := range server.conns {
			shared := 0
			for _, p := range writes {
				if n := len(p); n > 0 && &p[n-1] == &data[size-1] {
					shared = n
				}
			}
			if shared < size-buffer {
				t.Errorf("viewer %d got %d of %d bytes from the memory of the part", i+1, shared, size)
			}
		}
		if len(server.conns) != 3 {
			t.Errorf("%d connections", len(server.conns))
		}
	})
}
