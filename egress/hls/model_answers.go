package hls

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

// The methods of this file answer requests. None of them changes the model.

// listed returns the entries of the playlist. A topic without an entry has none
// until its first fragment has lasted for leadAfter; then they are gaps before the
// parts of that fragment. hls.js accepts no playlist without a segment, and begins
// with parts only if its first position is among them.
func (m *model) listed() []schemas.Entry {
	if len(m.entries) > 0 {
		return m.entries
	}
	o := m.unfinished()
	if o == nil || o.Seq < leadGaps || partTicks(o.Layout) == 0 || unfinishedDuration(o) < max(leadAfter, holdParts*int64(o.Layout.Part)+1) {
		return nil
	}
	d := int64(schemas.TargetLadder[0]) * schemas.MediaTimescale
	gaps := make([]schemas.Entry, leadGaps)
	for i := range gaps {
		gaps[i] = schemas.Entry{
			Kind: schemas.KindGap, Seq: o.Seq - leadGaps + uint64(i), Session: o.Session, Layout: o.Layout,
			Media: o.Media - int64(leadGaps-i)*d,
			Start: o.Start.Add(-schemas.FromTicks(int64(leadGaps-i) * d)), Duration: d,
		}
	}
	return gaps
}

// find returns a copy of the entry of a seq in the playlist, nil if there is
// none.
func (m *model) find(seq uint64) *schemas.Entry {
	entries := m.listed()
	if len(entries) == 0 || seq < entries[0].Seq || seq > entries[len(entries)-1].Seq {
		return nil
	}
	e := entries[seq-entries[0].Seq]
	return &e
}

// leadAfter is how long a topic's first fragment lasts before its parts are
// listed. Nearly all fragments are complete by then, and players that do not know
// parts begin better with a segment.
const leadAfter = 5 * schemas.MediaTimescale / 2

// leadGaps is the number of gaps before a topic's first fragment. Each is as long
// as the shortest target duration, all together as long as the longest fragment.
const leadGaps = 30

// gapParts returns the parts of a gap. They are listed, but none of them
// exists.
func gapParts(gap *schemas.Entry) (parts []PartInfo) {
	step := int64(partTicks(gap.Layout)) * 10 / 11 // schemas.PartTarget is 1.1 parts
	for at := int64(0); step > 0 && at < gap.Duration; at += step {
		parts = append(parts, PartInfo{Start: at, Duration: min(step, gap.Duration-at), Gap: true})
	}
	return parts
}

// playable reports whether a playlist has anything to list.
func (m *model) playable() bool { return len(m.listed()) > 0 }

// endsInGap reports whether the playlist ends in a gap. The first footage after an
// absence comes right behind it.
func (m *model) endsInGap() bool {
	o, n := m.unfinished(), m.newest()
	return n != nil && !n.Playable() && (o == nil || len(o.Parts) == 0)
}

// video returns the codec of the newest fragment, "" if there is none.
func (m *model) video() schemas.Codec {
	if len(m.pending) > 0 {
		return m.pending[len(m.pending)-1].layout.Video
	}
	if n := m.newest(); n != nil {
		return n.Layout.Video
	}
	return ""
}

// target is the playlist's target duration.
func (m *model) target() time.Duration {
	target, _ := promise(m.listed(), m.unfinished())
	return time.Duration(target) * time.Second
}

// unfinished returns the fragment after the newest entry, nil if there is none: the copy
// whose parts are listed, else the latest writer's, without parts.
func (m *model) unfinished() *Unfinished {
	seq, ok := m.next()
	if !ok {
		return nil
	}
	f := m.shown
	if f == nil {
		f = m.fragment(seq)
	}
	if f == nil {
		return nil
	}
	u := &Unfinished{
		Seq: f.seq, Session: f.session, Epoch: f.epoch, Layout: f.layout, Config: f.config, OpenGOP: f.openGOP, Start: f.start, Media: f.media,
	}
	if f == m.shown {
		u.Parts = f.detail.parts
	}
	return u
}

