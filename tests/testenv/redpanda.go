package testenv

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// redpandaRequests are the requests that a Redpanda of some years answers, with their
// newest versions (src/v/kafka/server/handlers in its repository). The groups of KIP-848,
// share groups and ids of topics are not among them.
var redpandaRequests = map[kmsg.Key]int16{
	kmsg.Produce: 7, kmsg.Fetch: 11, kmsg.ListOffsets: 3, kmsg.Metadata: 7, kmsg.OffsetForLeaderEpoch: 3, kmsg.DeleteRecords: 2,
	kmsg.FindCoordinator: 2, kmsg.JoinGroup: 5, kmsg.SyncGroup: 3, kmsg.Heartbeat: 3, kmsg.LeaveGroup: 3,
	kmsg.OffsetCommit: 7, kmsg.OffsetFetch: 4, kmsg.OffsetDelete: 0, kmsg.DescribeGroups: 4, kmsg.ListGroups: 2, kmsg.DeleteGroups: 1,
	kmsg.CreateTopics: 5, kmsg.DeleteTopics: 3, kmsg.CreatePartitions: 1,
	kmsg.DescribeConfigs: 2, kmsg.AlterConfigs: 1, kmsg.IncrementalAlterConfigs: 0, kmsg.DescribeLogDirs: 1,
	kmsg.ApiVersions: 3, kmsg.SASLHandshake: 1, kmsg.SASLAuthenticate: 1, kmsg.InitProducerID: 1,
	kmsg.AddPartitionsToTxn: 1, kmsg.AddOffsetsToTxn: 1, kmsg.EndTxn: 1, kmsg.TxnOffsetCommit: 3,
	kmsg.DescribeACLs: 1, kmsg.CreateACLs: 1, kmsg.DeleteACLs: 1,
}

// redpandaConfigs are settings of topics that Redpanda has. It takes those of
// redpandaIgnores and does nothing with them, and refuses all others.
var (
	redpandaConfigs = []string{
		"cleanup.policy", "compression.type", "max.message.bytes", "message.timestamp.type",
		"retention.bytes", "retention.ms", "segment.bytes", "segment.ms",
	}
	redpandaIgnores = []string{"min.insync.replicas"}
)

// RedpandaLike runs three brokers in memory that answer the requests that Redpanda
// answers, and have the settings of topics that it has. They refuse all others.
func RedpandaLike(t testing.TB) *kfake.Cluster {
	t.Helper()
	var versions kversion.Versions
	for key, newest := range redpandaRequests {
		versions.SetMaxKeyVersion(int16(key), newest)
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.MaxVersions(&versions), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "9437184"}))
	if err != nil {
		t.Fatalf("testenv: start brokers in memory: %v", err)
	}
	t.Cleanup(c.Close)
	c.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp, refused := refuseCreate(req.(*kmsg.CreateTopicsRequest))
		return resp, nil, refused
	})
	c.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp, refused := refuseAlter(req.(*kmsg.IncrementalAlterConfigsRequest))
		return resp, nil, refused
	})
	return c
}

// refuseCreate refuses topics with settings that Redpanda does not have.
func refuseCreate(req *kmsg.CreateTopicsRequest) (kmsg.Response, bool) {
	resp, refused := req.ResponseKind().(*kmsg.CreateTopicsResponse), false
	for i := range req.Topics {
		topic := &req.Topics[i]
		topic.Configs = slices.DeleteFunc(topic.Configs, func(c kmsg.CreateTopicsRequestTopicConfig) bool { return slices.Contains(redpandaIgnores, c.Name) })
		for _, c := range topic.Configs {
			if !slices.Contains(redpandaConfigs, c.Name) {
				one := kmsg.NewCreateTopicsResponseTopic()
				one.Topic, one.ErrorCode, one.ErrorMessage = topic.Topic, kerr.InvalidConfig.Code, kmsg.StringPtr(c.Name)
				resp.Topics, refused = append(resp.Topics, one), true
			}
		}
	}
	return resp, refused
}

// refuseAlter refuses changes of settings that Redpanda does not have.
func refuseAlter(req *kmsg.IncrementalAlterConfigsRequest) (kmsg.Response, bool) {
	resp, refused := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse), false
	for i := range req.Resources {
		r := &req.Resources[i]
		r.Configs = slices.DeleteFunc(r.Configs, func(c kmsg.IncrementalAlterConfigsRequestResourceConfig) bool {
			return slices.Contains(redpandaIgnores, c.Name)
		})
		for _, c := range r.Configs {
			if !slices.Contains(redpandaConfigs, c.Name) {
				one := kmsg.NewIncrementalAlterConfigsResponseResource()
				one.ResourceType, one.ResourceName, one.ErrorCode, one.ErrorMessage = r.ResourceType, r.ResourceName, kerr.InvalidConfig.Code, kmsg.StringPtr(c.Name)
				resp.Resources, refused = append(resp.Resources, one), true
			}
		}
	}
	return resp, refused
}
