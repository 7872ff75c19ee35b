package live

import (
	"context"
	"errors"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/egress/parts"
)

// errTooMany: the connection has no place for another subscription.
var errTooMany = errors.New("live: too many subscriptions")

// subscription is one camera's rendition on a connection.
type subscription struct {
	conn   *conn
	ask    Message
	ctx    context.Context //nolint:containedctx // ended by the reader of the connection
	cancel context.CancelFunc

	beat   *time.Ticker   // of answer.Beat: the rights may have changed
	config string         // the decoder configuration that the client has
	at     parts.Fragment // the one that the client was told of last
}

func newSubscription(c *conn, m Message) *subscription {
	s := &subscription{conn: c, ask: m}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	return s
}

// run sends what there is of the camera until ctx ends or a reason of package parts comes,
// of which it tells the client.
func (s *subscription) run() {
	err := s.follow()
	told := s.ctx.Err() != nil // the client has unsubscribed, or is gone
	s.cancel()                 // before the client hears of it: it may use the channel again
	if !told {
		_ = s.end(err) // the client has gone
	}
}

func (s *subscription) follow() error {
	// Whoever may not watch a camera is told the same as for one that does not exist.
	if !access.BeginWatch(s.conn.r, s.ask.Camera, s.ask.Rendition) {
		return parts.ErrNotFound
	}
	v, err := s.conn.deps.Source.View(s.ctx, s.ask.topic(), s.ask.After)
	if err != nil {
		return err
	}
	defer v.Close()
	s.beat = time.NewTicker(answer.Beat)
	defer s.beat.Stop()
	for {
		changed, err := s.send(v)
		if err != nil {
			return err
		}
		if changed == nil {
			continue
		}
		select {
		case <-changed:
		case <-s.beat.C: // send asks for the right
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// reading is how long a subscription keeps its turn while it reads the log, which may take
// seconds. Nearly always the footage is in memory.
const reading = 20 * time.Millisecond

// send sends what comes next, as soon as it may. If there is nothing yet, it returns a
// channel that is closed when there may be something. It has its turn before it asks for what
// comes next: so that is the newest. While it reads the log, others have theirs.
func (s *subscription) send(v parts.Viewer) (changed <-chan struct{}, err error) {
	c := s.conn
	if err := s.take(); err != nil {
		return nil, err
	}
	has := true
	defer func() {
		if has {
			<-c.turn
		}
	}()
	late := time.AfterFunc(reading, func() { <-c.turn })
	step, init, changed, err := s.next(v)
	if !late.Stop() {
		has = false
	}
	if err != nil || changed != nil {
		return changed, err
	}
	if !has {
		if err := s.take(); err != nil {
			return nil, err
		}
		has = true
	}
	switch {
	case step.LeftOut == nil && s.ask.Keyframes && step.Part > 0:
		return nil, nil
	case step.LeftOut != nil:
		c.m.leftOut.WithLabelValues(string(step.LeftOut.Reason)).Inc()
		c.out.hold()
		return nil, errors.Join(c.tell(leftOut{typeLeftOut, s.ask.Channel, step.LeftOut}), c.out.send())
	}
	return nil, s.part(init, step)
}

// take waits until it is this subscription's turn to send, and it may, and asks meanwhile whether
// the client may watch. Without an error the turn must be given back.
func (s *subscription) take() (err error) {
	c := s.conn
	turn, full := c.turn, (<-chan struct{})(nil) // turn is nil once this subscription has it
	for err == nil && (turn != nil || full != nil) {
		select {
		case turn <- struct{}{}:
			turn, full = nil, c.window.full()
		case <-full:
			full = c.window.full()
		case <-s.beat.C:
			err = s.may()
		case <-s.ctx.Done():
			err = s.ctx.Err()
		}
	}
	if err == nil {
		err = s.may()
	}
	if err != nil && turn == nil {
		<-c.turn
	}
	return err
}

// next reads what comes next, and its init segment if the client does not have that.
func (s *subscription) next(v parts.Viewer) (step parts.Step, init *parts.Init, changed <-chan struct{}, err error) {
	step, changed, err = v.Next(s.ctx)
	skipped := s.ask.Keyframes && step.Part > 0
	if err != nil || changed != nil || step.LeftOut != nil || skipped || step.Fragment.Config == s.config {
		return step, nil, changed, err
	}
	i, err := v.Init(s.ctx)
	return step, &i, nil, err
}

// may returns an error if the client may not watch the camera any more.
func (s *subscription) may() error {
	c := s.conn
	if !c.deps.Known(s.ask.Camera) || !access.MayWatch(c.r, s.ask.Camera, s.ask.Rendition) {
		return parts.ErrNotFound
	}
	return nil
}

// part sends a part, and before it what the client must know of its fragment, and waits until
// it has gone out. init is nil if the client has it.
func (s *subscription) part(init *parts.Init, step parts.Step) error {
	s.conn.out.hold()
	return errors.Join(s.write(init, step), s.conn.out.send())
}

func (s *subscription) write(init *parts.Init, step parts.Step) error {
	c, f := s.conn, step.Fragment
	if init != nil {
		if err := c.tell(config{typeConfig, s.ask.Channel, f.Config, `video/mp4; codecs="` + init.Codecs + `"`}); err != nil {
			return err
		}
		if err := c.media(initHeader(s.ask.Channel), init.Data); err != nil {
			return err
		}
		s.config = f.Config
	}
	if f.Seq != s.at.Seq || f.Epoch != s.at.Epoch {
		if err := c.tell(begins{typeFragment, s.ask.Channel, f}); err != nil {
			return err
		}
		s.at = f
	}
	return c.media(partHeader(s.ask.Channel, parts.Position{Seq: f.Seq, Epoch: f.Epoch, Part: step.Part}), step.Data)
}

// end tells the client why a subscription ends.
func (s *subscription) end(why error) error {
	m := ends{Type: typeEnd, Channel: s.ask.Channel}
	switch {
	case errors.Is(why, parts.ErrNotFound):
		m.Reason, m.Error = "not_found", "there is no such camera or rendition"
	case errors.Is(why, parts.ErrUnplayable):
		m.Reason, m.Error = "unplayable", "this footage has no parts that players take, such as MJPEG or data"
	case errors.Is(why, parts.ErrBusy):
		m.Reason, m.Error = "busy", "too many cameras are followed; try again later"
	case errors.Is(why, errTooMany):
		m.Reason, m.Error = "too_many", "this connection has no place for another subscription"
	default:
		m.Reason, m.Error = "away", "the log does not answer; try again in a second"
	}
	return s.conn.tell(m)
}
