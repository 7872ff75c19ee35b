package system

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
)

// Process runs a processor in the test's process, until the test ends or stop is called.
func Process(t testing.TB, broker string, p processors.Processor) (stop func()) {
	t.Helper()
	return ProcessWith(t, processors.Config{Brokers: []string{broker}}, p)
}

// ProcessWith is Process with the settings of a client.
func ProcessWith(t testing.TB, c processors.Config, p processors.Processor) (stop func()) {
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
	return stop
}
