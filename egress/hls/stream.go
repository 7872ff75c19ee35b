package hls

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/httpgzip"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// refill is how many entries before the oldest are asked for where a tail's
// start does not fill the window: six minutes of the shortest fragments.
const refill = 360

// keepTargets is how many target durations behind the newest entry the segments
// of a followed topic stay in memory while somebody fetches whole ones: such
// players ask for a segment within one of it being listed. Low-latency players
// need the parts of the newest one. Everything older is for who joins or lags,
// and is read from its file or made from the log when somebody asks.
const keepTargets = 2

// stream is one topic that is followed: the one tail that all requests for it
// share. Its goroutine alone changes the model. mu guards everything below it.
type stream struct {
	*common
	topic  schemas.Topic
	cancel context.CancelFunc
	done   chan struct{}
	kept   []keptSegment // in the cache because they are near the live edge, oldest first; of run's goroutine
	held   int64         // bytes of kept

	mu       sync.Mutex
	model    *model
	live     bool
	changed  chan struct{} // closed and made anew at each change
	changes  int           // how often it changed
	latest   time.Time     // when it changed
	rendered map[renderKey][]byte
	used     time.Time // by a request
	whole    time.Time // when somebody last asked for a whole segment of the window
	users    int       // requests under way
	delay    time.Duration
	measured time.Time // delay
}

type keptSegment struct {
	seq  uint64
	end  int64 // media time
	size int64
}

type renderKey struct {
	skip, gzip bool
}

// newStream makes the stream of a topic. The caller runs it with ctx, which its
// cancel ends.
func newStream(c *common, t schemas.Topic) (context.Context, *stream) {
	ctx, cancel := context.WithCancel(c.tasks.ctx)
	return ctx, &stream{
		common: c, topic: t, cancel: cancel, done: make(chan struct{}),
		model:   newModel(c.cfg.Window, c.cfg.ProvisionalBytes),
		changed: make(chan struct{}), rendered: map[renderKey][]byte{}, used: time.Now(),
	}
}

