package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrSettings marks the error of a topic that exists and can be used, but whose
// settings Ensure could not read or change.
var ErrSettings = errors.New("the topic's settings may be wrong")

// RightError means that the process lacks a right (an ACL) in the cluster.
type RightError struct {
	Right string // "CREATE", "WRITE", … as Kafka names it
	Err   error
}

func (e *RightError) Error() string {
	on := "topic"
	if errors.Is(e.Err, kerr.GroupAuthorizationFailed) {
		on = "group"
	}
	return fmt.Sprintf("%v: grant this process the right %s on the %s", e.Err, e.Right, on)
}

// Unwrap returns the error without the remedy.
func (e *RightError) Unwrap() error { return e.Err }

// NeedsRight adds the remedy to err if Kafka answers that a right is missing.
// right is the right that the request needs.
func NeedsRight(right string, err error) error {
	if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) || errors.Is(err, kerr.GroupAuthorizationFailed) {
		return &RightError{right, err}
	}
	return err
}

// Spec is the wanted state of a topic.
type Spec struct {
	Name       string
	Partitions int32             // at least; a topic with more keeps them
	Configs    map[string]string // the settings that Framelog needs
	// KeepPartitions lets a topic with fewer partitions keep them too: the hash of
	// a record's key decides its partition, and must not change.
	KeepPartitions bool
	// RetentionBytes is the limit of all partitions together; each one gets its
	// share as retention.bytes. 0 leaves the setting to Configs, below 0 is no
	// limit.
	RetentionBytes int64
}

// configs returns the settings of the topic if it has n partitions.
func (s Spec) configs(n int32) map[string]string {
	all := map[string]string{}
	maps.Copy(all, s.Configs)
	switch share := s.RetentionBytes; {
	case share > 0:
		all["retention.bytes"] = strconv.FormatInt(max(share/int64(n), 1), 10)
	case share < 0:
		all["retention.bytes"] = "-1"
	}
	return all
}

// topicsPerRequest limits the topics of one request: a controller of Apache Kafka
// writes at most 10,000 records for one, and a topic takes about ten.
const topicsPerRequest = 200

// Topics creates topics and changes their settings.
type Topics struct {
	client   *kgo.Client
	replicas int // as in Config
	log      *slog.Logger
	few      few
}

// NewTopics makes Topics that send their requests with cl.
func NewTopics(cfg Config, cl *kgo.Client, log *slog.Logger) *Topics {
	return &Topics{client: cl, replicas: cfg.Replicas, log: log}
}

// Ensure creates missing topics, and changes the settings of existing ones that
// differ. It first reads their state, and sends no further request if nothing
// has to change. It sends one request of each kind for many topics.
//
// A new topic has the replicas that Config.Replicas tells, and min.insync.replicas=2
// if they are three or more. Ensure logs which topics have fewer. It does not
// change the replicas of a topic.
//
// Ensure returns an error for each topic that is not in the wanted state. If it
// is ErrSettings, the topic exists.
func (t *Topics) Ensure(ctx context.Context, specs ...Spec) map[string]error {
	errs := map[string]error{}
	for some := range slices.Chunk(specs, topicsPerRequest) {
		e := ensurer{
			ctx: ctx, client: t.client, replicas: t.replicas, specs: map[string]Spec{},
			brokers: map[int32]bool{}, partitions: map[string]int32{}, copies: map[string]int{}, errs: errs,
		}
		for _, s := range some {
			e.specs[s.Name] = s
		}
		e.run()
		t.warn(e.copies, e.wanted())
	}
	return errs
}

// ensurer is the work of Ensure for the topics of one request.
type ensurer struct {
	ctx        context.Context //nolint:containedctx // of one call of Ensure
	client     *kgo.Client
	replicas   int // as in Config
	specs      map[string]Spec
	brokers    map[int32]bool   // that are known, also those that are away
	partitions map[string]int32 // of the topics that exist
	copies     map[string]int   // of the topics that exist: replicas of the partition with the fewest
	errs       map[string]error
}

// Steps of Ensure, as its errors name them.
const (
	lookUp         = "look up"
	create         = "create"
	readSettings   = "read the settings of"
	changeSettings = "change the settings of"
	addPartitions  = "add partitions to"
)

// rights maps each step to the right that it needs.
var rights = map[string]string{
	lookUp: "DESCRIBE", create: "CREATE", readSettings: "DESCRIBE_CONFIGS", changeSettings: "ALTER_CONFIGS", addPartitions: "ALTER",
}

// run reads the state of all topics, creates missing ones, and changes the
// settings of the others.
func (e *ensurer) run() {
	missing := e.look()
	e.create(missing)
	if len(e.partitions) > 0 {
		e.alter(e.differences())
		e.grow()
	}
}

// fail sets the error of a topic. The first one counts.
func (e *ensurer) fail(topic, doing string, err error) {
	if e.errs[topic] == nil {
		e.errs[topic] = fmt.Errorf("kafka: %s topic %s: %w", doing, topic, err)
	}
}

// failed sets the error of a topic if an answer has an error code.
func (e *ensurer) failed(topic, doing string, code int16, message *string, kind error) bool {
	err := kerr.ErrorForCode(code)
	if err == nil {
		return false
	}
	if message != nil && *message != "" {
		err = fmt.Errorf("%w (%s)", err, *message)
	}
	if errors.Is(err, kerr.InvalidReplicationFactor) {
		err = fmt.Errorf("%w: start the brokers that are away, or set topics.replicas to as many as there are", err)
	}
	err = NeedsRight(rights[doing], err)
	if kind != nil {
		err = fmt.Errorf("%w: %w", kind, err)
	}
	e.fail(topic, doing, err)
	return true
}

