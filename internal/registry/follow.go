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

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

const (
	// coalesce is the least time from the end of one call of Follow's function to the
	// next.
	coalesce = 100 * time.Millisecond
	// followRetry is how long Follow waits before it reads everything again, and rightRetry
	// if this process lacks a right: a person has to grant it first.
	followRetry, rightRetry = time.Second, 30 * time.Second
)

// Snapshot is the registry at one moment.
type Snapshot struct {
	Cameras map[string]schemas.Camera
	// Purged is what is known of purged footage, by camera id, also of ids that Cameras has.
	Purged map[string]schemas.Purge
	// Status has no status of cameras whose owner has stopped after their removal
	// (schemas.StateRemoved).
	Status map[string]schemas.Status
	// Read is the next offset to read of each partition of the topic of cameras.
	Read map[int32]int64
}

// Holds reports whether s was read up to ends, which Client.End returned. Then
// it holds every camera that any process put before End was called.
func (s Snapshot) Holds(ends map[int32]int64) bool {
	for p, end := range ends {
		if s.Read[p] < end {
			return false
		}
	}
	return true
}

// End returns the end offset of each partition of the topic of cameras that is
// not empty. A topic that does not exist is empty.
func (c *Client) End(ctx context.Context) (map[int32]int64, error) {
	ends, err := EndOffsets(ctx, kadm.NewClient(c.client), c.cfg.Names().Cameras())
	if errors.Is(err, ErrNoTopic) {
		return nil, nil
	}
	return ends, err
}

// Load reads both topics to their end as of the call. Topics that do not exist are
// empty. It waits for brokers until ctx ends.
func (c *Client) Load(ctx context.Context) (Snapshot, error) {
	var out Snapshot
	err := c.read(ctx, func(v *view) error { out = v.snapshot(); return errRead }, c.cfg.Names().Cameras(), c.cfg.Names().Status())
	if errors.Is(err, errRead) {
		return out, nil
	}
	return Snapshot{}, fmt.Errorf("registry: load: %w", err)
}

// errRead ends read after the first reading.
var errRead = errors.New("read to the end")

