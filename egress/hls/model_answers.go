package hls

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

// What follows answers requests from what the model holds, and changes nothing.

// listed is the entries of the playlist. Before the first entry they are gaps,
// which stand before the parts of the fragment that has begun, once it has
// lasted for leadAfter: hls.js takes no playlist without a segment, and begins
// with parts only where its first position lies among them.
func (m *model) listed() []schemas.Entry {
	if len(m.entries) > 0 {
		return m.entries
	}
	o := m.open()
	if o == nil || o.Seq < leadGaps || o.Layout.Part == 0 || openDuration(o) < max(leadAfter, holdParts*int64(o.Layout.Part)+1) {
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

// find gives a copy of the entry of a seq in the playlist, nil where it has none.
func (m *model) find(seq uint64) *schemas.Entry {
	entries := m.listed()
	if len(entries) == 0 || seq < entries[0].Seq || seq > entries[len(entries)-1].Seq {
		return nil
	}
	e := entries[seq-entries[0].Seq]
	return &e
}

// leadAfter is how long a topic's first fragment lasts before it is played by its
// parts. Nearly all are whole by then, and players that do not know parts begin
// better with a segment.
const leadAfter = 5 * schemas.MediaTimescale / 2

// leadGaps is how many gaps stand before a topic's first fragment, each as long
// as the shortest target duration: together as long as the longest fragment.
const leadGaps = 30

// gapParts is the parts of a gap, none of which is there.
func gapParts(gap *schemas.Entry) (parts []PartInfo) {
	step := int64(gap.Layout.Part) * 10 / 11 // schemas.PartTarget is 1.1 parts
	for at := int64(0); step > 0 && at < gap.Duration; at += step {
		parts = append(parts, PartInfo{Start: at, Duration: min(step, gap.Duration-at), Gap: true})
	}
	return parts
}

// playable says whether there is anything that a playlist can list.
func (m *model) playable() bool { return len(m.listed()) > 0 }

// endsInGap says whether the playlist ends in a gap: the first footage of a
// session that follows an absence comes right behind it.
func (m *model) endsInGap() bool {
	o, n := m.open(), m.newest()
	return n != nil && !n.Playable() && (o == nil || len(o.Parts) == 0)
}

// video is the codec of the newest fragment, "" where there is none.
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
	target, _ := promise(m.listed(), m.open())
	return time.Duration(target) * time.Second
}

// open is the fragment after the newest entry. What was listed of it stays so
// under a new writer too: its first entry is for this fragment, and mostly keeps
// what there is of it.
func (m *model) open() *Open {
	seq, ok := m.next()
	if !ok {
		return nil
	}
	f := m.fragment(seq)
	if f == nil {
		f = m.voided(seq)
	}
	if f == nil {
		return nil
	}
	return &Open{
		Seq: f.seq, Session: f.session, Epoch: f.epoch, Layout: f.layout, Config: f.config, OpenGOP: f.openGOP, Start: f.start, Media: f.media,
		Parts: f.detail.parts,
	}
}

// hint is the part that comes next: it is certain to come unless the writer
// ends or the fragment is cut off. There is none where the source has ended.
func (m *model) hint() *Hint {
	seq, ok := m.next()
	if !ok || m.epoch < 0 {
		return nil
	}
	if f := m.fragment(seq); f != nil {
		switch {
		case f.dropped || f.layout.Part == 0 || f.ended:
			return nil
		case f.last:
			return &Hint{Seq: f.seq + 1, Epoch: f.epoch}
		default:
			return &Hint{Seq: f.seq, Epoch: f.epoch, Index: uint32(len(f.detail.parts))}
		}
	}
	if n := m.newest(); n != nil && n.Kind == schemas.KindWhole && !n.Ended && n.Layout.Part != 0 && n.Epoch == m.epoch {
		return &Hint{Seq: seq, Epoch: m.epoch}
	}
	return nil
}

// playlist makes the playlist, nil where there is nothing to list.
func (m *model) playlist(rendition string, skip bool) []byte {
	entries := m.listed()
	if len(entries) == 0 {
		return nil
	}
	o := PlaylistOptions{Base: rendition + "/", Parts: map[uint64][]PartInfo{}, Skip: skip, Lead: len(m.entries) == 0, Open: m.open(), Hint: m.hint()}
	if len(m.entries) == 0 {
		// hls.js takes the parts of a fragment only where the first part of the
		// playlist lies before its last segment by more than that fragment has.
		o.Parts[entries[0].Seq] = gapParts(&entries[0])
		o.Skip = false // parts that were skipped and come back are new ones to hls.js
	}
	for i := range entries {
		e := &entries[i]
		if d, ok := m.details[e.Seq]; ok {
			o.Parts[e.Seq] = d.parts
			continue
		}
		// Without parts in the last gap of a run hls.js would take the first part
		// behind it for what follows the last one before it, and stand still.
		last := o.Open != nil && len(o.Open.Parts) > 0
		if i+1 < len(entries) {
			last = carried(&entries[i+1])
		}
		if last && !carried(e) && !o.Lead {
			o.Parts[e.Seq] = gapParts(e)
		}
	}
	return Playlist(entries, o)
}

// variant is the line of the multivariant playlist; ok is false while nothing
// can be played.
func (m *model) variant(rendition string) (v Variant, ok bool) {
	v.URI = rendition + ".m3u8"
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
	seq, ok := m.next()
	f := m.fragment(seq)
	if !ok || f == nil || len(f.detail.parts) == 0 || !m.playable() {
		return v, false
	}
	v.Tracks, v.FrameRate = f.tracks, rate(f.tracks, f.detail)
	// As if the fragment ended here.
	last := f.detail.parts[len(f.detail.parts)-1]
	v.Peak, v.Average = Bandwidth([]schemas.Entry{{
		Kind: schemas.KindWhole, Layout: f.layout, Bytes: f.data.Size(), Duration: last.Start + last.Duration,
	}})
	return v, true
}

// rate is frames a second, by the decoder configuration or else by the samples
// of a fragment; 0 where neither tells.
func rate(tracks []schemas.Track, d detail) float64 {
	if r := frameRate(tracks); r != 0 || d.frame == 0 {
		return r
	}
	return schemas.MediaTimescale / float64(d.frame)
}

// reached says whether the playlist holds part index `part` of segment msn, or
// all of it where part is -1, or anything later (RFC 8216bis section 6.2.5.2).
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
	o := m.open()
	return o != nil && part < len(o.Parts)
}

// premature says that what is asked for lies so far ahead that the answer is
// an error at once (RFC 8216bis section 6.2.5.2): a segment more than two
// beyond the last, or a part that is by the Advance Part Limit or more beyond
// the last part of the playlist. It is the parts of segments without an entry
// that can be counted so: what is beyond the last part of a complete one means
// the first part of the next. What a segment of the window has had is never too
// far: without low latency hls.js asks for the next segment by the highest
// index that it has seen.
func (m *model) premature(msn uint64, part int) bool {
	next, ok := m.next()
	switch {
	case !ok:
		return false
	case msn > next+1:
		return true
	case msn < next || part < 0:
		return false
	}
	last := -1
	o := m.open()
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
// parts of three seconds, and three where parts are a second or longer.
func advanceParts(partTicks uint32) int {
	if partTicks == 0 || partTicks >= schemas.MediaTimescale {
		return 3
	}
	return (3*schemas.MediaTimescale + int(partTicks) - 1) / int(partTicks)
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
