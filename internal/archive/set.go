package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"slices"
	"sort"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

const (
	// keptBoxes is how many last boxes a Set keeps in memory: those of a day and more. One has
	// about 30 KB.
	keptBoxes = 2048
	// keptTold is of how many damaged files a Set remembers that it has logged them.
	keptTold = 1024
)

// Set reads what an archive holds. Its methods are those of medialog.Store, for a series in
// place of a topic. Several goroutines may use it. Files may come and go meanwhile.
type Set struct {
	dir    Dir
	lists  *lists
	hidden *hiddenLists
	boxes  *lru.Cache[string, *trailer] // by path
	told   *lru.Cache[string, struct{}] // paths of damaged files that were logged
	log    *slog.Logger
	errors prometheus.Counter

	summaries *summaries
}

// NewSet makes a Set of the archive in dir, which may not exist yet. A nil logger is silent;
// with a nil registerer there are no metrics.
func NewSet(dir Dir, log *slog.Logger, registerer prometheus.Registerer) *Set {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	files := newLists(dir)
	s := &Set{
		dir: dir, lists: files, hidden: newHiddenLists(dir, files), summaries: newSummaries(dir), log: log,
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framelog_archive_read_errors_total", Help: "Reads of archive files that failed: files that are damaged, or cannot be read.",
		}),
	}
	s.boxes, _ = lru.New[string, *trailer](keptBoxes) // it fails for sizes below 1 only
	s.told, _ = lru.New[string, struct{}](keptTold)
	if registerer != nil {
		registerer.MustRegister(s.errors)
	}
	return s
}

// damaged reports whether an error of reading a file means that its bytes are wrong: not that it
// cannot be read now, is gone, or is of a newer version, or that its reader has stopped.
func damaged(err error) bool {
	_, system := errors.AsType[*fs.PathError](err)
	stopped := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	return err != nil && !system && !stopped && !errors.Is(err, schemas.ErrNewer)
}

// missing reports whether footage of a file has to be left out after an error: the file is gone
// or damaged.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) || damaged(err) }

// box returns the last box of a file. Errors: fs.ErrNotExist if it was deleted; that it is
// damaged, which is logged once; others if it cannot be read.
func (s *Set) box(ctx context.Context, k Kept) (*trailer, error) {
	return s.boxAt(ctx, k.Path(), k.numbers())
}

func (s *Set) boxAt(ctx context.Context, path string, q numbers) (*trailer, error) {
	if b, ok := s.boxes.Get(path); ok {
		return b, nil
	}
	file, err := s.dir.store.Open(ctx, path)
	var b *trailer
	if err == nil {
		b, err = readTrailer(file)
		_ = file.Close() // it was only read
	}
	if err == nil && (b.decoded[0].Seq != q.first || b.decoded[len(b.decoded)-1].LastSeq() != q.last) {
		err = errors.New("its name tells other seqs than its last box")
	}
	if err != nil {
		s.failed(path, err)
		return nil, fmt.Errorf("archive: read %s: %w", path, err)
	}
	s.boxes.Add(path, b)
	return b, nil
}

// failed counts that a file cannot be read, and logs once that it is damaged.
func (s *Set) failed(path string, err error) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) { // it is gone, or its reader is
		return
	}
	s.errors.Inc()
	if !damaged(err) {
		return
	}
	if told, _ := s.told.ContainsOrAdd(path, struct{}{}); !told {
		s.log.Error("a file of the archive is damaged; its footage is left out", "file", path, "err", err)
	}
}

// Life returns the life of t with the highest seq, "" if nothing of t is archived. Errors: those
// of the file system.
func (s *Set) Life(ctx context.Context, t schemas.Topic) (string, error) {
	var newest string
	var highest uint64
	lives, err := s.dir.folders(ctx)
	if err != nil {
		return "", err
	}
	for _, life := range lives {
		of := Series{life, t}
		if of.check() != nil {
			continue
		}
		l, err := s.lists.of(ctx, of)
		if err != nil {
			return "", err
		}
		if n := len(l.files); n > 0 && l.reach[n-1] >= highest {
			newest, highest = life, l.reach[n-1]
		}
	}
	return newest, nil
}

