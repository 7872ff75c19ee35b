package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/summary"
)

const (
	// summariseEvery is the pause between two looks of a Summariser. summariseShare is how many
	// times as long as it works it rests, after each day at the latest: an archive that has no
	// summaries yet takes a while.
	summariseEvery = 10 * time.Minute
	summariseShare = 20
	// mostSummarised is how many hours of a series are summarised in one look: 20 days.
	mostSummarised = 480
	// mostMissing is how often footage may be missing in an hour that is summarised.
	mostMissing = 256
	// summariserBoxes is how many last boxes a Summariser keeps in memory: those of some hours.
	summariserBoxes = 256
)

// Summariser keeps summaries of the hours of an archive, so that timelines need not read their
// entries. An hour is summarised when it is complete, and again when files of it came or went.
// Several may work on one archive: they write the same.
type Summariser struct {
	set  *Set
	log  *slog.Logger
	done map[Series]uint64 // sums of the files, as of the newest complete look
	rest time.Duration     // how many times as long as it works it rests
}

// NewSummariser makes a Summariser of the archive in dir.
func NewSummariser(dir Dir, log *slog.Logger) *Summariser {
	set := NewSet(dir, log, nil)
	set.boxes, _ = lru.New[string, *trailer](summariserBoxes) // it fails for sizes below 1 only
	return &Summariser{set: set, log: log, done: map[Series]uint64{}}
}

// Run summarises until ctx ends. Errors are logged: the next look tries again.
func (z *Summariser) Run(ctx context.Context) error {
	z.rest = summariseShare
	for {
		if err := z.Look(ctx); err != nil && ctx.Err() == nil {
			z.log.Error("archive: some hours have no summary, so timelines of them take longer; it is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(summariseEvery):
		}
	}
}

// Look looks at all series once. Of each it summarises at most mostSummarised hours; the next look
// goes on. Errors: those of the file system; ctx's.
func (z *Summariser) Look(ctx context.Context) error {
	all, err := z.set.dir.Series(ctx)
	if err != nil {
		return err
	}
	maps.DeleteFunc(z.done, func(s Series, _ uint64) bool { return !slices.Contains(all, s) })
	var failed error
	for _, s := range all {
		l, err := z.set.lists.of(ctx, s)
		var sum uint64
		if err == nil {
			if len(l.files) == 0 {
				continue
			}
			if sum, _ = between(l.files); sum == z.done[s] {
				continue
			}
		}
		var complete bool
		if err == nil {
			complete, err = z.series(ctx, s, l)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.Path(), err))
		case complete:
			z.done[s] = sum
		}
	}
	return failed
}

