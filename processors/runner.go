package processors

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// groupPrefix stands before a processor's name in the name of its consumer group.
const groupPrefix = "framelog-process-"

// Config is where a [Runner] finds the cameras. The zero value of each field but Brokers
// means its default.
type Config struct {
	// Brokers are the addresses of Kafka, host:port. At least one is needed.
	Brokers []string
	// TLS makes the settings of one connection to a broker. It is called for each, so that
	// new certificates need no restart. Default: connections are not encrypted.
	TLS func() (*tls.Config, error)
	// SASL is the user of this process in the brokers. Default: it has none.
	SASL SASL
	// TopicPrefix stands before the names of all topics and of the group. Default: none.
	TopicPrefix string
	// Topics are the settings of the topics that the processor creates.
	Topics TopicSettings
	// Archive is the directory of an archive, from which Backfill reads what Kafka
	// has removed. Default: none.
	Archive string
	// ArchiveS3 is the S3 store of that archive. Default: the archive is in its directory.
	ArchiveS3 *ArchiveS3

	// Instance is the name of this process in the consumer group (Kafka's group instance
	// id, KIP-345) and in the log. A process that is started again with the same name
	// within SessionTimeout gets its cameras back at once. No two processes of a
	// processor may have the same name. Default: a random name; then a restarted process
	// is a new member.
	Instance string
	// SessionTimeout is how long after the death of a process the others take its
	// cameras. Kafka allows 6 s and more. Default 8 s.
	SessionTimeout time.Duration

	Log *slog.Logger // default: slog.Default()
	// Registerer gets the metrics, with the label processor. Default: none does.
	Registerer prometheus.Registerer

	dial func(ctx context.Context, network, address string) (net.Conn, error) // for tests
}

// SASL is a user of the brokers.
type SASL struct {
	Mechanism string // "plain", "scram-sha-256" or "scram-sha-512"; "": no user
	User      string
	// Password is called for each connection, so that a new password needs no restart. Its
	// error must not hold the password.
	Password func() (string, error)
}

// TopicSettings are the settings of topics. They should be those of the cameras' own
// topics.
type TopicSettings struct {
	Partitions     int32         // of a media topic; default 2
	Replicas       int           // of a new topic; default: 3 in a cluster of 3 brokers or more, else 1
	Retention      time.Duration // default 24 h
	RetentionBytes int64         // of all partitions of a topic together; default: no limit
	SegmentBytes   int64         // default 64 MiB
	Budget         int64         // bytes of an output that wait for Kafka; default 16 MiB
}

// Runner runs a processor over Kafka: new footage of the cameras that its consumer group
// gives to this process (Run), past footage (Backfill), or dead letters (Redrive). Each of
// these calls Processor.Close at its end, so a processor with a Close runs once.
type Runner struct {
	p        Processor // with its defaults
	suffix   string    // behind the names of outputs in the log: see once
	cfg      Config
	writer   string // this process, in its `open`s
	host     string
	log      *slog.Logger
	attempts attempts
	metrics  *metrics
	offsets  *share.Offsets
	events   *eventTopic    // nil: no output has events, or it does not run with a group
	exit     func(code int) // ends the process

	mu     sync.Mutex
	shared *share.Cameras // nil before Run
}