// look finds out which topics exist, and returns the others.
func (e *ensurer) look() (missing []string) {
	resp, err := e.metadata(slices.Sorted(maps.Keys(e.specs)))
	if err != nil {
		for name := range e.specs {
			e.fail(name, lookUp, err)
		}
		return nil
	}
	e.meet(resp)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		switch {
		case t.Topic == nil:
		case t.ErrorCode == kerr.UnknownTopicOrPartition.Code:
			missing = append(missing, *t.Topic)
		case !e.failed(*t.Topic, lookUp, t.ErrorCode, nil, nil):
			e.partitions[*t.Topic] = int32(len(t.Partitions))
			for i, p := range t.Partitions {
				if n := len(p.Replicas); i == 0 || n < e.copies[*t.Topic] {
					e.copies[*t.Topic] = n
				}
			}
		}
	}
	if len(missing) > 0 && e.replicas == 0 && len(e.brokers) < manyBrokers {
		// The answer names only brokers that run, and topics are missing. Other topics
		// tell whether brokers are away.
		all, err := e.metadata(nil)
		if err != nil {
			for _, name := range missing {
				e.fail(name, lookUp, err)
			}
			return nil
		}
		e.meet(all)
	}
	return missing
}

// metadata asks for topics; nil: for all.
func (e *ensurer) metadata(names []string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req.RequestWith(e.ctx, e.client)
}

// create creates the topics that are missing.
func (e *ensurer) create(missing []string) {
	if len(missing) == 0 {
		return
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 15_000
	for _, name := range missing {
		s := e.specs[name]
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, s.Partitions, int16(e.wanted())
		configs := s.configs(s.Partitions)
		if e.wanted() >= 3 {
			configs["min.insync.replicas"] = "2"
		}
		for _, key := range slices.Sorted(maps.Keys(configs)) {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = key, kmsg.StringPtr(configs[key])
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(e.ctx, e.client)
	if err != nil {
		for _, name := range missing {
			e.fail(name, create, err)
		}
		return
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.ErrorCode == kerr.TopicAlreadyExists.Code {
			// Another process has created it, and the asked broker does not know it yet.
			e.fail(t.Topic, lookUp, kerr.UnknownTopicOrPartition)
			continue
		}
		e.failed(t.Topic, create, t.ErrorCode, t.ErrorMessage, nil)
	}
	// The client caches the answer of look, in which the topics do not exist, for
	// a moment. This request replaces it.
	_, _ = e.metadata(missing)
}

// differences returns the settings of existing topics that have to change.
func (e *ensurer) differences() map[string]map[string]string {
	req := kmsg.NewPtrDescribeConfigsRequest()
	want := map[string]map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(e.partitions)) {
		s := e.specs[name]
		want[name] = s.configs(max(s.Partitions, e.partitions[name]))
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
		r.ConfigNames = slices.Sorted(maps.Keys(want[name]))
		req.Resources = append(req.Resources, r)
	}
	resp, err := req.RequestWith(e.ctx, e.client)
	if err != nil {
		for name := range e.partitions {
			e.fail(name, readSettings, err)
		}
		return nil
	}
	for i := range resp.Resources {
		r := &resp.Resources[i]
		if e.failed(r.ResourceName, readSettings, r.ErrorCode, r.ErrorMessage, ErrSettings) {
			delete(want, r.ResourceName)
			continue
		}
		for _, c := range r.Configs {
			if c.Value != nil && want[r.ResourceName][c.Name] == *c.Value {
				delete(want[r.ResourceName], c.Name)
			}
		}
	}
	return want
}

// alter changes settings.
func (e *ensurer) alter(change map[string]map[string]string) {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, name := range slices.Sorted(maps.Keys(change)) {
		if len(change[name]) == 0 {
			continue
		}
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
		for _, key := range slices.Sorted(maps.Keys(change[name])) {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Op, c.Name, c.Value = kmsg.IncrementalAlterConfigOpSet, key, kmsg.StringPtr(change[name][key])
			r.Configs = append(r.Configs, c)
		}
		req.Resources = append(req.Resources, r)
	}
	if len(req.Resources) == 0 {
		return
	}
	resp, err := req.RequestWith(e.ctx, e.client)
	if err != nil {
		for _, r := range req.Resources {
			e.fail(r.ResourceName, changeSettings, err)
		}
		return
	}
	for i := range resp.Resources {
		r := &resp.Resources[i]
		e.failed(r.ResourceName, changeSettings, r.ErrorCode, r.ErrorMessage, ErrSettings)
	}
}

// grow adds partitions to topics that have too few.
func (e *ensurer) grow() {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 15_000
	for _, name := range slices.Sorted(maps.Keys(e.partitions)) {
		if n := e.partitions[name]; n == 0 || n >= e.specs[name].Partitions || e.specs[name].KeepPartitions {
			continue
		}
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = name, e.specs[name].Partitions
		req.Topics = append(req.Topics, t)
	}
	if len(req.Topics) == 0 {
		return
	}
	resp, err := req.RequestWith(e.ctx, e.client)
	if err != nil {
		for _, t := range req.Topics {
			e.fail(t.Topic, addPartitions, err)
		}
		return
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		e.failed(t.Topic, addPartitions, t.ErrorCode, t.ErrorMessage, ErrSettings)
	}
}
