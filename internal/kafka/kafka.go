// Package kafka holds the common parts of all Kafka clients of Framelog: their
// settings, their name, and the creation of topics with the right settings.
package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// Config is the cluster and the name of the client.
type Config struct {
	// Brokers are the seed addresses, host:port. At least one is needed.
	Brokers []string
	// Prefix stands before every topic name. Default: none.
	Prefix string
	// Replicas of a new topic. Default: three in a cluster of three brokers or more,
	// else one.
	Replicas int
	// ClientID names this process to the brokers. Default: "framelog".
	ClientID string
	// TLS makes the settings of one connection; it is called for each, so that it can
	// take new certificates. nil: connections are not encrypted.
	TLS func() (*tls.Config, error)
	// SASL is the user. Default: none.
	SASL SASL
	// Dial connects to a broker. Default: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Names returns the topic names under the prefix.
func (c Config) Names() schemas.Names { return schemas.Names{Prefix: c.Prefix} }

// Validate returns an error if the configuration is wrong.
func (c Config) Validate() error {
	if len(c.Brokers) == 0 {
		return errors.New("brokers: at least one host:port is needed")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return fmt.Errorf("brokers: %q: want host:port", b)
		}
	}
	if err := c.SASL.validate(); err != nil {
		return err
	}
	return c.Names().Validate()
}

// Options returns the options that all clients start with. A client refreshes
// its metadata within seconds, because cameras come and go while it runs.
func (c Config) Options(log *slog.Logger) []kgo.Opt {
	return append(c.security(),
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(cmp.Or(c.ClientID, "framelog")),
		kgo.WithLogger(&logger{log: log, logged: map[string]message{}}),
		kgo.MetadataMinAge(250*time.Millisecond),
		kgo.MetadataMaxAge(10*time.Second),
		kgo.RetryTimeout(20*time.Second),
		kgo.RetryBackoffFn(func(n int) time.Duration {
			return min(50*time.Millisecond<<min(n, 6), 2*time.Second)
		}),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // video does not compress
	)
}

// logger forwards the messages of franz-go. Messages below warnings only help to
// find a fault in the client, so they get the level debug. While brokers are
// away, a client repeats a message many times a second. The logger forwards it at
// once, then after 10 s, 20 s, 40 s… and at last every ten minutes, with the number of
// times that it was omitted. A message that was absent for as long as its last pause
// is forwarded at once again.
type logger struct {
	log *slog.Logger

	mu     sync.Mutex
	logged map[string]message // by text; the texts of franz-go are constants, so they are few
}

type message struct {
	at      time.Time     // when it was last forwarded
	seen    time.Time     // when it last came
	pause   time.Duration // until it is forwarded again
	omitted int           // how often it was omitted since
}

const (
	repeatAfter  = 10 * time.Second
	longestPause = 10 * time.Minute
)

// expected holds messages of franz-go that are no problem for Framelog, or for
// which Framelog has its own message. It is the only place that knows texts of
// the library.
var expected = map[string]bool{
	// internal/share logs it once, with the effect on the cameras.
	"group manage loop errored": true,
	// A camera was purged and added again. Its writer and its tails get an error
	// of their own for this, and begin again.
	"metadata has a new ID for a topic we already hold: the topic was deleted and recreated; we do not adopt the new ID, the topic fails with UNKNOWN_TOPIC_ID until it is purged and re-added": true,
}

// notProduced is what franz-go logs of records whose partition has an error. It is
// expected if the topic is unknown: it was created a moment ago, and not all brokers
// know it, or it was purged. franz-go tries again, and a writer that fails logs it
// itself. Of brokers that are away, franz-go logs the connections too.
const notProduced = "produce partition load error, bumping error count on first stored batch"

func isExpected(msg string, keyvals []any) bool {
	if expected[msg] || msg != notProduced {
		return expected[msg]
	}
	for i, v := range keyvals {
		if err, ok := v.(error); ok && (errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)) {
			return true
		}
		if v == "is_network_err" && i+1 < len(keyvals) && keyvals[i+1] == true {
			return true
		}
	}
	return false
}

func (l *logger) Level() kgo.LogLevel {
	switch {
	case l.log.Enabled(context.Background(), slog.LevelDebug):
		return kgo.LogLevelDebug
	default:
		return kgo.LogLevelWarn
	}
}

func (l *logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		at = slog.LevelError
	case kgo.LogLevelWarn:
		at = slog.LevelWarn
	case kgo.LogLevelInfo, kgo.LogLevelDebug, kgo.LogLevelNone:
	}
	if isExpected(msg, keyvals) {
		at = slog.LevelDebug
	}
	if at >= slog.LevelWarn {
		l.mu.Lock()
		m := l.logged[msg]
		now := time.Now()
		if now.Sub(m.at) < m.pause {
			m.omitted++
			m.seen = now
			l.logged[msg] = m
			l.mu.Unlock()
			return
		}
		pause := repeatAfter
		if now.Sub(m.seen) < m.pause {
			pause = min(2*m.pause, longestPause)
		}
		l.logged[msg] = message{at: now, seen: now, pause: pause}
		l.mu.Unlock()
		if m.omitted > 0 {
			keyvals = append(slices.Clip(keyvals), "omitted", m.omitted)
		}
	}
	l.log.Log(context.Background(), at, msg, keyvals...)
}
