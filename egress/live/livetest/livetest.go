// Package livetest is a client of /live for tests. It needs no network, so it works in a
// bubble of testing/synctest too.
package livetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/framelog/framelog/egress/live"
	"github.com/framelog/framelog/egress/parts"
)

// Client is a connection. A goroutine of its own takes all that comes.
type Client struct {
	socket *websocket.Conn
	ctx    context.Context //nolint:containedctx // of the test

	mu    sync.Mutex
	lines []string
	media []live.Media
	got   int64 // bytes of binary messages
	acks  bool
	err   error
	done  chan struct{}
}

// Dial connects to a handler. If the handler refuses, it returns the answer, and no client.
func Dial(t *testing.T, h http.Handler, path string, header http.Header) (*Client, *http.Response) {
	t.Helper()
	socket, refused := Open(t, h, path, header)
	if refused != nil {
		return nil, refused
	}
	return newClient(t, socket), nil
}

// DialSlow is Dial over a network in which the server's bytes come at the rate that rate returns,
// bytes a second; 0: none come.
func DialSlow(t *testing.T, h http.Handler, path string, rate func() int) *Client {
	t.Helper()
	socket, refused := open(t, inProcess{h, rate}, path, nil, true)
	if refused != nil {
		t.Fatal(refused.Status)
	}
	return newClient(t, socket)
}

// Open is Dial without a client: nobody reads from the socket.
func Open(t *testing.T, h http.Handler, path string, header http.Header) (*websocket.Conn, *http.Response) {
	t.Helper()
	return open(t, inProcess{handler: h}, path, header, true)
}

// DialMute is Dial for a client that takes all and answers no ping.
func DialMute(t *testing.T, h http.Handler, path string) *Client {
	t.Helper()
	socket, refused := open(t, inProcess{handler: h}, path, nil, false)
	if refused != nil {
		t.Fatal(refused.Status)
	}
	return newClient(t, socket)
}

func open(t *testing.T, to inProcess, path string, header http.Header, answers bool) (*websocket.Conn, *http.Response) {
	t.Helper()
	socket, resp, err := websocket.Dial(t.Context(), "http://framelog.test"+path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: to}, HTTPHeader: header,
		OnPingReceived: func(context.Context, []byte) bool { return answers },
	})
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return nil, resp
	}
	return socket, nil
}

// Connect connects to a server over the network. url begins with http.
func Connect(t *testing.T, url string, header http.Header) *Client {
	t.Helper()
	socket, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, socket)
}

// ConnectSlow is Connect for a client that takes so many bytes a second, through a small buffer.
func ConnectSlow(t *testing.T, url string, rate int) *Client {
	t.Helper()
	socket, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &slow{Conn: conn, rate: func() int { return rate }, closed: make(chan struct{})}, conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, socket)
}

func newClient(t *testing.T, socket *websocket.Conn) *Client {
	t.Helper()
	socket.SetReadLimit(-1)
	c := &Client{socket: socket, ctx: t.Context(), acks: true, done: make(chan struct{})}
	go c.read()
	t.Cleanup(c.Close)
	return c
}

// Close ends the connection.
func (c *Client) Close() {
	_ = c.socket.CloseNow() // it may have ended
	<-c.done
}

// Acknowledge tells whether the client acknowledges what it gets; it does from the start.
func (c *Client) Acknowledge(yes bool) {
	c.mu.Lock()
	c.acks = yes
	got := c.got
	c.mu.Unlock()
	if yes && got > 0 {
		c.Send(live.Message{Type: live.Ack, Bytes: got})
	}
}

// Subscribe asks for a camera's rendition.
func (c *Client) Subscribe(channel int, camera, rendition string, after *parts.Position) {
	c.Send(live.Message{Type: live.Subscribe, Channel: channel, Camera: camera, Rendition: rendition, After: after})
}

// Send sends a message.
func (c *Client) Send(m live.Message) {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	c.SendText(string(b))
}

// SendText sends a text message as it is.
func (c *Client) SendText(s string) {
	_ = c.socket.Write(c.ctx, websocket.MessageText, []byte(s)) // the server may have ended it
}

