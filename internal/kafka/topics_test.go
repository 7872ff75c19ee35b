package kafka

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// requests counts the requests of Ensure by their kind.
func requests(c *kfake.Cluster) func() string {
	kinds := []kmsg.Key{kmsg.Metadata, kmsg.CreateTopics, kmsg.DescribeConfigs, kmsg.IncrementalAlterConfigs, kmsg.CreatePartitions}
	seen := map[kmsg.Key]*kfake.FaultHandle{}
	for _, k := range kinds {
		seen[k] = c.Fault(kfake.Fault{Keys: []kmsg.Key{k}, Observe: true, Count: -1})
	}
	before := map[kmsg.Key]int{}
	return func() string {
		var out []string
		for _, k := range kinds {
			if n := int(seen[k].Hits()); n > before[k] {
				out = append(out, fmt.Sprintf("%s %d", kmsg.NameForKey(int16(k)), n-before[k]))
				before[k] = n
			}
		}
		return strings.Join(out, ", ")
	}
}

// newCluster is a fake broker, or several, with a client of it.
func newCluster(t *testing.T, brokers int) (*kfake.Cluster, *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return c, cl
}

// TestEnsure: each call looks first, sends only what is needed, and one request
// of a kind serves all topics.
func TestEnsure(t *testing.T) {
	c, cl := newCluster(t, 3)
	adm := kadm.NewClient(cl)
	specs := func(n int32, retention string, bytes int64) (out []Spec) {
		for i := range 50 {
			out = append(out, Spec{
				Name: fmt.Sprint("topic-", i), Partitions: n, RetentionBytes: bytes,
				Configs: map[string]string{"retention.ms": retention, "cleanup.policy": "delete"},
			})
		}
		return out
	}
	counted := requests(c)
	for _, x := range []struct {
		name       string
		specs      []Spec
		requests   string
		partitions int
		bytes      string // retention.bytes of a partition
	}{
		{"all are missing", specs(2, "1000", -1), "Metadata 2, CreateTopics 1", 2, "-1"},
		{"all are as they should be", specs(2, "1000", -1), "Metadata 1, DescribeConfigs 1", 2, "-1"},
		{"a setting differs", specs(2, "2000", -1), "Metadata 1, DescribeConfigs 1, IncrementalAlterConfigs 1", 2, "-1"},
		{"more partitions share the bytes", specs(4, "2000", 400), "Metadata 1, DescribeConfigs 1, IncrementalAlterConfigs 1, CreatePartitions 1", 4, "100"},
		{"fewer partitions than there are", specs(1, "2000", 400), "Metadata 1, DescribeConfigs 1", 4, "100"},
	} {
		counted()
		if errs := topics(cl).Ensure(t.Context(), x.specs...); len(errs) > 0 {
			t.Fatalf("%s: %v", x.name, errs)
		}
		if got := counted(); got != x.requests {
			t.Errorf("%s: sent %s, want %s", x.name, got, x.requests)
		}
		meta, err := (&ensurer{ctx: t.Context(), client: cl}).metadata([]string{"topic-7"})
		if err != nil {
			t.Fatal(err)
		}
		if ps := meta.Topics[0].Partitions; len(ps) != x.partitions || len(ps[0].Replicas) != 3 {
			t.Errorf("%s: %+v", x.name, ps)
		}
		all, err := adm.DescribeTopicConfigs(t.Context(), "topic-7")
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		for _, c := range all[0].Configs {
			have[c.Key] = c.MaybeValue()
		}
		if have["retention.bytes"] != x.bytes || have["retention.ms"] != x.specs[7].Configs["retention.ms"] || have["min.insync.replicas"] != "2" {
			t.Errorf("%s: %v", x.name, have)
		}
	}
}

// TestEnsureErrors: an error of one topic is that topic's alone, and ErrSettings
// marks those of topics that can be used all the same.
func TestEnsureErrors(t *testing.T) {
	for _, x := range []struct {
		name     string
		fault    kfake.Fault
		exists   bool
		settings bool
		right    string // that is missing
		text     string
	}{
		{"no right to create", kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "bad", Err: kerr.TopicAuthorizationFailed}, false, false, "CREATE", "kafka: create topic bad"},
		{"no right in the cluster", kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "bad", Err: kerr.ClusterAuthorizationFailed}, false, false, "CREATE", "kafka: create topic bad"},
		{"no right to see", kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "bad", Err: kerr.TopicAuthorizationFailed}, true, false, "DESCRIBE", "kafka: look up topic bad"},
		{"no right to read settings", kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: "bad", Err: kerr.TopicAuthorizationFailed}, true, true, "DESCRIBE_CONFIGS", "kafka: read the settings of topic bad"},
		{"no right to change settings", kfake.Fault{Keys: []kmsg.Key{kmsg.IncrementalAlterConfigs}, Resource: "bad", Err: kerr.TopicAuthorizationFailed}, true, true, "ALTER_CONFIGS", "kafka: change the settings of topic bad"},
		{"settings that the cluster refuses", kfake.Fault{Keys: []kmsg.Key{kmsg.IncrementalAlterConfigs}, Resource: "bad", Err: kerr.PolicyViolation}, true, true, "", "kafka: change the settings of topic bad"},
		{"another process is faster", kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "bad", Err: kerr.TopicAlreadyExists}, false, false, "", "UNKNOWN_TOPIC_OR_PARTITION"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, cl := newCluster(t, 1)
			specs := []Spec{{Name: "bad", Partitions: 1}, {Name: "good", Partitions: 1}}
			if x.exists {
				if errs := topics(cl).Ensure(t.Context(), specs...); len(errs) > 0 {
					t.Fatal(errs)
				}
			}
			for i := range specs {
				specs[i].Configs = map[string]string{"retention.ms": "5000"}
			}
			x.fault.Count = -1
			c.Fault(x.fault)
			errs := topics(cl).Ensure(t.Context(), specs...)
			if names := slices.Sorted(maps.Keys(errs)); !slices.Equal(names, []string{"bad"}) {
				t.Fatalf("errors of %v: %v", names, errs)
			}
			err := errs["bad"]
			var right RightError
			if r := (*RightError)(nil); errors.As(err, &r) {
				right = *r
			}
			if errors.Is(err, ErrSettings) != x.settings || right.Right != x.right || !strings.Contains(err.Error(), x.text) {
				t.Errorf("%v: settings %v, lacks %q", err, errors.Is(err, ErrSettings), right.Right)
			}
		})
	}
}
