package kafka

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// TestTryEnds: brokers that take connections and do not answer delay nobody longer than ctx
// allows.
func TestTryEnds(t *testing.T) {
	silent := func() string {
		return testenv.ServeTCP(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	}
	cfg := Config{Brokers: []string{silent(), silent()}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := cfg.Try(ctx); err == nil || ctx.Err() == nil {
		t.Errorf("it ended with %v before ctx", err)
	}
	if took := time.Since(began); took >= pingLimit {
		t.Errorf("it ended after %v", took)
	}
}
