package camera

import (
	"context"
	"sync"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Origins of a problem of a live camera. The first one that has a problem is shown,
// and also that of the sound.
const (
	problemLog    = iota // Kafka does not answer
	problemRecord        // the log refuses footage
	problemSource        // the camera's stream
	problemSound         // the sound cannot be recorded
	problemKinds
)

// status is a camera's status as it changes. Its methods may be called from
// any goroutine.
type status struct {
	registry Registry
	every    time.Duration
	wake     chan struct{} // 1: something has changed
	recalled chan struct{} // closed when the newest status of any process was read

	mu       sync.Mutex
	earlier  schemas.State // the state in that status; "" until it was read
	s        schemas.Status
	problems [problemKinds]string
	meter    meter
	quiet    bool    // another process publishes the status
	sub      *status // of the camera's second stream; nil: it has none
}

func newStatus(s schemas.Status, every time.Duration, r Registry) *status {
	s.Since = time.Now()
	return &status{registry: r, every: every, wake: make(chan struct{}, 1), recalled: make(chan struct{}), s: s}
}

// beside makes the status of the camera's second stream, which st publishes. It goes on
// with the numbers of the one before.
func (st *status) beside() *status {
	st.mu.Lock()
	defer st.mu.Unlock()
	sub := &status{
		wake: st.wake, recalled: make(chan struct{}),
		s: schemas.Status{State: schemas.StateConnecting, Since: time.Now()},
	}
	select {
	case <-st.recalled:
		sub.take(st.streamBefore())
	default: // recall will do it
	}
	st.sub, st.s.Substream = sub, nil
	st.hasChanged()
	return sub
}

// alone notes that the camera has no second stream any more. Since it may have one again,
// the status keeps where the numbers of that stream stand.
func (st *status) alone() {
	st.mu.Lock()
	defer st.mu.Unlock()
	last := st.streamBefore()
	st.sub, st.s.Substream = nil, onlyStands(last.Stands)
	st.hasChanged()
}

// streamBefore returns the state of the second stream as it is or was. st.mu is held.
func (st *status) streamBefore() schemas.StreamStatus {
	switch {
	case st.sub != nil:
		return *st.sub.stream(time.Now())
	case st.s.Substream != nil:
		return *st.s.Substream
	}
	return schemas.StreamStatus{}
}

// onlyStands is the status of a second stream that the camera has no more.
func onlyStands(stands schemas.Standing) *schemas.StreamStatus {
	if stands == (schemas.Standing{}) {
		return nil
	}
	return &schemas.StreamStatus{Stands: stands}
}

// run writes the status: at once, on each change, and at a regular interval.
func (st *status) run(ctx context.Context) {
	if !st.recall(ctx) {
		return
	}
	tick := time.NewTicker(st.every)
	defer tick.Stop()
	for {
		st.write()
		select {
		case <-st.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// recallRetry is the pause before the newest status is read again.
const recallRetry = time.Second

// recall reads, once, the newest status of the camera that any process wrote. Only this
// status has the camera's numbers, so it must be read before this process writes its own.
// recall tries until it succeeds. It returns false if ctx has ended.
func (st *status) recall(ctx context.Context) bool {
	for {
		select {
		case <-st.recalled:
			return true
		default:
		}
		last, err := st.registry.LastStatus(ctx, st.s.Camera)
		if err == nil {
			st.recallFrom(last)
			return true
		}
		select {
		case <-time.After(recallRetry):
		case <-ctx.Done():
			return false
		}
	}
}

// recallFrom takes the newest status that any process wrote.
func (st *status) recallFrom(last schemas.Status) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.earlier = last.State
	if st.s.Stands == (schemas.Standing{}) { // else a session has begun meanwhile
		st.s.Stands, st.s.Absent, st.s.AbsentReason = last.Stands, last.Absent, last.AbsentReason
	}
	var stream schemas.StreamStatus
	if last.Substream != nil {
		stream = *last.Substream
	}
	if st.sub != nil {
		st.sub.take(stream)
	} else if st.s.Substream == nil {
		st.s.Substream = onlyStands(stream.Stands)
	}
	close(st.recalled)
}

// take takes, once, what is known of a second stream.
func (st *status) take(last schemas.StreamStatus) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.earlier = last.State
	if st.s.Stands == (schemas.Standing{}) {
		st.s.Stands = last.Stands
	}
	close(st.recalled)
}

// before returns the camera's state in the status that recall has read; "" if there is
// none, or it was not read yet.
func (st *status) before() schemas.State {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.earlier
}

// standing waits until recall has read where the camera's numbers stand, and returns it.
func (st *status) standing(ctx context.Context) (schemas.Standing, error) {
	select {
	case <-st.recalled:
	case <-ctx.Done():
		return schemas.Standing{}, ctx.Err()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.s.Stands, nil
}

// session notes that a session has begun: where the numbers stand, and how long and why
// nothing was recorded before.
func (st *status) session(s schemas.Standing, absent time.Duration, reason string) {
	st.change(func() {
		st.s.Stands, st.s.Absent, st.s.AbsentReason = s, absent.Round(time.Millisecond).Seconds(), reason
	})
}

// removed writes the status of a camera that the registry does not have any more. It
// keeps where the camera's numbers stand, since the camera may come back.
func (st *status) removed() {
	select {
	case <-st.recalled:
	default:
		return // this process has not written a status
	}
	st.mu.Lock()
	now := time.Now()
	s := schemas.Status{
		Camera: st.s.Camera, Owner: st.s.Owner, Host: st.s.Host, State: schemas.StateRemoved, Since: now, Updated: now,
		Stands: st.s.Stands, Substream: onlyStands(st.streamBefore().Stands),
	}
	st.mu.Unlock()
	if s.Stands == (schemas.Standing{}) && s.Substream == nil {
		st.registry.DeleteStatus(s.Camera)
		return
	}
	st.registry.PutStatus(s)
}

func (st *status) write() {
	st.mu.Lock()
	s, quiet := st.s, st.quiet
	s.Updated = time.Now()
	s.FPS, s.Bitrate = st.meter.rates(s.Updated)
	if s.State == schemas.StateLive {
		s.Problem = shownProblem(st.problems)
	}
	sub := st.sub
	st.mu.Unlock()
	if sub != nil {
		s.Substream = sub.stream(s.Updated)
	}
	if !quiet {
		st.registry.PutStatus(s)
	}
}

// stream returns the status of a second stream.
func (st *status) stream(now time.Time) *schemas.StreamStatus {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := &st.s
	out := &schemas.StreamStatus{
		State: s.State, Error: s.Error, Since: s.Since, Stands: s.Stands,
		Video: s.Video, Audio: s.Audio, Width: s.Width, Height: s.Height,
	}
	out.FPS, out.Bitrate = st.meter.rates(now)
	if s.State == schemas.StateLive {
		out.Problem = shownProblem(st.problems)
	}
	return out
}

// shownProblem returns the text of a status for all problems. A problem of the sound
// lasts as long as the camera's settings, so it neither hides another problem nor is
// hidden by one.
func shownProblem(problems [problemKinds]string) string {
	shown := ""
	for _, p := range problems[:problemSound] {
		if p != "" {
			shown = p
			break
		}
	}
	switch sound := problems[problemSound]; {
	case shown == "":
		return sound
	case sound != "":
		return shown + "; " + sound
	}
	return shown
}

// change applies f, and wakes run if something changed.
func (st *status) change(f func()) {
	st.mu.Lock()
	before, problems, quiet := st.s, st.problems, st.quiet
	f()
	if st.s.State != before.State {
		st.s.Since = time.Now()
	}
	changed := st.s != before || st.problems != problems || st.quiet != quiet
	st.mu.Unlock()
	if changed {
		st.hasChanged()
	}
}

// hasChanged wakes run.
func (st *status) hasChanged() {
	select {
	case st.wake <- struct{}{}:
	default: // run will write it anyway
	}
}

// state sets the state. A nil err clears the error.
func (st *status) state(state schemas.State, err error) {
	text := ""
	if err != nil {
		text = cleanText(short(err))
	}
	st.change(func() {
		st.s.State, st.s.Error = state, text
		if state != schemas.StateLive {
			st.meter = meter{}
		}
	})
}

func (st *status) current() schemas.State {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.s.State
}

func (st *status) problem(kind int, text string) {
	st.change(func() { st.problems[kind] = text })
}

// mute stops writing the status, or begins again.
func (st *status) mute(quiet bool) {
	st.change(func() { st.quiet = quiet })
}

// tracks sets what the camera sends.
func (st *status) tracks(tracks []schemas.Track) {
	st.change(func() {
		st.s.Video, st.s.Audio, st.s.Width, st.s.Height = "", "", 0, 0
		for _, t := range tracks {
			if t.Codec.Video() {
				st.s.Video, st.s.Width, st.s.Height = t.Codec, t.Width, t.Height
			} else {
				st.s.Audio = t.Codec
			}
		}
	})
}

// size sets the size of the pictures, which may only be known from the pictures
// themselves.
func (st *status) size(width, height uint16) {
	st.change(func() { st.s.Width, st.s.Height = width, height })
}

// unit counts a unit that has arrived.
func (st *status) unit(now time.Time, video bool, size int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.meter.add(now, video, size)
}
