package service

import (
	"context"
	"errors"
)

// All runs fns until the first returns, ends the context of the others, waits
// for them and gives the first error. That the given ctx has ended is none.
func All(parent context.Context, fns ...func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	ended := make(chan error, len(fns))
	for _, f := range fns {
		go func() { ended <- f(ctx) }()
	}
	var first error
	for range fns {
		err := <-ended
		cancel()
		if first == nil && (parent.Err() == nil || !errors.Is(err, context.Canceled)) {
			first = err
		}
	}
	return first
}
