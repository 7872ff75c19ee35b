package share

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// member gets the changes of partitions of the cameras topic. Cameras
// implements it and documents each method. The methods are called one at a
// time.
type member interface {
	Assigned(partitions []int32)
	Revoked(partitions []int32)
	Lost(partitions []int32)
	// Desired keeps the map.
	Desired(partition int32, cams map[string]schemas.Camera)
}

// group reads the partitions of the cameras topic that the consumer group
// assigns to this process. It reads each from its start to its end at the time
// of the assignment, and then all later records. It never commits offsets.
//
// The number of requests does not grow with the number of partitions: one
// request to each broker asks for all starts and ends, and one fetches the
// records of all. Only a partition whose last offset holds no record needs its
// own request.
type group struct {
	cfg    Config
	log    *slog.Logger
	topic  string
	name   string // of the group
	member member
	client *kgo.Client    // callbacks must not use it: they may run before it is set
	wg     sync.WaitGroup // searches for ends
	quit   chan struct{}  // closed when run ends

	mu      sync.Mutex // guards what follows and all calls of member
	parts   map[int32]*reading
	over    bool      // lose was called: the member hears of this group no more
	trouble time.Time // since when the client cannot manage the group; zero: it can
	unread  unread
}

func newGroup(cfg Config, m member, log *slog.Logger) (*group, error) {
	g := &group{
		cfg: cfg, log: log, topic: cfg.Kafka.Names().Cameras(), name: cfg.Kafka.Prefix + cfg.Group, member: m,
		quit: make(chan struct{}), parts: make(map[int32]*reading),
	}
	opts := append(cfg.Kafka.Options(log),
		kgo.ConsumerGroup(g.name),
		kgo.ConsumeTopics(g.topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(cfg.SessionTimeout),
		kgo.HeartbeatInterval(cfg.SessionTimeout/4),
		// If a member dies during a rebalance, the others wait no longer than for a
		// member that dies at another time.
		kgo.RebalanceTimeout(cfg.SessionTimeout),
		kgo.DisableAutoCommit(),
		kgo.AdjustFetchOffsetsFn(fromStart),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMinBytes(1),
		// A partition that is added waits for the fetch under way to end.
		kgo.FetchMaxWait(500*time.Millisecond),
		// No partition changes hands while its records are taken.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(g.onAssigned),
		kgo.OnPartitionsRevoked(g.onRevoked),
		kgo.OnPartitionsLost(g.onLost),
		kgo.WithHooks(troubleHook{g}),
	)
	if cfg.Instance != "" {
		opts = append(opts, kgo.InstanceID(cfg.Instance))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("share: join group: %w", err)
	}
	g.client = client
	return g, nil
}

// fromStart makes the client ignore all committed offsets.
func fromStart(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for _, parts := range offsets {
		for p := range parts {
			parts[p] = kgo.NewOffset().AtStart()
		}
	}
	return offsets, nil
}

// run reads until ctx ends, or until the topic is not the one that it has begun to read: then
// it returns errMadeAgain. Then call leave, or lose and makeWay.
func (g *group) run(ctx context.Context) error {
	for {
		fetches := g.client.PollFetches(ctx)
		if ctx.Err() != nil {
			g.client.AllowRebalance()
			return nil
		}
		cut, err := g.take(fetches)
		if err == nil {
			g.readAgain(cut)
		}
		g.client.AllowRebalance()
		if err != nil {
			return err
		}
		if fetches.Err() != nil { // the client would ask again at once
			pause(ctx, unreadPause)
		}
	}
}

// hasOthers reports whether the group has other members. If no broker answers in
// time, it reports false: nobody would take anything.
func (g *group) hasOthers(timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	groups, err := kadm.NewClient(g.client).DescribeGroups(ctx, g.name)
	return err == nil && len(groups[g.name].Members) > 1
}

// leave leaves the group for good, so that its other members need not wait for the
// session to end. After a time it gives up, and they have to wait.
func (g *group) leave(timeout time.Duration) { g.end(timeout, g.cfg.Instance != "") }

// makeWay leaves the group, which this process joins again with another client. If the
// process has a name in the group, the group keeps its partitions for it.
func (g *group) makeWay(timeout time.Duration) { g.end(timeout, false) }

func (g *group) end(timeout time.Duration, leaveStatic bool) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	close(g.quit)
	id, _ := g.client.GroupMetadata()
	err := g.client.LeaveGroupContext(ctx)
	if err == nil && leaveStatic && id != "" {
		err = g.leaveStatic(ctx, id)
	}
	if err != nil {
		g.log.Warn("group was not left; others take over when the session ends", "err", err)
	}
	g.client.CloseAllowingRebalance()
	g.wg.Wait()
}

// leaveStatic leaves the group as the static member id. The client's own leave
// would keep the member's place for a process with the same name, but this
// process has ended for good. The id makes sure that a successor with the same
// name stays in the group.
func (g *group) leaveStatic(ctx context.Context, id string) error {
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = id, &g.cfg.Instance
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.Members = g.name, append(req.Members, m)
	resp, err := req.RequestWith(ctx, g.client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	for _, m := range resp.Members {
		err := kerr.ErrorForCode(m.ErrorCode)
		if err != nil && !errors.Is(err, kerr.UnknownMemberID) && !errors.Is(err, kerr.FencedInstanceID) {
			return err
		}
	}
	return nil
}

// confirm returns nil if this process is a member of the group's current
// generation. Then no other process has its partitions.
func (g *group) confirm(ctx context.Context) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group = g.name
	req.MemberID, req.Generation = g.client.GroupMetadata()
	if req.MemberID == "" {
		return errNotJoined
	}
	if g.cfg.Instance != "" {
		req.InstanceID = &g.cfg.Instance
	}
	resp, err := req.RequestWith(ctx, g.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("share: confirm membership: %w", err)
	}
	return nil
}

