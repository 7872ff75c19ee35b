package processors

import "context"

func (c *camera) projectAll(context.Context) {}
