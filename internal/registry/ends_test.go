package registry

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// endTransaction writes the end of a transaction to the partition of camera key:
// a control batch, which no consumer is given.
func endTransaction(t *testing.T, c *Client, topic, key string) {
	t.Helper()
	ctx := limit(t, testenv.Patience)
	client, err := kgo.NewClient(append(c.cfg.Options(slog.New(slog.DiscardHandler)), kgo.TransactionalID("test"))...)
	must(t, err)
	defer client.Close()
	must(t, client.BeginTransaction())
	cam := apiCamera(key)
	value, err := schemas.EncodeCamera(&cam)
	must(t, err)
	must(t, client.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte(key), Value: value}).FirstErr())
	must(t, client.EndTransaction(ctx, kgo.TryCommit))
}

// TestEndIsNoRecord: a registry whose partition ends with what is no record is
// read to its end, and its snapshot holds the end.
func TestEndIsNoRecord(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, testenv.Patience)
	must(t, c.Ensure(ctx))
	must(t, c.Put(ctx, apiCamera("a")))
	endTransaction(t, c, "t.cameras", "a")
	busy, stop := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { // statuses of many cameras come all the time
		for busy.Err() == nil {
			c.PutStatus(schemas.Status{Camera: "other"})
			time.Sleep(Quiet / 10)
		}
	})
	s, err := c.Load(ctx)
	stop()
	writer.Wait()
	if err != nil || ids(s) != "a" {
		t.Fatalf("loaded %v, %v", s, err)
	}
	if ends, err := c.End(ctx); err != nil || !s.Holds(ends) {
		t.Errorf("read %v, ends %v, %v", s.Read, ends, err)
	}
	c.recheck = 300 * time.Millisecond
	f := follow(t, c)
	f.until(t, "the camera", func(s Snapshot) bool { return ids(s) == "a" })
	must(t, c.Put(ctx, apiCamera("b")))
	f.until(t, "what comes after", func(s Snapshot) bool { return ids(s) == "a b" })

	// The same while the registry is followed.
	endTransaction(t, c, "t.cameras", "c")
	ends, err := c.End(ctx)
	must(t, err)
	f.until(t, "the end", func(s Snapshot) bool { return ids(s) == "a b c" && s.Holds(ends) })
}

// TestEndIsCompactedAway: the last records of a partition are gone, as after
// compaction of tombstones: it still ends where it did, and nothing is there.
func TestEndIsCompactedAway(t *testing.T) {
	for name, keep := range map[string]int64{"the last records": 1, "all": 0} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t)
			c := connect(t, b)
			ctx := limit(t, testenv.Patience)
			must(t, c.Ensure(ctx))
			must(t, c.Put(ctx, apiCamera("a")))
			adm := kadm.NewClient(c.client)
			topics, err := adm.ListTopics(ctx, "t.cameras")
			must(t, err)
			ends, err := EndOffsets(ctx, adm, "t.cameras")
			must(t, err)
			var part int32
			for part = range ends {
				break // that of the camera: empty partitions have no end
			}
			first := fetchBatch(t, c, topics["t.cameras"], part)
			for range 2 {
				must(t, c.Delete(ctx, "a"))
			}
			var fetches atomic.Int64
			b.c.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
				b.c.KeepControl()
				req := r.(*kmsg.FetchRequest)
				resp := req.ResponseKind().(*kmsg.FetchResponse)
				mine := false
				for _, rt := range req.Topics {
					st := kmsg.NewFetchResponseTopic()
					st.Topic, st.TopicID = rt.Topic, rt.TopicID
					for _, rp := range rt.Partitions {
						sp := kmsg.NewFetchResponseTopicPartition()
						sp.Partition, sp.RecordBatches = rp.Partition, []byte{}
						if rt.TopicID == topics["t.cameras"].ID && rp.Partition == part {
							mine = true
							sp.HighWatermark, sp.LastStableOffset = 3, 3
							if rp.FetchOffset < keep {
								sp.RecordBatches = first
							}
						}
						st.Partitions = append(st.Partitions, sp)
					}
					resp.Topics = append(resp.Topics, st)
				}
				if mine {
					fetches.Add(1)
				}
				return resp, nil, mine
			})
			s, err := c.Load(ctx)
			if err != nil || int64(len(s.Cameras)) != keep {
				t.Fatalf("loaded %v, %v", s.Cameras, err)
			}
			if ends, err := c.End(ctx); err != nil || !s.Holds(ends) || fetches.Load() == 0 {
				t.Errorf("read %v, ends %v, %v; %d fetches", s.Read, ends, err, fetches.Load())
			}
		})
	}
}

// fetchBatch is the first batch of a partition.
func fetchBatch(t *testing.T, c *Client, topic kadm.TopicDetail, part int32) []byte {
	t.Helper()
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes = part, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID, rt.Partitions = topic.Topic, topic.ID, append(rt.Partitions, p)
	req := kmsg.NewPtrFetchRequest()
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(limit(t, testenv.Patience), c.client.Broker(int(topic.Partitions[part].Leader)))
	must(t, err)
	return resp.Topics[0].Partitions[0].RecordBatches
}

// TestAtEnd: a partition is at its end only if nothing comes before it.
func TestAtEnd(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, testenv.Patience)
	adm := kadm.NewClient(c.client)
	_, err := adm.CreateTopic(ctx, 1, 1, nil, "t.cameras")
	must(t, err)
	for range 2 {
		must(t, c.Put(ctx, apiCamera("a")))
	}
	endTransaction(t, c, "t.cameras", "a") // record 2, end 3
	endTransaction(t, c, "t.cameras", "a") // record 4, end 5
	for _, tt := range []struct {
		next, end int64
		want      bool
	}{
		{0, 6, false},
		{1, 6, false},
		{2, 6, false},
		{3, 6, false},
		{4, 6, false},
		{5, 6, true},
		{3, 4, false}, // a record comes, later than asked for
		{6, 7, false}, // the leader does not know of so much
	} {
		done, err := AtEnd(ctx, c.client, "t.cameras", map[int32]int64{0: tt.next}, map[int32]int64{0: tt.end})
		if err != nil || slices.Contains(done, 0) != tt.want {
			t.Errorf("from %d to %d: %v, %v", tt.next, tt.end, done, err)
		}
	}
	b.c.Close()
	ctx, cancel := context.WithTimeout(ctx, Quiet)
	defer cancel()
	if done, err := AtEnd(ctx, c.client, "t.cameras", nil, map[int32]int64{0: 6}); err == nil || len(done) > 0 {
		t.Errorf("without a broker: %v, %v", done, err)
	}
	b.start()
}
