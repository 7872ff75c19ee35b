package archiver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// maxTries is how often a fragment is tried that cannot be read. After that it is left out.
const maxTries = 4

// series is a topic that is archived. One goroutine uses it. It holds the entries of no more
// than one file, and those only while it reads.
type series struct {
	s     *Service
	topic schemas.Topic
	log   *slog.Logger

	life string // "": the work has not begun
	from uint64 // all before this seq is archived, or cannot be any more; 0: nothing is
	// end and until are where the footage before from ends, in media time and in public time.
	// end is 0 if that is not known.
	end   int64
	until time.Time
	last  schemas.Entry // the newest one of the archive, until the log has one behind it

	read    int64         // the index was read up to this offset, and no complete file is left; -1: not
	newest  schemas.Entry // that can be played, as far as it is known
	seen    time.Time     // when newest came
	waiting bool          // footage from from on waits until its minute is complete

	slow  bool           // a write has ended with errLogSlow, and none has worked since
	tries map[uint64]int // failed attempts to read fragments that are not archived
	told  string         // the newest problem that was logged; "": there is none
}

func newSeries(s *Service, t schemas.Topic) *series {
	s.metrics.begin(t)
	return &series{s: s, topic: t, log: s.log.With("camera", t.Camera, "rendition", t.Name()), read: -1, tries: map[uint64]int{}}
}

// fileError means that the newest file of a series cannot be read, though the archive is there.
type fileError struct {
	path  string // below the archive
	cause error
}

func (e *fileError) Error() string {
	return fmt.Sprintf("the newest file of the archive, %s, cannot be read; let the user of this process read it, or add %q to its name, and its footage is archived again if Kafka still has it: %v", e.path, archive.DamagedEnd, e.cause)
}
func (e *fileError) Unwrap() error { return e.cause }

// next archives the next file if there is one. It reports whether there may be another one.
// What has failed is tried again at the next call.
func (r *series) next(ctx context.Context) (more bool) {
	more, err := r.step(ctx)
	_, store := errors.AsType[*storeError](err)
	switch {
	case ctx.Err() != nil, store: // the store logs its problems
		return false
	case errors.Is(err, medialog.ErrNoTopic): // it was purged
		return false
	case err == nil:
		r.told = ""
	case err.Error() != r.told:
		r.told = err.Error()
		r.log.Warn("footage is not archived yet; it is tried again", "err", err)
	}
	return more && err == nil
}

// step is next without the log. It reads nothing if the index has not grown.
func (r *series) step(ctx context.Context) (more bool, err error) {
	end, err := r.s.mlog.IndexEnd(ctx, r.topic)
	if err != nil {
		r.seen = time.Now() // footage may have come that cannot be seen
		return false, err
	}
	switch {
	case end == r.read && !r.quiet():
		return false, nil
	case r.life == "" || end < r.read:
		if err := r.begin(ctx); err != nil || r.life == "" {
			_, store := errors.AsType[*storeError](err)
			if _, file := errors.AsType[*fileError](err); store || file {
				r.tellAll(ctx)
			}
			return false, err
		}
	}
	r.read = -1
	next, err := r.nextFile(ctx)
	if err != nil {
		return false, err
	}
	if !next.came { // only `open`s, or the camera was purged and has another life
		life := r.life
		if err := r.begin(ctx); err != nil || r.life != life {
			return r.life != "", err
		}
	}
	r.waiting = len(next.entries) > 0
	if next.complete || r.quiet() {
		return true, r.write(ctx, next.entries)
	}
	r.tell(next.entries)
	r.read = end
	return false, nil
}

// quiet reports whether footage waits and no more of it has come for a while.
func (r *series) quiet() bool { return r.waiting && time.Since(r.seen) >= r.s.cfg.Idle }

