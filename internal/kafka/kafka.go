// Package kafka holds the common parts of all Kafka clients of Framelog: their
// settings, their name, and the creation of topics with the right settings.
package kafka

import (
	"cmp"
	"context"
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
	// ClientID names this process to the brokers. Default: "framelog".
	ClientID string
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
	return c.Names().Validate()
}

// Options returns the options that all clients start with. A client refreshes
// its metadata within seconds, because cameras come and go while it runs.
func (c Config) Options(log *slog.Logger) []kgo.Opt {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	return []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.Dialer(dial),
		kgo.ClientID(cmp.Or(c.ClientID, "framelog")),
		kgo.WithLogger(&logger{log: log, logged: map[string]message{}}),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MetadataMaxAge(10 * time.Second),
		kgo.RetryTimeout(20 * time.Second),
		kgo.RetryBackoffFn(func(n int) time.Duration {
			return min(50*time.Millisecond<<min(n, 6), 2*time.Second)
		}),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // video does not compress
	}
}

// logger forwards the messages of franz-go. Messages below warnings only help to
// find a fault in the client, so they get the level debug. While brokers are
// away, a client repeats a message many times a second. The logger forwards it
// once in repeatAfter, with the number of times that it was omitted.
type logger struct {
	log *slog.Logger

	mu     sync.Mutex
	logged map[string]message // by text; the texts of franz-go are constants, so they are few
}

type message struct {
	at      time.Time // when it was last forwarded
	omitted int       // how often it was omitted since
}

const repeatAfter = 10 * time.Second

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

// unknownTopic is what franz-go logs of records whose partition has an error. If the
// topic is unknown, it was created a moment ago, and not all brokers know it, or it
// was purged. franz-go tries again, and a writer that fails logs it itself.
const unknownTopic = "produce partition load error, bumping error count on first stored batch"

func holdsUnknownTopic(keyvals []any) bool {
	for _, v := range keyvals {
		if err, ok := v.(error); ok && (errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)) {
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
	if expected[msg] || msg == unknownTopic && holdsUnknownTopic(keyvals) {
		at = slog.LevelDebug
	}
	if at >= slog.LevelWarn {
		l.mu.Lock()
		m := l.logged[msg]
		if time.Since(m.at) < repeatAfter {
			m.omitted++
			l.logged[msg] = m
			l.mu.Unlock()
			return
		}
		l.logged[msg] = message{at: time.Now()}
		l.mu.Unlock()
		if m.omitted > 0 {
			keyvals = append(slices.Clip(keyvals), "omitted", m.omitted)
		}
	}
	l.log.Log(context.Background(), at, msg, keyvals...)
}
