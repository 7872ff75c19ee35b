package camera

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// guard limits a panic to one camera, so that the process goes on.
type guard struct {
	panics prometheus.Counter
	log    *slog.Logger
}

// run runs f and turns its panic into an error.
func (g guard) run(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			g.panics.Inc()
			err = fmt.Errorf("camera: run: panic: %v", v)
			g.log.Error("camera panicked", "err", clean(err), "stack", string(debug.Stack()))
		}
	}()
	return f()
}
