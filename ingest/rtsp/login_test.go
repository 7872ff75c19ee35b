package rtsp_test

import (
	"bufio"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/tests/testenv"
)

// guarded is a camera that wants user "viewer" and a password. It announces
// video, accepts PLAY and sends nothing.
type guarded struct {
	password string
	basic    bool
	// ask says which methods want credentials; default: all but OPTIONS.
	ask map[string]bool
	// once: a nonce is good for one request; the next is told that it is
	// stale, or where silent is set just gets another challenge.
	once, silent bool
	// closes: it closes the connection after each challenge; a nonce is good for
	// the next one too.
	closes bool
	// bye: it closes the first connection once it has answered DESCRIBE, and
	// every connection has a nonce of its own.
	bye bool
	// base is the Content-Base of its answer to DESCRIBE; default: none.
	base string
	// to is the URL that it redirects each other DESCRIBE to; default: none.
	to string
	// asks is the method of a request that it makes after it has answered after.
	asks, after string

	url string
	mu  sync.Mutex
	n   guardedCounts
}

// guardedCounts counts connections, requests, those with credentials, what became of these, and
// answers to what the camera asks.
type guardedCounts struct{ conns, requests, logins, wrong, right, stale, played, answers int }

func (g *guarded) counts() guardedCounts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

func (g *guarded) set(password string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.password = password
}

func (g *guarded) start(t *testing.T) {
	t.Helper()
	if g.ask == nil {
		g.ask = map[string]bool{"DESCRIBE": true, "SETUP": true, "PLAY": true, "TEARDOWN": true}
	}
	g.url = listen(t, func(c net.Conn) {
		g.mu.Lock()
		g.n.conns++
		conn := g.n.conns
		g.mu.Unlock()
		g.serve(c, conn)
	})
}

// serve answers the requests of one connection, the n-th.
func (g *guarded) serve(c net.Conn, n int) {
	r := bufio.NewReader(c)
	nonce := 0
	if g.bye {
		nonce = 100 * n
	}
	for {
		header := map[string]string{}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Fields(line)
		for {
			h, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if h == "\r\n" {
				break
			}
			k, v, _ := strings.Cut(strings.TrimSpace(h), ": ")
			header[strings.ToLower(k)] = v
		}
		if strings.HasPrefix(line, "RTSP/") {
			g.mu.Lock()
			g.n.answers++
			g.mu.Unlock()
			continue
		}
		status, more, body := "200 OK", "", ""
		if len(f) != 3 {
			return
		}
		g.mu.Lock()
		g.n.requests++
		if header["authorization"] != "" {
			g.n.logins++
		}
		base, to, enough := g.base, g.to, g.n.requests > 100
		g.mu.Unlock()
		if enough {
			return // the client makes them in a loop
		}
		if challenge := g.check(f[0], f[1], header["authorization"], &nonce); challenge != "" {
			status, more = "401 Unauthorized", "WWW-Authenticate: "+challenge+"\r\n"
		} else if f[0] == "DESCRIBE" && to != "" && f[1] != to {
			status, more = "302 Moved Temporarily", "Location: "+to+"\r\n"
		} else {
			switch f[0] {
			case "OPTIONS":
				more = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
			case "DESCRIBE":
				body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n"
				more = "Content-Type: application/sdp\r\n"
				if base != "" {
					more += "Content-Base: " + base + "\r\n"
				}
			case "SETUP":
				more = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
			case "PLAY":
				more = "Session: 1\r\n"
				g.mu.Lock()
				g.n.played++
				g.mu.Unlock()
			}
		}
		fmt.Fprintf(c, "RTSP/1.0 %s\r\nCSeq: %s\r\n%sContent-Length: %d\r\n\r\n%s", status, header["cseq"], more, len(body), body)
		if g.asks != "" && f[0] == g.after {
			fmt.Fprintf(c, "%s %s RTSP/1.0\r\nCSeq: 1\r\nSession: 1\r\n\r\n", g.asks, f[1])
		}
		if g.closes && status != "200 OK" || g.bye && n == 1 && body != "" {
			// What comes meanwhile is not read; a plain close would then be a reset.
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, r)
			return
		}
	}
}

var parameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

// check gives the challenge to a request, "" where it may pass.
func (g *guarded) check(method, uri, authorization string, nonce *int) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ask[method] {
		return ""
	}
	if g.basic {
		switch authorization {
		case "":
		case "Basic " + base64.StdEncoding.EncodeToString([]byte("viewer:"+g.password)):
			g.n.right++
			return ""
		default:
			g.n.wrong++
		}
		return `Basic realm="r"`
	}
	p := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(authorization, -1) {
		p[m[1]] = m[2]
	}
	hash := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	right := p["response"] == hash(hash("viewer:r:"+g.password)+":"+p["nonce"]+":"+hash(method+":"+uri))
	fresh := p["nonce"] == fmt.Sprintf("nonce%d", *nonce)
	switch {
	case authorization == "":
	case !right:
		g.n.wrong++
	case fresh:
		g.n.right++
		if g.once {
			*nonce++
		}
		return ""
	default:
		g.n.stale++
		if !g.silent {
			return fmt.Sprintf(`Digest realm="r", nonce="nonce%d", stale=TRUE`, *nonce)
		}
	}
	return fmt.Sprintf(`Digest realm="r", nonce="nonce%d"`, *nonce)
}

