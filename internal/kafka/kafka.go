// Package kafka holds what every Kafka client of Framelog has in common: how
// it connects, what it is called, and how topics are made with the settings
// that they should have.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// Config says which cluster, and how.
type Config struct {
	// Brokers are seed addresses, host:port. At least one.
	Brokers []string
	// Prefix stands before every topic name (default empty).
	Prefix string
	// ClientID names this process to the brokers. Default "framelog".
	ClientID string
}

// Names is the topic names under the prefix.
func (c Config) Names() schemas.Names { return schemas.Names{Prefix: c.Prefix} }

// Validate says what is wrong with the configuration.
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

// Options is what every client starts from. Metadata is refreshed within
// seconds, since cameras come and go while clients run.
func (c Config) Options(log *slog.Logger) []kgo.Opt {
	id := c.ClientID
	if id == "" {
		id = "framelog"
	}
	return []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.WithLogger(&logger{log: log, said: map[string]repeated{}}),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MetadataMaxAge(10 * time.Second),
		kgo.DialTimeout(5 * time.Second),
		kgo.RetryTimeout(20 * time.Second),
		kgo.RetryBackoffFn(func(n int) time.Duration {
			return min(50*time.Millisecond<<min(n, 6), 2*time.Second)
		}),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // video does not compress
	}
}

// logger passes franz-go's own messages on. Below warnings they are of use to
// nobody who is not looking for a fault of the client. While brokers are away a
// client says the same many times a second: a message is passed on once in ten
// seconds, with how often it was held back since.
type logger struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[string]repeated // by message; franz-go's messages are constants, so they are few
}

type repeated struct {
	at   time.Time
	held int
}

const repeatAfter = 10 * time.Second

// expected are warnings of franz-go that tell nothing bad here. It is the one
// place that knows texts of the library.
var expected = map[string]bool{
	// After a purge, where the camera is added again. Writers and tails see it
	// as an error of their own, and begin anew.
	"metadata has a new ID for a topic we already hold: the topic was deleted and recreated; we do not adopt the new ID, the topic fails with UNKNOWN_TOPIC_ID until it is purged and re-added": true,
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
	if expected[msg] {
		at = slog.LevelDebug
	}
	if at >= slog.LevelWarn {
		l.mu.Lock()
		r := l.said[msg]
		if time.Since(r.at) < repeatAfter {
			r.held++
			l.said[msg] = r
			l.mu.Unlock()
			return
		}
		l.said[msg] = repeated{at: time.Now()}
		l.mu.Unlock()
		if r.held > 0 {
			keyvals = append(slices.Clip(keyvals), "held_back", r.held)
		}
	}
	l.log.Log(context.Background(), at, msg, keyvals...)
}

// Spec is a topic as it should be.
type Spec struct {
	Name       string
	Partitions int32             // at least; more are left alone
	Configs    map[string]string // settings that Framelog has a say in
	// RetentionBytes is how much all partitions may hold together; each gets
	// its share as retention.bytes. 0 leaves that to Configs, below 0 is no limit.
	RetentionBytes int64
}

// configs is the settings of the topic with so many partitions.
func (s Spec) configs(partitions int32) map[string]string {
	if s.RetentionBytes == 0 {
		return s.Configs
	}
	all := maps.Clone(s.Configs)
	share := s.RetentionBytes
	if share > 0 {
		share = max(share/int64(partitions), 1)
	}
	all["retention.bytes"] = strconv.FormatInt(share, 10)
	return all
}

// Ensure makes the topic, or brings the settings of an existing one in line.
// A new topic has three replicas with min.insync.replicas=2 where there are
// three brokers, else one.
func Ensure(ctx context.Context, adm *kadm.Client, s Spec) error {
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("kafka: ensure topic %s: list brokers: %w", s.Name, err)
	}
	configs := make(map[string]*string, len(s.Configs)+2)
	for k, v := range s.configs(s.Partitions) {
		configs[k] = kadm.StringPtr(v)
	}
	replicas := int16(1)
	if len(brokers) >= 3 {
		replicas = 3
		configs["min.insync.replicas"] = kadm.StringPtr("2")
	}
	_, err = adm.CreateTopic(ctx, s.Partitions, replicas, configs, s.Name)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, kerr.TopicAlreadyExists):
		return fmt.Errorf("kafka: create topic %s: %w", s.Name, err)
	}
	if err := reconcile(ctx, adm, s); err != nil {
		return fmt.Errorf("kafka: reconcile topic %s: %w", s.Name, err)
	}
	return nil
}

func reconcile(ctx context.Context, adm *kadm.Client, s Spec) error {
	meta, err := adm.ListTopics(ctx, s.Name)
	if err != nil {
		return err
	}
	parts := int32(len(meta[s.Name].Partitions))
	want := s.configs(max(parts, s.Partitions))
	have, err := adm.DescribeTopicConfigs(ctx, s.Name)
	if err != nil {
		return err
	}
	rc, err := have.On(s.Name, nil)
	if err != nil {
		return err
	}
	if rc.Err != nil {
		return rc.Err
	}
	now := make(map[string]string, len(rc.Configs))
	for _, c := range rc.Configs {
		now[c.Key] = c.MaybeValue()
	}
	var change []kadm.AlterConfig
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if now[k] != want[k] {
			change = append(change, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: kadm.StringPtr(want[k])})
		}
	}
	if len(change) > 0 {
		res, err := adm.AlterTopicConfigs(ctx, change, s.Name)
		if err != nil {
			return err
		}
		for _, r := range res {
			if r.Err != nil {
				return r.Err
			}
		}
	}
	if parts > 0 && parts < s.Partitions {
		res, err := adm.UpdatePartitions(ctx, int(s.Partitions), s.Name)
		if err != nil {
			return err
		}
		return res.Error()
	}
	return nil
}
