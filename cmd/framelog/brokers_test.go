package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// TestWaitsForBrokers: roles alone, and up, that start before their broker are
// there and say what they wait for; once it is there a camera is recorded and
// served.
func TestWaitsForBrokers(t *testing.T) {
	for _, name := range []string{"roles", "up"} {
		t.Run(name, func(t *testing.T) { waitsForBrokers(t, name == "up") })
	}
}

func waitsForBrokers(t *testing.T, up bool) {
	t.Parallel()
	dir, binary := t.TempDir(), testenv.Binary(t)
	address := func() string { return fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)) }
	brokers, camera, viewers, health := address(), address(), address(), address()
	start := func(role string, args ...string) *testenv.Process {
		cmd := exec.Command(binary, append([]string{role, "--data", filepath.Join(dir, role)}, args...)...)
		cmd.Env = append(os.Environ(), "FRAMELOG_BROKER_LISTEN="+brokers, "FRAMELOG_DEMO_LISTEN="+camera, "FRAMELOG_INGEST_DISK_RESERVE=0")
		return testenv.Start(t, role, cmd)
	}
	get := func(addr, path string) (int, string) {
		code, body, err := testenv.Get(t, "http://"+addr+path)
		if err != nil {
			return 0, ""
		}
		return code, string(body)
	}
	start("camsim")
	type waiter struct {
		process  *testenv.Process
		addr     string // of readiness
		readyz   string
		complain int // lines about brokers
	}
	var waiters []waiter
	const away = "the brokers do not answer: connection refused\n"
	if up {
		waiters = []waiter{{start("up", "--brokers", brokers, "--listen", viewers), viewers, "egress: " + away, 1}}
	} else {
		_, port, _ := net.SplitHostPort(viewers)
		waiters = []waiter{
			{start("ingest", "--brokers", brokers, "--http", health), health, away, 1},
			{start("egress", "--brokers", brokers, "--listen", "0.0.0.0:"+port, "--insecure"), viewers, away, 1},
		}
	}
	for _, w := range waiters {
		w.process.Wait(t, testenv.Patience, "it says what it waits for", func() bool {
			code, body := get(w.addr, "/readyz")
			return code == http.StatusServiceUnavailable && body == w.readyz &&
				strings.Count(w.process.Log.String(), "level=WARN msg=\"the brokers do not answer") == w.complain
		})
		if code, _ := get(w.addr, "/healthz"); code != http.StatusOK {
			t.Errorf("%s: /healthz %d", w.process.Name, code)
		}
	}
	if code, body := get(viewers, "/"); code != http.StatusOK || !strings.Contains(body, "<html") {
		t.Errorf("the page: %d", code)
	}
	for _, path := range []string{"/v1/cameras", "/hls/yard/index.m3u8"} {
		if code, body := get(viewers, path); code != http.StatusServiceUnavailable || !strings.Contains(body, `"error":"the brokers do not answer: connection refused"`) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	// Not even the clients' own messages repeat it.
	for _, w := range waiters {
		if n := strings.Count(w.process.Log.String(), "level=WARN"); n != w.complain {
			t.Errorf("%s: %d warnings, want %d:\n%s", w.process.Name, n, w.complain, w.process.Log)
		}
	}

	start("broker")
	for _, w := range waiters {
		w.process.Wait(t, testenv.Patience, "it is ready", func() bool { code, _ := get(w.addr, "/readyz"); return code == http.StatusOK })
		if !strings.Contains(w.process.Log.String(), "the brokers answer") {
			t.Errorf("%s does not say that the brokers are there", w.process.Name)
		}
	}
	if out, err := exec.CommandContext(t.Context(), binary, "cameras", "add", "yard", "rtsp://"+camera+"/demo-harbour", "--brokers", brokers).CombinedOutput(); err != nil {
		t.Fatalf("add a camera: %v\n%s", err, out)
	}
	viewer := waiters[len(waiters)-1].process
	viewer.Wait(t, 2*testenv.Patience, "the camera is served", func() bool {
		_, list := get(viewers, "/v1/cameras")
		code, _ := get(viewers, "/hls/yard/index.m3u8")
		return strings.Contains(list, `"live"`) && code == http.StatusOK
	})
	for _, w := range waiters {
		w.process.Signal(syscall.SIGTERM)
		if code := w.process.ExitCode(testenv.Patience); code != 0 {
			t.Errorf("%s: exit code %d", w.process.Name, code)
		}
	}
}
