// Package users reads and writes the topic of users: who may use this Framelog, the sessions
// that were ended, and the key that signs sessions. The topic is compacted and has one
// partition, so all readers see the same order.
package users

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

const (
	// retry is the pause before Run reads everything again, and rightRetry if this process
	// lacks a right: a person has to grant it first.
	retry, rightRetry = time.Second, 30 * time.Second
	// endLimit bounds one look for the end of the topic.
	endLimit = 2 * time.Second
	// writeLimit bounds a write, with the wait until this process has read it back.
	writeLimit = 10 * time.Second
	// maxPast is how many records of past sessions one sign-out removes.
	maxPast = 100
)

// Client reads and writes the topic. The newest state that Run has read is in memory, and
// stays there while the brokers are away.
type Client struct {
	cfg    kafka.Config
	log    *slog.Logger
	client *kgo.Client // produces and administers; the reader has its own
	topics *kafka.Topics
	// recheck is how long no record comes until the reader looks whether the topic is still
	// the one that it reads.
	recheck time.Duration

	mu      sync.RWMutex
	state   *State               // nil until Run has read the topic
	changed chan struct{}        // closed and replaced at each change of state
	out     map[string]time.Time // sessions that were ended here and are not read back, with their end
}

// Connect makes a Client. It does not wait for a broker.
func Connect(cfg kafka.Config, log *slog.Logger) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("users: connect: %w", err)
	}
	client, err := kgo.NewClient(append(cfg.Options(log), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0))...)
	if err != nil {
		return nil, fmt.Errorf("users: connect: %w", err)
	}
	return &Client{
		cfg: cfg, log: log, client: client, topics: kafka.NewTopics(cfg, client, log),
		recheck: 30 * time.Second, changed: make(chan struct{}), out: map[string]time.Time{},
	}, nil
}

// Close frees the client.
func (c *Client) Close() { c.client.Close() }

// Ensure makes the topic with its settings (one partition, compacted, retention -1).
func (c *Client) Ensure(ctx context.Context) error {
	name := c.cfg.Names().Users()
	err := c.topics.Ensure(ctx, kafka.Spec{Name: name, Partitions: 1, KeepPartitions: true, Configs: map[string]string{
		"cleanup.policy": "compact", "retention.ms": "-1",
	}})[name]
	if err != nil && !errors.Is(err, kafka.ErrSettings) {
		return fmt.Errorf("users: ensure topic: %w", err)
	}
	return nil
}

