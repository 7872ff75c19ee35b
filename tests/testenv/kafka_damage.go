package testenv

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DamageKafka changes a byte of the batch that holds a record, as a disk may do: its checksum is
// wrong in each answer from then on. The other batches stay as they are. It is one
// record of a cluster at most, until repair is called.
func DamageKafka(t testing.TB, c *kfake.Cluster, dial func(ctx context.Context, network, address string) (net.Conn, error), topic string, partition int32, offset int64) (repair func()) {
	t.Helper()
	id := c.TopicInfo(topic).TopicID
	batches, damaged := kafkaBatches(t, c, dial, topic, id, partition), -1
	for i, b := range batches {
		if b.first <= offset && offset <= b.last {
			damaged = i
			b.bytes[len(b.bytes)-1] ^= 1
		}
	}
	if damaged < 0 {
		t.Fatalf("testenv: %s partition %d has no record at offset %d", topic, partition, offset)
	}
	var repaired atomic.Bool
	c.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if repaired.Load() {
			return nil, nil, false
		}
		c.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 {
			return nil, nil, false
		}
		asked := &req.Topics[0]
		p := asked.Partitions[0]
		if asked.Topic != topic && asked.TopicID != id || p.Partition != partition {
			return nil, nil, false
		}
		var raw []byte // up to the damaged batch
		for _, b := range batches[:damaged+1] {
			if b.last < p.FetchOffset {
				continue
			}
			if len(raw) > 0 && len(raw)+len(b.bytes) > int(p.PartitionMaxBytes) {
				return nil, nil, false // the answer ends before it
			}
			raw = append(raw, b.bytes...)
		}
		if len(raw) == 0 {
			return nil, nil, false // the answer begins behind it
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		of := kmsg.NewFetchResponseTopic()
		of.Topic, of.TopicID = topic, id
		got := kmsg.NewFetchResponseTopicPartition()
		got.Partition, got.RecordBatches = partition, raw
		of.Partitions = append(of.Partitions, got)
		resp.Topics = append(resp.Topics, of)
		return resp, nil, true
	})
	return func() { repaired.Store(true) }
}

// kafkaBatch is a batch of records as it is on the disk of a broker.
type kafkaBatch struct {
	first, last int64 // offsets
	bytes       []byte
}

// kafkaBatches reads a partition from its start.
func kafkaBatches(t testing.TB, c *kfake.Cluster, dial func(ctx context.Context, network, address string) (net.Conn, error), topic string, id [16]byte, partition int32) (all []kafkaBatch) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.Dialer(dial))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.ReplicaID = 1, 1<<30, -1
	of := kmsg.NewFetchRequestTopic()
	of.Topic, of.TopicID = topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LogStartOffset = partition, 0, 1<<30, -1, -1
	of.Partitions = append(of.Partitions, p)
	req.Topics = append(req.Topics, of)
	resp, err := req.RequestWith(t.Context(), cl.Broker(int(c.LeaderFor(topic, partition))))
	if err != nil {
		t.Fatal(err)
	}
	got := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		t.Fatal(err)
	}
	for raw := got.RecordBatches; len(raw) > 0; {
		r := kbin.Reader{Src: raw}
		first, n := r.Int64(), 12+int(r.Int32())
		_ = r.Span(11) // epoch, magic, checksum, attributes
		all = append(all, kafkaBatch{first, first + int64(r.Int32()), raw[:n:n]})
		raw = raw[n:]
	}
	return all
}

// Dial makes a connection to a broker.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// DamagedReads makes connections that change the last byte of a mark in what they read, so that the
// checksum of its record is wrong.
type DamagedReads struct {
	Mark []byte
	// Most ends the damage: a client that fetches a record again and again does so in no virtual time.
	Most int32
	hits atomic.Int32
}

// Hits returns how often the mark was read.
func (d *DamagedReads) Hits() int { return int(d.hits.Load()) }

// Repair ends the damage.
func (d *DamagedReads) Repair() { d.hits.Store(d.Most) }

// Of returns dial with the damage.
func (d *DamagedReads) Of(dial Dial) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &damagedConn{c, d}, nil
	}
}

type damagedConn struct {
	net.Conn
	damage *DamagedReads
}

func (c *damagedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if i := bytes.Index(b[:n], c.damage.Mark); i >= 0 && c.damage.hits.Load() < c.damage.Most {
		c.damage.hits.Add(1)
		b[i+len(c.damage.Mark)-1] ^= 1
	}
	return n, err
}
