package share

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// Cameras are the cameras of this process. The consumer group assigns them;
// Cameras runs the role's work on each of them.
//
// The consumer group that [Cameras.Run] joins calls the methods Assigned,
// Revoked, Lost and Desired. They return soon.
type Cameras struct {
	cfg  Config
	role Role
	log  *slog.Logger
	wg   sync.WaitGroup // runs

	mu         sync.Mutex // guards what follows and all cameras; the role is called with it held
	partitions map[int32]*partition
	cameras    map[string]*camera // those that are not absent
	joined     bool               // the group has settled once
	closed     bool
	confirm    func(context.Context) error // returns nil if this process is a member of the group's current generation
	purges     func() map[string]Purge     // of the group; must not be called with mu held
	group      *group                      // nil: this process is in no group

	observe func(c *camera, e event, reason string) // for tests: called with each event before it takes effect; may be nil
}

// partition is a partition of the cameras topic that is ours.
type partition struct {
	unconfirmed bool // the group has not confirmed yet that it is still ours
	known       bool // its cameras have been read
	moved       bool // another process had it before
}

// camera is a camera that is not absent.
type camera struct {
	partition int32
	record    schemas.Camera // the newest
	state     state
	reason    string      // for the next run
	run       *run        // the newest; nil: there was none
	release   *time.Timer // nil: not running
	log       *slog.Logger
}

// run is one piece of work on a camera. Its goroutine calls the work again and
// again until ctx ends.
type run struct {
	work    Work
	reason  string
	ctx     context.Context //nolint:containedctx // of the run, ended by stopRun
	stop    context.CancelFunc
	waitCtx context.Context //nolint:containedctx // of the wait for the log, ended by endReclaimWait
	endWait context.CancelFunc
}

// New makes Cameras without any camera.
func New(cfg Config, role Role, log *slog.Logger) *Cameras {
	return &Cameras{
		cfg: cfg.withDefaults(), role: role, log: log,
		partitions: make(map[int32]*partition), cameras: make(map[string]*camera),
		confirm: func(context.Context) error { return nil }, // without a group there is nothing to confirm
		purges:  func() map[string]Purge { return nil },
	}
}

// errNotJoined: the group cannot confirm anything yet.
var errNotJoined = errors.New("share: the group is not joined")

// Run joins the consumer group and works on the cameras that the group assigns
// to this process, until ctx ends. Then it leaves the group, works on its cameras
// until other processes have taken them, for at most HandOverWait, and ends all work.
// If the group has no other member, it ends all work at once. If brokers are away, it
// waits for them.
func (s *Cameras) Run(ctx context.Context) error {
	g, err := s.runGroups(ctx)
	if err != nil {
		return err
	}
	if !g.hasOthers(time.Second) {
		s.end()
		g.leave(2 * time.Second) // while the runs end
		s.wg.Wait()
		return nil
	}
	s.giveAll()
	g.leave(2 * time.Second)
	s.waitUntilTaken()
	s.Close()
	return nil
}

// giveAll gives all partitions of ours away.
func (s *Cameras) giveAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveUp(slices.Collect(maps.Keys(s.partitions)))
}

// waitUntilTaken waits until no work is left, or for HandOverWait.
func (s *Cameras) waitUntilTaken() {
	ended := make(chan struct{})
	go func() { // ends with the work, at the latest with that of Close
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(s.cfg.HandOverWait):
	}
}

func (s *Cameras) setConfirm(f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirm = f
}

func (s *Cameras) setPurges(f func() map[string]Purge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purges = f
}

func (s *Cameras) setGroup(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group = g
}

// Purges returns what was purged of the camera ids of this process's partitions, by id,
// also of ids without a camera. A [Work] whose camera was added after a purge finds that
// purge here. The [Role] must not call it.
func (s *Cameras) Purges() map[string]Purge {
	s.mu.Lock()
	purges := s.purges
	s.mu.Unlock()
	return purges()
}

