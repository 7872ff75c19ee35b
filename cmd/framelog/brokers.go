package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/config"
)

// checkBrokers says within seconds whether any of the brokers answers.
func checkBrokers(ctx context.Context, cfg *config.Config) error {
	kc := kafkaConfig(cfg, "framelog-check")
	told := ctx
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	why := make([]string, len(kc.Brokers))
	ok := make(chan bool, len(kc.Brokers))
	for i, addr := range kc.Brokers {
		go func() {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				why[i] = cause(err)
				ok <- false
				return
			}
			ok <- conn.Close() == nil
		}()
	}
	found := false
	for range kc.Brokers {
		if <-ok {
			found = true
			break
		}
	}
	key, remedy := "brokers", "start it, or empty the list for the embedded broker of framelog up"
	if cfg.Embedded() {
		key, remedy = "broker_listen", "start framelog up or framelog broker, or name your own with --brokers"
	}
	if told.Err() != nil {
		return told.Err()
	}
	if !found {
		return cfg.Errorf(key, remedy, "%s does not answer: %s", strings.Join(kc.Brokers, ", "), strings.Join(why, "; "))
	}
	client, err := kgo.NewClient(append(kc.Options(slog.New(slog.DiscardHandler)),
		kgo.RequestTimeoutOverhead(2*time.Second), kgo.RetryTimeout(3*time.Second), kgo.RequestRetries(0))...)
	if err != nil {
		return cfg.Errorf(key, "", "%v", err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		if told.Err() != nil {
			return told.Err()
		}
		return cfg.Errorf(key, remedy, "%s takes connections and does not answer as Kafka does", strings.Join(kc.Brokers, ", "))
	}
	return nil
}

// cause is why a connection failed, without the addresses that stand beside.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return "no answer in time"
		}
		err = op.Err
		var sys *os.SyscallError
		if errors.As(err, &sys) {
			err = sys.Err
		}
	}
	return err.Error()
}
