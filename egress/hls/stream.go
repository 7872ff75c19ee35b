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

// refill is how many entries before the oldest one are read if the start of a tail
// does not fill the window: six minutes of the shortest fragments.
const refill = 360

// keepTargets is how long the segments of a followed topic stay in memory while
// somebody fetches whole segments, in target durations behind the newest entry.
// Players of whole segments ask for a segment within one target duration after it
// is listed. Low-latency players need the parts of the newest segment. Only
// players that begin or lag need older ones, which are read from their files or
// made from the log.
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
	changed  chan struct{} // each change closes it and makes another one
	changes  int           // number of changes
	latest   time.Time     // of the last change
	rendered map[renderKey][]byte
	reports  []Report  // those in the playlists of rendered
	past     *past     // nil: nobody asks for it
	longer   time.Time // when somebody last asked for more than the window
	used     time.Time // by the last request
	whole    time.Time // when somebody last asked for a whole segment of the window
	users    int       // requests that are being answered
	delay    time.Duration
	measured time.Time // when delay was measured
}

type keptSegment struct {
	seq  uint64
	end  int64 // media time
	size int64
}

type renderKey struct {
	skip, gzip bool
	dvr        time.Duration
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

// run follows the topic until ctx ends. If its tail ends, a new one begins after
// the newest entry, and the model keeps its data meanwhile.
func (st *stream) run(ctx context.Context) {
	defer close(st.done)
	defer func() {
		st.drop(len(st.kept))
		st.files.window(st.topic, math.MaxUint64, 0) // no fragment is listed any more
	}()
	pause, damaged := 100*time.Millisecond, false
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
			if !damaged || ev.Live { // what stands before a damaged record comes each time
				pause = 100 * time.Millisecond
			}
			st.event(ctx, ev)
		}
		if ctx.Err() != nil {
			return
		}
		st.metrics.retails.Inc()
		damaged = errors.Is(failed, medialog.ErrDamaged)
		switch {
		case errors.Is(failed, medialog.ErrSlow): // counted in a metric
		case damaged: // logged, once for each record
		case errors.Is(failed, medialog.ErrNoTopic):
			st.slog.Info("the topics are gone; they are followed again when they are back", "topic", st.topic.String())
		default:
			st.slog.Warn("tail ended; a new one begins", "topic", st.topic.String(), "error", failed, "pause", pause)
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
		st.update(func() { st.model.open(ev.Opened) })
	case ev.Chunk != nil:
		st.chunk(ev.Chunk)
	case ev.Entry != nil:
		st.entry(ctx, *ev.Entry)
	}
}

// update changes the model and wakes the requests that wait.
func (st *stream) update(change func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	change()
	clear(st.rendered)
	if st.past != nil && time.Since(st.longer) > st.cfg.Linger {
		st.past = nil
	}
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
			st.slog.Warn("cannot make part", "topic", st.topic.String(), "error", err)
		}
		if !added || !st.live || c.Captured.IsZero() || !st.topic.IsRaw() {
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
	if st.live && s == nil && carried(&e) {
		s = st.load(ctx, e)
	}
	if s != nil {
		st.keep(e, s) // before a playlist lists it
		st.dropOld(e)
	}
	st.update(func() { st.model.entry(e, s) })
	if s != nil {
		st.store(e, s)
	}
	if st.live && st.topic.IsRaw() {
		st.metrics.listDelay.Observe(time.Since(e.End()).Seconds())
	}
	all := st.model.entries
	st.files.window(st.topic, all[0].Seq, all[len(all)-1].Seq)
}

