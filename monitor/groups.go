package monitor

import (
	"context"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/framelog/framelog/monitor/lag"
	"github.com/framelog/framelog/schemas"
)

// lookBefore is how many records before a committed offset are read too: they tell whether
// the first ones behind it are void.
const lookBefore = 8

// readGroups reads the offsets of index topics that consumer groups have committed. What
// cannot be read stays as it was.
func (r *reader) readGroups(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*step)
	defer cancel()
	listed, err := r.admin.ListGroups(ctx)
	if err != nil {
		r.log.Debug("not all consumer groups can be listed", "err", err)
	} else {
		for name := range r.groups {
			if _, ok := listed[name]; !ok {
				delete(r.groups, name)
			}
		}
	}
	var names []string
	for name, g := range listed {
		if (g.ProtocolType == "consumer" || g.ProtocolType == "") && utf8.ValidString(name) { // a label must be UTF-8
			names = append(names, name)
		}
	}
	for name, got := range r.admin.FetchManyOffsets(ctx, names...) {
		if got.Err != nil {
			r.log.Debug("the offsets of a consumer group cannot be read", "group", name, "err", got.Err)
			continue
		}
		committed := map[schemas.Topic]int64{}
		for topic, parts := range got.Fetched {
			if t, index, ok := r.names.Parse(topic); ok && index && parts[0].Err == nil && parts[0].At >= 0 {
				committed[t] = parts[0].At
			}
		}
		if len(committed) == 0 {
			delete(r.groups, name)
		} else {
			r.groups[name] = committed
		}
	}
}

// search is a record, or the first fragment behind it, that is read for its own sake.
type search struct {
	t    *topic
	next int64
	// take takes a record, and reports whether the search has ended.
	take func(e schemas.Entry) bool
	done bool
}

// readPositions reads the entries at the offsets of groups, and what makes the renditions.
func (r *reader) readPositions(ctx context.Context) []lag.Group {
	r.search(ctx, append(r.positionSearches(), r.processorSearches()...))
	var groups []lag.Group
	for name, committed := range r.groups {
		for of, offset := range committed {
			t := r.topics[of]
			at, ok := t.at(offset)
			if !ok {
				continue
			}
			p, known := t.position(at)
			if !known {
				continue // it could not be read
			}
			groups = append(groups, lag.Group{Name: name, Topic: of, Records: t.end - offset, Expired: offset < t.start, At: p})
		}
	}
	return groups
}

// at returns the first offset of the index that counts for a committed one. ok is false if
// that is not known, or if the offset is of an earlier topic of this name.
func (t *topic) at(committed int64) (at int64, ok bool) {
	if t == nil || !t.read || committed > t.end {
		return 0, false
	}
	return max(committed, t.start), true
}

// position returns the first fragment at or behind an offset; nil: there is none.
func (t *topic) position(at int64) (p *lag.Position, known bool) {
	// Behind the last record that was read, a fragment may stand among those that were not.
	if p, known := t.index.At(at); known && (p != nil || t.index.Next() >= t.end) {
		return p, true
	}
	p, known = t.found[at]
	return p, known
}

// positionSearches returns searches for the offsets whose fragments are not known, and
// forgets those that no group is at any more.
func (r *reader) positionSearches() (all []*search) {
	used := map[*topic]map[int64]bool{}
	for _, committed := range r.groups {
		for of, offset := range committed {
			t := r.topics[of]
			at, ok := t.at(offset)
			if !ok || used[t][at] {
				continue
			}
			if used[t] == nil {
				used[t] = map[int64]bool{}
			}
			used[t][at] = true
			if _, known := t.position(at); known {
				continue
			}
			x := lag.NewIndex(max(t.start, at-lookBefore))
			all = append(all, &search{t: t, next: x.Next(), take: func(e schemas.Entry) bool {
				x.Take(e)
				p, _ := x.At(at)
				if p != nil {
					t.found[at] = p
				}
				return p != nil
			}})
		}
	}
	for _, t := range r.topics {
		for at := range t.found {
			if !used[t][at] {
				delete(t.found, at)
			}
		}
	}
	return all
}

// processorSearches returns searches for the `open`s that tell what makes the renditions.
func (r *reader) processorSearches() (all []*search) {
	for of, t := range r.topics {
		if of.IsRaw() || t.index == nil || t.index.Newest() == nil {
			continue
		}
		epoch := t.index.Newest().Epoch
		if o := t.index.Open(); o != nil && o.Offset == epoch {
			t.processor, t.processorOf = o.Processor, epoch
		}
		if t.processorOf == epoch || epoch < t.start {
			continue
		}
		all = append(all, &search{t: t, next: epoch, take: func(e schemas.Entry) bool {
			t.processor, t.processorOf = e.Processor, epoch
			return true
		}})
	}
	return all
}

// search reads what searches need. A request has one place of each topic, so several
// searches in one topic take several requests.
func (r *reader) search(ctx context.Context, all []*search) {
	for {
		all = slices.DeleteFunc(all, func(s *search) bool { return s.done || s.next >= s.t.end })
		of := map[*topic]*search{}
		want := map[*topic]int64{}
		for _, s := range all {
			of[s.t], want[s.t] = s, s.next
		}
		if len(want) == 0 {
			return
		}
		got := r.fetch(ctx, want, func(t *topic, e schemas.Entry, _ time.Time) {
			s := of[t]
			s.next = e.Offset + 1
			s.done = s.done || s.take(e)
		})
		if got == 0 {
			return
		}
	}
}
