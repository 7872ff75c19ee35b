package kafkasec

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/app/acls"
	"github.com/framelog/framelog/schemas"
)

// life is how long certificates are valid.
const life = time.Hour

// attempt is something that a user may try. It returns Kafka's error.
type attempt struct {
	name string
	try  func(ctx context.Context, cl *kgo.Client) error
}

// The topics and groups of attempts.
var (
	yard    = schemas.Topic{Camera: "yard"}
	people  = schemas.Topic{Camera: "yard", Rendition: "people"}
	other   = schemas.Topic{Camera: "yard", Rendition: "other"}
	letters = schemas.Topic{Camera: "yard", Rendition: "dlq-people"}
	gate    = schemas.Topic{Camera: "gate"}
)

// attempts are what a user of Framelog should or should not be able to do. Each topic is
// there.
func attempts(n schemas.Names) []attempt {
	var all []attempt
	add := func(name string, try func(context.Context, *kgo.Client) error) { all = append(all, attempt{name, try}) }
	for _, t := range []struct{ name, topic string }{
		{"cameras", n.Cameras()},
		{"status", n.Status()},
		{"events", n.Events()},
		{"raw", n.Media(yard)},
		{"index", n.Index(yard)},
		{"people", n.Media(people)},
		{"dlq", n.Index(letters)},
		{"other", n.Media(other)},
		{"gate", n.Index(gate)},
		{"foreign", "foreign"},
	} {
		add("read "+t.name, func(ctx context.Context, cl *kgo.Client) error { return fetch(ctx, cl, t.topic) })
		add("write "+t.name, func(ctx context.Context, cl *kgo.Client) error {
			return cl.ProduceSync(ctx, &kgo.Record{Topic: t.topic, Value: []byte("x")}).FirstErr()
		})
		add("configure "+t.name, func(ctx context.Context, cl *kgo.Client) error { return configure(ctx, cl, t.topic) })
		add("delete "+t.name, func(ctx context.Context, cl *kgo.Client) error { return deleteTopic(ctx, cl, t.topic) })
		add("create "+t.name, func(ctx context.Context, cl *kgo.Client) error { return createTopic(ctx, cl, t.topic) })
	}
	for _, g := range []string{"framelog-ingest", "framelog-process-people", "framelog-process-other", "framelog-archive", "foreign"} {
		group := g
		if strings.HasPrefix(g, "framelog") {
			group = n.Prefix + g
		}
		add("join "+g, func(ctx context.Context, cl *kgo.Client) error { return join(ctx, cl, group) })
		add("see "+g, func(ctx context.Context, cl *kgo.Client) error {
			_, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
			if errors.Is(err, kerr.GroupIDNotFound) {
				return nil
			}
			return err
		})
		add("delete "+g, func(ctx context.Context, cl *kgo.Client) error {
			res, err := kadm.NewClient(cl).DeleteGroup(ctx, group)
			return errors.Join(err, res.Err)
		})
	}
	add("see sizes", func(ctx context.Context, cl *kgo.Client) error {
		all, err := kadm.NewClient(cl).DescribeAllLogDirs(ctx, nil)
		for _, dirs := range all {
			if err = errors.Join(err, dirs.Error()); len(dirs) == 0 { // how brokers before Kafka 3.2 refuse it
				err = errors.Join(err, kerr.ClusterAuthorizationFailed)
			}
		}
		return err
	})
	add("configure brokers", func(ctx context.Context, cl *kgo.Client) error {
		res, err := kadm.NewClient(cl).AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.retention.ms", Value: kadm.StringPtr("1000")}})
		for _, r := range res {
			err = errors.Join(err, r.Err)
		}
		return err
	})
	add("change ACLs", func(ctx context.Context, cl *kgo.Client) error {
		res, err := kadm.NewClient(cl).CreateACLs(ctx, kadm.NewACLs().Topics("x").Operations(kmsg.ACLOperationAll).Allow("User:x").ResourcePatternType(kmsg.ACLResourcePatternTypeLiteral))
		for _, r := range res {
			err = errors.Join(err, r.Err)
		}
		return err
	})
	add("change users", func(ctx context.Context, cl *kgo.Client) error {
		res, err := kadm.NewClient(cl).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: "x", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "x"}})
		if err == nil {
			err = res.Error()
		}
		return err
	})
	return all
}

// expand writes out "read,write raw,index": each verb of each thing.
func expand(lines ...string) (all []string) {
	for _, l := range lines {
		verbs, things, _ := strings.Cut(l, " ")
		for v := range strings.SplitSeq(verbs, ",") {
			for thing := range strings.SplitSeq(things, ",") {
				all = append(all, v+" "+thing)
			}
		}
	}
	return all
}

// everything that is a camera's footage.
const footage = "raw,index,people,dlq,other,gate"

