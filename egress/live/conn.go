package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/framelog/framelog/egress/answer"
)

// silence is how long a client may take to answer a ping that has no media before it.
const silence = 15 * time.Second

// Why the server ends connections: labels of the metric.
const (
	endPing    = "ping"          // the client did not answer
	endWrite   = "write_timeout" // the client took nothing
	endMessage = "message"       // what came is not of the protocol, or too long
	endUnread  = "unread"        // the client does not read the answers that it asks for
	endClosing = "closing"       // the server closes
)

// errDead: the client took nothing, or did not answer.
var errDead = errors.New("live: the client gives no sign of life")

// conn is one connection. Its reader alone uses channels.
type conn struct {
	*Server
	socket *websocket.Conn
	out    *batch
	r      *http.Request // who asks
	window *window
	turn   chan struct{}   // held by the subscription that sends media, so that the window holds
	ctx    context.Context //nolint:containedctx // of the connection, which ends with it
	cancel context.CancelCauseFunc
	sign   atomic.Int64 // when the client gave a sign of life, ns since began
	began  time.Time
	asked  atomic.Bool // a ping is not answered yet

	channels map[int]*subscription
	places   chan struct{} // one for each subscription that runs, or tells the client that it has ended
	subs     sync.WaitGroup
}

func newConn(s *Server, socket *websocket.Conn, out *batch, r *http.Request) *conn {
	socket.SetReadLimit(maxMessage)
	return &conn{
		Server: s, socket: socket, out: out, r: r, began: time.Now(), window: newWindow(s.cfg.MaxInFlight, s.cfg.MaxLate), turn: make(chan struct{}, 1),
		channels: map[int]*subscription{}, places: make(chan struct{}, 2*s.cfg.MaxSubscriptions),
	}
}

// run serves a connection until the client goes or ctx ends. The error says why it ended.
func (c *conn) run(ctx context.Context) error {
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	// What is being written ends with the connection alone.
	defer context.AfterFunc(c.ctx, func() { _ = c.out.conn.Close() })()
	defer func() {
		c.out.drain() // the client may not have been told yet why it is cut off
		c.cancel(nil)
		c.subs.Wait()
		c.m.inFlight.Sub(float64(c.window.inFlight()))
	}()
	if err := c.tell(hello{Type: typeHello, Version: Version, InFlight: c.cfg.MaxInFlight}); err != nil {
		return err
	}
	c.subs.Go(c.beat)
	err := c.read()
	if why := context.Cause(c.ctx); ctx.Err() != nil || errors.Is(why, errDead) || errors.Is(why, errUnread) {
		err = why // else the client has gone, and what Read returns tells more
	}
	bad, isBad := errors.AsType[*protocolError](err)
	switch {
	case isBad:
		c.m.ended.WithLabelValues(endMessage).Inc()
		_ = c.socket.Close(websocket.StatusPolicyViolation, bad.Error()) // the client may have gone
	case errors.Is(err, websocket.ErrMessageTooBig):
		c.m.ended.WithLabelValues(endMessage).Inc()
	case errors.Is(err, errUnread):
		c.m.ended.WithLabelValues(endUnread).Inc()
	case ctx.Err() != nil:
		c.m.ended.WithLabelValues(endClosing).Inc()
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
		c.lives()
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
	c.m.subscriptions.Inc()
	c.subs.Go(func() {
		defer func() { <-c.places }()
		defer c.m.subscriptions.Dec()
		sub.run()
	})
	return nil
}

// lives notes a sign of life of the client.
func (c *conn) lives() { c.sign.Store(int64(time.Since(c.began))) }

// beat pings the client, and sends it the time, which its page sees. It ends a connection
// whose client neither answers nor takes bytes. A client that takes some is slow, however long
// the answer needs behind the media that were sent before.
func (c *conn) beat() {
	tick := time.NewTicker(answer.Beat)
	defer tick.Stop()
	var taken uint64
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		waits := c.out.waiting()
		media := waits || c.window.inFlight() > 0
		if n := c.out.taken(); n > taken {
			taken = n
			if media {
				c.lives()
			}
		}
		asked := c.asked.Load()
		reason, limit := endPing, silence
		switch {
		case waits:
			reason, limit = endWrite, c.cfg.WriteTimeout
		case media: // its system may have it, and the answer stands behind it
			reason, limit = endWrite, max(c.cfg.WriteTimeout, silence)
		}
		if silent := time.Since(c.began) - time.Duration(c.sign.Load()); (waits || asked) && silent >= limit {
			c.m.ended.WithLabelValues(reason).Inc()
			c.cancel(errDead)
			return
		}
		if waits || asked {
			continue // more would come behind it, and would be taken by a system whose program has stopped
		}
		if c.tell(nowMessage()) != nil {
			return
		}
		c.lives() // silence counts from the ping on
		c.asked.Store(true)
		c.subs.Go(func() {
			if c.orEnd(c.socket.Ping(c.ctx)) == nil {
				c.lives()
				c.asked.Store(false)
			}
		})
	}
}

// tell sends a message as JSON. It does not wait until the message has gone out. An error ends
// the connection.
func (c *conn) tell(message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return c.orEnd(c.socket.Write(c.ctx, websocket.MessageText, b))
}

// media sends a binary message, between hold and send of the batch. header and data are not
// copied into one slice. One caller has the turn. An error ends the connection.
func (c *conn) media(header, data []byte) error {
	n := int64(len(header) + len(data))
	c.window.add(n)
	c.m.inFlight.Add(float64(n))
	c.m.bytes.Add(float64(n))
	w, err := c.socket.Writer(c.ctx, websocket.MessageBinary)
	if err != nil {
		return c.orEnd(err)
	}
	if _, err = w.Write(header); err == nil {
		_, err = w.Write(data)
	}
	return c.orEnd(errors.Join(err, w.Close()))
}

// orEnd ends the connection if something could not be written, and returns err. The library may
// keep a lock then, for which others wait.
func (c *conn) orEnd(err error) error {
	if err != nil {
		c.cancel(err)
	}
	return err
}
