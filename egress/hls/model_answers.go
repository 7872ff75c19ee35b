package hls

import (
	"slices"
	"strconv"

	"github.com/framelog/framelog/schemas"
)

// What follows answers requests from what the model holds, and changes nothing.

// layout is the entries of one layout, and whether the camera has gone on to
// another.
func (m *model) layout(id uint32) (entries []schemas.Entry, ended bool) {
	from := slices.IndexFunc(m.entries, func(e schemas.Entry) bool { return e.Layout.ID == id })
	if from < 0 {
		return nil, false
	}
	to := from
	for to < len(m.entries) && m.entries[to].Layout.ID == id {
		to++
	}
	return m.entries[from:to], to < len(m.entries)
}

// open is the fragment after the newest entry where a playlist of that entry's
// layout may list parts of it. What was listed stays so under a new writer too:
// its first entry is for this fragment, and mostly keeps what there is of it.
func (m *model) open() *Open {
	n := m.newest()
	if n == nil {
		return nil
	}
	f := m.fragment(n.Seq + 1)
	if f == nil {
		f = m.voided(n.Seq + 1)
	}
	if f == nil || f.layout != n.Layout {
		return nil
	}
	return &Open{
		Seq: f.seq, Session: f.session, Epoch: f.epoch, Config: f.config, Start: f.start,
		Parts: Listable(f.layout, f.detail.parts),
	}
}

// hint is the part that comes next in the newest layout: it is certain to come
// unless the writer ends or the fragment is cut off.
func (m *model) hint() *Hint {
	n := m.newest()
	if n == nil || n.Layout.Part == 0 || m.epoch < 0 {
		return nil
	}
	if f := m.fragment(n.Seq + 1); f != nil {
		switch {
		case f.dropped || f.layout != n.Layout || len(Listable(f.layout, f.detail.parts)) < len(f.detail.parts):
			return nil
		case f.last:
			return &Hint{Seq: f.seq + 1, Epoch: f.epoch}
		case f.full():
			return nil
		default:
			return &Hint{Seq: f.seq, Epoch: f.epoch, Index: uint32(len(f.detail.parts))}
		}
	}
	if n.Playable() && n.Epoch == m.epoch {
		return &Hint{Seq: n.Seq + 1, Epoch: m.epoch}
	}
	return nil
}

// full says that another part of the usual length would make the fragment too
// long for its layout: it could not be listed, so it is not promised.
func (f *fragment) full() bool {
	n := len(f.detail.parts)
	if n == 0 {
		return false
	}
	end := f.detail.parts[n-1].Start + f.detail.parts[n-1].Duration
	return f.layout.Fit(end+int64(f.layout.Part)*10/11) != f.layout
}

// playlist makes the playlist of a layout, nil where there is none.
func (m *model) playlist(id uint32, skip bool) []byte {
	entries, ended := m.layout(id)
	if len(entries) == 0 {
		return nil
	}
	o := PlaylistOptions{Parts: map[uint64][]PartInfo{}, Ended: ended, Skip: skip}
	if entries[0].Layout.Part != 0 {
		for i := range entries {
			if d, ok := m.details[entries[i].Seq]; ok {
				o.Parts[entries[i].Seq] = d.parts
			}
		}
	}
	if !ended {
		o.Open, o.Hint = m.open(), m.hint()
	}
	return Playlist(entries, o)
}

// variant is the line of the multivariant playlist; ok is false while nothing
// can be played.
func (m *model) variant(rendition string) (v Variant, ok bool) {
	n := m.newest()
	if n == nil {
		return v, false
	}
	entries, _ := m.layout(n.Layout.ID)
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		if !e.Playable() {
			continue
		}
		if v.Tracks, ok = m.tracks[e.Config]; !ok {
			return v, false
		}
		if v.FrameRate = frameRate(v.Tracks); v.FrameRate == 0 && m.details[e.Seq].frame > 0 {
			v.FrameRate = schemas.MediaTimescale / float64(m.details[e.Seq].frame)
		}
		v.Peak, v.Average = Bandwidth(entries)
		v.URI = rendition + "/" + strconv.FormatUint(uint64(n.Layout.ID), 10) + ".m3u8"
		return v, true
	}
	return v, false
}

// reached says whether the playlist of the newest layout holds part index
// `part` of segment msn, or all of it where part is -1, or anything later (RFC
// 8216bis section 6.2.5.2).
func (m *model) reached(msn uint64, part int) bool {
	n := m.newest()
	switch {
	case n == nil:
		return false
	case n.Seq > msn:
		return true
	case n.Seq == msn:
		if part < 0 || part < len(m.details[n.Seq].parts) {
			return true
		}
		msn, part = msn+1, 0 // beyond the last part: the next segment's first
	}
	if part < 0 || msn != n.Seq+1 {
		return false
	}
	o := m.open()
	return o != nil && part < len(o.Parts)
}

// premature says that what is asked for lies so far ahead that the answer is
// an error at once (RFC 8216bis section 6.2.5.2): a segment more than two
// beyond the last, or a part that is by the Advance Part Limit or more beyond
// the last part of the playlist of the newest layout. It is the
// parts of segments without an entry that can be counted so: what is beyond
// the last part of a complete one means the first part of the next.
func (m *model) premature(msn uint64, part int) bool {
	n := m.newest()
	switch {
	case n == nil:
		return false
	case msn > n.Seq+2:
		return true
	case msn <= n.Seq || part < 0:
		return false
	}
	last := -1
	if o := m.open(); o != nil && o.Seq == msn {
		last = len(o.Parts) - 1
	}
	return part-last >= advanceParts(n.Layout)
}

// advanceParts is the Advance Part Limit of RFC 8216bis section 6.2.5.2: the
// parts of three seconds, and three where parts are a second or longer.
func advanceParts(l schemas.Layout) int {
	if l.Part == 0 || l.Part >= schemas.MediaTimescale {
		return 3
	}
	return (3*schemas.MediaTimescale + int(l.Part) - 1) / int(l.Part)
}

// partsAhead is how far beyond the hint a part may be to be waited for: who
// asks may have its hint from a server that is a little ahead.
const partsAhead = 2

// part finds a part's bytes among the fragments that have no entry; coming
// says that it may still come.
func (m *model) part(seq uint64, epoch int64, index uint32) (data []byte, coming bool) {
	if f := m.copyOf(seq, epoch); f != nil && int(index) < len(f.data) {
		return f.data[index], false
	}
	h := m.hint()
	if h == nil || epoch != h.Epoch {
		return nil, false
	}
	return nil, seq == h.Seq && index >= h.Index && index <= h.Index+partsAhead || seq == h.Seq+1 && index == 0 && h.Index > 0
}