// Entries yields the entries in r, as medialog.Store does. Gaps with the reason
// schemas.ReasonExpired stand for footage that is missing between files, and for a file that is
// damaged. Errors: ctx's, schemas.ErrNewer, and those of the file system.
func (s *Set) Entries(ctx context.Context, of Series, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return s.entries(ctx, of, r, math.MaxUint64)
}

// entries is Entries of what is before the seq end. What is missing right before end is no gap.
func (s *Set) entries(ctx context.Context, of Series, r medialog.Range, end uint64) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		l, err := s.lists.of(ctx, of)
		var first int
		if err == nil {
			first, err = s.first(ctx, of, l, r)
		}
		last := new(schemas.Entry) // the newest one that was read
		if err == nil && first < len(l.files) {
			*last, err = s.before(ctx, of, l.files[first].first)
		}
		if err != nil {
			yield(schemas.Entry{}, err)
			return
		}
		// take takes the next entry that was read, and reports whether to go on.
		take := func(e *schemas.Entry) bool {
			switch {
			case last.Footage() && e.Seq <= last.Seq:
				return true
			case e.Seq >= end, last.Footage() && !lost(last, e).in(r, yield), r.Has(e) && !yield(*e, nil), r.Passed(e):
				return false
			}
			last = e
			return true
		}
		ahead := ahead{s: s, of: of, files: upTo(l.files[first:], r, end), n: 1}
		ctx, cancel := context.WithCancel(ctx)
		defer ahead.wait()
		defer cancel()
		for i, q := range l.files[first:] {
			if r.ToSeq != 0 && q.first > r.ToSeq && last.Footage() && last.LastSeq() >= r.ToSeq {
				return
			}
			if q.last < r.FromSeq || last.Footage() && q.last <= last.Seq {
				continue // it overlaps one before it
			}
			ahead.need(ctx, i)
			box, err := s.box(ctx, of.kept(q))
			if err == nil {
				err = ctx.Err()
			}
			switch {
			case missing(err):
				continue
			case err != nil:
				yield(schemas.Entry{}, err)
				return
			}
			for i := range box.decoded {
				if e := &box.decoded[i]; e.Run == nil {
					if !take(e) {
						return
					}
					continue
				}
				for e := range box.decoded[i].Expand() {
					if !take(&e) {
						return
					}
				}
			}
		}
	}
}

// first returns the index of a file at or before the first one with an entry in r.
func (s *Set) first(ctx context.Context, of Series, l list, r medialog.Range) (int, error) {
	i := l.from(r.FromSeq)
	if r.From.IsZero() {
		return i, nil
	}
	// Public time may step back, but not further than this. The file before may end with gaps
	// that last long.
	from := r.From.Add(-medialog.MaxStepBack)
	var failed error
	j := sort.Search(len(l.files), func(j int) bool {
		start, err := s.start(ctx, of, l.files[j:])
		if err != nil {
			failed = err
			return true
		}
		return !start.Before(from)
	})
	return max(i, j-1), failed
}

// start returns the public time at which the first file begins that can be read.
func (s *Set) start(ctx context.Context, of Series, files []numbers) (time.Time, error) {
	for _, q := range files {
		box, err := s.box(ctx, of.kept(q))
		if err == nil {
			return box.decoded[0].Start, nil
		}
		if ctx.Err() != nil || !missing(err) {
			return time.Time{}, cmp.Or(ctx.Err(), err)
		}
	}
	return time.Unix(1<<40, 0), nil // there is none
}

// Entry returns the entry of a seq, also of a file that is deleted and not removed yet. Errors:
// medialog.ErrNotFound; schemas.ErrNewer; those of the store.
func (s *Set) Entry(ctx context.Context, of Series, seq uint64) (schemas.Entry, error) {
	e, _, err := s.find(ctx, of, seq)
	if errors.Is(err, medialog.ErrNotFound) {
		e, _, err = s.findHidden(ctx, of, seq, time.Time{})
	}
	return e, err
}

// found is where the segment of an entry is.
type found struct {
	path string
	box  *trailer
	at   int // index of the entry
}

// entry returns the entry of a seq, and which one of the file it stands in; -1: none.
func (t *trailer) entry(seq uint64) (schemas.Entry, int) {
	if i := t.find(seq); i >= 0 {
		for e := range t.decoded[i].Expand() {
			if e.Seq == seq {
				return e, i
			}
		}
	}
	return schemas.Entry{}, -1
}

