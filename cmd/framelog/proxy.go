package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/framelog/framelog/egress/people"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
)

// awayPage is the page that browsers get while egress is away.
const awayPage = `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<meta name="viewport" content="width=device-width"><title>Framelog</title>
<body style="font:16px/1.5 system-ui,sans-serif;margin:20vh auto;max-width:28em;padding:0 1em">
<h1>One moment</h1><p>Framelog is starting this part of itself. This page tries again by itself.</p>
`

// untaken is how long a client may take nothing of what up writes to it (see
// service.WithProgress). Egress, which ends its own side of a request or a WebSocket, comes first.
func untaken(cfg *config.Config) time.Duration {
	return max(time.Minute, time.Duration(config.Get[egressConfig](cfg).WriteTimeout))
}

// proxy passes requests to the socket of a role. While the role is away, as after a
// crash, it answers 503 to requests that guard allows. Players and pages try again.
// When the role ends a WebSocket, the client's side ends too.
func proxy(socket string, guard func(http.Handler) http.Handler, log *slog.Logger) http.Handler {
	var d net.Dialer
	unavailable := guard(http.HandlerFunc(away))
	transport := service.Transport(func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) })
	reverse := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // event streams and parts leave at once
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "role"
			r.Out.Host = r.In.Host // egress checks it
			// What a proxy in front has seen stays: egress knows which of it to believe.
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
			if proto := r.In.Header.Get("X-Forwarded-Proto"); proto != "" && r.In.TLS == nil {
				r.Out.Header.Set("X-Forwarded-Proto", proto)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil || errors.Is(err, context.Canceled) {
				return // the client has gone
			}
			log.Debug("a role is away", "path", people.WithoutLink(r.URL.Path), "error", err)
			unavailable.ServeHTTP(w, r)
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reverse.ServeHTTP(closing{w}, r) })
}

// closing is a ResponseWriter. The connection that Hijack returns has no CloseWrite, with which
// ReverseProxy would tell the client that the role has ended, and wait for ever until the client
// closes. Without it, ReverseProxy closes.
type closing struct{ http.ResponseWriter }

// Unwrap is for http.ResponseController.
func (c closing) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Hijack is [http.Hijacker].
func (c closing) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	return struct{ net.Conn }{conn}, rw, err
}

// passing gives the connections of WebSockets to the role that takes them on a Unix socket.
// What cannot be passed goes to the proxy.
func passing(socket string, proxy http.Handler, log *slog.Logger) http.Handler {
	to := service.NewPasser(socket, log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !to.Pass(w, r) {
			proxy.ServeHTTP(w, r)
		}
	})
}

// away answers requests for a role that is away.
func away(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Retry-After", "1")
	h.Set("Cache-Control", "no-store")
	if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, awayPage) // the client has gone
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, `{"error":"this part of framelog is being started","remedy":"try again in a second"}`+"\n")
}

// readiness answers /readyz with 200 if every role has been ready once, and the
// roles that answer viewers are ready now. Otherwise it names the role that is
// not ready, and why.
func (u *up) readiness(clients map[string]*http.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		code, text := http.StatusOK, "ready"
		starting := u.starting()
		if starting != "" {
			code, text = http.StatusServiceUnavailable, starting
		}
		for _, c := range u.children {
			if starting == "" && !c.answers {
				continue
			}
			err := service.AskReady(ctx, clients[c.name])
			if err == nil {
				continue
			}
			code, text = http.StatusServiceUnavailable, c.name+" is being started"
			if why, ok := errors.AsType[*service.NotReadyError](err); ok {
				text = c.name + ": " + why.Why
			}
			break
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if code != http.StatusOK {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text+"\n") // the client has gone
	})
}