// troubleHook is called with the reason why the client has left the group.
type troubleHook struct{ g *group }

func (h troubleHook) OnGroupManageError(err error) { h.g.onTrouble(err) }

// onTrouble logs that the client cannot manage the group, once until it can
// again.
func (g *group) onTrouble(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.trouble.IsZero() || g.over {
		return
	}
	g.trouble = time.Now()
	if errors.Is(err, kerr.FencedInstanceID) {
		g.log.Error("another process has joined the group with the same name: this one gets no more cameras", "instance", g.cfg.Instance, "group", g.name)
		return
	}
	g.log.Warn("the brokers do not keep this process in its group; its cameras go on being "+g.cfg.Doing,
		"brokers", strings.Join(g.cfg.Kafka.Brokers, ","), "group", g.name, "err", kafka.NeedsRight("READ", err))
}

// settled logs that trouble is over. g.mu is held.
func (g *group) settled() {
	if !g.trouble.IsZero() {
		g.log.Info("the group is joined again", "group", g.name, "after", time.Since(g.trouble).Round(time.Millisecond))
		g.trouble = time.Time{}
	}
}

// take takes the fetched records. It returns the partitions whose log was cut
// back: cameras may be gone there without a tombstone. Errors: errMadeAgain.
func (g *group) take(fetches kgo.Fetches) (cut []int32, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fetches.EachError(func(_ string, p int32, e error) {
		if _, ok := errors.AsType[*kgo.ErrGroupSession](e); ok || errors.Is(e, kgo.ErrClientClosed) {
			return // the first is onTrouble's
		}
		if errors.Is(e, kerr.UnknownTopicID) || errors.Is(e, kerr.InconsistentTopicID) {
			err = errMadeAgain
			return
		}
		g.unread.warn(g.log, p, e)
		if _, ok := errors.AsType[*kgo.ErrDataLoss](e); ok && g.parts[p] != nil {
			cut = append(cut, p)
		}
	})
	if err != nil {
		return nil, err
	}
	touched := make(map[int32]bool)
	fetches.EachRecord(func(r *kgo.Record) {
		part := g.parts[r.Partition]
		if part == nil || slices.Contains(cut, r.Partition) {
			return
		}
		touched[r.Partition] = true
		part.next = r.Offset + 1
		if err := registry.Apply(r, part.cams, part.purged); err != nil {
			// The camera keeps its old record: a record of a newer release must not stop
			// it.
			g.log.Error("camera record cannot be read", "key", string(r.Key), "err", err)
		}
	})
	for p := range touched {
		if part := g.parts[p]; part.done() {
			g.member.Desired(p, maps.Clone(part.cams))
		}
	}
	return cut, nil
}

// count returns how many partitions the cameras topic has.
func (g *group) count(ctx context.Context) (int, error) {
	topics, err := kadm.NewClient(g.client).ListTopics(ctx, g.topic)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("share: describe %s: %w", g.topic, err)
	}
	return max(1, len(topics[g.topic].Partitions)), nil
}

// purges returns the purges of the partitions that were read.
func (g *group) purges() map[string]Purge {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make(map[string]Purge)
	for _, part := range g.parts {
		if !part.done() {
			continue
		}
		for id, p := range part.purged {
			_, wanted := part.cams[id]
			all[id] = Purge{Purge: p, Wanted: wanted}
		}
	}
	return all
}

// readAgain makes the client read partitions from their start; by itself it
// would go on at the cut. Until they are read, the member gets no changes of
// them, so their cameras go on. No rebalance may run meanwhile.
func (g *group) readAgain(parts []int32) {
	if len(parts) == 0 {
		return
	}
	g.mu.Lock()
	g.begin(g.client, parts...)
	g.mu.Unlock()
	start := make(map[int32]kgo.EpochOffset, len(parts))
	for _, p := range parts {
		// If the log begins later, the client resets to its start.
		start[p] = kgo.EpochOffset{Epoch: -1, Offset: 0}
	}
	g.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{g.topic: start})
}

func (g *group) onAssigned(_ context.Context, client *kgo.Client, added map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return
	}
	g.settled()
	parts := added[g.topic]
	g.member.Assigned(parts)
	g.begin(client, parts...)
}

func (g *group) onRevoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return
	}
	for _, p := range gone[g.topic] {
		delete(g.parts, p)
	}
	g.member.Revoked(gone[g.topic])
}

func (g *group) onLost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return
	}
	for _, p := range gone[g.topic] {
		delete(g.parts, p)
	}
	g.member.Lost(gone[g.topic])
}

// begin makes the client read partitions from their start, and starts the
// search for their ends. g.mu is held.
func (g *group) begin(client *kgo.Client, parts ...int32) {
	if len(parts) == 0 {
		return
	}
	fresh := make(map[int32]*reading, len(parts))
	for _, p := range parts {
		fresh[p] = &reading{cams: make(map[string]schemas.Camera), purged: make(map[string]schemas.Purge), end: -1}
		g.parts[p] = fresh[p]
	}
	g.wg.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		g.wg.Go(func() {
			select {
			case <-g.quit:
				cancel()
			case <-ctx.Done():
			}
		})
		g.findEnds(ctx, client, fresh)
		g.reachEnds(ctx, fresh)
	})
}