// find finds a seq in the files that readers list.
func (s *Set) find(ctx context.Context, of Series, seq uint64) (schemas.Entry, found, error) {
	l, err := s.lists.of(ctx, of)
	if err != nil {
		return schemas.Entry{}, found{}, err
	}
	for _, q := range l.files[l.from(seq):] {
		if q.first > seq {
			break
		}
		if q.last < seq {
			continue
		}
		k := of.kept(q)
		box, err := s.box(ctx, k)
		switch {
		case missing(err):
			continue // another one may have it too
		case err != nil:
			return schemas.Entry{}, found{}, err
		}
		if e, at := box.entry(seq); at >= 0 {
			return e, found{k.Path(), box, at}, nil
		}
	}
	return schemas.Entry{}, found{}, medialog.ErrNotFound
}

// Has reports whether the archive has the copy that e names. Errors: schemas.ErrNewer; those of
// the file system.
func (s *Set) Has(ctx context.Context, t schemas.Topic, e schemas.Entry) (bool, error) {
	_, err := s.copy(ctx, t, e)
	if errors.Is(err, medialog.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (s *Set) copy(ctx context.Context, t schemas.Topic, e schemas.Entry) (found, error) {
	got, at, err := s.find(ctx, Series{e.Life, t}, e.Seq)
	if err == nil && sameCopy(&got, &e) {
		return at, nil
	}
	if err != nil && !errors.Is(err, medialog.ErrNotFound) {
		return at, err
	}
	return s.hiddenCopy(ctx, t, e, time.Time{})
}

// sameCopy reports whether an archived entry is about the copy that another one names.
func sameCopy(got, e *schemas.Entry) bool {
	return got.Playable() && got.Epoch == e.Epoch && got.First == e.First && got.Partition == e.Partition
}

// Chunks yields the chunks of the copy that e names, as medialog.Store does. Their samples are
// those of the log. It reads the whole fragment at once, and compares it with its SHA-256.
// Errors: medialog.ErrNotFound if the archive does not have it, or it is damaged; schemas.ErrNewer;
// those of the file system.
func (s *Set) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		chunks, err := s.chunks(ctx, t, e)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, c := range chunks {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (s *Set) chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) ([]*schemas.Chunk, error) {
	at, err := s.copy(ctx, t, e)
	if err != nil {
		return nil, err
	}
	chunks, err := s.chunksAt(ctx, &at)
	if errors.Is(err, fs.ErrNotExist) { // it was deleted a moment ago
		if at, err = s.hiddenCopy(ctx, t, e, time.Now()); err != nil {
			return nil, err
		}
		chunks, err = s.chunksAt(ctx, &at)
	}
	if err == nil {
		return chunks, nil
	}
	s.failed(at.path, err)
	if missing(err) {
		return nil, fmt.Errorf("archive: read %s: %w: %w", at.path, medialog.ErrNotFound, err)
	}
	return nil, fmt.Errorf("archive: read %s: %w", at.path, err)
}

func (s *Set) chunksAt(ctx context.Context, at *found) ([]*schemas.Chunk, error) {
	file, err := s.dir.store.Open(ctx, at.path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // it was only read
	return at.box.chunks(file, at.at)
}

// Bounds returns the oldest and the newest entry. Errors: medialog.ErrNotFound if there is none;
// ctx's; schemas.ErrNewer; those of the file system.
func (s *Set) Bounds(ctx context.Context, of Series) (oldest, newest schemas.Entry, err error) {
	l, err := s.lists.of(ctx, of)
	if err != nil {
		return oldest, newest, err
	}
	for e, err := range s.Entries(ctx, of, medialog.Range{}) {
		if err != nil {
			return oldest, newest, err
		}
		oldest = e
		break
	}
	if !oldest.Footage() {
		return oldest, newest, medialog.ErrNotFound
	}
	for left := slices.Clone(l.files); len(left) > 0; {
		i := 0
		for k := range left {
			if left[k].last >= left[i].last {
				i = k
			}
		}
		box, err := s.box(ctx, of.kept(left[i]))
		switch {
		case missing(err):
			left = slices.Delete(left, i, i+1)
			continue
		case err != nil:
			return oldest, newest, err
		}
		return oldest, lastOf(box), nil
	}
	return oldest, newest, medialog.ErrNotFound
}