// begin finds out where the work begins: behind the newest file of this life. If the topic was
// purged or not recorded yet, life stays empty.
func (r *series) begin(ctx context.Context) error {
	life, err := r.s.mlog.Life(ctx, r.topic)
	if errors.Is(err, medialog.ErrNoTopic) {
		err = nil
	}
	if err != nil || life == r.life && life != "" {
		return err
	}
	if slices.Contains(r.s.shared.Purges()[r.topic.Camera].Lives, life) {
		life = ""
	}
	told := r.told
	*r = *newSeries(r.s, r.topic)
	r.told = told
	if life == "" {
		return nil
	}
	last, ok, err := r.s.store.newest(ctx, archive.Series{Life: life, Topic: r.topic})
	if err != nil {
		return err
	}
	r.life = life
	if !ok {
		return nil
	}
	r.goOnBehind(&last)
	// Its offset counts only if the log still has the entry: after a power cut another one may
	// stand there.
	if e := r.inLog(ctx, last.LastSeq()); e.Footage() && e.Offset == last.Offset && e.Epoch == last.Epoch {
		r.s.offsets.Set(r.s.names.Index(r.topic), share.OffsetBehind(&last))
	}
	r.last = last
	return nil
}

// inLog returns the entry that the log has of a seq; one that is no footage if it has none.
func (r *series) inLog(ctx context.Context, seq uint64) schemas.Entry {
	for e, err := range r.s.mlog.Entries(ctx, r.topic, medialog.Range{FromSeq: seq, ToSeq: seq}) {
		if err == nil && e.Life == r.life {
			return e
		}
		break
	}
	return schemas.Entry{}
}

// compare tells if the log has other footage under the number of the newest archived fragment: it was
// cut back below that, and its writer did not know what is archived.
func (r *series) compare(ctx context.Context) {
	last := r.last
	r.last = schemas.Entry{}
	if !last.Playable() {
		return
	}
	if e := r.inLog(ctx, last.Seq); e.Playable() && (e.Epoch != last.Epoch || e.First != last.First) {
		r.s.metrics.errors.WithLabelValues(failedDiffers).Inc()
		r.log.Error("Kafka has lost footage that is archived, and has other footage under its numbers, which is not archived; let ingest see the archive (archive.dir or archive.s3)", "up_to_seq", last.Seq)
	}
}

// file is a file that may be written.
type file struct {
	entries  []schemas.Entry
	complete bool // no more entries belong to it
	came     bool // there are entries that are not archived, even if no file begins with them
}

// nextFile reads the entries of the next file.
func (r *series) nextFile(ctx context.Context) (f file, err error) {
	for whole, err := range archive.Cut(r.topic, r.entries(ctx, &f)) {
		return file{whole, true, true}, err
	}
	return f, nil
}

