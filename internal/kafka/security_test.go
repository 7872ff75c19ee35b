package kafka

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/tests/testenv"
)

// TestTLSOutage: while brokers and client do not accept each other's certificates, records
// wait, as they do while brokers are away.
func TestTLSOutage(t *testing.T) {
	const partitions = 8
	ca := testenv.NewCA(t)
	own := ca.Sign(t, "broker", time.Hour).Pair
	for name, bad := range map[string]func(good *tls.Config) *tls.Config{
		"unknown authority":     func(*tls.Config) *tls.Config { return &tls.Config{RootCAs: testenv.NewCA(t).Pool()} },
		"no client certificate": func(good *tls.Config) *tls.Config { return &tls.Config{RootCAs: good.RootCAs} },
	} {
		t.Run(name, func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "x"),
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			good := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{own}}
			var mu sync.Mutex
			var conns []net.Conn
			use, attempts := good, 0
			cfg := Config{
				Brokers: c.ListenAddrs(),
				TLS: func() (*tls.Config, error) {
					mu.Lock()
					defer mu.Unlock()
					attempts++
					return use, nil
				},
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
					mu.Lock()
					defer mu.Unlock()
					conns = append(conns, conn)
					return conn, err
				},
			}
			cl, err := kgo.NewClient(append(cfg.Options(slog.New(slog.DiscardHandler)), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cl.Close)
			for p := range int32(partitions) {
				if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "x", Partition: p}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			mu.Lock()
			use, attempts = bad(good), 0
			for _, conn := range conns {
				conn.Close()
			}
			mu.Unlock()
			// Each record comes to a partition of its own, so that some come between two attempts.
			written := make(chan error, partitions)
			for p := range int32(partitions) {
				cl.Produce(t.Context(), &kgo.Record{Topic: "x", Partition: p}, func(_ *kgo.Record, err error) { written <- err })
				testenv.Wait(t, testenv.Patience, "another attempt to connect", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return attempts > int(p)
				})
			}
			mu.Lock()
			use = good
			mu.Unlock()
			for range partitions {
				if err := <-written; err != nil {
					t.Error(err)
				}
			}
		})
	}
}
