package service

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"
)

// passFront is a server that passes connections, or answers "not passed". behind gets what
// is passed.
func passFront(t *testing.T, behind http.Handler) *httptest.Server {
	t.Helper()
	socket := PassedSocket(filepath.Join(t.TempDir(), "role.sock"))
	ln, err := Listen(t.Context(), "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ServePassed(ctx, ln, behind, slog.New(slog.DiscardHandler)) }()
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := socket
		if r.URL.Path == "/away" {
			to = filepath.Join(filepath.Dir(socket), "away")
		}
		if !NewPasser(to, slog.New(slog.DiscardHandler)).Pass(w, r) {
			_, _ = io.WriteString(w, "not passed")
		}
	}))
	front.Listener = WithProgress(front.Listener, time.Minute) // as that of up
	front.Start()
	t.Cleanup(func() {
		front.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return front
}

// TestPass: the other process gets the request as it came, with the client's address and what
// the client has sent behind it, and both talk without the process that has passed it.
func TestPass(t *testing.T) {
	got := make(chan *http.Request, 1)
	front := passFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(context.WithoutCancel(r.Context()))
			if err != nil || c.Write(context.WithoutCancel(r.Context()), kind, b) != nil {
				return
			}
		}
	}))
	var client net.Addr
	// The client's first message comes with the request.
	early := append([]byte{0x82, 0x85, 0, 0, 0, 0}, "early"...)
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client = conn.LocalAddr()
	cookie := strings.Repeat("c", 50<<10) // larger than what one read gives
	fmt.Fprintf(conn, "GET /live?a=%%2F HTTP/1.1\r\nHost: cams.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nCookie: %s\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n%s", cookie, early)
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	r := <-got
	if r.RemoteAddr != client.String() || r.Host != "cams.example" || r.RequestURI != "/live?a=%2F" || r.Header.Get("Cookie") != cookie ||
		strings.Join(r.Header["X-Forwarded-For"], ",") != "192.0.2.1,192.0.2.2" {
		t.Errorf("the other process got %s %s %s %.200v", r.RemoteAddr, r.Host, r.RequestURI, r.Header)
	}
	echo := make([]byte, 7)
	if _, err := io.ReadFull(br, echo); err != nil || string(echo[2:]) != "early" {
		t.Errorf("%q %v, want what came with the request", echo, err)
	}
	front.Close() // the connection is not its own any more
	if _, err := conn.Write(append([]byte{0x82, 0x84, 0, 0, 0, 0}, "late"...)); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(br, echo[:6]); err != nil || string(echo[2:6]) != "late" {
		t.Errorf("%q %v, want what came after the other process has ended", echo, err)
	}
}

// TestPassedEnds: the process that has passed a connection decides who gets a request. So no
// second one is answered on it.
func TestPassedEnds(t *testing.T) {
	paths := make(chan string, 2)
	front := passFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths <- r.URL.Path
		w.Header().Set("Connection", "Upgrade") // as a WebSocket's library does when it refuses
		http.Error(w, "no", http.StatusUpgradeRequired)
	}))
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	b, err := io.ReadAll(conn)
	if err != nil || strings.Count(string(b), "HTTP/1.1") != 1 || !strings.HasPrefix(string(b), "HTTP/1.1 426") || len(paths) != 1 {
		t.Errorf("%q %v, want one answer, and the end", b, err)
	}
}

// TestNotPassed: other requests stay where they are, and so do all while the other process is
// away.
func TestNotPassed(t *testing.T) {
	front := passFront(t, http.NotFoundHandler())
	for _, c := range []struct{ method, path, body, connection, upgrade string }{
		{"GET", "/live", "", "", ""},
		{"GET", "/live", "", "keep-alive", "websocket"},
		{"POST", "/live", "body", "Upgrade", "websocket"},
		{"GET", "/live", "", "Upgrade", "h2c"},
		{"GET", "/away", "", "Upgrade", "websocket"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, front.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.upgrade != "" {
			req.Header.Set("Connection", c.connection)
			req.Header.Set("Upgrade", c.upgrade)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "not passed" {
			t.Errorf("%v: %d %q", c, resp.StatusCode, b)
		}
	}
}

// TestLost: the log tells that connections did not get to this process, why, and what helps, and does not tell it
// of each.
func TestLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "role.pass")
	ln, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	client, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pass := func(conn net.Conn) {
		t.Helper()
		to, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		if conn == nil {
			return // as a process that ends
		}
		if err := send(to.(*net.UnixConn), conn, []byte("GET /live")); err != nil {
			t.Fatal(err)
		}
	}
	var lines strings.Builder
	l := &passed{ln, lost{log: slog.New(slog.NewTextHandler(&lines, nil))}}
	pass(nil)
	pass(nil)
	pass(client)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := lines.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "what has ended one of the processes") {
		t.Errorf("log:\n%s", got)
	}

	pass(client)
	from, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	_, err = receive(from.(*net.UnixConn))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if text := remedy(err); err == nil || !strings.Contains(text, "LimitNOFILE") {
		t.Errorf("without descriptors: %v, %s", err, text)
	}
}
