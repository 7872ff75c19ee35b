// Package lag computes how far everything is behind, from entries, offsets and statuses. It is
// pure: it reads no clock and no Kafka.
package lag

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// MaxRecent is how many of the newest fragments of a topic an Index keeps. Most groups are
// within them.
const MaxRecent = 64

// MaxLetters is how many dead letters of a topic an Index counts, the newest ones.
const MaxLetters = 1 << 16

// Position is the start of a fragment, or of a run of gaps.
type Position struct {
	Offset int64     // of its entry
	Media  int64     // media time, ticks of schemas.MediaTimescale
	Start  time.Time // public time
}

// Index is what is known of the index of one topic. It takes the records in the order of
// their offsets.
type Index struct {
	judge   schemas.Judge  // of the records from From on
	next    int64          // the records before it were taken
	open    *schemas.Entry // the newest `open`; nil: none was taken
	newest  *schemas.Entry // that takes a seq; nil: none was taken
	recent  []Position     // oldest first
	since   int64          // recent has all fragments from this offset on
	gaps    map[string]time.Duration
	letters []letter // oldest first
}

// letter is where the footage of a dead letter begins.
type letter struct {
	partition int32
	first     int64
}

// NewIndex makes an Index that has taken no record yet. Its first one is that at offset from.
func NewIndex(from int64) *Index {
	x := &Index{gaps: map[string]time.Duration{}}
	x.Skip(from)
	return x
}

// From is the offset from which on records were taken.
func (x *Index) From() int64 { return x.judge.Start() }

// Next is the offset of the next record to take.
func (x *Index) Next() int64 { return x.next }

// Newest is the newest entry that takes a seq; nil: there is none.
func (x *Index) Newest() *schemas.Entry { return x.newest }

// Open is the newest `open`; nil: there is none among the records that were taken.
func (x *Index) Open() *schemas.Entry { return x.open }

// Gaps is the footage that gaps stand for, by reason, since the start or ForgetGaps.
func (x *Index) Gaps() map[string]time.Duration { return x.gaps }

// ForgetGaps begins to count gaps at 0.
func (x *Index) ForgetGaps() { clear(x.gaps) }

// Skip goes on at an offset behind the next one: the records between are not known.
func (x *Index) Skip(to int64) {
	x.next, x.since, x.recent = to, to, nil
	x.judge = schemas.Judge{}
	x.judge.Skip(to)
}

// Take takes the next record. One that is no entry has no kind. A void entry changes nothing,
// nor does one that may be void, since its neighbours were not taken.
func (x *Index) Take(e schemas.Entry) {
	x.next = e.Offset + 1
	switch {
	case e.Kind == "" || x.judge.Feed(&e) != schemas.Valid:
	case e.Kind == schemas.KindOpen:
		x.open = &e
	case e.Footage() && (x.newest == nil || e.Seq > x.newest.LastSeq()):
		x.add(&e)
	}
}

func (x *Index) add(e *schemas.Entry) {
	x.newest = e
	x.recent = append(x.recent, Position{Offset: e.Offset, Media: e.Media, Start: e.Start})
	if n := len(x.recent) - MaxRecent; n > 0 {
		x.since = x.recent[n-1].Offset + 1
		x.recent = slices.Delete(x.recent, 0, n)
	}
	switch {
	case e.Kind == schemas.KindGap:
		x.gaps[strings.ToValidUTF8(e.Reason, "?")] += schemas.FromTicks(e.Duration)
	case e.Role == schemas.RoleDeadLetter:
		x.letters = append(x.letters, letter{e.Partition, e.First})
		x.letters = slices.Delete(x.letters, 0, max(0, len(x.letters)-MaxLetters))
	}
}

// At returns the first fragment at or behind an offset; nil: there is none. known is false if
// it may stand among records that were not taken, or is not kept any more.
func (x *Index) At(offset int64) (p *Position, known bool) {
	if offset < x.since {
		return nil, false
	}
	i, _ := slices.BinarySearchFunc(x.recent, offset, func(p Position, offset int64) int { return cmp.Compare(p.Offset, offset) })
	if i == len(x.recent) {
		return nil, true
	}
	at := x.recent[i]
	return &at, true
}

// Letters is how many dead letters have their footage in the log. starts is the first offset
// of each partition of the media.
func (x *Index) Letters(starts []int64) int {
	x.letters = slices.DeleteFunc(x.letters, func(l letter) bool {
		return int(l.partition) < len(starts) && l.first < starts[l.partition]
	})
	return len(x.letters)
}