func (g *guarded) login(t *testing.T, password string) *url.URL {
	t.Helper()
	u, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("viewer", password)
	return u
}

// Cameras lock accounts after a few wrong passwords: a password that is not accepted is
// sent once an attempt, also where a second connection is needed for it.
func TestWrongPasswordIsSentOnce(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for name, g := range map[string]*guarded{
			"digest":        {},
			"basic":         {basic: true},
			"from OPTIONS":  {ask: map[string]bool{"OPTIONS": true, "DESCRIBE": true, "SETUP": true}},
			"SETUP alone":   {ask: map[string]bool{"SETUP": true}},
			"Basic, SETUP":  {basic: true, ask: map[string]bool{"SETUP": true}},
			"PLAY, not yet": {ask: map[string]bool{"PLAY": true}},
			"closes":        {closes: true},
			"Basic, closes": {basic: true, closes: true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g.password = "canary"
				g.start(t)
				s, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, g.login(t, "canary-wrong").String()), Transport: rtsp.TransportTCP})
				err := wait()
				t.Log(err)
				var e *rtsp.Error
				if !errors.Is(err, rtsp.ErrRefused) || !errors.As(err, &e) || e.Status != 401 {
					t.Error(err)
				}
				if n := g.counts(); n.conns != 1 && !g.closes || n.wrong != 1 {
					t.Errorf("%+v", n)
				}
				noCanary(t, err, s.observed())
			})
		}
	})
}

// A password that is right is not given up where its nonce is not good any more.
func TestStaleNonce(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for name, g := range map[string]*guarded{
			"stale":             {once: true},
			"another challenge": {once: true, silent: true},
			"from OPTIONS":      {once: true, ask: map[string]bool{"OPTIONS": true, "DESCRIBE": true, "SETUP": true, "PLAY": true}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g.password = "canary"
				g.start(t)
				_, stop, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, g.login(t, "canary").String()), Transport: rtsp.TransportTCP})
				eventually(t, "PLAY", func() bool { return g.counts().played > 0 })
				stop()
				_ = wait()
				if n := g.counts(); n.conns != 1 || n.wrong != 0 || n.stale < 2 {
					t.Errorf("%+v", n)
				}
			})
		}
	})
}

// A camera that closes the connection after its challenge takes the answer over
// another one, at this attempt and at each later one.
func TestClosesAfterChallenge(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for name, g := range map[string]*guarded{
			"digest":                     {closes: true, ask: map[string]bool{"DESCRIBE": true}},
			"basic":                      {closes: true, basic: true, ask: map[string]bool{"DESCRIBE": true}},
			"digest, SETUP too":          {closes: true, ask: map[string]bool{"DESCRIBE": true, "SETUP": true}},
			"basic, SETUP too":           {closes: true, basic: true, ask: map[string]bool{"DESCRIBE": true, "SETUP": true}},
			"after DESCRIBE, with nonce": {bye: true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				g.password = "canary"
				g.start(t)
				s := &sink{}
				src := rtsp.New(rtsp.Config{
					Engine: engine, URL: fixed(t, g.login(t, "canary").String()), Transport: rtsp.TransportTCP,
					ConnectTimeout: testenv.Patience / 2, StallTimeout: testenv.Patience,
				})
				for attempt := 1; attempt <= 2; attempt++ {
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { done <- src.Run(ctx, s) }()
					eventually(t, "PLAY", func() bool { return g.counts().played >= attempt })
					cancel()
					if err := <-done; !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				}
				if n := g.counts(); n.wrong != 0 {
					t.Errorf("%+v", n)
				}
			})
		}
	})
}

// A password that was refused is not tried again for a while; another one is at
// once, also while Run waits.
func TestRefusedPasswordWaits(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		g := &guarded{password: "canary"}
		g.start(t)
		var mu sync.Mutex
		secret, asked := "canary-wrong", 0
		s := &sink{}
		src := rtsp.New(rtsp.Config{
			Engine: engine, URL: func(context.Context) (*url.URL, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				return g.login(t, secret), nil
			},
			Transport: rtsp.TransportTCP, ConnectTimeout: testenv.Patience / 2, StallTimeout: testenv.Patience,
			LoginWait: time.Hour, LoginWaitMax: time.Hour, SecretEvery: time.Millisecond,
		})
		err := src.Run(t.Context(), s)
		if !errors.Is(err, rtsp.ErrRefused) || !strings.Contains(err.Error(), "is tried again after 1h at first") {
			t.Errorf("%v", err)
		}
		noCanary(t, err)

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- src.Run(ctx, s) }()
		eventually(t, "the secret to be asked for", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return asked > 20
		})
		if n := g.counts(); n.conns != 1 || n.wrong != 1 {
			t.Errorf("while it waits: %+v", n)
		}
		mu.Lock()
		secret = "canary"
		mu.Unlock()
		eventually(t, "PLAY", func() bool { return slices.Contains(s.states(), ingest.EventPlaying) })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}

		// What was good and is refused is tried again once, then waited with.
		g.set("other")
		for i, want := range []bool{false, true} {
			err := src.Run(t.Context(), s)
			if got := strings.Contains(fmt.Sprint(err), "is tried again"); !errors.Is(err, rtsp.ErrRefused) || got != want {
				t.Errorf("refusal %d: %v", i, err)
			}
		}
	})
}
