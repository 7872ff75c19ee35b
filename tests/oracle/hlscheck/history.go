package hlscheck

import (
	"time"
)

// history is what is known of one media playlist over its life. It takes the
// playlist's states in the order in which a client saw them.
type history struct {
	strict bool
	last   *Media
	// what is known of each segment and of each part, for good
	segments map[uint64]Segment
	open     map[uint64]uint64 // discontinuity sequence number of segments whose first parts were listed
	uris     map[string]uint64
	parts    map[partID]Part
	hint     string // what the last state hinted at
	hintAt   partID
	// withdrawn tells that a later state does not hint at it, and has no new part.
	withdrawn bool

	hints, hintsTrue int
}

type partID struct {
	seq   uint64
	index int
}

func newHistory(strict bool) *history {
	return &history{strict: strict, segments: map[uint64]Segment{}, open: map[uint64]uint64{}, uris: map[string]uint64{}, parts: map[partID]Part{}}
}

// take checks the next state of the playlist. delta tells that it came as a delta
// update, which was applied: what is wrong then is wrong in the update.
func (h *history) take(m *Media, delta bool, bad report) {
	m.Check(h.strict, bad)
	if delta {
		inner := bad
		bad = func(r Rule, format string, args ...any) { inner(Delta, string(r)+": "+format, args...) }
	}
	if h.last != nil {
		h.compare(h.last, m, bad)
	}
	moved := false
	for i := range m.Segments {
		if !moved {
			moved = !h.segment(m, i, bad)
		}
		if !moved {
			h.takeParts(&m.Segments[i], true, bad)
			h.opened(&m.Segments[i], bad)
		}
	}
	if !moved {
		h.takeParts(&m.Open, false, bad)
		h.opened(&m.Open, bad)
		h.hinted(m, bad)
	}
	h.last = m
}

// footageLeft reports whether more than gaps have left the window. Gaps before a
// camera's first fragment leave it all at once.
func footageLeft(was, is *Media) bool {
	for _, s := range was.Segments {
		if s.Seq < is.Sequence && !s.Gap {
			return true
		}
	}
	return was.Skipped > 0
}

// changes reports whether the window holds more than one session or configuration.
func changes(m *Media) bool {
	for _, s := range m.Segments {
		if first := m.Segments[0]; s.DiscSeq != first.DiscSeq || s.Map != first.Map {
			return true
		}
	}
	return false
}

func (h *history) compare(was, is *Media, bad report) {
	// RFC 8216bis wants both unchanged. Framelog has one playlist for a camera's
	// life, whose fragments may become longer: players accept that, and none
	// accepts an end of the playlist.
	if is.Target < was.Target {
		bad(Constant, "EXT-X-TARGETDURATION fell from %v to %v", was.Target, is.Target)
	}
	if was.PartTarget != is.PartTarget && !changes(was) && !changes(is) {
		bad(Constant, "PART-TARGET was %v, is %v", was.PartTarget, is.PartTarget)
	}
	if was.Type != is.Type {
		bad(Constant, "EXT-X-PLAYLIST-TYPE was %q, is %q", was.Type, is.Type)
	}
	if is.Sequence < was.Sequence {
		bad(Sequence, "EXT-X-MEDIA-SEQUENCE went back from %d to %d", was.Sequence, is.Sequence)
	}
	if is.Open.Seq < was.Open.Seq {
		bad(Sequence, "the last segment was %d, is %d", int64(was.Open.Seq)-1, int64(is.Open.Seq)-1)
	}
	if is.Sequence > was.Open.Seq {
		bad(Sequence, "EXT-X-MEDIA-SEQUENCE jumped from %d to %d, over segments that were never listed", was.Sequence, is.Sequence)
	}
	if is.DiscontinuitySequence < was.DiscontinuitySequence {
		bad(DiscSequence, "EXT-X-DISCONTINUITY-SEQUENCE went back from %d to %d", was.DiscontinuitySequence, is.DiscontinuitySequence)
	}
	if was.EndList && (!is.EndList || is.Open.Seq != was.Open.Seq) {
		bad(Ended, "the playlist changed after EXT-X-ENDLIST")
	}
	if is.Type != "" && is.Sequence != was.Sequence {
		bad(Window, "a segment left a playlist of type %s", is.Type)
	}
	if is.Sequence > was.Sequence && !is.EndList && footageLeft(was, is) {
		var d time.Duration
		for _, s := range is.Segments {
			d += s.Duration
		}
		d += sum(is.Open.Parts)
		if d+rounding < 3*is.Target {
			bad(Window, "a segment left though only %v stay, less than three times %v", d, is.Target)
		}
	}
}