// Follow calls changed with the registry when both topics have been read to their
// end, and then each time that something in it has changed, at most every 100 ms. It
// ends with ctx and returns ctx's error. changed may keep the maps. While the
// brokers are away nothing changes.
func (c *Client) Follow(ctx context.Context, changed func(Snapshot)) error {
	for {
		err := c.read(ctx, func(v *view) error { changed(v.snapshot()); return nil }, c.cfg.Names().Cameras(), c.cfg.Names().Status())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		pause := followRetry
		if _, ok := errors.AsType[*kafka.RightError](err); ok {
			pause = rightRetry
		}
		c.log.Warn("the registry is read again from its start", "err", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read follows topics of the registry with one consumer, from their start, and calls
// changed as Follow does. It returns the error of changed, ctx's, or an error if the
// topics were made again since it began.
func (c *Client) read(ctx context.Context, changed func(*view) error, topics ...string) error {
	client, err := kgo.NewClient(append(c.cfg.Options(c.log),
		kgo.ConsumeTopics(topics...), // without a group: all partitions, also of topics that come later
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMinBytes(1),
		// A partition whose start is found later waits for the fetch under way to end.
		kgo.FetchMaxWait(500*time.Millisecond),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()

	ends, err := waitEnds(ctx, kadm.NewClient(client), topics...)
	if err != nil {
		return err
	}
	v := view{
		Snapshot: Snapshot{Cameras: map[string]schemas.Camera{}, Purged: map[string]schemas.Purge{}, Status: map[string]schemas.Status{}, Read: map[int32]int64{}},
		cameras:  c.cfg.Names().Cameras(), next: map[partition]int64{}, ends: ends,
	}
	var last time.Time     // end of the last call of changed
	progress := time.Now() // when a partition of v.ends last had a record, or was looked at
	dirty := true
	for {
		wait := c.recheck
		if len(v.ends) > 0 {
			wait = Quiet
		} else if dirty {
			if rest := time.Until(last.Add(coalesce)); rest > 0 {
				wait = rest
			} else {
				dirty = false
				if err := changed(&v); err != nil {
					return err
				}
				last = time.Now()
			}
		}
		pollCtx, cancel := context.WithTimeout(ctx, wait)
		fetches := client.PollFetches(pollCtx)
		quiet := pollCtx.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := LostData(fetches); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			dirty = true
			if _, ok := v.ends[partition{r.Topic, r.Partition}]; ok {
				progress = time.Now()
			}
			if err := v.apply(r); err != nil {
				c.log.Warn("registry record cannot be read", "topic", r.Topic, "key", string(r.Key), "err", err)
			}
		})
		switch {
		case len(v.ends) > 0:
			// Other partitions may have records all the time, as those of statuses.
			if time.Since(progress) >= Quiet {
				v.lookForEnds(ctx, c.client, v.ends)
				progress = time.Now()
			}
		case quiet && !dirty: // what came after the end of the first reading may be gone too
			dirty = v.lookForEnds(ctx, c.client, v.behind(ctx, c))
		}
	}
}

// LostData returns an error if the log was cut back or made again. Then records may be
// gone without a tombstone, so a reader has to read everything again.
func LostData(fetches kgo.Fetches) error {
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

type partition struct {
	topic string
	id    int32
}

// view is the registry as built from the records.
type view struct {
	Snapshot
	cameras string              // name of the topic of cameras; the other is of statuses
	next    map[partition]int64 // the offset after the last record
	ends    map[partition]int64 // of partitions not read to their end yet
}

// read notes that a partition has been read up to offset next.
func (v *view) read(p partition, next int64) {
	v.next[p] = next
	if end, ok := v.ends[p]; ok && next >= end {
		delete(v.ends, p)
	}
	if p.topic == v.cameras {
		v.Read[p.id] = next
	}
}

// lookForEnds finds partitions that have been read up to their end although their
// last offsets hold no record, and reports whether there are any. If the brokers do
// not answer, it finds none: the consumer logs why.
func (v *view) lookForEnds(ctx context.Context, client *kgo.Client, ends map[partition]int64) (found bool) {
	ctx, cancel := context.WithTimeout(ctx, endsLimit)
	defer cancel()
	next, byTopic := map[string]map[int32]int64{}, map[string]map[int32]int64{}
	for p, end := range ends {
		if byTopic[p.topic] == nil {
			next[p.topic], byTopic[p.topic] = map[int32]int64{}, map[int32]int64{}
		}
		next[p.topic][p.id], byTopic[p.topic][p.id] = v.next[p], end
	}
	for topic, ends := range byTopic {
		done, _ := AtEnd(ctx, client, topic, next[topic], ends)
		for _, id := range done {
			v.read(partition{topic, id}, ends[id])
			found = true
		}
	}
	return found
}

// behind returns the ends of the partitions of the topic of cameras that have
// not been read up to their end.
func (v *view) behind(ctx context.Context, c *Client) map[partition]int64 {
	ctx, cancel := context.WithTimeout(ctx, endsLimit)
	defer cancel()
	ends, err := c.End(ctx)
	if err != nil {
		return nil
	}
	out := make(map[partition]int64)
	for id, end := range ends {
		if p := (partition{v.cameras, id}); v.next[p] < end {
			out[p] = end
		}
	}
	return out
}

func (v *view) apply(r *kgo.Record) error {
	v.read(partition{r.Topic, r.Partition}, r.Offset+1)
	if r.Topic == v.cameras {
		return Apply(r, v.Cameras, v.Purged)
	}
	id := string(r.Key)
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

// snapshot returns a copy that the caller may keep.
func (v *view) snapshot() Snapshot {
	status := maps.Clone(v.Status)
	maps.DeleteFunc(status, func(_ string, s schemas.Status) bool { return s.State == schemas.StateRemoved })
	return Snapshot{Cameras: maps.Clone(v.Cameras), Purged: maps.Clone(v.Purged), Status: status, Read: maps.Clone(v.Read)}
}

// Apply changes cams and purged, both by camera id, to what a record of the topic of
// cameras tells. After an error both are as before.
func Apply(r *kgo.Record, cams map[string]schemas.Camera, purged map[string]schemas.Purge) error {
	id, purge := schemas.RegistryKey(r.Key)
	switch {
	case len(r.Value) == 0 && purge:
		delete(purged, id)
	case len(r.Value) == 0:
		delete(cams, id)
	case purge:
		p, err := schemas.DecodePurge(r.Value)
		if err != nil {
			return err
		}
		purged[id] = p
	default:
		cam, err := decodeCamera(id, r.Value)
		if err != nil {
			return err
		}
		cams[id] = cam
	}
	return nil
}

// decodeCamera reads a camera's record: its key must be the id of its value.
func decodeCamera(id string, value []byte) (schemas.Camera, error) {
	cam, err := schemas.DecodeCamera(value)
	if err != nil {
		return schemas.Camera{}, err
	}
	if cam.ID != id {
		return schemas.Camera{}, fmt.Errorf("key %q holds camera %q", id, cam.ID)
	}
	return cam, schemas.ValidateCameraID(cam.ID)
}
