package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Why a log is opened, as its `open` entry has it.
const (
	openAssigned = "assigned" // the partition came to us
	openAdded    = "added"    // the camera is new
	openChanged  = "changed"  // the camera's record has changed
	openDeserted = "deserted" // another process had taken the log and records no more
)

func (s *Service) assigned(parts []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined = true
	for _, p := range parts {
		s.parts[p] = &part{}
		for id, r := range s.runners {
			if r.part == p {
				s.regain(id, r)
			}
		}
	}
	for p, have := range s.parts {
		if have.lost { // and not given back
			s.letGo(p)
		}
	}
	s.metrics.partitions.Set(float64(len(s.parts)))
}

// regain keeps a camera that is ours again exactly as it runs. One whose log
// another process has taken is to be begun anew.
func (s *Service) regain(id string, r *runner) {
	if r.release != nil {
		r.release.Stop()
		r.release = nil
		r.board.hush(false)
	}
	if r.fenced {
		s.stop(id)
	}
}

func (s *Service) revoked(parts []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, p := range parts {
		s.letGo(p)
	}
	s.metrics.partitions.Set(float64(len(s.parts)))
}

func (s *Service) lost(parts []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		if have := s.parts[p]; have != nil {
			have.lost = true
		}
		for id, r := range s.runners {
			if r.part == p && r.fenced {
				s.stop(id) // its owner speaks for it now
			}
		}
	}
	if len(parts) > 0 && !s.closed {
		s.log.Warn("group has lost its partitions; their cameras go on", "partitions", len(parts))
	}
}

// letGo leaves a partition's cameras to another process: each is recorded
// until that one has its log, or for a while.
func (s *Service) letGo(p int32) {
	delete(s.parts, p)
	for id, r := range s.runners {
		if r.part != p || r.release != nil {
			continue
		}
		// One that has no log yet must not take it from the new owner later.
		if r.fenced || r.cam.Disabled || r.claim.give() {
			s.stop(id)
			continue
		}
		r.log.Info("camera goes to another process, and is recorded here until it is there")
		r.board.hush(true)
		r.release = time.AfterFunc(s.cfg.ReleaseWait, func() { s.expire(id, r) })
	}
}

// expire ends a camera that no other process has taken in time.
func (s *Service) expire(id string, r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runners[id] == r && r.release != nil {
		r.log.Warn("camera was given away and nobody took it; recording ends here")
		s.stop(id)
	}
}

func (s *Service) desired(p int32, cams map[string]schemas.Camera) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.parts[p]
	if have == nil || have.lost || s.closed {
		return
	}
	reason := openAdded
	if !have.known {
		reason, have.known = openAssigned, true
	}
	for id, r := range s.runners {
		if _, ok := cams[id]; !ok && r.part == p {
			r.log.Info("camera is removed")
			r.removed = true
			s.stop(id)
		}
	}
	for id, cam := range cams {
		r := s.runners[id]
		switch {
		case r == nil:
			s.start(p, cam, reason)
		case !r.cam.Equal(cam):
			r.log.Info("camera has changed")
			s.stop(id)
			s.start(p, cam, openChanged)
		}
	}
}

// start runs a camera, once the one of the same id that ends has ended.
func (s *Service) start(p int32, cam schemas.Camera, reason string) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{
		camera: newCamera(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, cam, reason),
		part:   p, cancel: cancel, done: make(chan struct{}),
	}
	before := s.ending[cam.ID]
	s.runners[cam.ID] = r
	s.wg.Go(func() {
		defer cancel()
		if before != nil {
			<-before.done
		}
		s.live(ctx, r)
		close(r.done)
		s.ended(r)
	})
}

// live runs a camera to its end.
func (s *Service) live(ctx context.Context, r *runner) {
	for {
		err := r.protect(func() error { return r.run(ctx) })
		switch {
		case err == nil:
			return
		case errors.Is(err, errFenced):
			s.metrics.fenced.WithLabelValues(r.cam.ID).Inc()
			if !s.fencedOff(r) {
				return
			}
			r.mourn(ctx, func() bool { return s.takeBack(r) })
		case errors.Is(err, errLogEnded):
			if ctx.Err() != nil || s.released(r) {
				return
			}
			r.log.Warn("camera's log ended under it; it is opened again", "err", clean(err))
			r.board.state(schemas.StateAway, err)
			select {
			case <-time.After(s.cfg.ReconnectMin):
			case <-ctx.Done():
			}
		default:
			// run itself has panicked, which connections cannot make it do.
			r.board.state(schemas.StateAway, err)
			r.board.run(ctx)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// released ends a camera that another process is about to take. Any other may
// have its log opened again.
func (s *Service) released(r *runner) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runners[r.cam.ID] != r || r.release == nil {
		r.claim.renew()
		return false
	}
	s.stop(r.cam.ID)
	return true
}

// takeBack says whether a camera whose log another process has deserted is
// ours for sure.
func (s *Service) takeBack(r *runner) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.parts[r.part]
	if s.runners[r.cam.ID] != r || r.release != nil || have == nil {
		return false
	}
	r.log.Warn("nobody records the camera any more; it is taken back")
	r.claim.renew()
	r.fenced, r.reason = false, openDeserted
	r.board.state(schemas.StateConnecting, nil)
	return true
}

// fencedOff notes that another process has r's log. It says whether the
// camera is ours by what the group told us.
func (s *Service) fencedOff(r *runner) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.cam.ID
	if s.runners[id] != r {
		return false
	}
	if have := s.parts[r.part]; r.release == nil && have != nil && !have.lost {
		r.log.Warn("another process has taken the camera's log; recording ends here")
		r.fenced = true
		r.board.state(schemas.StateAway, errFenced)
		return true
	}
	r.log.Info("camera is handed over")
	s.stop(id)
	return false
}

// stop ends a camera; it returns at once. s.mu is held.
func (s *Service) stop(id string) {
	r := s.runners[id]
	if r.release != nil {
		r.release.Stop()
		r.release = nil
	}
	delete(s.runners, id)
	s.ending[id] = r
	r.cancel()
}

// ended clears up after a runner.
func (s *Service) ended(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.cam.ID
	if s.ending[id] == r {
		delete(s.ending, id)
	}
	if s.runners[id] != nil || s.ending[id] != nil {
		return // it runs again
	}
	s.metrics.forget(id)
	if s.deps.Forget != nil {
		s.deps.Forget(id)
	}
	if r.removed {
		s.deps.Registry.DeleteStatus(id)
	}
}

// close ends all cameras.
func (s *Service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for id := range s.runners {
		s.stop(id)
	}
}