// segment compares the i-th segment with what is known of it. It returns false if
// the numbers as a whole do not fit any more.
func (h *history) segment(m *Media, i int, bad report) bool {
	s := m.Segments[i]
	if at, ok := h.uris[s.URI]; ok && at != s.Seq {
		bad(Sequence, "segment %s was number %d, is %d: EXT-X-MEDIA-SEQUENCE does not count what left", s.URI, at, s.Seq)
		return false
	}
	h.uris[s.URI] = s.Seq
	was, ok := h.segments[s.Seq]
	if !ok {
		h.segments[s.Seq] = s
		return true
	}
	diff := func(what string, a, b any) { bad(Changed, "segment %d: %s was %v, is %v", s.Seq, what, a, b) }
	switch {
	case was.URI != s.URI:
		diff("URI", was.URI, s.URI)
	case was.Duration != s.Duration:
		diff("EXTINF", was.Duration, s.Duration)
	case !was.PDT.Equal(s.PDT) && !was.PDT.IsZero() && !s.PDT.IsZero():
		diff("EXT-X-PROGRAM-DATE-TIME", was.PDT, s.PDT)
	case was.Gap != s.Gap:
		diff("EXT-X-GAP", was.Gap, s.Gap)
	case was.Map != s.Map && !s.Gap: // a gap is never loaded; at the head it may have no map
		diff("EXT-X-MAP", was.Map, s.Map)
	}
	if was.DiscSeq != s.DiscSeq {
		bad(DiscSequence, "segment %d: discontinuity sequence number was %d, is %d", s.Seq, was.DiscSeq, s.DiscSeq)
	}
	// At the head of the playlist the tag may go: the number counts it then.
	if was.Discontinuity != s.Discontinuity && (i > 0 || s.Discontinuity) {
		diff("EXT-X-DISCONTINUITY", was.Discontinuity, s.Discontinuity)
	}
	return true
}

// opened checks that a segment's discontinuity sequence number is the same from its
// first part on.
func (h *history) opened(s *Segment, bad report) {
	if was, ok := h.open[s.Seq]; ok && was != s.DiscSeq {
		bad(DiscSequence, "segment %d: discontinuity sequence number was %d in its first parts, is %d", s.Seq, was, s.DiscSeq)
	}
	if len(s.Parts) > 0 {
		h.open[s.Seq] = s.DiscSeq
	}
}

// takeParts checks that a listed part does not change as long as the segment's
// parts are listed.
func (h *history) takeParts(s *Segment, complete bool, bad report) {
	if complete && len(s.Parts) == 0 {
		return // parts of old segments are no longer listed
	}
	for i, p := range s.Parts {
		id := partID{s.Seq, i}
		if was, ok := h.parts[id]; ok && was != p {
			bad(PartChanged, "part %d.%d was %+v, is %+v", s.Seq, i, was, p)
		}
		h.parts[id] = p
	}
	if _, more := h.parts[partID{s.Seq, len(s.Parts)}]; more {
		bad(PartChanged, "part %d.%d was listed and is gone", s.Seq, len(s.Parts))
	}
}

// hinted checks that the hinted part became the next part, unless the playlist
// ended there or goes on with a discontinuity or a gap. A hint may be withdrawn, and then its
// part must not come: a new writer has begun, and ends the fragment where it is.
func (h *history) hinted(m *Media, bad report) {
	if h.hint != "" {
		next, there, excused := h.after(m)
		switch {
		case there && next.URI == h.hint:
			h.hints++
			if h.withdrawn {
				bad(HintRule, "the hint at %s was withdrawn, and its part came", h.hint)
			} else {
				h.hintsTrue++
			}
			h.hint = ""
		case m.EndList || excused:
			h.hint = ""
		case there:
			h.hints++
			bad(HintRule, "hinted at %s, then came %s", h.hint, next.URI)
			h.hint = ""
		case m.Open.Seq != h.hintAt.seq || len(m.Open.Parts) != h.hintAt.index:
		case m.Hint() == "":
			h.withdrawn = true
		case m.Hint() != h.hint:
			bad(HintRule, "the hint changed from %s to %q with no new part", h.hint, m.Hint())
		}
	}
	if u := m.Hint(); u != "" {
		h.hint, h.hintAt, h.withdrawn = u, partID{m.Open.Seq, len(m.Open.Parts)}, false
	}
}

// after returns the part at the place of the hint, or the first of the next segment
// if the hint's segment ended there.
func (h *history) after(m *Media) (p Part, there, excused bool) {
	all := append(append([]Segment{}, m.Segments...), m.Open)
	for _, s := range all {
		switch {
		case s.Seq < h.hintAt.seq:
			continue
		case s.Seq == h.hintAt.seq && h.hintAt.index < len(s.Parts):
			return s.Parts[h.hintAt.index], true, s.Parts[h.hintAt.index].Gap || s.Discontinuity && h.hintAt.index == 0
		case s.Seq == h.hintAt.seq && (s.Gap || s.Discontinuity && h.hintAt.index == 0):
			return Part{}, false, true
		case s.Seq == h.hintAt.seq && s.URI != "" && len(s.Parts) == 0:
			return Part{}, false, true // its parts are no longer listed: too late to tell
		case s.Seq == h.hintAt.seq:
			continue // it ended there, or goes on
		case s.Gap || s.Discontinuity:
			return Part{}, false, true
		case len(s.Parts) > 0:
			return s.Parts[0], true, false
		case s.URI != "":
			return Part{}, false, true // its parts are no longer listed: too late to tell
		}
	}
	return Part{}, false, false
}
