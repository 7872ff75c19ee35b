// Package registry reads and writes the desired and the observed state of
// cameras: the two compacted topics of schemas.Camera and schemas.Status.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// Partitions of a new cameras topic: the most ingest processes that can share
// the cameras. An existing topic keeps its number, since the number decides in
// which partition a camera's records are.
const Partitions = 128

// statusPartitions of the status topic. Every reader reads all of it.
const statusPartitions = 1

// ensureLimit bounds how long one topic may take.
const ensureLimit = 15 * time.Second

// fateLimit is how long a write whose time is over waits to learn whether its
// record was written. Within that time the client drops a record that it has
// not sent yet.
const fateLimit = time.Second

// ErrUncertain means that a record may or may not be written, now or later: it
// was sent, and the brokers have not answered in time.
var ErrUncertain = errors.New("it is not known whether the brokers have written it")

// Client reads and writes the registry.
type Client struct {
	cfg    kafka.Config
	log    *slog.Logger
	client *kgo.Client // produces and administers; readers have their own
	topics *kafka.Topics
	leave  time.Duration // how long Close waits for statuses

	// recheck is how long no record comes until Follow checks that the topic of
	// cameras ends where it has read up to.
	recheck time.Duration

	// Statuses on their way. A newer one replaces one that waits, so the number of
	// cameras bounds them.
	mu      sync.Mutex        // guards the statuses, and renewals
	waiting map[string][]byte // by camera, nil: a tombstone
	sending map[string]bool   // by camera
	idle    chan struct{}     // not nil while Close waits: closed when nothing is being sent any more

	// The client keeps to a topic that was deleted, until it forgets it. One goroutine at a
	// time makes it do so.
	renewing *semaphore.Weighted
	renewals map[string]int // see renewed; by topic

	ctx    context.Context //nolint:containedctx // of statuses that are written again, ended by Close
	cancel context.CancelFunc

	statuses, cameras reading // newest readings of the two topics
}

// Connect makes a Client. It does not wait for a broker.
func Connect(cfg kafka.Config, log *slog.Logger) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("registry: connect: %w", err)
	}
	client, err := kgo.NewClient(append(cfg.Options(log),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(byCamera)),
	)...)
	if err != nil {
		return nil, fmt.Errorf("registry: connect: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Client{
		cfg: cfg, log: log, client: client, topics: kafka.NewTopics(cfg, client, log),
		waiting: make(map[string][]byte), sending: make(map[string]bool), statuses: newReading(), cameras: newReading(), leave: time.Second, recheck: 30 * time.Second,
		renewing: semaphore.NewWeighted(1), renewals: map[string]int{}, ctx: ctx, cancel: cancel,
	}, nil
}

// Close waits up to a second until the statuses are sent, and frees the client.
func (c *Client) Close() {
	idle := make(chan struct{})
	c.mu.Lock()
	if len(c.sending) == 0 {
		close(idle)
	} else {
		c.idle = idle
	}
	c.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(c.leave): // the brokers are away, which other messages report
	}
	c.cancel()
	c.client.Close()
}

// Ensure makes the two topics with their settings (compacted, retention -1).
func (c *Client) Ensure(ctx context.Context) error {
	for _, topic := range []string{c.cfg.Names().Cameras(), c.cfg.Names().Status()} {
		if err := c.ensure(ctx, topic); err != nil {
			return fmt.Errorf("registry: ensure topics: %w", err)
		}
	}
	return nil
}

// spec returns the wanted state of one of the two topics.
func (c *Client) spec(topic string) kafka.Spec {
	if topic == c.cfg.Names().Cameras() {
		return kafka.Spec{Name: topic, Partitions: Partitions, KeepPartitions: true, Configs: map[string]string{
			"cleanup.policy": "compact", "retention.ms": "-1",
		}}
	}
	// Kafka compacts no segment that it still writes, and every reader reads all of
	// them: a thousand cameras write some 20 MB of statuses in ten minutes.
	return kafka.Spec{Name: topic, Partitions: statusPartitions, Configs: map[string]string{
		"cleanup.policy": "compact", "retention.ms": "-1", "segment.ms": "600000",
	}}
}

