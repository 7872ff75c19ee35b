package hls

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/tests/testmedia"
)

func TestGzip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 8)...)
		s := run(t, Config{}, log)
		for _, url := range []string{playlist0, "/hls/cam/index.m3u8"} {
			plain := want(t, get(s, url), 200)
			w := get(s, url, "Accept-Encoding", "br, gzip")
			if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: %v", url, w.Header())
			}
			r, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != plain {
				t.Errorf("%s: not the same within (%v)", url, err)
			}
			if w := get(s, url, "Accept-Encoding", "gzip;q=0"); w.Header().Get("Content-Encoding") != "" {
				t.Errorf("%s: compressed for a client that refuses it", url)
			}
		}
	})
}

// pipes is a listener of connections without a buffer: what a client does not
// read, the server cannot write.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// TestSlowClient: a client that reads nothing is cut off and counted, one that
// reads slowly and steadily is not.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 2)
		for _, c := range f[0].Chunks { // 2.5 MiB in all
			c.Runs[0].Samples[0].Data = make([]byte, 512<<10)
		}
		log.add("cam", f...)
		s := run(t, Config{WriteTimeout: 10 * time.Second}, log)
		l := pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		web := &http.Server{Handler: s, ReadHeaderTimeout: time.Hour}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = web.Serve(l) // ends with the listener
		}()
		t.Cleanup(func() {
			_ = web.Close()
			<-served
		})
		dial := func() net.Conn {
			mine, its := net.Pipe()
			l.conns <- its
			return mine
		}
		request := func(c net.Conn, path string) {
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
				t.Error(err)
			}
		}
		// read reads n bytes of a response, 64 KiB at a time.
		read := func(c net.Conn, n int, pause time.Duration) (got int, err error) {
			b := make([]byte, 64<<10)
			for got < n {
				m, err := c.Read(b)
				if got += m; err != nil {
					return got, err
				}
				time.Sleep(pause)
			}
			return got, nil
		}
		segment := fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[0].Entry.Seq)

		idle := dial()
		request(idle, segment)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := testutil.ToFloat64(s.metrics.slow); n != 1 {
			t.Errorf("%v clients were cut off, want the one that reads nothing", n)
		}
		if _, err := read(idle, 1<<30, 0); err == nil {
			t.Error("the connection of a client that reads nothing is open")
		}

		steady := dial()
		request(steady, segment)
		begin := time.Now()
		if n, err := read(steady, 5*512<<10, 500*time.Millisecond); err != nil {
			t.Errorf("a client that reads steadily is cut off after %d bytes: %v", n, err)
		}
		if took := time.Since(begin); took < 15*time.Second {
			t.Errorf("the client read for %v only", took)
		}
		if n := testutil.ToFloat64(s.metrics.slow); n != 1 {
			t.Errorf("%v clients were cut off, want 1", n)
		}
		_ = steady.Close()
		_ = idle.Close()
	})
}
