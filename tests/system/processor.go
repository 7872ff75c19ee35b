package system

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/tests/testenv"
)

// Process runs a processor in the test's process, until the test ends or stop is called. It
// returns when the processor is ready.
func Process(t testing.TB, broker string, p processors.Processor) (stop func()) {
	t.Helper()
	r, stop := run(t, processors.Config{Brokers: []string{broker}}, p)
	testenv.Wait(t, 2*testenv.Patience, "the processor "+p.Name, func() bool { return r.Ready() == nil })
	return stop
}

// ProcessWith is Process with the settings of a client. It returns at once.
func ProcessWith(t testing.TB, c processors.Config, p processors.Processor) (stop func()) {
	t.Helper()
	_, stop = run(t, c, p)
	return stop
}

func run(t testing.TB, c processors.Config, p processors.Processor) (r *processors.Runner, stop func()) {
	t.Helper()
	c.SessionTimeout, c.Log = 6*time.Second, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	r, err := processors.NewRunner(p, c)
	if err != nil {
		t.Fatalf("system: processor %s: %v", p.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // the test's ends before its cleanup
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("system: processor %s: %v", p.Name, err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}