// ensure makes one topic. It tries again while brokers know only the name of a
// topic that was made a moment ago.
func (c *Client) ensure(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, ensureLimit)
	defer cancel()
	for {
		err := c.topics.Ensure(ctx, c.spec(topic))[topic]
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return err
		}
		select {
		case <-time.After(endsRetry):
		case <-ctx.Done():
			return err
		}
	}
}

// Put writes a camera's desired state and waits for the acknowledgement. It
// refuses an invalid id and every camera that secrets.Check refuses, so that no
// password gets into the registry. A zero Updated becomes now. Errors:
// ErrUncertain if the record may still arrive.
func (c *Client) Put(ctx context.Context, cam schemas.Camera) error {
	if err := check(cam); err != nil {
		return fmt.Errorf("registry: put camera: %w", err)
	}
	if cam.Updated.IsZero() {
		cam.Updated = time.Now()
	}
	value, err := schemas.EncodeCamera(&cam)
	if err != nil {
		return fmt.Errorf("registry: put camera %s: %w", cam.ID, err)
	}
	if err := c.write(ctx, c.cfg.Names().Cameras(), cam.ID, value); err != nil {
		return fmt.Errorf("registry: put camera %s: %w", cam.ID, err)
	}
	return nil
}

// check returns why a record may not be in the registry.
func check(cam schemas.Camera) error {
	if err := schemas.ValidateCameraID(cam.ID); err != nil {
		return err
	}
	switch cam.Transport {
	case "", "tcp", "udp":
	default:
		return fmt.Errorf("camera %s: transport %q: want \"tcp\", \"udp\" or nothing", cam.ID, cam.Transport)
	}
	if cam.Source != schemas.SourceFile && cam.Source != schemas.SourceAPI {
		return fmt.Errorf("camera %s: source %q: want %q or %q", cam.ID, cam.Source, schemas.SourceFile, schemas.SourceAPI)
	}
	if err := secrets.Check(cam); err != nil {
		return fmt.Errorf("camera %s: %w", cam.ID, err)
	}
	return nil
}

// Delete removes a camera (a tombstone); its footage stays. Its status is left to its
// owner, who writes schemas.StateRemoved when it has stopped.
func (c *Client) Delete(ctx context.Context, id string) error {
	if err := c.write(ctx, c.cfg.Names().Cameras(), id, nil); err != nil {
		return fmt.Errorf("registry: delete camera %s: %w", id, err)
	}
	return nil
}

// PutPurge writes that footage of a camera was purged. p holds what the record before it
// held (schemas.Purge.With). Call Delete first: a camera whose present life is purged
// would begin anew.
func (c *Client) PutPurge(ctx context.Context, p schemas.Purge) error {
	value, err := schemas.EncodePurge(&p)
	if err == nil {
		err = c.write(ctx, c.cfg.Names().Cameras(), schemas.PurgeKey(p.Camera), value)
	}
	if err != nil {
		return fmt.Errorf("registry: put purge of %s: %w", p.Camera, err)
	}
	return nil
}

// byCamera puts a camera's record and its purge into one partition, which the client's
// default partitioner chooses for the camera's id. So a reader of a camera's record has
// read the earlier purges.
func byCamera(topic string) func(r *kgo.Record, n int) int {
	byKey := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	return func(r *kgo.Record, n int) int {
		camera, _ := schemas.RegistryKey(r.Key)
		return byKey.Partition(&kgo.Record{Key: []byte(camera)}, n)
	}
}

// Partition returns the partition of a camera's records in a cameras topic of n partitions.
func Partition(camera string, n int) int32 {
	return int32(byCamera("")(&kgo.Record{Key: []byte(camera)}, n))
}

// write is produce. If the topic does not exist, as for the very first camera, or was made
// again, write makes sure of it and writes once more.
func (c *Client) write(ctx context.Context, topic, key string, value []byte) error {
	before := c.renewed(topic)
	return c.again(ctx, topic, key, value, before, c.produce(ctx, topic, key, value))
}