// series writes the summaries of a series that are missing, or not right any more. complete: none
// are left to write.
func (z *Summariser) series(ctx context.Context, of Series, l list) (complete bool, err error) {
	from, to, err := z.bounds(ctx, of, l)
	if err != nil {
		return false, err
	}
	first, last := hourOf(from), hourOf(to.Add(-time.Hour)) // later ones may get footage
	b, err := z.begin(ctx, of, l)
	if err != nil {
		return false, err
	}
	made := 0
	for at := first; at <= last && made < mostSummarised; {
		if b.hours[at] != nil {
			at++
			continue
		}
		n := 1
		for at+int64(n) <= last && (at+int64(n))%24 != 0 && b.hours[at+int64(n)] == nil {
			n++
		}
		began := time.Now()
		hours, err := z.hours(ctx, of, l, at, n)
		if z.rest > 0 {
			select {
			case <-ctx.Done():
				return false, ctx.Err()
			case <-time.After(z.rest * time.Since(began)):
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return false, b.write(ctx, of) // a file was deleted meanwhile
		}
		if err != nil {
			return false, errors.Join(err, b.write(ctx, of))
		}
		b.put(hours)
		at, made = at+int64(n), made+n
	}
	return made < mostSummarised, b.write(ctx, of)
}

// bounds returns the public time of which there may be footage, and to which no more comes: public
// time may step back.
func (z *Summariser) bounds(ctx context.Context, of Series, l list) (from, to time.Time, err error) {
	if from, err = z.set.start(ctx, of, l.files); err != nil {
		return from, to, err
	}
	for _, q := range slices.Backward(l.files) {
		box, err := z.set.box(ctx, of.kept(q))
		if err == nil {
			return from.Add(-medialog.MaxStepBack), spanOf(box.decoded).to.Add(-medialog.MaxStepBack), nil
		}
		if !missing(err) {
			return from, to, err
		}
	}
	return from, from, nil
}

// hours summarises n hours from one on. It leaves out those to which footage may still come, and
// those of which a file cannot be read. Errors: fs.ErrNotExist if a file was deleted meanwhile.
func (z *Summariser) hours(ctx context.Context, of Series, l list, at int64, n int) ([]*summarised, error) {
	from := time.Unix(at*3600, 0).UTC()
	run, r := summary.NewRun(from, n), medialog.Range{From: from, To: from.Add(time.Duration(n) * time.Hour)}
	for e, err := range z.set.Entries(ctx, of, r) {
		if err != nil {
			return nil, err
		}
		if e.Footage() {
			run.Add(&e)
		}
	}
	near, err := z.near(ctx, of, l, r)
	if err != nil {
		return nil, err
	}
	var all []*summarised
	for i, h := range run.Hours {
		s := &summarised{at: at + int64(i)}
		s.hour = h.Coarse(s.start(), time.Minute)
		if near.bound(s, l) && len(s.hour.Missing) <= mostMissing {
			all = append(all, s)
		}
	}
	return all, nil
}

// near is the files that a read of some hours looks at.
type near struct {
	first int    // the index of the first one
	spans []span // of each; the zero span: it cannot be read
}

// near finds the files on which the hours of a range depend. The last one is behind them, if there
// is one.
func (z *Summariser) near(ctx context.Context, of Series, l list, r medialog.Range) (n near, err error) {
	if n.first, err = z.set.first(ctx, of, l, r); err != nil {
		return n, err
	}
	for _, q := range l.files[n.first:] {
		box, err := z.set.box(ctx, of.kept(q))
		if err != nil && (!damaged(err) || ctx.Err() != nil) {
			return n, err
		}
		var s span
		if err == nil {
			s = spanOf(box.decoded)
		}
		n.spans = append(n.spans, s)
		if !s.from.IsZero() && !s.from.Before(r.To.Add(medialog.MaxStepBack)) {
			break
		}
	}
	return n, nil
}

// bound finds the neighbours of an hour, and what it has between them. ok is false if footage may
// still come to it, or a file cannot be read.
func (n *near) bound(s *summarised, l list) (ok bool) {
	from, to := s.start().Add(-medialog.MaxStepBack), s.start().Add(time.Hour+medialog.MaxStepBack)
	before, first, last, passed := -1, -1, -1, -1
	for i, x := range n.spans {
		switch {
		case x.from.IsZero():
		case !x.from.Before(to):
			passed = i
		case !x.to.After(from):
			before = i
		default:
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		first, last = before+1, before
	}
	first, last = first-1, last+1 // the neighbours
	if passed < last || slices.Contains(n.spans[max(0, first):last+1], span{}) {
		return false
	}
	first, last = n.first+first, n.first+last
	if first >= 0 {
		s.first = l.files[first]
	}
	s.last = l.files[last]
	s.sum, s.dense = between(l.files[max(0, first) : last+1])
	s.dense = s.dense && first >= 0
	return true
}

// between returns a sum of the names of files, and whether no seq is missing between them.
func between(files []numbers) (sum uint64, dense bool) {
	const offset, prime = 14695981039346656037, 1099511628211 // of FNV-1a, here for words
	sum, dense = offset, true
	reach := files[0].last
	for _, q := range files {
		sum = ((sum^q.first)*prime ^ q.last) * prime
		dense = dense && (q.first <= reach || q.first == reach+1)
		reach = max(reach, q.last)
	}
	return sum, dense
}

// holds reports whether the files of an hour are those of which it was made.
func (s *summarised) holds(l list) bool {
	first, last := 0, 0
	var ok bool
	if s.first != (numbers{}) {
		if first, ok = slices.BinarySearchFunc(l.files, s.first, numbers.compare); !ok {
			return false
		}
	}
	if last, ok = slices.BinarySearchFunc(l.files, s.last, numbers.compare); !ok || last < first {
		return false
	}
	sum, _ := between(l.files[first : last+1])
	return sum == s.sum
}

// book is the summaries of a series while they are brought up to date.
type book struct {
	summaries *summaries
	names     map[string]fs.DirEntry
	hours     map[int64]*summarised // with one amount each
	minutes   map[int64]*summarised // that are new
	changed   map[string]bool       // months and days
}

// begin reads the hours of which there are summaries, and leaves out those that are not right any
// more.
func (z *Summariser) begin(ctx context.Context, of Series, l list) (*book, error) {
	b := &book{
		summaries: z.set.summaries, names: map[string]fs.DirEntry{}, hours: map[int64]*summarised{},
		minutes: map[int64]*summarised{}, changed: map[string]bool{},
	}
	found, err := z.set.dir.store.List(ctx, summaryPath(of, ""), "")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range found {
		b.names[f.Name()] = f
	}
	bad := map[string]bool{}
	for name := range b.names {
		if len(name) != len(dayForm) || z.done[of] != 0 {
			continue // each process reads all of them once
		}
		if _, err := b.summaries.of(ctx, of, name); err != nil {
			bad[name] = true
			z.log.Warn("archive: a file of summaries is made again", "err", err)
		}
	}
	for name := range b.names {
		if len(name) != len(monthForm) {
			continue
		}
		all, err := b.summaries.of(ctx, of, name)
		if err != nil {
			b.changed[name] = true
			z.log.Warn("archive: a file of summaries is made again", "err", err)
		}
		for _, s := range all {
			day := s.start().Format(dayForm)
			if s.holds(l) && (s.hour.Empty() || b.names[day] != nil && !bad[day]) {
				b.hours[s.at] = s
				continue
			}
			b.changed[name], b.changed[day] = true, true
		}
	}
	return b, nil
}

func (b *book) put(hours []*summarised) {
	for _, s := range hours {
		month := *s
		month.hour = s.hour.Coarse(s.start(), time.Hour)
		b.hours[s.at], b.minutes[s.at] = &month, s
		b.changed[s.start().Format(monthForm)], b.changed[s.start().Format(dayForm)] = true, true
	}
}

// write writes what has changed: days before months, so that a month tells that its days are
// right.
func (b *book) write(ctx context.Context, of Series) error {
	for _, form := range []string{dayForm, monthForm} {
		files := b.files(form)
		for name := range b.changed {
			if len(name) != len(form) {
				continue
			}
			hours := files[name]
			if form == dayForm {
				hours = b.day(ctx, of, name, hours)
			}
			if err := b.summaries.put(ctx, of, name, hours); err != nil {
				return err
			}
		}
	}
	return b.sweep(ctx, of)
}

// files returns the hours of each day or month, in order.
func (b *book) files(form string) map[string][]*summarised {
	files := map[string][]*summarised{}
	for _, at := range slices.Sorted(maps.Keys(b.hours)) {
		name := b.hours[at].start().Format(form)
		files[name] = append(files[name], b.hours[at])
	}
	return files
}

// day returns the hours of a day with their minutes: new ones, and those that its file has.
func (b *book) day(ctx context.Context, of Series, name string, hours []*summarised) (all []*summarised) {
	old, _ := b.summaries.of(ctx, of, name) // what cannot be read is left out, and made again
	for _, s := range hours {
		m := b.minutes[s.at]
		if m == nil {
			if i := slices.IndexFunc(old, func(o *summarised) bool { return o.at == s.at && o.sum == s.sum }); i >= 0 {
				m = old[i]
			}
		}
		switch {
		case m != nil && !m.hour.Empty():
			all = append(all, m)
		case m == nil && !s.hour.Empty():
			delete(b.hours, s.at) // the month must not tell that the day has it
		}
	}
	return all
}

// sweep removes files that have no hours any more, and what killed processes have left behind.
func (b *book) sweep(ctx context.Context, of Series) error {
	days, months := b.files(dayForm), b.files(monthForm)
	for name, f := range b.names {
		if days[name] != nil || months[name] != nil {
			continue
		}
		if info, err := f.Info(); strings.HasSuffix(name, partEnd) && (err != nil || time.Since(info.ModTime()) < partAge) {
			continue // another process writes it
		}
		if err := b.summaries.dir.store.Remove(ctx, summaryPath(of, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// put writes a file of summaries in the place of one that may be there. Without hours it only
// removes that. If another process has just written it, it has written the same.
func (x *summaries) put(ctx context.Context, of Series, name string, hours []*summarised) error {
	at := summaryPath(of, name)
	if err := x.dir.store.Remove(ctx, at); err != nil && !errors.Is(err, fs.ErrNotExist) || len(hours) == 0 {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	err := x.dir.store.Create(ctx, at, func(w io.Writer) error {
		_, err := w.Write(encodeSummary(hours))
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
