package hls

import (
	"slices"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// minSegments is the least number of segments in a window, if the log has them.
// maxPending is the largest number of fragments that wait for their entry: a
// writer has 64 of them at most.
const (
	minSegments = 6
	maxPending  = 128
)

// model holds the data of one topic for a live playlist: the entries of the
// window, the parts of the newest ones, and the fragments that have no entry yet.
// It is plain data: it has no clock and no lock, and depends on the log alone.
// model_answers.go has its answers to requests.
type model struct {
	window      time.Duration
	provisional int64 // the most bytes of parts that have no entry yet

	entries []schemas.Entry // dense, oldest first
	details map[uint64]detail
	tracks  map[string][]schemas.Track // by configuration hash
	pending []*fragment                // of seqs above the newest entry, in order
	bytes   int64                      // of pending parts
	epoch   int64                      // of the latest writer; -1 before any
	from    uint64                     // the newest From of an `open`: seqs below it that have no entry never get one

	// shown is the copy of the next seq whose parts the playlist lists. It stays listed
	// until the entry of that seq comes, also if a new writer begins the seq again.
	shown *fragment
}

// fragment is a fragment that has no entry yet.
type fragment struct {
	seq, session uint64
	epoch        int64
	layout       schemas.Layout
	config       string
	openGOP      bool
	tracks       []schemas.Track
	start        time.Time
	media        int64 // of its first sample
	detail       detail
	data         cmaf.Blocks // its parts
	last         bool
	ended        bool // the source ended with its last chunk
	dropped      bool // over the limit: it gets no more parts, and keeps those that it has only if they are listed
}

func newModel(window time.Duration, provisional int64) *model {
	return &model{
		window: window, provisional: provisional, epoch: -1,
		details: map[uint64]detail{}, tracks: map[string][]schemas.Track{},
	}
}

// next returns the seq of the fragment after the newest entry. Before the first
// entry it is the one whose parts are listed, else the lowest seq of the latest writer,
// else of an earlier one. ok is false if there is none.
func (m *model) next() (seq uint64, ok bool) {
	if n := m.newest(); n != nil {
		return n.Seq + 1, true
	}
	if m.shown != nil {
		return m.shown.seq, true
	}
	for _, f := range m.pending {
		if !m.void(f) {
			return f.seq, true
		}
	}
	if len(m.pending) > 0 {
		return m.pending[0].seq, true
	}
	return 0, false
}

// newest returns the last entry, nil before the first one.
func (m *model) newest() *schemas.Entry {
	if len(m.entries) == 0 {
		return nil
	}
	return &m.entries[len(m.entries)-1]
}

// open takes the `open` of a new writer. If it declares a hole, the playlist keeps what it
// lists until the first entry behind the hole comes. If there is no entry yet, the
// fragments in the hole are forgotten at once.
func (m *model) open(e *schemas.Entry) {
	m.newEpoch(e.Offset)
	if e.From == 0 {
		return
	}
	m.from = e.From
	if m.newest() == nil {
		m.forget(func(f *fragment) bool { return f.seq < e.From })
	}
}

// newEpoch takes the epoch of a new writer.
func (m *model) newEpoch(epoch int64) { m.epoch = max(m.epoch, epoch) }

// void reports whether an earlier writer than the latest left the fragment without an
// entry: no further part of it is promised. Its bytes stay until the entry comes, for
// clients that have seen its parts listed.
func (m *model) void(f *fragment) bool { return f.epoch < m.epoch }

func (m *model) forget(which func(f *fragment) bool) {
	m.pending = slices.DeleteFunc(m.pending, func(f *fragment) bool {
		if !which(f) {
			return false
		}
		m.release(f)
		if m.shown == f {
			m.shown = nil
		}
		return true
	})
}

func (m *model) release(f *fragment) {
	m.bytes -= f.data.Size()
	f.data = nil
}

// chunk takes a provisional chunk. It reports whether a part was added, and whether
// the parts of a fragment were dropped, at the limit or for an error.
func (m *model) chunk(c *schemas.Chunk) (added, dropped bool, err error) {
	if n := m.newest(); n != nil && c.Seq <= n.Seq {
		return false, false, nil
	}
	m.newEpoch(c.Epoch)
	if c.Epoch < m.epoch {
		return false, false, nil
	}
	f := m.fragment(c.Seq)
	if f != nil && c.Index < uint32(len(f.detail.parts)) {
		return false, false, nil // a new tail delivers it again
	}
	if f == nil {
		if c.Index != 0 || len(c.Tracks) == 0 {
			return false, false, nil
		}
		if len(m.pending) >= maxPending {
			return false, true, nil
		}
		f = &fragment{
			seq: c.Seq, session: c.Session, epoch: c.Epoch, layout: c.Layout,
			config: schemas.ConfigHash(c.Tracks), openGOP: c.OpenGOP, tracks: c.Tracks, start: c.Start, media: c.MediaStart(),
		}
		i, _ := slices.BinarySearchFunc(m.pending, c.Seq, func(f *fragment, seq uint64) int {
			return int(int64(f.seq - seq))
		})
		m.pending = slices.Insert(m.pending, i, f)
	}
	if f.dropped || c.Index != uint32(len(f.detail.parts)) || partTicks(c.Layout) == 0 {
		return false, false, nil
	}
	part, err := cmaf.Chunk(f.tracks, c)
	if err != nil || m.bytes+int64(len(part)) > m.provisional {
		f.dropped = true
		if f != m.shown {
			m.release(f)
			f.detail.parts = nil
		}
		return false, true, err
	}
	f.data = append(f.data, part)
	f.detail.add(c, f.media)
	f.last, f.ended = c.Last, c.Last && c.Ended
	m.bytes += int64(len(part))
	m.tracks[f.config] = f.tracks
	m.show()
	return true, false, nil
}

// show begins to list the parts of the next seq, if none are listed: those of the latest
// writer's copy.
func (m *model) show() {
	if m.shown != nil {
		return
	}
	seq, ok := m.next()
	if f := m.fragment(seq); ok && f != nil && m.presentable(f) {
		m.shown = f
	}
}

// presentable reports whether the parts of a fragment can be listed. Behind a change of
// the initialization segment the first part is listed together with the second. video.js
// appends an initialization segment again with each part, until it takes two parts from
// one playlist. Each time the browser drops all pictures up to the next keyframe.
func (m *model) presentable(f *fragment) bool {
	n := len(f.detail.parts)
	return n > 1 || n == 1 && (f.last || f.config == m.config())
}

// config is the decoder configuration of the newest entry with footage, "" if there is
// none.
func (m *model) config() string {
	for i := len(m.entries) - 1; i >= 0; i-- {
		if carried(&m.entries[i]) {
			return m.entries[i].Config
		}
	}
	return ""
}

// fragment returns the latest writer's copy of a fragment, nil if there is none.
func (m *model) fragment(seq uint64) *fragment { return m.copyOf(seq, m.epoch) }

// copyOf returns the copy of a fragment from the writer with this epoch, void or
// not; nil if there is none.
func (m *model) copyOf(seq uint64, epoch int64) *fragment {
	for _, f := range m.pending {
		if f.seq == seq && f.epoch == epoch {
			return f
		}
	}
	return nil
}

// confirms returns the segment that e names if its parts are in memory, else
// nil.
func (m *model) confirms(e *schemas.Entry) *segment {
	f := m.copyOf(e.Seq, e.Epoch)
	if !e.Playable() || f == nil || f.dropped || e.Chunks == 0 || len(f.data) < int(e.Chunks) {
		return nil
	}
	d := f.detail
	d.parts = d.parts[:e.Chunks:e.Chunks]
	return &segment{parts: f.data[:e.Chunks:e.Chunks], detail: d, tracks: f.tracks}
}

// entry takes the next entry. s is its segment, nil if that is not known. If parts of
// another copy of the seq are listed, or more parts than the entry names, the segment is
// listed without parts: hls.js identifies a part by seq and index, and would not load the
// right ones.
func (m *model) entry(e schemas.Entry, s *segment) {
	n := m.newest()
	if n != nil && e.Seq == n.Seq {
		return
	}
	if n != nil && e.Seq != n.Seq+1 {
		// There is a hole before this entry, or entries have expired while the tail was
		// away: the playlist begins with this entry.
		m.entries, m.details = nil, map[uint64]detail{}
		if e.Seq < n.Seq { // the index began again
			m.epoch, m.from = -1, 0
			m.forget(func(*fragment) bool { return true })
		}
		n = nil
	}
	listed := m.shown
	if e.Layout == (schemas.Layout{}) && n != nil {
		e.Layout = n.Layout
	}
	if e.Playable() {
		m.newEpoch(e.Epoch)
	}
	m.forget(func(f *fragment) bool { return f.seq <= e.Seq })
	m.entries = append(m.entries, e)
	if s != nil {
		m.loaded(e, s)
	}
	if listed != nil && listed.seq == e.Seq && e.Playable() && (listed.epoch != e.Epoch || len(listed.detail.parts) > int(e.Chunks)) {
		m.details[e.Seq] = detail{frame: m.details[e.Seq].frame}
	}
	m.trim()
	m.show()
}

// loaded adds the parts and tracks of an entry's segment.
func (m *model) loaded(e schemas.Entry, s *segment) {
	if len(m.entries) == 0 || e.Seq < m.entries[0].Seq {
		return
	}
	d := s.detail
	if partTicks(e.Layout) == 0 {
		d.parts = nil
	}
	m.details[e.Seq] = d
	m.tracks[e.Config] = s.tracks
}

// prepend adds entries before the oldest one, as far as their seqs join it.
func (m *model) prepend(older []schemas.Entry) {
	for i := len(older) - 1; i >= 0 && len(m.entries) > 0 && older[i].Seq+1 == m.entries[0].Seq; i-- {
		m.entries = slices.Insert(m.entries, 0, older[i])
	}
	m.trim()
}

// keep returns the number of the newest entries in the window. covered is false
// if the window is longer than all entries.
func (m *model) keep() (n int, covered bool) {
	if len(m.entries) == 0 {
		return 0, true
	}
	want := max(schemas.Ticks(m.window), holdTargets*int64(m.newest().Layout.Target)*schemas.MediaTimescale)
	var sum int64
	for i := len(m.entries) - 1; i >= 0; i-- {
		n++
		sum += m.entries[i].Duration
		if sum >= want && n >= minSegments {
			return n, true
		}
	}
	return n, false
}

// trim removes entries that have left the window.
func (m *model) trim() {
	n, _ := m.keep()
	if n == len(m.entries) {
		return
	}
	m.entries = slices.Clone(m.entries[len(m.entries)-n:])
	first := m.entries[0].Seq
	for seq := range m.details {
		if seq < first {
			delete(m.details, seq)
		}
	}
	used := map[string]bool{}
	for i := range m.entries {
		used[m.entries[i].Config] = true
	}
	for _, f := range m.pending {
		used[f.config] = true
	}
	for config := range m.tracks {
		if !used[config] {
			delete(m.tracks, config)
		}
	}
}

// missing returns the entries whose parts a playlist may list but are not known,
// and the newest entry with footage if its tracks are not known.
func (m *model) missing() []schemas.Entry {
	var all []schemas.Entry
	var sum int64
	found := false
	for i := len(m.entries) - 1; i >= 0; i-- {
		e := m.entries[i]
		if carried(&e) {
			sum += e.Duration
		}
		near := sum <= holdTargets*int64(e.Layout.Target)*schemas.MediaTimescale
		if found && !near {
			break
		}
		if !carried(&e) {
			continue
		}
		if _, known := m.details[e.Seq]; !known && (near && partTicks(e.Layout) != 0 || !found) {
			all = append(all, e)
		}
		found = true
	}
	slices.Reverse(all)
	return all
}
