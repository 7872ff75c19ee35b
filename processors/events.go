package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// Settings of the topic of events.
const (
	eventPartitions = 4
	eventRetention  = 7 * 24 * time.Hour
)

// eventTopic writes the topic of events: a projection of the outputs of role data, for
// programs that know nothing of Framelog. An event is a CloudEvent 1.0 in the binary
// content mode of its Kafka protocol binding. It is written at least once, and its id stays
// the same.
type eventTopic struct {
	name      string
	client    *kgo.Client
	topics    *kafka.Topics
	log       *slog.Logger
	offsets   *share.Offsets
	committed func(ctx context.Context, topic string) (share.Offset, error)
	creating  *semaphore.Weighted // 1: held while the topic is created
	created   atomic.Bool
}

func newEventTopic(k kafka.Config, o *share.Offsets, shared *share.Cameras, log *slog.Logger) (*eventTopic, error) {
	cl, err := kgo.NewClient(append(k.Options(log), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0))...)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return &eventTopic{
		name: k.Names().Events(), client: cl, topics: kafka.NewTopics(k, cl, log), log: log,
		offsets: o, committed: shared.Committed, creating: semaphore.NewWeighted(1),
	}, nil
}

// create creates the topic, unless it exists.
func (t *eventTopic) create(ctx context.Context) error {
	if err := t.creating.Acquire(ctx, 1); err != nil {
		return err
	}
	defer t.creating.Release(1)
	if t.created.Load() {
		return nil
	}
	errs := t.topics.Ensure(ctx, kafka.Spec{Name: t.name, Partitions: eventPartitions, KeepPartitions: true, Configs: map[string]string{
		"cleanup.policy": "delete", "retention.ms": strconv.FormatInt(eventRetention.Milliseconds(), 10),
	}})
	if err := errs[t.name]; err != nil && !errors.Is(err, kafka.ErrSettings) {
		return err
	}
	t.created.Store(true)
	return nil
}

// write writes events and waits until Kafka has them. One that is too large is left out: it
// stands in the output.
func (t *eventTopic) write(ctx context.Context, records []*kgo.Record) error {
	for _, res := range t.client.ProduceSync(ctx, records...) {
		switch {
		case res.Err == nil:
		case errors.Is(res.Err, kerr.MessageTooLarge):
			t.log.Error("an event is too large for the topic of events", "topic", t.name, "camera", string(res.Record.Key), "bytes", len(res.Record.Value))
		case errors.Is(res.Err, kerr.UnknownTopicOrPartition), errors.Is(res.Err, kerr.UnknownTopicID):
			// Somebody has deleted the topic. The client does not take another one of this
			// name before it has forgotten this one.
			t.client.PurgeTopicsFromProducing(t.name)
			t.created.Store(false)
			return fmt.Errorf("write to %s: %w", t.name, res.Err)
		default:
			return fmt.Errorf("write to %s: %w", t.name, res.Err)
		}
	}
	return nil
}

// projectAll begins the projection of each output of role data.
func (c *camera) projectAll(ctx context.Context) {
	if c.r.events == nil {
		return
	}
	for _, o := range c.outputs {
		if o.Role == schemas.RoleData {
			p := &projection{c: c, events: c.r.events, topic: schemas.Topic{Camera: c.id, Rendition: o.Name}, life: o.follower.Life()}
			c.wg.Go(func() { p.run(ctx) })
		}
	}
}

// projection writes the events of one output. Its checkpoint is the offset of the output's
// index that the processor's group has committed, with life and seq of the newest entry
// that is done in its metadata. If Kafka has forgotten it, all events are written again.
type projection struct {
	c      *camera
	events *eventTopic
	topic  schemas.Topic
	life   string
}

// projectPause is the pause after an error, and until the work looks again whether another
// process has the camera.
const projectPause = time.Second

func (p *projection) run(ctx context.Context) {
	index := p.c.indexOf(p.topic)
	defer p.events.offsets.Remove(index)
	for ctx.Err() == nil {
		switch err := p.follow(ctx, index); {
		case ctx.Err() != nil, errors.Is(err, errReleased):
		case errors.Is(err, medialog.ErrSlow), errors.Is(err, medialog.ErrExpired):
		case errors.Is(err, medialog.ErrDamaged): // it is logged, once for each record
		default:
			p.c.log.Warn("events are not written to their topic yet", "topic", p.events.name, "err", err)
		}
		if pause(ctx, projectPause) != nil {
			return
		}
	}
}

// follow writes the events from the checkpoint on.
func (p *projection) follow(ctx context.Context, index string) error {
	if p.c.isMuted() {
		return errReleased // its new owner does it
	}
	if err := p.events.create(ctx); err != nil {
		return err
	}
	o, err := p.events.committed(ctx, index)
	if err != nil {
		return err
	}
	for ev, err := range p.c.in.Tail(ctx, p.topic, medialog.Position{Seq: max(1, share.SeqBehind(o, p.life))}) {
		switch {
		case err != nil:
		case p.c.isMuted():
			err = errReleased
		case ev.Entry != nil:
			err = p.entry(ctx, index, ev.Entry)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// entry writes the events of an entry.
func (p *projection) entry(ctx context.Context, index string, e *schemas.Entry) error {
	if e.Playable() && e.Bytes > 0 {
		records, err := p.records(ctx, e)
		if err == nil {
			err = p.events.write(ctx, records)
		}
		if err != nil {
			return err
		}
		p.c.r.metrics.events.WithLabelValues(p.c.id).Add(float64(len(records)))
	}
	p.events.offsets.Set(index, share.OffsetBehind(e))
	return nil
}

// records makes the records of an entry's events.
func (p *projection) records(ctx context.Context, e *schemas.Entry) (out []*kgo.Record, err error) {
	for c, err := range p.c.in.Chunks(ctx, p.topic, *e) {
		if errors.Is(err, medialog.ErrExpired) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, r := range c.Runs {
			for i := range r.Samples {
				var d schemas.Data
				if json.Unmarshal(r.Samples[i].Data, &d) != nil || d.Event == nil {
					continue // boxes, or what another version of a processor wrote
				}
				one, err := p.record(e, d.Event, len(out))
				if err != nil {
					return nil, err
				}
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// record makes the record of the n-th event of an entry, by CloudEvents 1.0, Kafka protocol
// binding, section 3.2 (binary content mode).
func (p *projection) record(e *schemas.Entry, event *schemas.Event, n int) (*kgo.Record, error) {
	value, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: p.events.name, Key: []byte(p.c.id), Value: value, Headers: []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")},
		{Key: "ce_id", Value: fmt.Appendf(nil, "%s.%d.%s.%d", e.Life, e.Seq, p.c.r.p.Name, n)},
		{Key: "ce_source", Value: fmt.Appendf(nil, "/cameras/%s/%s", p.c.id, p.topic.Rendition)},
		{Key: "ce_type", Value: []byte("framelog." + event.Type)},
		{Key: "ce_time", Value: []byte(event.Start.UTC().Format(time.RFC3339Nano))},
		{Key: "ce_seq", Value: strconv.AppendUint(nil, e.Seq, 10)},
		{Key: "content-type", Value: []byte("application/json")},
	}}, nil
}
