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

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/secrets"
)

// AwayError means that no broker answers, or that none accepts this process. It is short
// and names no address.
type AwayError struct {
	why    string
	remedy string // ""; depends on the caller
}

func (e *AwayError) Error() string { return e.why }

// Ask returns nil if a broker answers as Kafka does and accepts this process. It takes 5 s at
// most. Errors: *AwayError; that of ctx.
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
		return &AwayError{why: strings.Join(slices.Compact(causes), "; ")}
	}
	err := kc.Try(limited)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if refused, ok := errors.AsType[*kafka.RefusedError](err); ok {
		return &AwayError{refused.Cause, refused.Remedy}
	}
	if err != nil {
		return &AwayError{why: noKafka}
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

// Kafka returns the settings of a client. name is what the brokers know it by.
func Kafka(cfg *config.Config, name string) kafka.Config {
	k := kafka.Config{Brokers: cfg.Addresses(), Prefix: cfg.TopicPrefix, Replicas: cfg.Topics.Replicas, ClientID: name}
	if s := cfg.Kafka.SASL; s.Mechanism != "" {
		k.SASL = kafka.SASL{Mechanism: s.Mechanism, User: s.User, Password: func() (string, error) { return secrets.Lookup(cfg.SecretsDir, s.Password) }}
	}
	if t := cfg.Kafka.TLS; t.Enabled {
		k.TLS = kafka.TLSFiles{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName}.Load
	}
	return k
}

// ofCheck is the name of the client that asks.
const ofCheck = "framelog-check"

// Check is Ask for a command that does not wait. Its error is one
// of the configuration, with a remedy.
func Check(ctx context.Context, cfg *config.Config) error {
	kc := Kafka(cfg, ofCheck)
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
	if away.remedy != "" {
		return cfg.Errorf(key, away.remedy, "%s: %s", addresses, away.why)
	}
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

	away atomic.Value // a string: see Why
}

// NewWait makes the Wait of a role that runs alone, or of up. A child
// of up gets a log that discards the lines, since up writes them.
func NewWait(cfg *config.Config, log *slog.Logger) *Wait {
	kc := Kafka(cfg, ofCheck)
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

// Why returns why the process waits, for everybody: it names no address, user or file. It is
// "" before the first answer, and once the brokers are there.
func (w *Wait) Why() string { return w.away.Load().(string) }

// Run returns nil when a broker has answered. Errors: that of ctx. It logs at
// once that the brokers are away, or refuse this process, and then after 1, 2, 4… minutes.
func (w *Wait) Run(ctx context.Context) error {
	began, remind, pause, last := time.Now(), time.Duration(0), remindFirst, ""
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
		said, remedy := w.explain(err)
		if said != last || waited >= remind {
			if said != last {
				last, pause = said, remindFirst
			}
			w.log.Warn(said, "brokers", w.brokers, "error", err, "waited", waited.Round(time.Second).String(), "remedy", remedy)
			remind, pause = waited+pause, min(2*pause, remindMost)
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// explain sets Why. It returns the message for the log, and the remedy.
func (w *Wait) explain(err error) (said, remedy string) {
	if away, ok := errors.AsType[*AwayError](err); ok && away.remedy != "" {
		w.away.Store("the brokers refuse this process; its log says why")
		return "the brokers refuse this process; trying again", away.remedy
	}
	w.away.Store("the brokers do not answer: " + err.Error())
	return "the brokers do not answer; waiting for them", w.remedy
}