// run follows the topic until ctx ends. A tail that ends begins again behind the
// newest entry, and what is known stays as it is meanwhile.
func (st *stream) run(ctx context.Context) {
	defer close(st.done)
	defer func() {
		st.release(len(st.kept))
		st.files.window(st.topic, math.MaxUint64, 0) // nothing of it is listed any more
	}()
	pause := 100 * time.Millisecond
	for {
		from := medialog.Position{Back: st.cfg.Window}
		if n := st.model.newest(); n != nil {
			from = medialog.Position{Seq: n.Seq + 1}
		}
		var failed error
		for ev, err := range st.log.Tail(ctx, st.topic, from) {
			if err != nil {
				failed = err
				break
			}
			pause = 100 * time.Millisecond
			st.event(ctx, ev)
		}
		if ctx.Err() != nil {
			return
		}
		st.metrics.retails.Inc()
		switch {
		case errors.Is(failed, medialog.ErrSlow): // is counted
		case errors.Is(failed, medialog.ErrNoTopic):
			st.slog.Info("the camera has no topics any more; it is followed again when it has", "camera", st.topic.Camera)
		default:
			st.slog.Warn("tail ended, it begins again", "camera", st.topic.Camera, "error", failed, "pause", pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}

func (st *stream) event(ctx context.Context, ev medialog.Event) {
	switch {
	case ev.Live:
		st.begin(ctx)
	case ev.Opened != nil:
		st.update(func() { st.model.opened(ev.Opened.Offset) })
	case ev.Chunk != nil:
		st.chunk(ev.Chunk)
	case ev.Entry != nil:
		st.entry(ctx, *ev.Entry)
	}
}

// update changes the model and wakes whoever waits.
func (st *stream) update(change func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	change()
	clear(st.rendered)
	st.changes++
	st.latest = time.Now()
	close(st.changed)
	st.changed = make(chan struct{})
}

func (st *stream) chunk(c *schemas.Chunk) {
	st.update(func() {
		added, dropped, err := st.model.chunk(c)
		if dropped {
			st.metrics.dropped.Inc()
		}
		if err != nil {
			st.slog.Warn("cannot make part", "camera", st.topic.Camera, "error", err)
		}
		if !added || !st.live || c.Captured.IsZero() {
			return
		}
		st.measured = time.Now()
		st.delay = st.measured.Sub(c.Captured)
		st.metrics.partDelay.Observe(st.delay.Seconds())
		st.metrics.cameraDelay.WithLabelValues(st.topic.Camera).Set(st.delay.Seconds())
	})
}

func (st *stream) entry(ctx context.Context, e schemas.Entry) {
	if !e.Footage() {
		return
	}
	s := st.model.confirms(&e)
	if st.live && s == nil && e.Playable() && e.Layout.Video != schemas.MJPEG {
		s = st.load(ctx, e)
	}
	if s != nil {
		st.keep(e, s) // before anybody can know of it
		st.leaveBehind(e)
	}
	st.update(func() { st.model.entry(e, s) })
	if s != nil {
		st.store(e, s)
	}
	if st.live {
		st.metrics.listDelay.Observe(time.Since(e.End()).Seconds())
	}
	all := st.model.entries
	st.files.window(st.topic, all[0].Seq, all[len(all)-1].Seq)
}

// begin makes complete what the log told of the past, and lets requests in.
func (st *stream) begin(ctx context.Context) {
	var older []schemas.Entry
	if n, covered := st.model.keep(); !covered && n > 0 {
		first := st.model.entries[0].Seq
		r := medialog.Range{FromSeq: first - min(first, refill), ToSeq: first - 1}
		for e, err := range st.log.Entries(ctx, st.topic, r) {
			if err != nil {
				break // the window is what the tail told
			}
			older = append(older, e)
		}
	}
	st.update(func() { st.model.prepend(older) })
	for _, e := range st.model.missing() {
		if s := st.load(ctx, e); s != nil {
			st.keep(e, s)
			st.update(func() { st.model.loaded(e, s) })
			st.store(e, s)
		}
	}
	st.update(func() { st.live = true })
}

// load reads an entry's segment from the log; nil where that fails, which
// costs the playlist that segment's parts and no more.
func (st *stream) load(ctx context.Context, e schemas.Entry) *segment {
	ctx, cancel := context.WithTimeout(ctx, st.cfg.LoadTimeout)
	defer cancel()
	err := st.log.Available(ctx, st.topic, e)
	var s *segment
	if err == nil {
		s, err = loadSegment(ctx, st.log, st.topic, e)
	}
	if err != nil {
		if !errors.Is(err, medialog.ErrExpired) && !errors.Is(err, medialog.ErrBeyond) && ctx.Err() == nil {
			st.slog.Warn("cannot make segment", "camera", st.topic.Camera, "seq", e.Seq, "error", err)
		}
		return nil
	}
	return s
}

// keep puts a complete segment where requests find it, at the cost of older
// ones where they are too many.
func (st *stream) keep(e schemas.Entry, s *segment) {
	st.cache.put(cacheKey{topic: st.topic, seq: e.Seq}, s, s.parts.Size())
	k := keptSegment{seq: e.Seq, end: e.MediaEnd(), size: s.parts.Size()}
	st.kept = append(st.kept, k)
	st.held += k.size
	for len(st.kept) > 1 && st.held > st.cfg.LiveBytes {
		st.release(1)
	}
}

// leaveBehind lets go of kept segments that no player at the live edge needs
// now that there is e.
func (st *stream) leaveBehind(e schemas.Entry) {
	edge := e.MediaEnd()
	if st.fetchedWhole() {
		edge -= keepTargets * int64(e.Layout.Target) * schemas.MediaTimescale
	}
	n := 0
	for n < len(st.kept)-1 && st.kept[n].end <= edge {
		n++
	}
	st.release(n)
}

// nearSeqs is how far behind the newest entry the next ones may come at any
// moment: another server may already list them.
const nearSeqs = 4

// known gives what the tail knows of a seq.
func (st *stream) known(seq uint64) known {
	st.mu.Lock()
	defer st.mu.Unlock()
	next, ok := st.model.next()
	return known{
		entry: st.model.find(seq),
		near:  !st.live || !ok || seq >= next && seq-next < nearSeqs,
	}
}

// tracks gives the tracks of a configuration, nil where the tail has not seen it.
// A viewer has asked, so the stream goes on.
func (st *stream) tracks(config string) []schemas.Track {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.used = time.Now()
	return st.model.tracks[config]
}

// wanted notes that somebody asks for a whole segment.
func (st *stream) wanted(seq uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.model.find(seq) != nil { // else it is no player at the live edge
		st.whole = time.Now()
	}
}

// fetchedWhole says whether somebody who watches asks for whole segments.
func (st *stream) fetchedWhole() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return time.Since(st.whole) < st.cfg.Linger
}

// store writes a kept segment and its init as files. What is a file need not be
// in memory too: the system has it in its page cache.
func (st *stream) store(e schemas.Entry, s *segment) {
	if st.files.write(resource{kind: kindSegment, topic: st.topic, seq: e.Seq}, s.parts) {
		st.release(len(st.kept))
	}
	if init, err := st.keepInit(st.topic, e.Config, s.tracks); err == nil {
		st.files.write(resource{kind: kindInit, topic: st.topic, config: e.Config, seq: e.Seq}, init.parts)
	}
}

// release lets go of the n oldest kept segments.
func (st *stream) release(n int) {
	for _, k := range st.kept[:n] {
		st.cache.drop(cacheKey{topic: st.topic, seq: k.seq})
		st.held -= k.size
	}
	st.kept = slices.Delete(st.kept, 0, n)
}

// await waits until cond says that it is done, at most for d (not at all where
// d is 0). cond runs with the lock held.
func (st *stream) await(ctx context.Context, d time.Duration, cond func() (done bool, err error)) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	var timeout <-chan time.Time
	for {
		done, err := cond()
		if done || err != nil {
			return err
		}
		if timeout == nil {
			if err := st.wait(); err != nil {
				return err
			}
			defer st.waited()
			t := time.NewTimer(d)
			defer t.Stop()
			timeout = t.C
		}
		changed := st.changed
		st.mu.Unlock()
		select {
		case <-changed:
			err = nil
		case <-timeout:
			err = errTimeout
		case <-ctx.Done():
			err = ctx.Err()
		case <-st.done:
			err = errTimeout
		}
		st.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// skips says whether a delta update helps who asks with d: not where many
// segments came at once, so that some that it has not seen would be skipped.
// st.mu is held, and stays so until the playlist is made: more may come.
func (st *stream) skips(d directives) bool {
	if !d.skip || !d.blocking {
		return d.skip
	}
	since := openDuration(st.model.open())
	until := skipTargets * schemas.Ticks(st.model.target())
	for _, e := range slices.Backward(st.model.entries) {
		if e.Seq <= d.msn {
			return true
		}
		if since += e.Duration; since >= until {
			return false
		}
	}
	return true
}

// render gives the playlist, made once for all who ask the same between two
// changes.
func (st *stream) render(d directives, gzip bool) ([]byte, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	k := renderKey{skip: st.skips(d), gzip: gzip}
	if b, ok := st.rendered[k]; ok {
		return b, nil
	}
	b := st.model.playlist(st.topic.Name(), k.skip)
	if b == nil { // another first fragment has begun since the request was let in
		return nil, errTimeout
	}
	if k.gzip {
		var err error
		if b, err = httpgzip.Compress(b); err != nil {
			return nil, err
		}
	}
	st.rendered[k] = b
	return b, nil
}

// enter and leave frame a request, so that a stream in use is not ended.
func (st *stream) enter() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.users++
}

func (st *stream) leave() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.users--
	st.used = time.Now()
}

func (st *stream) idle(linger time.Duration) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.users == 0 && time.Since(st.used) > linger
}
