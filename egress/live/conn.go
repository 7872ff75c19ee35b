package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/framelog/framelog/egress/answer"
)

// silence is how long a client may take to answer a ping.
const silence = 15 * time.Second

// conn is one connection. Its reader alone uses channels.
type conn struct {
	*Server
	socket *websocket.Conn
	out    *batch
	r      *http.Request // who asks
	window *window
	turn   chan struct{}   // held by the subscription that sends media, so that the window holds
	ctx    context.Context //nolint:containedctx // of the connection: a write that it does not end breaks the socket
	cancel context.CancelFunc

	channels map[int]*subscription
	places   chan struct{} // one for each subscription that runs, or tells the client that it has ended
	subs     sync.WaitGroup
}

func newConn(s *Server, socket *websocket.Conn, out *batch, r *http.Request) *conn {
	socket.SetReadLimit(maxMessage)
	return &conn{
		Server: s, socket: socket, out: out, r: r, window: newWindow(s.cfg.MaxInFlight, s.cfg.MaxLate), turn: make(chan struct{}, 1),
		channels: map[int]*subscription{}, places: make(chan struct{}, 2*s.cfg.MaxSubscriptions),
	}
}

// run serves a connection until the client goes or ctx ends. The error says why it ended.
func (c *conn) run(ctx context.Context) error {
	c.ctx, c.cancel = context.WithCancel(ctx)
	defer func() {
		c.cancel()
		c.subs.Wait()
		c.m.inFlight.Sub(float64(c.window.inFlight()))
	}()
	if err := c.tell(hello{Type: typeHello, Version: Version, InFlight: c.cfg.MaxInFlight}); err != nil {
		return err
	}
	c.subs.Add(1)
	go func() {
		defer c.subs.Done()
		c.beat()
	}()
	err := c.read()
	if bad, ok := errors.AsType[*protocolError](err); ok {
		c.m.refused.WithLabelValues("messages").Inc()
		_ = c.socket.Close(websocket.StatusPolicyViolation, bad.Error()) // the client may have gone
	}
	return err
}

// read takes the messages of the client until it goes, or sends one that is not of the
// protocol.
func (c *conn) read() error {
	for {
		kind, b, err := c.socket.Read(c.ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageText {
			return badf("a client sends no binary messages")
		}
		m, err := ParseMessage(b)
		if err == nil {
			err = c.take(m)
		}
		if err != nil {
			return err
		}
	}
}

// take does what a message asks for.
func (c *conn) take(m Message) error {
	sub := c.channels[m.Channel]
	switch m.Type {
	case Ack:
		n, ok := c.window.ack(m.Bytes)
		if !ok {
			return badf("ack: the client cannot have got %d bytes", m.Bytes)
		}
		c.m.inFlight.Sub(float64(n))
	case Unsubscribe:
		// The server may have ended it at the same time, so an unknown channel is no mistake.
		if sub != nil {
			sub.cancel()
			delete(c.channels, m.Channel)
		}
	case Subscribe:
		if sub != nil && sub.ctx.Err() == nil {
			return badf("subscribe: channel %d is in use", m.Channel)
		}
		return c.subscribe(m)
	}
	return nil
}

// subscribe begins a subscription.
func (c *conn) subscribe(m Message) error {
	for ch, sub := range c.channels {
		if sub.ctx.Err() != nil {
			delete(c.channels, ch)
		}
	}
	if len(c.channels) >= c.cfg.MaxSubscriptions {
		c.m.refused.WithLabelValues("subscriptions").Inc()
		return (&subscription{conn: c, ask: m}).end(errTooMany)
	}
	select {
	case c.places <- struct{}{}:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	sub := newSubscription(c, m)
	c.channels[m.Channel] = sub
	c.subs.Add(1)
	c.m.subscriptions.Inc()
	go func() {
		defer c.subs.Done()
		defer func() { <-c.places }()
		defer c.m.subscriptions.Dec()
		sub.run()
	}()
	return nil
}

// beat pings the client, and sends it the time, which its page sees. It ends a connection
// that does not answer.
func (c *conn) beat() {
	tick := time.NewTicker(answer.Beat)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(c.ctx, silence)
		err := c.socket.Ping(ctx)
		cancel()
		if err != nil || c.tell(nowMessage()) != nil {
			c.cancel()
			return
		}
	}
}

// tell sends a message as JSON.
func (c *conn) tell(message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.WriteTimeout)
	defer cancel()
	return c.socket.Write(ctx, websocket.MessageText, b)
}

// media sends a binary message. header and data are not copied into one slice. One caller has
// the turn.
func (c *conn) media(header, data []byte) error {
	n := int64(len(header) + len(data))
	c.window.add(n)
	c.m.inFlight.Add(float64(n))
	c.m.bytes.Add(float64(n))
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.WriteTimeout)
	defer cancel()
	w, err := c.socket.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	c.out.hold()
	if _, err = w.Write(header); err == nil {
		_, err = w.Write(data)
	}
	return errors.Join(err, w.Close(), c.out.send(ctx))
}