// entries yields the entries of this life that are not archived, from which the next file is cut,
// and puts them into f. The gaps before its first fragment are passed.
func (r *series) entries(ctx context.Context, f *file) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		for e, err := range r.s.mlog.Entries(ctx, r.topic, medialog.Range{FromSeq: r.from}) {
			if err != nil {
				yield(e, err)
				return
			}
			if e.Life != r.life {
				continue
			}
			if !f.came {
				r.first(ctx, &e)
			}
			f.came = true
			switch {
			case r.tries[e.Seq] >= maxTries:
				continue
			case e.Playable() || len(f.entries) > 0:
				f.entries = append(f.entries, e)
				r.saw(&e)
			default:
				r.passed(&e)
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// saw notes the newest entry.
func (r *series) saw(e *schemas.Entry) {
	if e.Playable() && e.Seq > r.newest.Seq {
		r.newest, r.seen = *e, time.Now()
	}
}

// passed notes that there is nothing more to do up to an entry.
func (r *series) passed(e *schemas.Entry) {
	r.goOnBehind(e)
	r.s.offsets.Set(r.s.names.Index(r.topic), share.OffsetBehind(e))
}

// goOnBehind lets the work go on behind an entry, of which perhaps only the seq is known.
func (r *series) goOnBehind(e *schemas.Entry) {
	r.from, r.end, r.until = e.LastSeq()+1, e.MediaEnd(), e.End()
}

// first notes the oldest entry of the log that is not archived: all before it is, or has expired.
func (r *series) first(ctx context.Context, e *schemas.Entry) {
	r.compare(ctx)
	at := share.Offset{At: e.Offset}
	if r.from > 0 {
		at = share.OffsetBehind(&schemas.Entry{Offset: e.Offset - 1, Life: r.life, Seq: r.from - 1})
	}
	r.s.offsets.Set(r.s.names.Index(r.topic), at)
	if r.from > 0 && e.Seq > r.from {
		r.expired(e)
	}
}

// expired counts the footage between what is archived and e, which the log does not have any
// more. If the numbers have only jumped, there was none.
func (r *series) expired(e *schemas.Entry) {
	if r.end > 0 {
		r.lost("footage expired before it was archived", r.until, e.Start, schemas.FromTicks(e.Media-r.end-e.Absent))
	}
	r.from, r.end, r.until = e.Seq, e.Media, e.Start
}

// lost counts footage that is not archived.
func (r *series) lost(why string, from, to time.Time, d time.Duration) {
	if d <= 0 {
		return
	}
	r.s.metrics.expired.WithLabelValues(r.topic.Camera, r.topic.Name()).Add(d.Seconds())
	r.log.Error(why, "from", from, "to", to, "seconds", d.Seconds())
}

// tell tells how much footage is not archived. file is its beginning.
func (r *series) tell(file []schemas.Entry) {
	unsafe := int64(0)
	if len(file) > 0 {
		unsafe = max(0, r.newest.MediaEnd()-file[0].Media)
	}
	r.s.metrics.unsafe.WithLabelValues(r.topic.Camera, r.topic.Name()).Set(schemas.FromTicks(unsafe).Seconds())
}

// tellAll tells that all that the log has is not archived, as far as is known: the archive cannot
// be read.
func (r *series) tellAll(ctx context.Context) {
	newest, err := r.s.mlog.Newest(ctx, r.topic)
	if err != nil {
		return // the next step tells it
	}
	r.saw(&newest)
	for e, err := range r.s.mlog.Entries(ctx, r.topic, medialog.Range{}) {
		if err == nil && e.Life == newest.Life {
			r.tell([]schemas.Entry{e})
		}
		return
	}
}

// write writes a file.
func (r *series) write(ctx context.Context, file []schemas.Entry) error {
	if e, err := r.s.mlog.Newest(ctx, r.topic); err == nil && e.Life == r.life {
		r.saw(&e)
	}
	err := r.put(ctx, file)
	r.slow = errors.Is(err, errLogSlow) || r.slow && err != nil
	bad, footage := errors.AsType[*footageError](err)
	switch {
	case errors.Is(err, archive.ErrDiffers):
		r.s.metrics.errors.WithLabelValues(failedDiffers).Inc()
		r.log.Error("a file of the archive stays as it is", "err", err)
	case footage:
		r.failed(bad)
		return err
	case err != nil:
		return err
	}
	r.passed(&file[len(file)-1])
	r.waiting = false
	maps.DeleteFunc(r.tries, func(seq uint64, _ int) bool { return seq < r.from })
	r.tell(nil)
	return nil
}

// put gives a file to the store. Meanwhile it tells how much footage is not archived.
func (r *series) put(ctx context.Context, file []schemas.Entry) error {
	defer r.keepTelling(ctx, file)()
	return r.s.store.write(ctx, r.topic, file, r.slow)
}

// keepTelling tells how much footage is not archived, now and while a write waits for its turn, for the
// log or for the archive, until stop is called. Nothing else may use r meanwhile.
func (r *series) keepTelling(ctx context.Context, file []schemas.Entry) (stop func()) {
	r.tell(file)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for waitForPoll(ctx) == nil {
			if e, err := r.s.mlog.Newest(ctx, r.topic); err == nil && e.Life == r.life {
				r.saw(&e)
			}
			r.tell(file)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// failed notes that a fragment could not be read. What a newer version has written is never left
// out.
func (r *series) failed(bad *footageError) {
	r.s.metrics.errors.WithLabelValues(failedFootage).Inc()
	if errors.Is(bad, schemas.ErrNewer) {
		return
	}
	e := &bad.entry
	r.tries[e.Seq]++
	if r.tries[e.Seq] == maxTries {
		r.lost(fmt.Sprintf("fragment %d is left out of the archive: it cannot be read", e.Seq), e.Start, e.End(), schemas.FromTicks(e.Duration))
	}
}