// hint returns the first part that is not listed yet, nil if there is none. Nothing is
// promised behind the parts of an earlier writer.
func (m *model) hint() *Hint {
	if m.shown != nil && m.void(m.shown) {
		return nil
	}
	h := m.coming()
	if h != nil && m.shown == nil {
		h.Index = 0
	}
	return h
}

// coming returns the latest writer's next part of the next seq. It comes unless the writer
// ends or the fragment is truncated. coming returns nil if the source has ended.
func (m *model) coming() *Hint {
	seq, ok := m.next()
	if !ok || m.epoch < 0 {
		return nil
	}
	if f := m.fragment(seq); f != nil {
		switch {
		case f.dropped || partTicks(f.layout) == 0 || f.ended:
			return nil
		case f.last:
			return &Hint{Seq: f.seq + 1, Epoch: f.epoch}
		default:
			return &Hint{Seq: f.seq, Epoch: f.epoch, Index: uint32(len(f.detail.parts))}
		}
	}
	if n := m.newest(); n != nil && n.Kind == schemas.KindWhole && !n.Ended && partTicks(n.Layout) != 0 && n.Epoch == m.epoch {
		return &Hint{Seq: seq, Epoch: m.epoch}
	}
	return nil
}

// playlist makes the playlist, nil if there is nothing to list.
func (m *model) playlist(rendition string, skip bool, reports []Report) []byte {
	return Playlist(m.listing(rendition, skip, reports))
}

// listing returns what the playlist is made of. One without parts has no reports. The model does
// not change what it has returned, but for the array of the entries.
func (m *model) listing(rendition string, skip bool, reports []Report) ([]schemas.Entry, PlaylistOptions) {
	entries := m.listed()
	o := PlaylistOptions{Base: rendition + "/", Parts: map[uint64][]PartInfo{}, Skip: skip, Lead: len(m.entries) == 0, Unfinished: m.unfinished(), Hint: m.hint()}
	if len(entries) == 0 {
		return nil, o
	}
	if _, part := promise(entries, o.Unfinished); part != 0 {
		o.Reports = reports
	}
	if len(m.entries) == 0 {
		// hls.js takes the parts of a fragment only where the first part of the
		// playlist lies before its last segment by more than that fragment has.
		o.Parts[entries[0].Seq] = gapParts(&entries[0])
		o.Skip = false // hls.js takes parts for new ones if they were skipped before
	}
	for i := range entries {
		e := &entries[i]
		if d, ok := m.details[e.Seq]; ok {
			o.Parts[e.Seq] = d.parts
			continue
		}
		// Without parts in the last gap of a run, hls.js takes the first part behind
		// the gaps for the one that follows the last part before them, and stops.
		last := o.Unfinished != nil && len(o.Unfinished.Parts) > 0
		if i+1 < len(entries) {
			last = carried(&entries[i+1])
		}
		if last && !carried(e) && !o.Lead {
			o.Parts[e.Seq] = gapParts(e)
		}
	}
	return entries, o
}

// variant is the line of the multivariant playlist, without its URI; ok is false while
// nothing can be played.
func (m *model) variant() (v Variant, ok bool) {
	for i := len(m.entries) - 1; i >= 0; i-- {
		e := &m.entries[i]
		if !carried(e) {
			continue
		}
		if v.Tracks, ok = m.tracks[e.Config]; !ok {
			return v, false
		}
		v.FrameRate = rate(v.Tracks, m.details[e.Seq])
		v.Peak, v.Average = Bandwidth(m.entries)
		return v, true
	}
	f := m.shown
	if f == nil || !m.playable() {
		return v, false
	}
	v.Tracks, v.FrameRate = f.tracks, rate(f.tracks, f.detail)
	// The same as if the fragment ended here.
	last := f.detail.parts[len(f.detail.parts)-1]
	v.Peak, v.Average = Bandwidth([]schemas.Entry{{
		Kind: schemas.KindWhole, Layout: f.layout, Bytes: f.data.Size(), Duration: last.Start + last.Duration,
	}})
	return v, true
}