// NewRunner makes a Runner. It connects to nothing. Errors: those of Processor.Validate,
// and wrong addresses of brokers.
func NewRunner(p Processor, c Config) (*Runner, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := c.kafka("").Validate(); err != nil {
		return nil, fmt.Errorf("processor %q: %w", p.Name, err)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Registerer != nil {
		c.Registerer = prometheus.WrapRegistererWith(prometheus.Labels{"processor": p.Name}, c.Registerer)
	}
	r := &Runner{p: p.withDefaults(), cfg: c, exit: os.Exit, offsets: share.NewOffsets(), log: c.Log.With("processor", p.Name)}
	r.host, _ = os.Hostname()
	r.writer = cmp.Or(c.Instance, fmt.Sprintf("%s-%d-%04x", r.host, os.Getpid(), rand.N(1<<16)))
	r.attempts = attempts{p: &r.p, gate: newGate()}
	return r, nil
}

func (c *Config) kafka(processor string) kafka.Config {
	return kafka.Config{
		Brokers: c.Brokers, TLS: c.TLS, SASL: kafka.SASL(c.SASL), Prefix: c.TopicPrefix, Replicas: c.Topics.Replicas,
		ClientID: "framelog-process-" + processor, Dial: c.dial,
	}
}

// connect connects to the log. The caller closes it.
func (c *Config) connect(processor string, log *slog.Logger, reg prometheus.Registerer) (*medialog.Log, error) {
	t := c.Topics
	l, err := medialog.Connect(medialog.Config{
		Kafka: c.kafka(processor), Partitions: t.Partitions, Retention: t.Retention, RetentionBytes: t.RetentionBytes,
		SegmentBytes: t.SegmentBytes, Budget: t.Budget,
	}, log, reg)
	if err != nil {
		return nil, fmt.Errorf("processor %q: %w", processor, err)
	}
	return l, nil
}

// Run processes the cameras that the consumer group gives to this process, until ctx
// ends. Then it leaves the group, and goes on for some seconds until other processes have
// taken its cameras. It waits for brokers that are away. It may be called once.
//
// If the function hangs, Run ends the process with exit code 1, since a goroutine cannot be
// stopped. This is a failed attempt.
func (r *Runner) Run(ctx context.Context) error {
	l, err := r.cfg.connect(r.p.Name, r.log, r.cfg.Registerer)
	if err != nil {
		return err
	}
	defer l.Close()
	defer r.closeProcessor()
	r.metrics = newMetrics(r.cfg.Registerer)
	k := r.cfg.kafka(r.p.Name)
	shared := share.New(share.Config{
		Kafka: k, Group: groupPrefix + r.p.Name, Instance: r.cfg.Instance, Doing: "processed", SessionTimeout: r.cfg.SessionTimeout,
	}, role{r, l}, r.log)
	r.mu.Lock()
	r.shared = shared
	r.mu.Unlock()
	if err := r.openEvents(k, shared); err != nil {
		return err
	}
	defer r.closeEvents()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.offsets.Run(ctx, shared.Commit, r.log) })
	r.log.Info("processor starts", "instance", r.writer, "input", r.p.Input, "policy", r.p.Policy, "concurrency", r.p.Concurrency)
	err = shared.Run(ctx)
	cancel()
	if err != nil {
		return fmt.Errorf("processor %q: %w", r.p.Name, err)
	}
	r.log.Info("processor has ended")
	return nil
}

func (r *Runner) openEvents(k kafka.Config, shared *share.Cameras) error {
	if !slices.ContainsFunc(r.p.Outputs, func(o Rendition) bool { return o.Role == schemas.RoleData }) {
		return nil
	}
	t, err := newEventTopic(k, r.offsets, shared, r.log)
	if err != nil {
		return fmt.Errorf("processor %q: %w", r.p.Name, err)
	}
	r.events = t
	return nil
}

func (r *Runner) closeEvents() {
	if r.events != nil {
		r.events.client.Close()
	}
}

// closeProcessor ends what the function keeps.
func (r *Runner) closeProcessor() {
	if r.p.Close == nil {
		return
	}
	if err := r.p.Close(); err != nil {
		r.log.Warn("the processor does not end in an orderly way", "err", err)
	}
}

// Ready returns an error until this process has read its cameras. If brokers go away
// later, it stays ready: the work goes on when they are back.
func (r *Runner) Ready() error {
	shared := r.group()
	if shared == nil {
		return fmt.Errorf("processor %q has not begun", r.p.Name)
	}
	if err := shared.Ready(); err != nil {
		return fmt.Errorf("processor %q: %w", r.p.Name, err)
	}
	return nil
}

// group returns how processes share the cameras, nil before Run.
func (r *Runner) group() *share.Cameras {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shared
}

// role implements share.Role.
type role struct {
	r   *Runner
	log *medialog.Log
}

// NewWork implements share.Role.
func (r role) NewWork(cam schemas.Camera) share.Work { return &work{role: r, camera: cam.ID} }

// Forget implements share.Role.
func (r role) Forget(camera string, _ bool) {
	r.r.metrics.forget(camera)
	r.log.Forget(camera)
}

// work implements share.Work.
type work struct {
	role
	camera string

	mu      sync.Mutex
	muted   bool
	current *camera // nil: none runs
}

// WaitReclaim implements share.Work. It waits for nothing: the group's confirmation is
// enough.
func (w *work) WaitReclaim(context.Context) error { return nil }

// Mute implements share.Work.
func (w *work) Mute(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.muted = on
	if w.current != nil {
		w.current.mute(on)
	}
}

// Run implements share.Work.
func (w *work) Run(ctx context.Context, _ string, mayOpen func() bool) error {
	if !w.r.p.matches(w.camera) {
		<-ctx.Done()
		return nil
	}
	c := newCamera(w.r, w.log, w.camera)
	w.set(c)
	defer w.set(nil)
	err := c.run(ctx, mayOpen)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, medialog.ErrFenced):
		return share.ErrFenced
	}
	return err
}

func (w *work) set(c *camera) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current = c
	if c != nil {
		c.mute(w.muted)
	}
}