// Heard returns what came so far, a line for each message, without the hello and the times.
func (c *Client) Heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// Media returns the binary messages that came so far.
func (c *Client) Media() []live.Media {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.media)
}

// Ended returns why the connection has ended, nil while it is open.
func (c *Client) Ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Client) read() {
	defer close(c.done)
	for {
		kind, b, err := c.socket.Read(c.ctx)
		if err == nil {
			err = c.take(kind, b)
		}
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
	}
}

func (c *Client) take(kind websocket.MessageType, b []byte) error {
	if kind == websocket.MessageText {
		line, err := describe(b)
		c.mu.Lock()
		defer c.mu.Unlock()
		if line != "" {
			c.lines = append(c.lines, line)
		}
		return err
	}
	m, err := live.ParseMedia(b)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("part %d %d.%d.%d", m.Channel, m.Seq, m.Epoch, m.Part)
	if m.Init {
		line = fmt.Sprintf("init %d", m.Channel)
	}
	c.mu.Lock()
	c.got += int64(len(b))
	got, acks := c.got, c.acks
	c.media = append(c.media, m)
	c.lines = append(c.lines, line)
	c.mu.Unlock()
	if acks {
		c.Send(live.Message{Type: live.Ack, Bytes: got})
	}
	return nil
}

// describe makes a line of a text message.
func describe(b []byte) (string, error) {
	var m struct {
		Type, Config, Reason, Cause, Error, MIME string
		Channel                                  int
		Seq, Session, To                         uint64
		Epoch                                    int64
		From                                     parts.Position
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return "", err
	}
	switch m.Type {
	case "hello", "now":
		return "", nil
	case "config":
		return fmt.Sprintf("config %d %s %s", m.Channel, m.Config, m.MIME), nil
	case "fragment":
		return fmt.Sprintf("fragment %d %d.%d of session %d", m.Channel, m.Seq, m.Epoch, m.Session), nil
	case "left_out":
		return strings.TrimSpace(fmt.Sprintf("left out %d from %d.%d to %d: %s %s", m.Channel, m.From.Seq, m.From.Part, m.To, m.Reason, m.Cause)), nil
	case "end":
		return fmt.Sprintf("end %d %s", m.Channel, m.Reason), nil
	}
	return "", fmt.Errorf("livetest: a message of type %q", m.Type)
}

// inProcess sends requests to a handler in this process.
type inProcess struct {
	handler http.Handler
	rate    func() int // of what the handler sends, bytes a second; nil: no limit
}

// RoundTrip implements http.RoundTripper.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	ours, theirs := net.Pipe()
	w := &hijackable{ResponseRecorder: httptest.NewRecorder(), conn: theirs, answered: make(chan struct{})}
	in := r.Clone(context.WithoutCancel(r.Context()))
	in.RemoteAddr = "192.0.2.1:1234"
	go func() {
		p.handler.ServeHTTP(w, in)
		w.finish()
		_ = theirs.Close()
	}()
	<-w.answered
	resp := w.Result()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = ours
		if p.rate != nil {
			resp.Body = &slow{Conn: ours, rate: p.rate, closed: make(chan struct{})}
		}
	}
	return resp, nil
}

// slow reads at a rate.
type slow struct {
	net.Conn
	rate   func() int
	once   sync.Once
	closed chan struct{}
}

// Read implements net.Conn.
func (s *slow) Read(p []byte) (int, error) {
	const step = 100 * time.Millisecond
	for {
		select {
		case <-time.After(step):
		case <-s.closed:
			return 0, net.ErrClosed
		}
		if rate := s.rate(); rate > 0 {
			return s.Conn.Read(p[:min(len(p), rate*int(step)/int(time.Second))])
		}
	}
}

// Close implements net.Conn.
func (s *slow) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// hijackable is a ResponseWriter that gives away its connection.
type hijackable struct {
	*httptest.ResponseRecorder
	conn     net.Conn
	once     sync.Once
	answered chan struct{}
}

func (w *hijackable) finish() { w.once.Do(func() { close(w.answered) }) }

// Hijack implements http.Hijacker.
func (w *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.finish()
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}
