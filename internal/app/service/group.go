package service

import (
	"context"
	"errors"
)

// All runs fns at the same time. When the first returns, All cancels the context
// of the others and waits for them. It returns the first error; context.Canceled
// is none if parent has ended.
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
