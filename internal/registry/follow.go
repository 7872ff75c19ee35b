package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

const (
	// coalesce is the least time from the end of one call of Follow's callee to the next.
	coalesce = 100 * time.Millisecond
	// followRetry is how long Follow waits before it begins anew.
	followRetry = time.Second
	// endsRetry is how long it waits to ask again where topics end.
	endsRetry = 250 * time.Millisecond
	// unknownFor is how long all answers must be that a topic is unknown until
	// that is believed: a broker that has just started says so of any.
	unknownFor = 2 * time.Second
)

// ErrUnmade says that brokers do not know a topic, or a partition of it: nobody
// has made it, or a broker does not know of it yet.
var ErrUnmade = errors.New("the brokers do not know the topic")

// Snapshot is the registry at one moment.
type Snapshot struct {
	Cameras map[string]schemas.Camera
	Status  map[string]schemas.Status
	// Read is up to where each partition of the topic of cameras has been read:
	// the next offset.
	Read map[int32]int64
}

// Holds reports whether s was read up to ends, which Client.End gave: then it
// holds every camera that was put before End was called, whoever put it.
func (s Snapshot) Holds(ends map[int32]int64) bool {
	for p, end := range ends {
		if s.Read[p] < end {
			return false
		}
	}
	return true
}

// End gives where each partition of the topic of cameras ends that is not
// empty. A topic that nobody has made is empty.
func (c *Client) End(ctx context.Context) (map[int32]int64, error) {
	ends, err := EndOffsets(ctx, kadm.NewClient(c.client), c.cfg.Names().Cameras())
	if errors.Is(err, ErrUnmade) {
		return nil, nil
	}
	return ends, err
}

// Load reads both topics to their end as of the call. Topics that nobody has
// made yet are empty. It waits for brokers until ctx ends.
func (c *Client) Load(ctx context.Context) (Snapshot, error) {
	var out Snapshot
	done := errors.New("read to the end")
	err := c.read(ctx, func(s Snapshot) error { out = s; return done })
	if errors.Is(err, done) {
		return out, nil
	}
	return Snapshot{}, fmt.Errorf("registry: load: %w", err)
}

// Follow calls changed with the registry each time that something in it has
// changed, at most every 100 ms, first when both topics have been read to
// their end, until ctx ends; it returns ctx's error. The maps are the callee's
// to keep. With the brokers away nothing changes, until they are back.
func (c *Client) Follow(ctx context.Context, changed func(Snapshot)) error {
	for {
		err := c.read(ctx, func(s Snapshot) error { changed(s); return nil })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.log.Warn("registry is read anew", "err", err)
		select {
		case <-time.After(followRetry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read follows both topics with one consumer, from their start. It returns
// told's error, or ctx's, or says that the topics are not those any more of
// which it has read the start.
func (c *Client) read(ctx context.Context, told func(Snapshot) error) error {
	cams, status := c.cfg.Names().Cameras(), c.cfg.Names().Status()
	client, err := kgo.NewClient(append(c.cfg.Options(c.log),
		kgo.ConsumeTopics(cams, status), // without a group: all partitions, also of topics that come later
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMinBytes(1),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()

	ends, err := waitEnds(ctx, kadm.NewClient(client), cams, status)
	if err != nil {
		return err
	}
	v := view{
		Snapshot: Snapshot{Cameras: map[string]schemas.Camera{}, Status: map[string]schemas.Status{}, Read: map[int32]int64{}},
		cameras:  cams, ends: ends,
	}
	var last time.Time // end of the last call of told
	changed := true
	for {
		pollCtx, cancel := ctx, context.CancelFunc(func() {})
		if changed && len(v.ends) == 0 {
			wait := time.Until(last.Add(coalesce))
			if wait <= 0 {
				changed = false
				if err := told(v.clone()); err != nil {
					return err
				}
				last = time.Now()
			} else {
				pollCtx, cancel = context.WithTimeout(ctx, wait)
			}
		}
		fetches := client.PollFetches(pollCtx)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := lostData(fetches); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			changed = true
			if err := v.apply(r); err != nil {
				c.log.Warn("registry record cannot be read", "topic", r.Topic, "key", string(r.Key), "err", err)
			}
		})
	}
}

// lostData says whether the log is not the one any more that was read so far:
// then records may be gone that no tombstone takes back.
func lostData(fetches kgo.Fetches) error {
	var out error
	fetches.EachError(func(_ string, _ int32, err error) {
		if _, ok := errors.AsType[*kgo.ErrDataLoss](err); ok || errors.Is(err, kerr.OffsetOutOfRange) ||
			errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.InconsistentTopicID) ||
			errors.Is(err, kgo.ErrClientClosed) {
			out = err
		}
	})
	return out
}

// EndOffsets gives where each partition of a topic ends that is not empty.
// Errors: ErrUnmade; ctx's; Kafka's.
func EndOffsets(ctx context.Context, adm *kadm.Client, topic string) (map[int32]int64, error) {
	first, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("registry: list start of %s: %w", topic, err)
	}
	end, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("registry: list end of %s: %w", topic, err)
	}
	out := make(map[int32]int64)
	for id, e := range end[topic] {
		s, _ := first.Lookup(topic, id)
		err := errors.Join(e.Err, s.Err)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil, fmt.Errorf("registry: list end of %s: %w", topic, ErrUnmade)
		}
		if err != nil {
			return nil, fmt.Errorf("registry: list end of %s: %w", topic, err)
		}
		if e.Offset > s.Offset {
			out[id] = e.Offset
		}
	}
	return out, nil
}

