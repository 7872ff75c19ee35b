package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Log is the part of the log that Joined reads; *medialog.Log implements it.
type Log interface {
	medialog.Store
	// Available reports whether the media that e names can be read now.
	Available(ctx context.Context, t schemas.Topic, e schemas.Entry) error
	// Life returns the life of t's footage; "" if its index has no record that tells.
	Life(ctx context.Context, t schemas.Topic) (string, error)
}

// Joined is a log with the archive behind it, as one medialog.Store. A seq comes from the log as
// long as that holds it, else from the archive. For what neither has any more there are gaps with the
// reason schemas.ReasonExpired. A camera that has no topic has nothing in the archive: a purge deletes
// the topics first. A rendition that has none any more has what is archived of its camera's life.
type Joined struct {
	log   Log
	set   *Set
	known *lru.Cache[schemas.Topic, known]
	of    *lru.Cache[askedRoles, roles]
	looks singleflight.Group // for roles
}

var _ medialog.Store = (*Joined)(nil)

// known is what was known of a topic a moment ago.
type known struct {
	life   string        // whose footage is archived; "": there is none
	oldest schemas.Entry // in the log; the zero entry if it has none
	until  time.Time     // it is not looked up again
}

const (
	// keptKnown is of how many topics a Joined keeps what is known.
	keptKnown = 4096
	// keepKnown is for how long. A purge begins a new life.
	keepKnown = 5 * time.Second
)

// NewJoined returns log with set behind it.
func NewJoined(log Log, set *Set) *Joined {
	j := &Joined{log: log, set: set}
	j.known, _ = lru.New[schemas.Topic, known](keptKnown) // it fails for sizes below 1 only
	j.of, _ = lru.New[askedRoles, roles](keptKnown)
	return j
}

// gone reports whether the log does not have footage, has it no more, or has lost it.
func gone(err error) bool {
	return errors.Is(err, medialog.ErrExpired) || errors.Is(err, medialog.ErrNotFound) || errors.Is(err, medialog.ErrBeyond)
}

// know looks a topic up. Errors: those of the log and of the file system.
func (j *Joined) know(ctx context.Context, t schemas.Topic) (known, error) {
	k, ok := j.known.Get(t)
	if ok && time.Now().Before(k.until) {
		return k, nil
	}
	k = known{until: time.Now().Add(keepKnown)}
	oldest, newest, err := j.log.Bounds(ctx, t)
	switch {
	case err == nil:
		k.oldest, k.life = oldest, newest.Life
	case errors.Is(err, medialog.ErrNoTopic):
		if k.life, err = j.withoutTopic(ctx, t); err != nil {
			return k, err
		}
	case gone(err):
		if k.life, err = j.log.Life(ctx, t); err == nil && k.life == "" { // retention has emptied the index
			k.life, err = j.set.Life(ctx, t)
		}
		if err != nil && !errors.Is(err, medialog.ErrNoTopic) {
			return k, err
		}
	default:
		return k, err
	}
	j.known.Add(t, k)
	return k, nil
}

// withoutTopic returns the life of a topic that the log does not have. It is "" of a camera, and of
// a rendition of which nothing is archived in the camera's life.
func (j *Joined) withoutTopic(ctx context.Context, t schemas.Topic) (string, error) {
	if t.IsRaw() {
		return "", nil
	}
	camera, err := j.know(ctx, schemas.Topic{Camera: t.Camera})
	if err != nil || camera.life == "" {
		return "", err
	}
	l, err := j.set.lists.of(ctx, Series{camera.life, t})
	if err != nil || len(l.files) == 0 {
		return "", err
	}
	return camera.life, nil
}

// lacks reports whether an error means that the log does not have footage of a life that the
// archive may have. "" is any life.
func (j *Joined) lacks(ctx context.Context, t schemas.Topic, life string, err error) bool {
	if !errors.Is(err, medialog.ErrNoTopic) {
		return gone(err)
	}
	k, failed := j.know(ctx, t)
	return failed == nil && k.life != "" && (life == "" || life == k.life)
}

// Kept reports whether footage of t is archived, of the life that the log has. Errors: those of the
// log and of the file system.
func (j *Joined) Kept(ctx context.Context, t schemas.Topic) (bool, error) {
	k, err := j.know(ctx, t)
	if err != nil || k.life == "" {
		return false, err
	}
	l, err := j.set.lists.of(ctx, Series{k.life, t})
	return len(l.files) > 0, err
}

// Entries implements medialog.Store.
func (j *Joined) Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		next := r.FromSeq // the lowest seq that has not come
		// older yields what the archive has before a seq, and what was lost before an entry of the
		// log, and reports whether to go on.
		older := func(of Series, before uint64, e *schemas.Entry) bool {
			if of.Life == "" {
				return true
			}
			part := r
			part.FromSeq = next
			for e, err := range j.set.entries(ctx, of, part, before) {
				if !yield(e, err) || err != nil {
					return false
				}
				next = e.Seq + 1
			}
			g, err := j.lostBefore(ctx, of, e)
			if err != nil {
				yield(schemas.Entry{}, err)
				return false
			}
			return g.in(r, yield)
		}
		some, recent := false, j.recent(ctx, t, r)
		for e, err := range j.log.Entries(ctx, t, r) {
			if err != nil && !some && errors.Is(err, medialog.ErrNoTopic) && j.lacks(ctx, t, "", err) {
				break
			}
			if err != nil {
				yield(e, err)
				return
			}
			if e.Seq > next && !recent && !older(Series{e.Life, t}, e.Seq, &e) || !yield(e, nil) {
				return
			}
			next, some = e.Seq+1, true
		}
		if some || recent {
			return
		}
		k, err := j.know(ctx, t)
		if err != nil {
			yield(schemas.Entry{}, err)
			return
		}
		if k.oldest.Footage() && gone(j.log.Available(ctx, t, k.oldest)) { // retention has gone on
			j.known.Remove(t)
			if k, err = j.know(ctx, t); err != nil {
				yield(schemas.Entry{}, err)
				return
			}
		}
		before := uint64(math.MaxUint64)
		if k.oldest.Footage() {
			before = k.oldest.Seq
		}
		older(Series{k.life, t}, before, &k.oldest)
	}
}