// TestRefused: a user with the rights of a role can do what the role needs, and gets an
// authorization error for everything else.
func TestRefused(t *testing.T) {
	of := []acls.Processor{{Name: "people", Outputs: []string{"people"}, Events: true}}
	eachCluster(t, func(t *testing.T, c *cluster) {
		for _, tt := range []struct {
			name, role string
			scope      acls.Scope
			may        []string
		}{
			{"none", "", acls.Scope{}, nil},
			{"ingest", "ingest", acls.Scope{}, expand("read,configure,create cameras", "read,write,configure,create status", "read,write,configure,delete,create "+footage, "join,see framelog-ingest")},
			{"ingest of one camera", "ingest", acls.Scope{Cameras: []string{"yard"}}, expand("read,configure,create cameras", "read,write,configure,create status", "read,write,configure,delete,create raw,index", "read,delete people,dlq,other", "join,see framelog-ingest")},
			{"process", "process", acls.Scope{Processors: of}, expand("read cameras", "write,configure,create events", "read,write,configure,delete,create "+footage, "join,see framelog-process-people")},
			{"process of one camera", "process", acls.Scope{Processors: of, Cameras: []string{"yard"}}, expand("read cameras", "write,configure,create events", "read raw,index", "read,write,configure,delete,create people,dlq", "join,see framelog-process-people")},
			{"archive", "archive", acls.Scope{}, expand("read cameras,"+footage, "join,see framelog-archive")},
			{"egress", "egress", acls.Scope{}, expand("read cameras,status,events," + footage)},
			{"egress of one camera", "egress", acls.Scope{Cameras: []string{"yard"}}, expand("read cameras,status,events,raw,index,people,dlq,other")},
			{"editor", "editor", acls.Scope{}, expand("read,write,configure,create cameras")},
			{"monitor", "monitor", acls.Scope{}, expand("read cameras,status,"+footage, "see framelog-ingest,framelog-process-people,framelog-process-other,framelog-archive", "see sizes")},
			{"admin", "admin", acls.Scope{}, expand("read,write,configure,create cameras,status", "read,delete "+footage, "see framelog-ingest,framelog-process-people,framelog-process-other,framelog-archive")},
		} {
			t.Run(tt.name, func(t *testing.T) {
				user := strings.ReplaceAll(tt.name, " ", "-")
				cfg := c.user(t, user)
				if tt.role != "" {
					c.grant(t, user, c.rights(t, tt.role, tt.scope)...)
				}
				all := attempts(c.names())
				for _, may := range tt.may {
					if !slices.ContainsFunc(all, func(a attempt) bool { return a.name == may }) {
						t.Errorf("nobody attempts to %s", may)
					}
				}
				cl := client(t, cfg, kgo.RecordPartitioner(kgo.ManualPartitioner()))
				for _, a := range all {
					c.createAll(t)
					may := slices.Contains(tt.may, a.name)
					switch err := a.try(t.Context(), cl); {
					case may && err != nil:
						t.Errorf("may not %s: %v", a.name, err)
					case !may && !denied(err):
						t.Errorf("%s: %v, want an authorization error", a.name, err)
					}
				}
			})
		}
	})
}

// denied reports whether Kafka has said that a right is missing.
func denied(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.GroupAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// createAll makes the topics of attempts that are missing.
func (c *cluster) createAll(t *testing.T) {
	t.Helper()
	n := c.names()
	names := []string{n.Cameras(), n.Status(), n.Events(), "foreign"}
	for _, topic := range []schemas.Topic{yard, people, letters, other, gate} {
		names = append(names, n.Media(topic), n.Index(topic))
	}
	res, err := kadm.NewClient(c.admin).CreateTopics(t.Context(), 1, 1, nil, names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res {
		if r.Err != nil && !errors.Is(r.Err, kerr.TopicAlreadyExists) {
			t.Fatal(r.Err)
		}
	}
}

func fetch(ctx context.Context, cl *kgo.Client, topic string) error {
	topics, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	if err := topics[topic].Err; err != nil {
		return err
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = topic, topics[topic].ID, append(t.Partitions, p)
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.Topics = 1<<20, append(req.Topics, t)
	resp, err := request[*kmsg.FetchResponse](ctx, cl, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(max(resp.ErrorCode, resp.Topics[0].Partitions[0].ErrorCode))
}

func configure(ctx context.Context, cl *kgo.Client, topic string) error {
	res, err := kadm.NewClient(cl).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("3600000")}}, topic)
	if err != nil {
		return err
	}
	return res[0].Err
}

func deleteTopic(ctx context.Context, cl *kgo.Client, topic string) error {
	res, err := kadm.NewClient(cl).DeleteTopic(ctx, topic)
	return errors.Join(err, res.Err)
}

// createTopic creates a topic, or finds that it exists already.
func createTopic(ctx context.Context, cl *kgo.Client, topic string) error {
	res, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, topic)
	if errors.Is(res.Err, kerr.TopicAlreadyExists) || errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return errors.Join(err, res.Err)
}

// join joins a group, without the second request that an admitted member would send.
func join(ctx context.Context, cl *kgo.Client, group string) error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = group, "consumer", 6000, 6000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	req.Protocols = append(req.Protocols, p)
	resp, err := request[*kmsg.JoinGroupResponse](ctx, cl, req)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); !errors.Is(err, kerr.MemberIDRequired) {
		return err
	}
	return nil
}
