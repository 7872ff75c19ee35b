package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// reading is the newest reading of a topic, which calls at the same time share.
type reading struct {
	turn  chan struct{} // holds one token while what follows is used
	began time.Time
	view  *view
}

func newReading() reading { return reading{turn: make(chan struct{}, 1)} }

// latest calls use with what a topic held at the time of the call or later. It waits for
// brokers until ctx ends. A thousand calls at the same time make two readings.
func (c *Client) latest(ctx context.Context, r *reading, topic string, use func(*view)) error {
	called := time.Now()
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turn }()
	if r.began.Before(called) {
		began, now := time.Now(), (*view)(nil)
		err := c.read(ctx, func(v *view) error { now = v; return errRead }, topic)
		if !errors.Is(err, errRead) {
			return err
		}
		r.began, r.view = began, now
	}
	use(r.view)
	return nil
}

// LastStatus returns the newest status of a camera that any process had written before
// the call, also of a removed camera; the zero Status if there is none. It waits for
// brokers until ctx ends. Calls at the same time share a reading of the topic.
func (c *Client) LastStatus(ctx context.Context, id string) (s schemas.Status, err error) {
	err = c.latest(ctx, &c.statuses, c.cfg.Names().Status(), func(v *view) { s = v.Status[id] })
	if err != nil {
		return schemas.Status{}, fmt.Errorf("registry: read status of %s: %w", id, err)
	}
	return s, nil
}

// Live reports whether the registry has a camera at the time of the call. It waits for
// brokers until ctx ends. Calls at the same time share a reading of the topic.
func (c *Client) Live(ctx context.Context, id string) (live bool, err error) {
	err = c.latest(ctx, &c.cameras, c.cfg.Names().Cameras(), func(v *view) { _, live = v.Cameras[id] })
	if err != nil {
		return false, fmt.Errorf("registry: read camera %s: %w", id, err)
	}
	return live, nil
}
