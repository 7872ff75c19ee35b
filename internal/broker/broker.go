// Package broker is the embedded broker of a Framelog on one machine. It runs
// franz-go's kfake on a real port. kfake reads its whole log when it starts. So
// the log keeps only the newest footage: the size of all topics together is
// bounded, independently of their retention.
//
// This package adds what kfake lacks: a lock on the directory; a listener that
// closes connections of clients that do not speak Kafka's protocol; readiness
// only after the load; the bound; retention and compaction at regular
// intervals; compaction that loses nothing in a crash; partitions that keep
// their end offset after all of their records have expired.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/schemas"
)

// Errors of the configuration.
var (
	// ErrListen means that the broker cannot listen on the address.
	ErrListen = errors.New("broker: cannot listen")
	// ErrLocked means that another broker uses the directory.
	ErrLocked = errors.New("broker: data directory is in use")
)

// Defaults and limits of a Config.
const (
	DefaultListen = "127.0.0.1:9092"
	DefaultLimit  = 1 << 30
	MinLimit      = 32 << 20

	// maxRequest is the largest request, in bytes. It bounds how much memory one
	// request can make the broker allocate.
	maxRequest = 64 << 20
	// maxMessage is the largest record batch, in bytes: the largest chunk (8 MiB)
	// with its framing fits.
	maxMessage = 9 << 20
)

// Config is the settings of a broker.
type Config struct {
	// Listen is host:port. Clients are told this address, so it must be one
	// that they can reach. Default 127.0.0.1:9092.
	Listen string
	// Data is the broker's own directory. The broker makes it if it is missing.
	Data string
	// Limit is the most bytes of log on disk, all topics together. Default 1 GiB,
	// at least 32 MiB. Above it the broker deletes the oldest footage (Archived). Other
	// topics count too, but only retention deletes their records. The last segment
	// of a partition stays, so the log exceeds the limit if partitions ×
	// SegmentBytes is larger.
	Limit int64
	// Archived reports whether a topic's footage is archived, by processes of the consumer
	// group Archivers; begun: they have archived some of it. What is not archived yet is deleted
	// last. Nil: nothing is archived.
	Archived  func(t schemas.Topic, begun bool) bool
	Archivers string
	// Prefix stands before Framelog's topic names and the group's (default empty).
	Prefix string
	// Interval is the time between two runs of retention. Default 5 s. The bound
	// is checked more often while clients write much.
	Interval time.Duration
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	if c.Interval == 0 {
		c.Interval = 5 * time.Second
	}
	return c
}

// SegmentBytes is the segment size that suits a limit, in bytes. Only whole
// segments can be deleted, so the window should hold hundreds. Media topics on
// an embedded broker should be made with it.
func SegmentBytes(limit int64) int64 {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return min(max(limit/256, 1<<20), 64<<20)
}

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	if c.Data == "" {
		return errors.New("data: a directory is needed")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen %q: want host:port", c.Listen)
	}
	if c.Limit < MinLimit {
		return fmt.Errorf("limit: at least %d MiB are needed", MinLimit>>20)
	}
	return schemas.Names{Prefix: c.Prefix}.Validate()
}

// Run runs the broker until ctx ends. It calls ready once, with its address,
// when it has loaded the log and answers requests; ready may be nil. Errors:
// ErrListen and ErrLocked, which are errors of the configuration, and those of
// the load.
func Run(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer, ready func(addr string)) error {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	unlock, err := retryWhileTaken(ctx, func() (func(), error) { return lock(cfg.Data) })
	if err != nil {
		return err
	}
	defer unlock()
	if err := recoverCompaction(cfg.Data, log); err != nil {
		return fmt.Errorf("broker: recover from a compaction that did not end: %w", err)
	}
	if err := restoreEnds(cfg.Data, log); err != nil {
		return fmt.Errorf("broker: restore ends of empty partitions: %w", err)
	}

	inner, err := retryWhileTaken(ctx, func() (net.Listener, error) {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrListen, err)
		}
		return ln, nil
	})
	if err != nil {
		return err
	}
	ln := &listener{Listener: inner, log: log, wrote: make(chan struct{}, 1), every: max(cfg.Limit/32, 1<<20)}
	addr := inner.Addr().String()

	start := time.Now()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("framelog"),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }),
		kfake.DataDir(filepath.Join(cfg.Data, logDir)),
		kfake.WithLogger(logger{log}),
		kfake.BrokerConfigs(map[string]string{
			"message.max.bytes": strconv.Itoa(maxMessage),
			// kfake's own timer is off: a crash during its compaction loses
			// records. The keeper compacts instead.
			"log.cleaner.backoff.ms": strconv.Itoa(1 << 31),
			"log.segment.bytes":      strconv.FormatInt(SegmentBytes(cfg.Limit), 10),
		}),
	)
	if err != nil {
		_ = inner.Close()
		return fmt.Errorf("broker: load %s: %w", cfg.Data, err)
	}
	defer cluster.Close()
	debug.FreeOSMemory() // the load held the whole log in memory

	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("framelog-broker"))
	if err != nil {
		return fmt.Errorf("broker: connect to itself: %w", err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("broker: ask itself: %w", err)
	}
	k := newKeeper(cfg, cluster, client, log, newMetrics(reg, ln.received.Load))
	log.InfoContext(ctx, "broker is ready", "addr", addr, "took", time.Since(start).Round(time.Millisecond).String(), "limit_bytes", cfg.Limit)
	if ready != nil {
		ready(addr)
	}
	k.run(ctx, ln.wrote)
	return nil
}

// takenFor is how long the broker waits for a directory or port that is taken.
// The process that had it before may need a moment to end.
const takenFor = 2 * time.Second

// retryWhileTaken calls take until it succeeds, fails because of anything but a
// taken directory or port, or takenFor has passed.
func retryWhileTaken[T any](ctx context.Context, take func() (T, error)) (T, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(takenFor)
	for {
		v, err := take()
		if err == nil || !errors.Is(err, ErrLocked) && !errors.Is(err, unix.EADDRINUSE) || time.Now().After(end) {
			return v, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return v, err
		}
	}
}

// logDir is kfake's directory below Config.Data.
const logDir = "log"

// lock takes the directory for this process, until unlock is called or the
// process ends. Errors: ErrLocked.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(dir, logDir), 0o700); err != nil {
		return nil, fmt.Errorf("broker: make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("broker: lock data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w by another broker: %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("broker: lock data directory: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// logger writes kfake's messages to the log.
type logger struct{ log *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	at := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		at = slog.LevelError
	case kfake.LogLevelWarn:
		at = slog.LevelWarn
	case kfake.LogLevelInfo, kfake.LogLevelDebug, kfake.LogLevelNone:
	}
	if l.log.Enabled(context.Background(), at) {
		l.log.Log(context.Background(), at, fmt.Sprintf(format, args...))
	}
}