// Run follows the topic until ctx ends. If the topic does not exist, Run makes it; if it
// holds no signing key, Run writes one. While the brokers are away nothing changes.
func (c *Client) Run(ctx context.Context) error {
	for {
		err := c.Ensure(ctx)
		if err == nil {
			err = c.read(ctx, func(s *State) error { return c.publish(ctx, s) })
		}
		if ctx.Err() != nil {
			return nil
		}
		// A topic that was made again has another id, which the client does not take over.
		c.client.PurgeTopicsFromProducing(c.cfg.Names().Users())
		pause := retry
		err = kafka.NeedsRight("READ", err)
		if _, ok := errors.AsType[*kafka.RightError](err); ok {
			pause = rightRetry
		}
		if !errors.Is(err, registry.ErrNoTopic) { // a broker does not know a new topic for a moment
			c.log.Warn("the users are read again from their start", "err", err, "in", pause)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// publish makes s the newest state. If there is no signing key, it writes one and keeps the
// state of before, until the key is read.
func (c *Client) publish(ctx context.Context, s *State) error {
	if s.signingKey() == nil {
		value, err := schemas.EncodeSigningKey(&schemas.SigningKey{Key: random(keyBytes), Made: time.Now()})
		if err == nil {
			_, err = c.produce(ctx, schemas.SigningKeyKey(hex.EncodeToString(random(8))), value)
		}
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	for id, until := range c.out {
		if _, read := s.out[id]; read || expired(until, time.Now()) {
			delete(c.out, id)
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// Load reads the topic to its end as of the call. A topic that does not exist is empty. It
// waits for brokers until ctx ends.
func (c *Client) Load(ctx context.Context) (*State, error) {
	if err := c.Ensure(ctx); err != nil {
		return nil, err
	}
	var out *State
	err := c.read(ctx, func(s *State) error { out = s; return errRead })
	if errors.Is(err, errRead) {
		return out, nil
	}
	return nil, fmt.Errorf("users: load: %w", err)
}

// errRead ends read after the first reading.
var errRead = errors.New("read to the end")

// read follows the topic from its start, and calls changed with a copy of the state when it
// has been read to its end, and then at each change. It returns the error of changed, ctx's,
// or an error if the topic was made again since it began.
func (c *Client) read(ctx context.Context, changed func(*State) error) error {
	topic := c.cfg.Names().Users()
	client, err := kgo.NewClient(append(c.cfg.Options(c.log),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(500*time.Millisecond),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := registry.EndOffsets(ctx, kadm.NewClient(c.client), topic)
	if err != nil {
		return err
	}
	s, end := newState(), ends[0]
	for dirty := true; ; {
		if dirty && s.next >= end {
			dirty = false
			if err := changed(s.clone()); err != nil {
				return err
			}
		}
		wait := c.recheck
		if s.next < end {
			wait = registry.Quiet
		}
		poll, cancel := context.WithTimeout(ctx, wait)
		fetches := client.PollFetches(poll)
		quiet := poll.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := registry.LostData(fetches); err != nil {
			return err
		}
		var gone bool
		fetches.EachError(func(_ string, _ int32, err error) { gone = gone || errors.Is(err, kerr.UnknownTopicOrPartition) })
		if gone { // or a broker that has just started does not know it yet
			return registry.ErrNoTopic
		}
		fetches.EachRecord(func(r *kgo.Record) {
			dirty = true
			if err := s.apply(r); err != nil {
				c.log.Warn("a record of users cannot be read", "offset", r.Offset, "err", err)
			}
		})
		switch {
		case quiet && s.next < end: // the last offsets may hold no record
			c.lookForEnd(ctx, s, end)
		case quiet:
			if end, err = c.end(ctx, s.next); err != nil {
				return err
			}
		}
	}
}

// end returns the end of the topic, and an error if it is not the topic that was read up to
// next. If the brokers do not answer, it returns next.
func (c *Client) end(ctx context.Context, next int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	ends, err := registry.EndOffsets(ctx, kadm.NewClient(c.client), c.cfg.Names().Users())
	switch {
	case errors.Is(err, registry.ErrNoTopic):
		return 0, err
	case err != nil:
		return next, nil //nolint:nilerr // the consumer logs why
	case ends[0] < next:
		return 0, errors.New("users: the topic was made again")
	}
	return ends[0], nil
}

// lookForEnd moves s to end if there is no record between. If the brokers do not answer, it
// does nothing: the consumer logs why.
func (c *Client) lookForEnd(ctx context.Context, s *State, end int64) {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	if done, _ := registry.AtEnd(ctx, c.client, c.cfg.Names().Users(), map[int32]int64{0: s.next}, map[int32]int64{0: end}); len(done) > 0 {
		s.next = end
	}
}

// Ready returns an error until the topic has been read once.
func (c *Client) Ready() error {
	if c.current() == nil {
		return errors.New("users: they are not read yet")
	}
	return nil
}

func (c *Client) current() *State {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state
}

// User returns a user, as Run has read it.
func (c *Client) User(name string) (schemas.User, bool) {
	if s := c.current(); s != nil {
		return s.User(name)
	}
	return schemas.User{}, false
}

// Token returns the user of a valid token.
func (c *Client) Token(text string) (schemas.User, bool) {
	if s := c.current(); s != nil {
		return s.token(text, time.Now())
	}
	return schemas.User{}, false
}

// HasAdmin reports whether there is an administrator.
func (c *Client) HasAdmin() bool {
	s := c.current()
	return s != nil && s.HasAdmin()
}

// SigningKey returns the key with which sessions are signed; nil if it is not known yet.
func (c *Client) SigningKey() []byte {
	if s := c.current(); s != nil {
		return s.signingKey()
	}
	return nil
}

// SignedOut reports whether a session was ended.
func (c *Client) SignedOut(session string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if _, ok := c.out[session]; ok {
		return true
	}
	if c.state == nil {
		return true
	}
	_, ok := c.state.out[session]
	return ok
}

// SignOut ends a session: at once in this process, and in the others when they have read the
// record. After an error only this process knows of it. It also removes records of sessions
// that have expired.
func (c *Client) SignOut(ctx context.Context, session string, o schemas.SignOut) error {
	c.mu.Lock()
	c.out[session] = o.Until
	c.mu.Unlock()
	value, err := schemas.EncodeSignOut(&o)
	if err != nil {
		return err
	}
	if s := c.current(); s != nil {
		for _, id := range s.past(time.Now(), maxPast) {
			c.client.Produce(context.WithoutCancel(ctx), c.record(schemas.SignOutKey(id), nil), nil)
		}
	}
	_, err = c.produce(ctx, schemas.SignOutKey(session), value)
	return err
}

// Put writes a user. If Run runs, it waits until this process has read it. It sets Updated.
// Of two writes at the same time the later one counts.
func (c *Client) Put(ctx context.Context, u schemas.User) error {
	u.Updated = time.Now()
	if err := u.Validate(); err != nil {
		return fmt.Errorf("users: put: %w", err)
	}
	value, err := schemas.EncodeUser(&u)
	if err != nil {
		return err
	}
	return c.write(ctx, schemas.UserKey(u.Name), value)
}

// Remove removes a user.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.write(ctx, schemas.UserKey(name), nil)
}

// write writes a record and waits until it is read back, if Run runs.
func (c *Client) write(ctx context.Context, key string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	offset, err := c.produce(ctx, key, value)
	if err != nil {
		return err
	}
	if err := c.wait(ctx, func(s *State) bool { return s == nil || s.next > offset }); err != nil {
		return fmt.Errorf("users: wait for the record: %w", err)
	}
	return nil
}

func (c *Client) record(key string, value []byte) *kgo.Record {
	return &kgo.Record{Topic: c.cfg.Names().Users(), Partition: 0, Key: []byte(key), Value: value}
}

// produce writes a record and returns its offset.
func (c *Client) produce(ctx context.Context, key string, value []byte) (int64, error) {
	r, err := c.client.ProduceSync(ctx, c.record(key, value)).First()
	if err != nil {
		return 0, fmt.Errorf("users: write: %w", kafka.NeedsRight("WRITE", err))
	}
	return r.Offset, nil
}

// Await waits until the topic has been read once.
func (c *Client) Await(ctx context.Context) error {
	return c.wait(ctx, func(s *State) bool { return s != nil })
}

// wait waits until the state, nil before the topic has been read, is as enough wants it.
func (c *Client) wait(ctx context.Context, enough func(*State) bool) error {
	for {
		c.mu.RLock()
		s, changed := c.state, c.changed
		c.mu.RUnlock()
		if enough(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
