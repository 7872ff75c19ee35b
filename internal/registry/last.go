package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// lastStatuses are the newest statuses of all cameras as of a reading.
type lastStatuses struct {
	began time.Time
	all   map[string]schemas.Status
}

// LastStatus returns the newest status of a camera that any process had written before
// the call, also of a removed camera; the zero Status if there is none. It waits for
// brokers until ctx ends. Calls at the same time share a reading of the topic: a
// thousand make two.
func (c *Client) LastStatus(ctx context.Context, id string) (schemas.Status, error) {
	called := time.Now()
	select {
	case c.reading <- struct{}{}:
	case <-ctx.Done():
		return schemas.Status{}, fmt.Errorf("registry: read status of %s: %w", id, ctx.Err())
	}
	defer func() { <-c.reading }()
	if c.last.began.Before(called) {
		now := lastStatuses{began: time.Now()}
		err := c.read(ctx, func(v *view) error { now.all = v.Status; return errRead }, c.cfg.Names().Status())
		if !errors.Is(err, errRead) {
			return schemas.Status{}, fmt.Errorf("registry: read status of %s: %w", id, err)
		}
		c.last = now
	}
	return c.last.all[id], nil
}