// edge returns the media time up to which the playlist lists footage, 0 if it lists none.
func (m *model) edge() int64 {
	o, n := m.unfinished(), m.newest()
	switch {
	case o != nil && len(o.Parts) > 0:
		return o.Media + unfinishedDuration(o)
	case n != nil:
		return n.MediaEnd()
	default:
		return 0
	}
}

// last returns the newest segment of the playlist and the index of its last part, -1 if
// it is listed without parts; ok is false while nothing is listed.
func (m *model) last() (seq uint64, part int, ok bool) {
	o, n := m.unfinished(), m.newest()
	switch {
	case !m.playable():
		return 0, 0, false
	case o != nil && len(o.Parts) > 0:
		return o.Seq, len(o.Parts) - 1, true
	default:
		return n.Seq, len(m.details[n.Seq].parts) - 1, true
	}
}

// rate returns the frames per second of the decoder configuration, else of the
// samples of a fragment, else 0.
func rate(tracks []schemas.Track, d detail) float64 {
	if r := frameRate(tracks); r != 0 || d.frame == 0 {
		return r
	}
	return schemas.MediaTimescale / float64(d.frame)
}

// reached reports whether the playlist holds part number part of segment msn, or
// the complete segment msn if part is -1, or anything later (RFC 8216bis section
// 6.2.5.2).
func (m *model) reached(msn uint64, part int) bool {
	next, ok := m.next()
	switch {
	case !ok:
		return false
	case msn+1 < next:
		return true
	case msn+1 == next:
		if part < 0 || part < len(m.details[msn].parts) {
			return true
		}
		msn, part = next, 0 // beyond the last part: the next segment's first
	}
	if part < 0 || msn != next {
		return false
	}
	o := m.unfinished()
	return o != nil && part < len(o.Parts)
}

// tooFarAhead reports whether a request is refused at once (RFC 8216bis section
// 6.2.5.2): for a segment more than two beyond the last one, or for a part that is
// the Advance Part Limit or more beyond the last part of the playlist. Only parts
// of the unfinished fragment count so: a part beyond the last one of a complete
// segment means the first part of the next segment. A part number that a segment
// of the window has is never too far: without low latency hls.js asks for the next
// segment with the highest part number that it has seen.
func (m *model) tooFarAhead(msn uint64, part int) bool {
	next, ok := m.next()
	next = max(next, m.from) // what lies in a hole does not come
	switch {
	case !ok:
		return false
	case msn > next+1:
		return true
	case msn < next || part < 0:
		return false
	}
	last := -1
	o := m.unfinished()
	if o != nil && o.Seq == msn {
		last = len(o.Parts) - 1
	}
	for _, d := range m.details {
		if part < len(d.parts) {
			return false
		}
	}
	_, partTicks := promise(m.listed(), o)
	return part-last >= advanceParts(partTicks)
}

// advanceParts is the Advance Part Limit of RFC 8216bis section 6.2.5.2: the
// parts of three seconds, or three if parts are a second or longer.
func advanceParts(partTicks uint32) int {
	if partTicks == 0 || partTicks >= schemas.MediaTimescale {
		return 3
	}
	return (3*schemas.MediaTimescale + int(partTicks) - 1) / int(partTicks)
}

// partsAhead is how many parts beyond the hint are waited for: the client may have
// its hint from a server that is a little ahead.
const partsAhead = 2

// part returns the bytes of a part of a fragment without an entry. If the part
// is not here, coming reports whether it may still come.
func (m *model) part(seq uint64, epoch int64, index uint32) (data []byte, coming bool) {
	if f := m.copyOf(seq, epoch); f != nil && int(index) < len(f.data) {
		return f.data[index], false
	}
	h := m.coming()
	if h == nil || epoch != h.Epoch {
		return nil, false
	}
	return nil, seq == h.Seq && index >= h.Index && index <= h.Index+partsAhead || seq == h.Seq+1 && index == 0 && h.Index > 0
}
