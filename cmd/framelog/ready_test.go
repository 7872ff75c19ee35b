package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// TestReady: the exit code tells whether a role is ready.
func TestReady(t *testing.T) {
	code := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(srv.Close)
	addr := strings.TrimPrefix(srv.URL, "http://")
	if got := run([]string{"ready", addr}); got != 0 {
		t.Errorf("a role that is ready: exit code %d", got)
	}
	code = http.StatusServiceUnavailable
	if got := run([]string{"ready", addr}); got != exitFailed {
		t.Errorf("a role that is not ready: exit code %d", got)
	}
	if got := run([]string{"ready", testenv.Refusing(t)}); got != exitFailed {
		t.Errorf("no role: exit code %d", got)
	}
}