// lostBefore returns what was lost between the archive's footage and the oldest entry of the log.
// Other entries of the log have nothing lost before them: if seqs are missing there, they were
// never used.
func (j *Joined) lostBefore(ctx context.Context, of Series, e *schemas.Entry) (*gaps, error) {
	k, err := j.know(ctx, of.Topic)
	if err != nil || of.Life == "" || !e.Footage() || e.Seq > k.oldest.Seq {
		return &gaps{}, err
	}
	before, err := j.set.before(ctx, of, e.Seq)
	if err != nil || !before.Footage() {
		return &gaps{}, err
	}
	return lost(&before, e), nil
}

// recent reports whether the log alone has the footage of a range of public time: the range
// begins behind its oldest entry, by more than that time may step back.
func (j *Joined) recent(ctx context.Context, t schemas.Topic, r medialog.Range) bool {
	if r.From.IsZero() {
		return false
	}
	k, err := j.know(ctx, t)
	return err == nil && k.oldest.Footage() && r.From.After(k.oldest.End().Add(medialog.MaxStepBack))
}

// Archived returns the newest archived entry of a life of t. If nothing is archived from seq on, it
// may be one that is no footage. Errors: schemas.ErrNewer; those of the store.
func (j *Joined) Archived(ctx context.Context, t schemas.Topic, life string, seq uint64) (schemas.Entry, error) {
	return j.set.newest(ctx, Series{life, t}, seq)
}

// Recent yields the entries in r that the log itself has.
func (j *Joined) Recent(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return j.log.Entries(ctx, t, r)
}

// Init returns the init segment of a decoder configuration of archived footage. Errors:
// medialog.ErrNotFound; those of the log and of the file system.
func (j *Joined) Init(ctx context.Context, t schemas.Topic, config string) ([]byte, error) {
	k, err := j.know(ctx, t)
	switch {
	case err != nil:
		return nil, err
	case k.life == "":
		return nil, medialog.ErrNotFound
	}
	return j.set.Init(ctx, Series{k.life, t}, config)
}

// Entry implements medialog.Store.
func (j *Joined) Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	e, err := j.log.Entry(ctx, t, seq)
	if !j.lacks(ctx, t, "", err) {
		return e, err
	}
	k, failed := j.know(ctx, t)
	if failed != nil || k.life == "" {
		return e, err
	}
	old, failed := j.set.Entry(ctx, Series{k.life, t}, seq)
	switch {
	case failed == nil:
		return old, nil
	case !errors.Is(failed, medialog.ErrNotFound):
		return e, failed
	}
	return e, err
}

// Available reports whether the media that e names can be read now. Errors: those of the log and
// of the file system.
func (j *Joined) Available(ctx context.Context, t schemas.Topic, e schemas.Entry) error {
	err := j.log.Available(ctx, t, e)
	if !j.lacks(ctx, t, e.Life, err) {
		return err
	}
	switch has, failed := j.set.Has(ctx, t, e); {
	case failed != nil:
		return failed
	case has:
		return nil
	}
	return err
}

// Chunks implements medialog.Store.
func (j *Joined) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		if !e.Playable() {
			return
		}
		n := 0 // chunks that came
		lost := j.log.Available(ctx, t, e)
		if !j.lacks(ctx, t, e.Life, lost) {
			lost = nil // the log tells it again
			for c, err := range j.log.Chunks(ctx, t, e) {
				if gone(err) || errors.Is(err, medialog.ErrDamaged) {
					lost = err
					break
				}
				if !yield(c, err) || err != nil {
					return
				}
				n++
			}
		}
		if lost == nil {
			return
		}
		for c, err := range j.set.Chunks(ctx, t, e) {
			switch {
			case err == nil && int(c.Index) < n:
				continue
			case errors.Is(err, medialog.ErrNotFound):
				err = lost
			case err != nil:
				err = fmt.Errorf("fragment %d, which the log does not have any more: %w", e.Seq, err)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Bounds implements medialog.Store.
func (j *Joined) Bounds(ctx context.Context, t schemas.Topic) (oldest, newest schemas.Entry, err error) {
	oldest, newest, err = j.log.Bounds(ctx, t)
	if err != nil && !j.lacks(ctx, t, "", err) {
		return oldest, newest, err
	}
	life := newest.Life
	if err != nil {
		k, failed := j.know(ctx, t)
		if failed != nil {
			return oldest, newest, failed
		}
		life = k.life
	}
	if life == "" {
		return oldest, newest, err
	}
	first, last, failed := j.set.Bounds(ctx, Series{life, t})
	switch {
	case errors.Is(failed, medialog.ErrNotFound):
		return oldest, newest, err
	case failed != nil:
		return oldest, newest, failed
	case err != nil:
		return first, last, nil
	case first.Seq < oldest.Seq:
		oldest = first
	}
	return oldest, newest, nil
}