// Removed returns those of cameras that the registry does not have any more, as far as their
// records would stand in this process's partitions. Errors: this process is in no group yet;
// Kafka's; ctx's.
func (s *Cameras) Removed(ctx context.Context, cameras []string) (removed []string, err error) {
	g := s.joinedGroup()
	if g == nil {
		return nil, errNotJoined
	}
	n, err := g.count(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range cameras {
		if p := s.partitions[registry.Partition(id, n)]; p != nil && p.known && !p.unconfirmed && s.cameras[id] == nil {
			removed = append(removed, id)
		}
	}
	return removed, nil
}

// Ready returns an error until this process has read its cameras. If brokers go
// away later, it stays ready: the work goes on.
func (s *Cameras) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.joined {
		return errors.New("the consumer group is not joined yet")
	}
	for _, p := range s.partitions {
		if !p.known && !p.unconfirmed {
			return errors.New("the cameras are not read yet")
		}
	}
	return nil
}

// Partitions returns how many partitions of the cameras topic this process has.
func (s *Cameras) Partitions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.partitions)
}

// Assigned reports that this process has these partitions from now on, perhaps
// again. The group calls it after each rebalance, also without partitions. A
// partition of an earlier Lost that is not among them belongs to another process.
//
// The balancer is cooperative: a process that joins gets at once what no other process
// has, and later what the others give up.
func (s *Cameras) Assigned(ids []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, id := range ids {
		s.partitions[id] = &partition{moved: s.joined}
	}
	s.joined = true
	s.happenAll(ids, evAssigned)
	var gone []int32
	for id, p := range s.partitions {
		if p.unconfirmed {
			gone = append(gone, id)
		}
	}
	s.giveUp(gone)
}

// Revoked reports that these partitions go to another process.
func (s *Cameras) Revoked(ids []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.giveUp(slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return s.partitions[id] == nil }))
}

// giveUp removes partitions of this process. s.mu is held.
func (s *Cameras) giveUp(ids []int32) {
	for _, id := range ids {
		delete(s.partitions, id)
	}
	s.happenAll(ids, evRevoked)
}

// Lost reports that the group has removed this process, or no broker answers. The
// next Assigned decides whether these partitions are still ours.
func (s *Cameras) Lost(ids []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	var news []int32
	for _, id := range ids {
		if p := s.partitions[id]; p != nil && !p.unconfirmed {
			p.unconfirmed = true
			news = append(news, id)
		}
	}
	s.happenAll(news, evGroupLost)
}

// happenAll applies an event to all cameras of some partitions. s.mu is held.
func (s *Cameras) happenAll(ids []int32, e event) {
	if len(ids) == 0 {
		return
	}
	for _, c := range s.cameras {
		if slices.Contains(ids, c.partition) {
			s.happen(c, e, "")
		}
	}
}

// Desired reports the cameras of a partition of ours, which was read to its end.
// Cameras ignores the call if the partition may no longer be ours.
func (s *Cameras) Desired(id int32, cams map[string]schemas.Camera) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partitions[id]
	if p == nil || p.unconfirmed || s.closed {
		return
	}
	reason := ReasonAdded
	if !p.known {
		reason, p.known = ReasonAssigned, true
		if p.moved {
			reason = ReasonMoved
		}
	}
	for cam, c := range s.cameras {
		if _, ok := cams[cam]; !ok && c.partition == id {
			s.happen(c, evRemoved, "")
		}
	}
	for cam, record := range cams {
		c := s.cameras[cam]
		if c == nil {
			c = &camera{log: s.log.With("camera", cam), record: record}
			s.cameras[cam] = c
		}
		e, why := evWanted, reason
		if !c.record.Equal(record) && !c.takes(record) {
			e, why = evChanged, ReasonChanged
		}
		c.partition, c.record = id, record
		s.happen(c, e, why)
	}
}

// takes reports whether the camera's run goes on with a changed record.
func (c *camera) takes(record schemas.Camera) bool {
	if c.state != waiting && c.state != recording {
		return false // its run ends, or has ended
	}
	w, ok := c.run.work.(Changer)
	return ok && w.Change(record)
}

// Close ends all work and waits for it. Run does the same when it ends.
func (s *Cameras) Close() {
	s.end()
	s.wg.Wait()
}

