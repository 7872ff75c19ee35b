// Package brokers finds out whether brokers answer, and waits for them at the start of a
// process.
package brokers

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/kafka"
)

// AwayError means that no broker answers. It is short and names no address.
type AwayError struct{ why string }

func (e *AwayError) Error() string { return e.why }

// Ask returns nil if a broker answers as Kafka does. It takes 5 s at most.
// Errors: *AwayError; that of ctx.
func Ask(ctx context.Context, kc kafka.Config) error {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answers := make(chan error, len(kc.Brokers))
	for _, addr := range kc.Brokers {
		go func() {
			var d net.Dialer
			conn, err := d.DialContext(limited, "tcp", addr)
			if err == nil {
				err = conn.Close()
			}
			answers <- err
		}()
	}
	var causes []string
	for range kc.Brokers {
		err := <-answers
		if err == nil {
			break
		}
		causes = append(causes, cause(err))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(causes) == len(kc.Brokers) {
		slices.Sort(causes)
		return &AwayError{strings.Join(slices.Compact(causes), "; ")}
	}
	client, err := kgo.NewClient(append(kc.Options(slog.New(slog.DiscardHandler)),
		kgo.RequestTimeoutOverhead(2*time.Second), kgo.RetryTimeout(3*time.Second), kgo.RequestRetries(0))...)
	if err != nil {
		return &AwayError{err.Error()}
	}
	defer client.Close()
	err = client.Ping(limited)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &AwayError{noKafka}
	}
	return nil
}

const noKafka = "something takes connections and does not answer as Kafka does"

// cause returns why a connection failed, without addresses.
func cause(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if op.Timeout() {
			return "no answer in time"
		}
		err = op.Err
		if sys, ok := errors.AsType[*os.SyscallError](err); ok {
			err = sys.Err
		}
	}
	return err.Error()
}

// kafkaOf returns the settings of the client that asks.
func kafkaOf(cfg *config.Config) kafka.Config {
	return kafka.Config{Brokers: cfg.Addresses(), Prefix: cfg.TopicPrefix, ClientID: "framelog-check"}
}

// Check is Ask for a command that does not wait. Its error is one
// of the configuration, with a remedy.
func Check(ctx context.Context, cfg *config.Config) error {
	kc := kafkaOf(cfg)
	err := Ask(ctx, kc)
	away, ok := errors.AsType[*AwayError](err)
	if !ok {
		return err
	}
	key, remedy := "brokers", "start it, or empty the list for the embedded broker of framelog up"
	if cfg.Embedded() {
		key, remedy = "broker_listen", "start framelog up or framelog broker, or name your own with --brokers"
	}
	addresses := strings.Join(kc.Brokers, ", ")
	if away.why == noKafka {
		return cfg.Errorf(key, remedy, "%s takes connections and does not answer as Kafka does", addresses)
	}
	return cfg.Errorf(key, remedy, "%s does not answer: %s", addresses, away.why)
}

// Times of Wait.
const (
	askAgain    = time.Second // between two attempts
	remindFirst = time.Minute // from the first line of the log to the second, doubled each time
	remindMost  = time.Hour
)

// Wait waits for the brokers at the start of a process. If no broker
// answers, the process does not end: brokers come back, and a load balancer
// accepts connections also while its brokers are away.
type Wait struct {
	ask     func(ctx context.Context) error // Ask
	brokers string                          // for the log
	remedy  string
	log     *slog.Logger

	away atomic.Value // a string: why; "" before the first answer and once they are there
}

// NewWait makes the Wait of a role that runs alone, or of up. A child
// of up gets a log that discards the lines, since up writes them.
func NewWait(cfg *config.Config, log *slog.Logger) *Wait {
	kc := kafkaOf(cfg)
	w := &Wait{
		ask:     func(ctx context.Context) error { return Ask(ctx, kc) },
		brokers: strings.Join(kc.Brokers, ", "), remedy: "start them, or correct the addresses in brokers", log: log,
	}
	if where := cfg.Where("brokers"); where != "" {
		w.remedy += " (" + where + ")"
	}
	if cfg.Embedded() {
		w.remedy = "start framelog up or framelog broker, or name Kafka's brokers with --brokers"
	}
	w.away.Store("")
	return w
}

// Why returns the reason why the process waits; "" if it does not wait.
func (w *Wait) Why() string { return w.away.Load().(string) }

// Run returns nil when a broker has answered. Errors: that of ctx. It logs at
// once that the brokers are away, and then after 1, 2, 4… minutes.
func (w *Wait) Run(ctx context.Context) error {
	began, remind, pause := time.Now(), time.Duration(0), remindFirst
	for {
		err := w.ask(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		waited := time.Since(began)
		if err == nil {
			if w.Why() != "" {
				w.log.Info("the brokers answer", "brokers", w.brokers, "waited", waited.Round(time.Second).String())
			}
			w.away.Store("")
			return nil
		}
		w.away.Store(err.Error())
		if waited >= remind {
			w.log.Warn("the brokers do not answer; waiting for them", "brokers", w.brokers, "error", err, "waited", waited.Round(time.Second).String(), "remedy", w.remedy)
			remind, pause = waited+pause, min(2*pause, remindMost)
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
