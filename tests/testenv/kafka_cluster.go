package testenv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaCluster is three brokers of Apache Kafka, each with a controller. Who creates a topic
// says how many replicas it has, and how many must be in sync.
type KafkaCluster struct {
	nodes map[int32]*KafkaBroker
}

// OwnKafkaCluster starts three brokers of the test's own and waits until they are a
// cluster. The test is skipped if FRAMELOG_TEST_BROKERS is set.
func OwnKafkaCluster(t testing.TB) *KafkaCluster {
	t.Helper()
	SkipShort(t, "Apache Kafka")
	if external() != nil {
		t.Skipf("testenv: %s is set: this test needs brokers of its own", BrokersVariable)
	}
	const size = 3
	c, id := &KafkaCluster{nodes: map[int32]*KafkaBroker{}}, clusterID()
	var controllers []int
	var voters []string
	for i := range size {
		controllers = append(controllers, FreePort(t))
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, controllers[i]))
	}
	for i, controller := range controllers {
		c.nodes[int32(i+1)] = formatKafka(t, t.TempDir(), id, controller,
			fmt.Sprintf("node.id=%d", i+1), "controller.quorum.voters="+strings.Join(voters, ","),
			"offsets.topic.replication.factor=3")
	}
	for id, k := range c.nodes {
		t.Cleanup(func() {
			k.Kill(t)
			if t.Failed() {
				t.Logf("last lines of kafka %d:\n%s", id, k.log.Tail(40))
			}
		})
	}
	for _, k := range c.nodes {
		k.spawn(t)
	}
	for _, k := range c.nodes {
		k.wait(t)
	}
	c.WaitInSync(t)
	return c
}

// Brokers are the addresses of all brokers.
func (c *KafkaCluster) Brokers() (all []string) {
	for _, id := range c.IDs() {
		all = append(all, c.nodes[id].Brokers...)
	}
	return all
}

// IDs are the ids of all brokers, in order.
func (c *KafkaCluster) IDs() (all []int32) {
	for id := range c.nodes {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// Kill ends a broker as a power failure would.
func (c *KafkaCluster) Kill(t testing.TB, id int32) {
	t.Helper()
	c.nodes[id].Kill(t)
}

// Start starts a broker that has ended, and waits until it answers.
func (c *KafkaCluster) Start(t testing.TB, id int32) {
	t.Helper()
	c.nodes[id].Start(t)
}

// Stop ends a broker as an operator does: it gives its partitions to the others first.
func (c *KafkaCluster) Stop(t testing.TB, id int32) {
	t.Helper()
	k := c.nodes[id]
	k.mu.Lock()
	defer k.mu.Unlock()
	k.proc.Terminate(2 * Patience)
}

// Freeze stops all threads of a broker, and Thaw lets them go on. Its connections stay.
func (c *KafkaCluster) Freeze(t testing.TB, id int32) { c.signal(t, id, syscall.SIGSTOP) }

// Thaw ends Freeze.
func (c *KafkaCluster) Thaw(t testing.TB, id int32) { c.signal(t, id, syscall.SIGCONT) }

func (c *KafkaCluster) signal(t testing.TB, id int32, s syscall.Signal) {
	t.Helper()
	k := c.nodes[id]
	k.mu.Lock()
	defer k.mu.Unlock()
	k.proc.Signal(s)
}

// Leader returns the id of the broker that leads a partition.
func (c *KafkaCluster) Leader(t testing.TB, topic string, partition int32) (id int32) {
	t.Helper()
	if !Poll(t, 2*Patience, func() bool {
		p, ok := c.topics(t, c.Brokers())[topic].Partitions[partition]
		id = p.Leader
		return ok && id > 0
	}) {
		t.Fatalf("testenv: %s/%d has no leader", topic, partition)
	}
	return id
}

// WaitInSync waits until all brokers say that all are members of the cluster, and that each
// has a replica of each partition that is in sync. One that stood still may know less than
// the others.
func (c *KafkaCluster) WaitInSync(t testing.TB) {
	t.Helper()
	var behind []string
	if !Poll(t, 4*Patience, func() bool {
		behind = nil
		for _, id := range c.IDs() {
			behind = append(behind, c.behind(t, id)...)
		}
		return len(behind) == 0
	}) {
		t.Fatalf("testenv: replicas are not in sync:\n%s", strings.Join(behind[:min(len(behind), 20)], "\n"))
	}
}

// behind returns the partitions that lack a replica in sync, as a broker knows it.
func (c *KafkaCluster) behind(t testing.TB, id int32) (all []string) {
	t.Helper()
	topics := c.topics(t, c.nodes[id].Brokers)
	if topics == nil {
		return []string{fmt.Sprintf("broker %d does not answer, or does not know all", id)}
	}
	for _, d := range topics.Sorted() {
		for _, p := range d.Partitions.Sorted() {
			if len(p.ISR) < len(c.nodes) || p.Leader < 1 {
				all = append(all, fmt.Sprintf("%s/%d: leader %d, in sync %v of %v", p.Topic, p.Partition, p.Leader, p.ISR, p.Replicas))
			}
		}
	}
	return all
}

// topics returns all topics; nil unless a broker with one of these addresses answers, and
// knows all brokers as members.
func (c *KafkaCluster) topics(t testing.TB, addresses []string) kadm.TopicDetails {
	t.Helper()
	// A new client each time: one that is in use may wait long for a broker that stands still.
	cl, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.DialTimeout(time.Second), kgo.RequestTimeoutOverhead(5*time.Second))
	if err != nil {
		t.Fatalf("testenv: make client: %v", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	m, err := kadm.NewClient(cl).Metadata(ctx)
	if err != nil || len(m.Brokers) < len(c.nodes) {
		return nil
	}
	m.Topics.FilterInternal()
	return m.Topics
}
