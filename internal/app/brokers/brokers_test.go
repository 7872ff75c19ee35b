package brokers

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
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

// TestAsk: what is said of brokers that are away; one that answers is
// enough.
func TestAsk(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	there, away := cluster.ListenAddrs()[0], testenv.Refusing(t)
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
		{"both refused", []string{away, testenv.Refusing(t)}, "connection refused"},
		{"silent", []string{silent}, noKafka},
		{"a load balancer before brokers that are away", []string{closing}, noKafka},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Ask(t.Context(), kafka.Config{Brokers: tt.brokers})
			away, ok := errors.AsType[*AwayError](err)
			if (err == nil) != (tt.want == "") || ok && away.why != tt.want || ok == (tt.want == "") {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestWait: it says at once that the brokers are away, then seldom, and
// goes on when they are there.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		const back = 200 * time.Minute
		var out testenv.Log
		w := &Wait{
			brokers: "k:9092", remedy: "start them", log: slog.New(slog.NewTextHandler(&out, nil)),
			ask: func(context.Context) error {
				if time.Since(began) < back {
					return &AwayError{why: "connection refused"}
				}
				return nil
			},
		}
		w.away.Store("")
		done := make(chan error)
		go func() { done <- w.Run(t.Context()) }()
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
			if w.Why() != "the brokers do not answer: connection refused" {
				t.Errorf("after %v: why %q", at.after, w.Why())
			}
		}
		for _, want := range []string{"k:9092", "connection refused", "start them"} {
			if first, _, _ := strings.Cut(out.String(), "\n"); !strings.Contains(first, want) {
				t.Errorf("the first line lacks %q: %s", want, first)
			}
		}
		if err := <-done; err != nil || time.Since(began) != back || w.Why() != "" {
			t.Errorf("%v after %v, why %q", err, time.Since(began), w.Why())
		}
		if !strings.Contains(out.String(), "the brokers answer") {
			t.Error("it does not say that they are there")
		}
	})
}

// TestWaitRefused: what brokers do not accept is in the log with its remedy, and nowhere else.
func TestWaitRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out testenv.Log
		refused := true
		w := &Wait{brokers: "k:9093", remedy: "start them", log: slog.New(slog.NewTextHandler(&out, nil))}
		w.ask = func(context.Context) error {
			if refused {
				refused = false
				return &AwayError{"the user ann is not accepted", "correct it"}
			}
			if why := w.Why(); why != "the brokers refuse this process; its log says why" {
				t.Errorf("why: %q", why)
			}
			return nil
		}
		w.away.Store("")
		if err := w.Run(t.Context()); err != nil || w.Why() != "" {
			t.Errorf("%v, why %q", err, w.Why())
		}
		for _, want := range []string{"k:9093", "the user ann is not accepted", `remedy="correct it"`} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the log lacks %q: %s", want, out.String())
			}
		}
	})
}
