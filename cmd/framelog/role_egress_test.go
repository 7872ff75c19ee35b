package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// TestMetricsOfEgress: where people sign in, the address of --http answers metrics without a
// token, and listen does not. --http shows nothing else.
func TestMetricsOfEgress(t *testing.T) {
	listen, metrics := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	cmd := exec.Command(testenv.Binary(t), "egress", "--brokers", testenv.Refusing(t), "--data", t.TempDir(), "--listen", listen, "--http", metrics)
	cmd.Env = append(cmd.Environ(), "FRAMELOG_ACCESS_ENABLED=true")
	p := testenv.Start(t, "egress", cmd)
	p.Wait(t, testenv.Patience, "it answers", func() bool {
		a, _, errA := testenv.Get(t, "http://"+listen+"/healthz")
		b, _, errB := testenv.Get(t, "http://"+metrics+"/healthz")
		return errA == nil && errB == nil && a == http.StatusOK && b == http.StatusOK
	})
	for _, want := range []struct {
		url     string
		code    int
		metrics bool
	}{
		{listen + "/metrics", http.StatusForbidden, false}, // nobody is known before the brokers answer
		{metrics + "/metrics", http.StatusOK, true},
		{metrics + "/v1/cameras", http.StatusNotFound, false},
		{metrics + "/", http.StatusNotFound, false},
	} {
		code, body, err := testenv.Get(t, "http://"+want.url)
		if err != nil || code != want.code || strings.Contains(string(body), "go_goroutines ") != want.metrics {
			t.Errorf("%s: %d %v %.100s, want %d", want.url, code, err, body, want.code)
		}
	}
}