// end tells all work to end.
func (s *Cameras) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, c := range s.cameras {
		s.happen(c, evClosed, "")
	}
}

// happen applies an event to a camera, and returns the actions that were taken.
// s.mu is held.
func (s *Cameras) happen(c *camera, e event, reason string) []action {
	if s.observe != nil {
		s.observe(c, e, reason)
	}
	r, ok := next(c.state, e)
	if !ok {
		// This is a bug. The camera stays as it is.
		c.log.Error("impossible event of a camera", "state", c.state, "event", e)
		return nil
	}
	if r.say.text != "" {
		c.log.Log(context.Background(), r.say.level, r.say.text)
	}
	c.log.Debug("camera changes its state", "from", c.state, "event", e, "to", r.next, "why", r.why)
	c.state = r.next
	for _, a := range r.actions {
		s.act(c, a, reason)
	}
	return r.actions
}

// act does one action. s.mu is held.
func (s *Cameras) act(c *camera, a action, reason string) {
	switch a {
	case setReason:
		c.reason = reason
	case startRun:
		r := &run{work: s.role.NewWork(c.record), reason: c.reason}
		r.ctx, r.stop = context.WithCancel(context.Background())
		c.run = r
		s.wg.Go(func() { s.runWork(c, r) })
	case stopRun:
		c.run.stop()
	case awaitReclaim:
		c.run.waitCtx, c.run.endWait = context.WithCancel(c.run.ctx)
	case endReclaimWait:
		c.run.endWait()
	case startReleaseTimer:
		var t *time.Timer
		t = time.AfterFunc(s.cfg.ReleaseWait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if c.release == t { // else the timer was stopped a moment ago
				c.release = nil
				s.happen(c, evReleaseTimeout, "")
			}
		})
		c.release = t
	case stopReleaseTimer:
		c.release.Stop()
		c.release = nil
	case mute, unmute:
		c.run.work.Mute(a == mute)
	case forget, forgetRemoved:
		delete(s.cameras, c.record.ID)
		s.role.Forget(c.record.ID, a == forgetRemoved)
	case runAgain, permit, refuse: // the run's goroutine does these
	}
}

// runWork is a run's goroutine.
func (s *Cameras) runWork(c *camera, r *run) {
	defer r.stop()
	for r.ctx.Err() == nil {
		err := r.work.Run(r.ctx, r.reason, func() bool { return s.mayOpen(c) })
		e := evRunFailed
		if errors.Is(err, ErrFenced) {
			e = evLogTaken
		}
		switch actions := s.happenWhileItRuns(c, r, e, ReasonDeserted); {
		case slices.Contains(actions, runAgain):
			c.log.Warn("work on the camera has ended; it begins again", "err", err)
			pause(r.ctx, s.cfg.RetryWait)
		case slices.Contains(actions, awaitReclaim):
			s.reclaim(c, r)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happen(c, evRunEnded, "")
}

// happenWhileItRuns is happen, unless stopRun has ended the run: then only its
// end matters.
func (s *Cameras) happenWhileItRuns(c *camera, r *run, e event, reason string) []action {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil
	}
	return s.happen(c, e, reason)
}

// mayOpen reports whether a camera's run may open the log.
func (s *Cameras) mayOpen(c *camera) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.happen(c, evOpenAsked, ""), permit)
}

// reclaim waits until this process may open the log of its camera again, which
// another process has opened: the work and the group must both agree.
func (s *Cameras) reclaim(c *camera, r *run) {
	for r.waitCtx.Err() == nil && r.work.WaitReclaim(r.waitCtx) != nil {
		pause(r.waitCtx, s.cfg.RetryWait)
	}
	for r.ctx.Err() == nil {
		s.mu.Lock()
		confirm := s.confirm
		s.mu.Unlock()
		err := confirm(r.ctx)
		if err == nil {
			s.happenWhileItRuns(c, r, evReclaimed, "")
			return
		}
		c.log.Debug("the group does not confirm that the camera is ours", "err", err)
		pause(r.ctx, s.cfg.RetryWait)
	}
}

// pause waits for d. It reports whether ctx has not ended before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
