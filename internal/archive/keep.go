package archive

import (
	"cmp"
	"path"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// KeepConfig says what an archive keeps.
type KeepConfig struct {
	// Dir is the archive. It need not exist yet.
	Dir Dir
	// Limit is the most bytes of all files. 0: 80 % of what the archive has and what is free
	// on its file system, together.
	Limit int64
	// Reserve is how many bytes stay free on the file system. 0: none.
	Reserve int64
	// MaxAge is how long a file is kept, from when it was archived. 0: for ever.
	MaxAge time.Duration
	// Newest is how long the newest file of each series is kept, whatever else says: an archiver
	// that is started goes on behind it, and would archive again what Kafka still has. 0: no
	// longer than others.
	Newest time.Duration
	// Rules are about single cameras and renditions. The first one that fits counts.
	Rules []KeepRule
	// Delay is how long a deleted file is hidden before it is removed. No range has it any
	// more, but its segments are there for those whose playlist names them. Default 1 min.
	Delay time.Duration
	// Every is the time between two looks at the archive. It is longer where a look takes
	// longer than 1/200 of it. Default 1 min.
	Every time.Duration
}

// KeepRule says what is kept of some cameras and renditions.
type KeepRule struct {
	// Cameras and Renditions are patterns as path.Match has them. Default: all.
	Cameras, Renditions []string
	// MaxAge is in place of KeepConfig.MaxAge. 0: that one.
	MaxAge time.Duration
	// Limit is the most bytes of each camera and rendition that the rule fits. 0: none but
	// KeepConfig.Limit.
	Limit int64
}

// fits reports whether the rule is about a topic.
func (r *KeepRule) fits(t schemas.Topic) bool {
	return fits(r.Cameras, t.Camera) && fits(r.Renditions, t.Name())
}

func fits(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// rule returns what is kept of a topic.
func (c *KeepConfig) rule(t schemas.Topic) KeepRule {
	for _, r := range c.Rules {
		if r.fits(t) {
			return KeepRule{MaxAge: cmp.Or(r.MaxAge, c.MaxAge), Limit: r.Limit}
		}
	}
	return KeepRule{MaxAge: c.MaxAge}
}

// Reasons why files are deleted, which the metrics have.
const (
	reasonAge   = "age"   // MaxAge
	reasonLimit = "limit" // a limit of bytes
	reasonSpace = "space" // the reserve of free space
)

// stored is a file of an archive as retention sees it.
type stored struct {
	Kept
	hidden time.Time // when it was deleted; zero: readers list it
	newest bool      // readers list no later one of its series
	held   bool
	unsure bool // its times are not known, and its camera has a hold: it stays as it is
}

// deletion is a file that is deleted, and why.
type deletion struct {
	stored
	reason string
}

// decision is what retention does with an archive.
type decision struct {
	deleted []deletion // in this order: the oldest archived first
	// over is by how many bytes the limits are exceeded all the same, since all that is left
	// stays.
	over int64
}

// decide chooses what is deleted. files are in any order; hidden ones are deleted already.
// free is what is free on the file system. What is held or may be held stays, and the newest of each series for
// a while. Of the rest goes what is too old, then what is too much of one camera and rendition, then what is too much of all.
func (c *KeepConfig) decide(files []stored, now time.Time, free int64) decision {
	var d decision
	byTopic := map[schemas.Topic][]stored{}
	for _, f := range files {
		if !f.hidden.IsZero() {
			free += f.Size // it is removed soon
			continue
		}
		f.held = f.held || f.newest && now.Sub(f.Written) < c.Newest
		byTopic[f.Topic] = append(byTopic[f.Topic], f)
	}
	var left []stored
	for t, of := range byTopic {
		r := c.rule(t)
		if r.MaxAge > 0 {
			of = d.take(of, reasonAge, func(f *stored) bool { return now.Sub(f.Written) >= r.MaxAge })
		}
		if r.Limit > 0 {
			of = d.shrink(of, reasonLimit, size(of)-r.Limit)
		}
		left = append(left, of...)
	}
	for _, f := range d.deleted {
		free += f.Size
	}
	total := size(left)
	limit := c.Limit
	if limit == 0 {
		limit = (total + free) * 4 / 5
	}
	if excess, lack := total-limit, c.Reserve-free; excess >= lack {
		d.shrink(left, reasonLimit, excess)
	} else {
		d.shrink(left, reasonSpace, min(lack, total))
	}
	slices.SortFunc(d.deleted, func(a, b deletion) int { return oldest(a.stored, b.stored) })
	return d
}

// take deletes the files for which gone is true and that are not held. It returns the others.
func (d *decision) take(files []stored, reason string, gone func(*stored) bool) (left []stored) {
	for _, f := range files {
		if f.held || f.unsure || !gone(&f) {
			left = append(left, f)
			continue
		}
		d.deleted = append(d.deleted, deletion{f, reason})
	}
	return left
}

// shrink deletes the oldest files that are not held, until they have excess bytes. It returns
// the others.
func (d *decision) shrink(files []stored, reason string, excess int64) (left []stored) {
	if excess <= 0 {
		return files
	}
	slices.SortFunc(files, oldest)
	left = d.take(files, reason, func(f *stored) bool {
		if excess <= 0 {
			return false
		}
		excess -= f.Size
		return true
	})
	d.over += max(excess, 0)
	return left
}

// oldest is the order in which files are deleted.
func oldest(a, b stored) int {
	return cmp.Or(a.Written.Compare(b.Written), cmp.Compare(a.Topic.Camera, b.Topic.Camera), cmp.Compare(a.Topic.Name(), b.Topic.Name()),
		cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
}

func size(files []stored) (n int64) {
	for i := range files {
		n += files[i].Size
	}
	return n
}