// again writes a record once more if its write has failed with err because the topic does not
// exist or was made again. before is what renewed returned before that write. It renews the
// topic once at most. Renewals of others may fail the record again.
func (c *Client) again(ctx context.Context, topic, key string, value []byte, before int, err error) error {
	for mine := false; err != nil && ctx.Err() == nil; {
		gone := errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
		failed := before%2 == 1 || c.renewed(topic) != before // a renewal fails what waits to be sent
		if !failed && (!gone || mine) {
			return err
		}
		did, rerr := c.renew(ctx, topic, before)
		if rerr != nil {
			return rerr
		}
		mine = mine || did
		before = c.renewed(topic)
		err = c.produce(ctx, topic, key, value)
	}
	return err
}

// renew makes the client forget a topic, and makes the topic if it does not exist. If another
// goroutine has done that since renewed returned before, there is nothing to do: did is false.
func (c *Client) renew(ctx context.Context, topic string, before int) (did bool, err error) {
	if err := c.renewing.Acquire(ctx, 1); err != nil {
		return false, err
	}
	defer c.renewing.Release(1)
	if c.renewed(topic) != before {
		return false, nil
	}
	c.renewal(topic)
	c.client.PurgeTopicsFromProducing(topic)
	c.renewal(topic)
	if topic == c.cfg.Names().Cameras() {
		err = c.Ensure(ctx)
	} else { // a status must not make a topic of cameras without any camera: it would end all recordings
		err = c.ensure(ctx, topic)
	}
	if err != nil && !errors.Is(err, kafka.ErrSettings) {
		return true, fmt.Errorf("make the topic: %w", err)
	}
	return true, nil
}

// renewal counts that the client begins to forget a topic, or that it has done so.
func (c *Client) renewal(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renewals[topic]++
}

// renewed returns how often the client began to forget a topic, plus how often it has done so:
// an odd number while it does. A record that is written after an odd number was read may fail,
// though renewed returns the same number then.
func (c *Client) renewed(topic string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renewals[topic]
}

// produce waits for the acknowledgement or for ctx. Errors: ErrUncertain, with
// ctx's, if the record may still arrive; *kafka.RightError.
func (c *Client) produce(ctx context.Context, topic, key string, value []byte) error {
	done := make(chan error, 1)
	c.client.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(key), Value: value},
		func(_ *kgo.Record, err error) { done <- kafka.NeedsRight("WRITE", err) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(fateLimit):
		return fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
	}
}

// PutStatus writes a camera's status; it does not wait. With the brokers away
// the newest of each camera waits.
func (c *Client) PutStatus(s schemas.Status) {
	value, err := schemas.EncodeStatus(&s)
	if err != nil {
		c.log.Error("status cannot be encoded", "camera", s.Camera, "err", err)
		return
	}
	c.sendStatus(s.Camera, value)
}

// DeleteStatus removes a camera's status, and with it where the camera's numbers stand. It
// does not wait.
func (c *Client) DeleteStatus(id string) { c.sendStatus(id, nil) }

func (c *Client) sendStatus(id string, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending[id] {
		c.waiting[id] = value
		return
	}
	c.sending[id] = true
	c.send(id, value)
}

// send sends a status, and then the one that waits when it has been sent. c.mu
// is held. The promise runs later, on a goroutine of the client.
func (c *Client) send(id string, value []byte) {
	r := &kgo.Record{Topic: c.cfg.Names().Status(), Key: []byte(id), Value: value}
	before := c.renewals[c.cfg.Names().Status()]
	c.client.TryProduce(context.Background(), r, func(_ *kgo.Record, err error) {
		// A promise must not produce: with the client's queue full it would
		// be called again from within.
		go c.sent(id, value, before, err)
	})
}

// sent takes the result of send.
func (c *Client) sent(id string, value []byte, before int, err error) {
	err = c.again(c.ctx, c.cfg.Names().Status(), id, value, before, err)
	if err != nil && c.ctx.Err() == nil && !errors.Is(err, kgo.ErrClientClosed) {
		c.log.Warn("status was not written", "camera", id, "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if next, ok := c.waiting[id]; ok {
		delete(c.waiting, id)
		c.send(id, next)
		return
	}
	delete(c.sending, id)
	if len(c.sending) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}
