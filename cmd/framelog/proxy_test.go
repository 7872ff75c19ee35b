package main

import (
	"bufio"
	"context"
	"crypto/tls"
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

	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/tests/testenv"
)

// TestProxy: the proxy passes each piece of an answer on as it comes, and keeps the
// host of the request. If the role is away, it answers 503 in the form that the
// client accepts, also to pages of the sites that may read, and 403 to those of others.
func TestProxy(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "egress.sock")
	var lines strings.Builder
	log := slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	const portal = "https://portal.example"
	handler := proxy(socket, egress.Guard{Origins: []string{portal}}.Wrap, log)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/s/secret.link/hls/yard/index.m3u8", nil))
	if got := lines.String(); !strings.Contains(got, "path=/s/…/hls/yard/index.m3u8") || strings.Contains(got, "secret") {
		t.Errorf("log:\n%s", got)
	}
	front := httptest.NewServer(handler)
	defer front.Close()
	ask := func(path, accept string, origin ...string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "cameras.example"
		req.Header.Set("Accept", accept)
		if len(origin) > 0 {
			req.Header.Set("Origin", origin[0])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for accept, want := range map[string]string{"text/html,*/*": `http-equiv="refresh"`, "application/json": `"error":`} {
		resp := ask("/", accept)
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" || !strings.Contains(string(b), want) {
			t.Errorf("away, to %s: %d %v %s", accept, resp.StatusCode, resp.Header, b)
		}
	}
	for origin, code := range map[string]int{portal: 503, "https://evil.example": 403} {
		resp := ask("/hls/yard/raw.m3u8", "*/*", origin)
		if allow := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode != code || (allow == portal) != (code == 503) || allow == "*" {
			t.Errorf("away, to %s: %d, allows %q", origin, resp.StatusCode, allow)
		}
	}

	ln, err := service.Listen(t.Context(), "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- service.ServeHTTP(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "host %s\n", r.Host)
			for range 3 {
				_ = http.NewResponseController(w).Flush()
				<-next
				fmt.Fprintln(w, "piece")
			}
		}), log, 0)
	}()
	defer func() { cancel(); <-done }()
	br := bufio.NewReader(ask("/events", "*/*").Body)
	for i, want := range []string{"host cameras.example", "piece", "piece", "piece"} {
		line, err := br.ReadString('\n')
		if err != nil || strings.TrimSpace(line) != want {
			t.Fatalf("%q %v, want %q", line, err, want)
		}
		if i < 3 {
			next <- struct{}{} // lets the role write the next piece, now that this one has come
		}
	}
}

// TestProxiedSocketEnds: a WebSocket over TLS ends at the proxy when the role ends it, also if the
// client stays as it is, and when the client takes nothing.
func TestProxiedSocketEnds(t *testing.T) {
	const more = 64 << 20 // than all buffers between a role and a client
	for name, size := range map[string]int{"the role has ended it": 10, "the client takes nothing": more} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "egress.sock")
			ln, err := service.Listen(t.Context(), "unix:"+socket)
			if err != nil {
				t.Fatal(err)
			}
			log := slog.New(slog.DiscardHandler)
			ctx, cancel := context.WithCancel(context.Background())
			served, proxied := make(chan error, 1), make(chan struct{})
			go func() {
				served <- service.ServeHTTP(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
					_, _ = conn.Write(make([]byte, size)) // it fails when the proxy has ended it
				}), log, 0)
			}()
			defer func() { cancel(); <-served }()
			to := proxy(socket, egress.Guard{}.Wrap, log)
			front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(proxied)
				to.ServeHTTP(w, r)
			}))
			front.Listener = service.WithProgress(front.Listener, 100*time.Millisecond)
			front.StartTLS()
			conn, err := tls.Dial("tcp", front.Listener.Addr().String(), front.Client().Transport.(*http.Transport).TLSClientConfig)
			if err != nil {
				t.Fatal(err)
			}
			defer front.Close()
			defer conn.Close()
			_, _ = io.WriteString(conn, "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			if _, err := io.ReadFull(conn, make([]byte, 20)); err != nil { // of the answer, and nothing more
				t.Fatal(err)
			}
			select {
			case <-proxied:
			case <-time.After(testenv.Patience):
				t.Error("the proxy holds the connection")
			}
		})
	}
}

// TestSocketsOfEgress: egress gets the connections of WebSockets itself, also those of share links,
// with the path and the address of the client. Other requests go to the proxy.
func TestSocketsOfEgress(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "egress.pass")
	ln, err := service.Listen(t.Context(), "unix:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- service.ServePassed(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Client", r.RemoteAddr)
			_, _ = io.WriteString(w, "egress "+r.RequestURI)
		}), log)
	}()
	defer func() { cancel(); <-done }()
	mux := http.NewServeMux()
	toProxy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "proxy "+r.RequestURI) })
	egressRole().mount(mux, toProxy, passing(socket, toProxy, log))
	front := httptest.NewServer(mux)
	defer front.Close()
	for path, to := range map[string]string{
		"/live": "egress", "/s/a.link/live": "egress", "/s/a.link/hls/yard/raw.m3u8": "proxy", "/s/a/link/live": "proxy", "/s/a.link/live/": "proxy",
	} {
		conn, err := net.Dial("tcp", front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if client := resp.Header.Get("Client"); err != nil || string(b) != to+" "+path || to == "egress" && client != conn.LocalAddr().String() {
			t.Errorf("%s: %q of %q, %v, want %s", path, b, client, err, to)
		}
		_ = conn.Close()
	}
}

func TestReadable(t *testing.T) {
	for addr, want := range map[string]string{"127.0.0.1:80": "127.0.0.1:80", "[::]:80": "localhost:80", "0.0.0.0:8080": "localhost:8080"} {
		if got := readable(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