// waitEnds is EndOffsets of topics together, tried until it works or ctx ends. A
// topic that nobody has made is empty.
func waitEnds(ctx context.Context, adm *kadm.Client, topics ...string) (map[partition]int64, error) {
	out := make(map[partition]int64)
	for _, topic := range topics {
		var unknown time.Time // since when
		for {
			ends, err := EndOffsets(ctx, adm, topic)
			switch {
			case !errors.Is(err, ErrUnmade):
				unknown = time.Time{}
			case unknown.IsZero():
				unknown = time.Now()
			case time.Since(unknown) >= unknownFor:
				err = nil // and there are no ends
			}
			if err == nil {
				for id, end := range ends {
					out[partition{topic, id}] = end
				}
				break
			}
			select {
			case <-time.After(endsRetry):
			case <-ctx.Done():
				return nil, fmt.Errorf("%w (%w)", ctx.Err(), err)
			}
		}
	}
	return out, nil
}

type partition struct {
	topic string
	id    int32
}

// view is the registry as records make it.
type view struct {
	Snapshot
	cameras string              // name of the topic of cameras; the other is of statuses
	ends    map[partition]int64 // of partitions not read to their end yet
}

func (v *view) apply(r *kgo.Record) error {
	p := partition{r.Topic, r.Partition}
	// The last record of a partition is never compacted away, so it comes.
	if end, ok := v.ends[p]; ok && r.Offset+1 >= end {
		delete(v.ends, p)
	}
	id := string(r.Key)
	if r.Topic == v.cameras {
		v.Read[r.Partition] = r.Offset + 1
		if len(r.Value) == 0 {
			delete(v.Cameras, id)
			return nil
		}
		cam, err := DecodeCamera(r.Key, r.Value)
		if err != nil {
			return err
		}
		v.Cameras[id] = cam
		return nil
	}
	if len(r.Value) == 0 {
		delete(v.Status, id)
		return nil
	}
	s, err := schemas.DecodeStatus(r.Value)
	if err != nil {
		return err
	}
	v.Status[id] = s
	return nil
}

func (v *view) clone() Snapshot {
	return Snapshot{Cameras: maps.Clone(v.Cameras), Status: maps.Clone(v.Status), Read: maps.Clone(v.Read)}
}

// DecodeCamera reads a record of the cameras topic: its key must be the id of
// its value.
func DecodeCamera(key, value []byte) (schemas.Camera, error) {
	cam, err := schemas.DecodeCamera(value)
	if err != nil {
		return schemas.Camera{}, err
	}
	if cam.ID != string(key) {
		return schemas.Camera{}, fmt.Errorf("key %q holds camera %q", key, cam.ID)
	}
	return cam, schemas.ValidateCameraID(cam.ID)
}