// begin completes the window with older entries. After it requests are
// answered.
func (st *stream) begin(ctx context.Context) {
	var older []schemas.Entry
	if n, covered := st.model.keep(); !covered && n > 0 {
		first := st.model.entries[0].Seq
		r := medialog.Range{FromSeq: first - min(first, refill), ToSeq: first - 1}
		for e, err := range st.log.Entries(ctx, st.topic, r) {
			if err != nil {
				break // the window has only the entries of the tail
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

// load reads the segment of an entry from the log. It returns nil if that fails:
// then the playlist lists the segment without its parts.
func (st *stream) load(ctx context.Context, e schemas.Entry) *segment {
	ctx, cancel := context.WithTimeout(ctx, st.cfg.LoadTimeout)
	defer cancel()
	if err := st.log.Available(ctx, st.topic, e); errors.Is(err, medialog.ErrExpired) || errors.Is(err, medialog.ErrBeyond) {
		return nil // waiting for lost media would stop the tail
	}
	s, err := loadSegment(ctx, st.log, st.topic, e)
	if err != nil {
		if !errors.Is(err, medialog.ErrExpired) && ctx.Err() == nil {
			st.slog.Warn("cannot make segment", "topic", st.topic.String(), "seq", e.Seq, "error", err)
		}
		return nil
	}
	return s
}

// keep puts a complete segment into the cache. Older ones of this topic leave it
// if they are too many.
func (st *stream) keep(e schemas.Entry, s *segment) {
	st.cache.put(cacheKey{topic: st.topic, seq: e.Seq}, s, s.parts.Size())
	k := keptSegment{seq: e.Seq, end: e.MediaEnd(), size: s.parts.Size()}
	st.kept = append(st.kept, k)
	st.held += k.size
	for len(st.kept) > 1 && st.held > st.cfg.LiveBytes {
		st.drop(1)
	}
}

// dropOld drops the kept segments that no player at the live edge needs when e is
// the newest entry.
func (st *stream) dropOld(e schemas.Entry) {
	edge := e.MediaEnd()
	if st.fetchedWhole() {
		edge -= keepTargets * int64(e.Layout.Target) * schemas.MediaTimescale
	}
	n := 0
	for n < len(st.kept)-1 && st.kept[n].end <= edge {
		n++
	}
	st.drop(n)
}

// nearSeqs is the number of seqs after the newest entry whose entries may come
// at any moment: another server may already list them.
const nearSeqs = 4

// known returns what the tail knows about a seq.
func (st *stream) known(seq uint64) known {
	st.mu.Lock()
	defer st.mu.Unlock()
	next, ok := st.model.next()
	return known{
		entry: st.model.find(seq),
		near:  !st.live || !ok || seq >= next && seq-next < nearSeqs,
	}
}

// tracks returns the tracks of a configuration, nil if the tail has not seen it.
// It counts as a request of a viewer, so it extends the stream's life.
func (st *stream) tracks(config string) []schemas.Track {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.used = time.Now()
	return st.model.tracks[config]
}

// wanted notes the time at which a client asks for a whole segment.
func (st *stream) wanted(seq uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.model.find(seq) != nil { // the client is near the live edge
		st.whole = time.Now()
	}
}

// fetchedWhole reports whether clients near the live edge request whole segments.
func (st *stream) fetchedWhole() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return time.Since(st.whole) < st.cfg.Linger
}

// store writes a kept segment and its init as files. Then it drops the segment
// from memory, since the system has it in its page cache.
func (st *stream) store(e schemas.Entry, s *segment) {
	if st.files.write(resource{kind: kindSegment, topic: st.topic, seq: e.Seq}, s.parts) {
		st.drop(len(st.kept))
	}
	if init, err := st.keepInit(st.topic, e.Config, s.tracks); err == nil {
		st.files.write(resource{kind: kindInit, topic: st.topic, config: e.Config, seq: e.Seq}, init.parts)
	}
}

// drop drops the n oldest kept segments.
func (st *stream) drop(n int) {
	for _, k := range st.kept[:n] {
		st.cache.drop(cacheKey{topic: st.topic, seq: k.seq})
		st.held -= k.size
	}
	st.kept = slices.Delete(st.kept, 0, n)
}

// await waits until cond returns true or an error, for d at most. cond runs with
// mu held. Errors: cond's, errTimeout, errBusy, ctx's.
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

// deltaHelps reports whether a client that asks with d gets a delta update. It gets
// a full playlist if many segments came at once and the update would skip some that
// the client has not seen. st.mu is held until the playlist is made, since more
// segments may come.
func (st *stream) deltaHelps(d directives) bool {
	if !d.skip || !d.blocking {
		return d.skip
	}
	since := unfinishedDuration(st.model.unfinished())
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

// render returns the playlist with reports of other renditions. Between two changes it is
// made once for all equal requests.
func (st *stream) render(d directives, gzip bool, reports []Report) ([]byte, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	k := st.renderKey(d, gzip, reports)
	if b, ok := st.rendered[k]; ok {
		return b, nil
	}
	b := st.model.playlist(st.topic.Name(), k.skip, reports)
	if b == nil { // another first fragment has begun since ready returned
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

// renderKey is what the playlist for a request is called in rendered, which is cleared if other
// reports are known now. st.mu is held.
func (st *stream) renderKey(d directives, gzip bool, reports []Report) renderKey {
	if !slices.Equal(reports, st.reports) {
		clear(st.rendered)
		st.reports = reports
	}
	return renderKey{skip: st.deltaHelps(d), gzip: gzip}
}

// isVariant reports whether the stream is raw, or its rendition has the role variant. st.mu
// is held.
func (st *stream) isVariant() bool {
	n := st.model.newest()
	return st.topic.IsRaw() || n != nil && n.Role == schemas.RoleVariant
}

// report tells how far the playlist of a variant is. ok is false if it is no variant, or
// not known.
func (st *stream) report() (r Report, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.live || !st.isVariant() {
		return r, false
	}
	r.URI = st.topic.Name() + ".m3u8"
	r.Seq, r.Part, ok = st.model.last()
	return r, ok
}

// enter and leave are called at the start and end of a request, so that a stream
// in use does not end.
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
