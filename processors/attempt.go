package processors

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Causes for which the context of a function ends.
var (
	errDeadline = errors.New("the deadline has passed")
	errAlone    = errors.New("another fragment has to be tried alone")
)

// attemptError is a failed attempt: the function's error, its panic, or its deadline.
type attemptError struct {
	err      error
	stack    []byte // of a panic
	failures int    // how many attempts at the fragment have failed by now
	killed   bool   // in the last one a process has ended that worked on the fragment alone
}

func (e *attemptError) Error() string { return e.err.Error() }
func (e *attemptError) Unwrap() error { return e.err }

// attempts calls the function of a processor.
type attempts struct {
	p    *Processor
	gate *gate
}

// attempt is one call of the function.
type attempt struct {
	in    *Fragment
	out   *Output
	src   *arriving // of in
	alone *pass     // nil: others may run at the same time
	hang  func()    // is called if the function does not return
}

// run calls the function and waits until it has returned. Errors: ErrSourceChanged or
// another one of src; ErrUnavailable; errAlone; ctx's; an *attemptError.
func (a *attempts) run(ctx context.Context, t attempt) error {
	pass := t.alone
	if pass == nil {
		var err error
		if pass, err = a.gate.enter(ctx, false); err != nil {
			return err
		}
		defer pass.leave()
	}
	clock := newClock(a.p.Deadline)
	defer clock.stop()
	ctx, cancel := context.WithCancelCause(withClock(ctx, clock))
	defer cancel(nil)

	done := make(chan error, 1)
	go func() {
		err := error(&attemptError{err: errors.New("the function has ended its goroutine (runtime.Goexit)")})
		defer func() { done <- err }()
		err = call(ctx, a.p.Process, t.in, t.out)
	}()
	err := a.watch(ctx, cancel, t, pass, clock, done)
	switch cause := context.Cause(ctx); {
	case t.src.failed() != nil:
		return t.src.failed()
	case err == nil:
		return nil
	case errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(cause, errDeadline):
		return &attemptError{err: fmt.Errorf("%w: the function has worked for %v on a complete fragment", errDeadline, a.p.Deadline)}
	case cause != nil:
		return cause
	}
	if failure, ok := errors.AsType[*attemptError](err); ok {
		return failure
	}
	return &attemptError{err: err}
}

// watch waits for the function. It ends the function's context when there is a reason.
func (a *attempts) watch(ctx context.Context, cancel context.CancelCauseFunc, t attempt, pass *pass, clock *clock, done <-chan error) error {
	var hang <-chan time.Time
	whole, expired, gone, stopped, ended := t.src.whole, clock.expired, t.src.gone, pass.stopped, ctx.Done()
	for {
		select {
		case err := <-done:
			return err
		case <-whole:
			clock.start()
			whole = nil
		case <-expired:
			cancel(errDeadline)
			expired = nil
		case <-gone:
			cancel(t.src.failed())
			gone = nil
		case <-stopped:
			cancel(errAlone)
			stopped = nil
		case <-ended:
			timer := time.NewTimer(a.p.HangTimeout)
			defer timer.Stop()
			ended, hang = nil, timer.C
		case <-hang:
			t.hang()
			hang = nil
		}
	}
}

// call calls the function. A panic is an error.
func call(ctx context.Context, f Func, in *Fragment, out *Output) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &attemptError{err: fmt.Errorf("panic: %v", v), stack: debug.Stack()}
		}
	}()
	return f(ctx, in, out)
}
