package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/tests/testenv"
)

// accepting is an address where every connection is given to f, which may keep it.
func accepting(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close() // at the end of the test
			f(conn)
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// TestAskBrokers: what is said of brokers that are away; one that answers is
// enough.
func TestAskBrokers(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	there, away := cluster.ListenAddrs()[0], refusing(t)
	silent := accepting(t, func(net.Conn) {})
	closing := accepting(t, func(c net.Conn) { c.Close() })
	for _, tt := range []struct {
		name    string
		brokers []string
		want    string // "" for nil
	}{
		{"Kafka", []string{there}, ""},
		{"one of two", []string{away, there}, ""},
		{"refused", []string{away}, "connection refused"},
		{"both refused", []string{away, refusing(t)}, "connection refused"},
		{"silent", []string{silent}, noKafka},
		{"a load balancer before brokers that are away", []string{closing}, noKafka},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := askBrokers(t.Context(), kafka.Config{Brokers: tt.brokers})
			away, ok := errors.AsType[*awayError](err)
			if (err == nil) != (tt.want == "") || ok && away.why != tt.want || ok == (tt.want == "") {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestBrokerWait: it says at once that the brokers are away, then seldom, and
// goes on when they are there.
func TestBrokerWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		const back = 200 * time.Minute
		var out testenv.Log
		w := &brokerWait{
			brokers: "k:9092", remedy: "start them", log: slog.New(slog.NewTextHandler(&out, nil)),
			ask: func(context.Context) error {
				if time.Since(began) < back {
					return &awayError{"connection refused"}
				}
				return nil
			},
		}
		w.away.Store("")
		done := make(chan error)
		go func() { done <- w.run(t.Context()) }()
		lines := func() int { return strings.Count(out.String(), "the brokers do not answer") }
		for _, at := range []struct {
			after time.Duration
			lines int
		}{{0, 1}, {59 * time.Second, 1}, {time.Minute, 2}, {3 * time.Minute, 3}, {7 * time.Minute, 4}, {63 * time.Minute, 7}, {123 * time.Minute, 8}, {182 * time.Minute, 8}, {183 * time.Minute, 9}} {
			time.Sleep(at.after - time.Since(began))
			synctest.Wait()
			if n := lines(); n != at.lines {
				t.Errorf("%d lines after %v, want %d:\n%s", n, at.after, at.lines, out.String())
			}
			if w.why() != "connection refused" {
				t.Errorf("after %v: why %q", at.after, w.why())
			}
		}
		for _, want := range []string{"k:9092", "connection refused", "start them"} {
			if first, _, _ := strings.Cut(out.String(), "\n"); !strings.Contains(first, want) {
				t.Errorf("the first line lacks %q: %s", want, first)
			}
		}
		if err := <-done; err != nil || time.Since(began) != back || w.why() != "" {
			t.Errorf("%v after %v, why %q", err, time.Since(began), w.why())
		}
		if !strings.Contains(out.String(), "the brokers answer") {
			t.Error("it does not say that they are there")
		}
	})
}

// TestWaitsForBrokers: roles alone, and up, that start before their broker are
// there and say what they wait for; once it is there a camera is recorded and
// served.
func TestWaitsForBrokers(t *testing.T) {
	for _, name := range []string{"roles", "up"} {
		t.Run(name, func(t *testing.T) { waitsForBrokers(t, name == "up") })
	}
}

func waitsForBrokers(t *testing.T, up bool) {
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
