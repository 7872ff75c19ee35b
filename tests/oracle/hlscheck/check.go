package hlscheck

import (
	"fmt"
	"math"
	"time"
)

// Rule names what a violation breaks.
type Rule string

// The rules. Sections are the RFC's, unless another source is named.
const (
	Syntax       Rule = "syntax"                 // 4.1, 4.2 and the tags' own sections
	Type         Rule = "type"                   // 4: Content-Type
	Version      Rule = "version"                // 8
	Target       Rule = "target-duration"        // 4.4.3.1: no EXTINF, rounded, above it
	Constant     Rule = "constant"               // 6.2.1: the target duration never falls, part target and type never change
	PartLength   Rule = "part-length"            // 4.4.4.9
	PartSum      Rule = "part-sum"               // 4.4.4.9: the parts are the segment
	PartChanged  Rule = "part-changed"           // 6.2.1: what is listed does not change
	HoldBack     Rule = "hold-back"              // 4.4.3.8
	PartHoldBack Rule = "part-hold-back"         // 4.4.3.8
	SkipUntil    Rule = "can-skip-until"         // 4.4.3.8
	NoMap        Rule = "map"                    // 3.1.2: fMP4 segments need one
	Sequence     Rule = "media-sequence"         // 6.2.1, 6.2.2
	DiscSequence Rule = "discontinuity-sequence" // 6.2.1, 6.2.2
	Changed      Rule = "segment-changed"        // 6.2.1
	Window       Rule = "window"                 // 6.2.2: three target durations stay
	Date         Rule = "date"                   // 4.4.4.6, and Framelog's: exact in a session
	Gap          Rule = "gap"                    // 4.4.4.7, 4.4.4.9
	Ended        Rule = "endlist"                // 4.4.3.4
	Stalled      Rule = "stalled"                // 6.2.2: 1.5 target durations
	HintRule     Rule = "hint"                   // 4.4.5.3, 6.2.6
	Blocking     Rule = "blocking"               // 6.2.5.2
	Delta        Rule = "delta"                  // 4.4.5.2, 6.2.5.1
	ReportRule   Rule = "rendition-report"       // 4.4.5.4
	Fetch        Rule = "fetch"                  // what is listed can be fetched
	Bytes        Rule = "bytes"                  // what is under a URL does not change
	PartBytes    Rule = "part-bytes"             // Framelog's: a segment is its parts, one behind the other
	Container    Rule = "container"              // ISO/IEC 14496-12, 23000-19 (CMAF)
	MediaTime    Rule = "media-time"             // 23000-19 7.5.17, and Framelog's: never back, over sessions too
	MediaLength  Rule = "media-length"           // 4.4.4.1: EXTINF is the media's duration
	Multi        Rule = "multivariant"           // 4.4.6
)

// Violation says that one rule is broken.
type Violation struct {
	Rule   Rule
	Where  string // the playlist or file
	Detail string
	At     time.Time
}

func (v Violation) String() string {
	return fmt.Sprintf("%s %s: %s: %s", v.At.Format("15:04:05.000"), v.Rule, v.Where, v.Detail)
}

// report takes violations. Its owner fills in Where and At.
type report func(r Rule, format string, args ...any)

// Durations in playlists are decimal text, and may differ by this much.
const rounding = 2 * time.Millisecond

// Check checks the rules that concern one playlist alone.
func (m *Media) Check(strict bool, bad report) {
	if m.needs > m.Version {
		bad(Version, "EXT-X-VERSION %d, but %s needs %d", m.Version, m.needsBy, m.needs)
	}
	m.checkControl(bad)
	for i := range m.Segments {
		m.checkSegment(&m.Segments[i], strict, bad)
	}
	if m.Open.PDT.IsZero() && len(m.Segments) == 0 && len(m.Open.Parts) > 0 {
		bad(Date, "no EXT-X-PROGRAM-DATE-TIME")
	}
	m.checkParts(&m.Open, strict, bad)
	if sum := sum(m.Open.Parts); sum > 0 && !fits(sum, m.Target) {
		bad(Target, "the parts of the open segment %d are %v long together, the target is %v", m.Open.Seq, sum, m.Target)
	}
	m.checkDates(bad)
	m.checkHints(bad)
	if m.EndList && (len(m.Open.Parts) > 0 || len(m.Hints) > 0) {
		bad(Ended, "parts or hints of a further segment beside EXT-X-ENDLIST")
	}
	for _, r := range m.Reports {
		if !r.HasMSN {
			bad(ReportRule, "%s: no LAST-MSN", r.URI)
		}
	}
}

// fits reports whether d, rounded to the nearest second, is at most target.
func fits(d, target time.Duration) bool {
	return math.Round(d.Seconds()) <= target.Seconds()
}

func (m *Media) checkControl(bad report) {
	c := m.Control
	if c == nil {
		if m.PartTarget > 0 && !m.EndList {
			bad(PartHoldBack, "parts, but no EXT-X-SERVER-CONTROL")
		}
		return
	}
	if c.HoldBack > 0 && c.HoldBack < 3*m.Target {
		bad(HoldBack, "HOLD-BACK %v, want at least three times %v", c.HoldBack, m.Target)
	}
	if c.SkipUntil > 0 && c.SkipUntil < 6*m.Target {
		bad(SkipUntil, "CAN-SKIP-UNTIL %v, want at least six times %v", c.SkipUntil, m.Target)
	}
	// Twice is the least that is allowed; three times is recommended.
	if m.PartTarget > 0 && c.PartHoldBack+rounding < 3*m.PartTarget {
		bad(PartHoldBack, "PART-HOLD-BACK %v, want at least three times %v", c.PartHoldBack, m.PartTarget)
	}
}

func (m *Media) checkSegment(s *Segment, strict bool, bad report) {
	if !fits(s.Duration, m.Target) {
		bad(Target, "segment %d: EXTINF %v, the target is %v", s.Seq, s.Duration, m.Target)
	}
	if s.Duration <= 0 {
		bad(Target, "segment %d: EXTINF %v", s.Seq, s.Duration)
	}
	if s.Map == "" && m.Skipped < 0 && !s.Gap {
		bad(NoMap, "segment %d: no EXT-X-MAP in front of it", s.Seq)
	}
	m.checkParts(s, strict, bad)
	if len(s.Parts) > 0 {
		// Each part is rounded.
		if diff := s.Duration - sum(s.Parts); diff.Abs() > rounding+time.Duration(len(s.Parts))*time.Millisecond {
			bad(PartSum, "segment %d: EXTINF %v, but its %d parts make %v", s.Seq, s.Duration, len(s.Parts), sum(s.Parts))
		}
	}
}

func sum(parts []Part) time.Duration {
	var d time.Duration
	for _, p := range parts {
		d += p.Duration
	}
	return d
}

// checkParts: no part is longer than the target. None is shorter than 85 % of it,
// except a segment's last, GAPs, those before a GAP and, unless strict (Framelog
// promises more than the RFC asks for), independent ones.
func (m *Media) checkParts(s *Segment, strict bool, bad report) {
	if len(s.Parts) > 0 && m.PartTarget == 0 {
		bad(PartLength, "segment %d: parts without EXT-X-PART-INF", s.Seq)
		return
	}
	for i, p := range s.Parts {
		if p.Duration > m.PartTarget+rounding/2 {
			bad(PartLength, "part %d.%d: %v, the target is %v", s.Seq, i, p.Duration, m.PartTarget)
		}
		if p.Duration <= 0 {
			bad(PartLength, "part %d.%d: %v", s.Seq, i, p.Duration)
		}
		if s.Gap && !p.Gap {
			bad(Gap, "part %d.%d is there, its segment is a gap", s.Seq, i)
		}
		// Only the next part shows that this one was not the last of its segment.
		last := i == len(s.Parts)-1
		exempt := last || p.Gap || s.Parts[i+1].Gap || (p.Independent && !strict)
		if least := m.PartTarget * 85 / 100; !exempt && p.Duration+rounding/2 < least {
			bad(PartLength, "part %d.%d: %v is less than 85 %% of %v and not the last of its segment", s.Seq, i, p.Duration, m.PartTarget)
		}
		if strict && i == 0 && m.Independent && !p.Independent && !p.Gap {
			bad(PartLength, "part %d.0 is not INDEPENDENT, though segments are", s.Seq)
		}
	}
}

// checkDates: within a discontinuity, dates follow from durations.
func (m *Media) checkDates(bad report) {
	var clock time.Time // when the segment should begin
	if len(m.Segments) > 0 && m.Segments[0].PDT.IsZero() && m.Skipped < 0 {
		bad(Date, "segment %d is the first and has no EXT-X-PROGRAM-DATE-TIME", m.Segments[0].Seq)
	}
	drift := rounding
	all := append(append([]Segment{}, m.Segments...), m.Open)
	for i := range all {
		s := &all[i]
		if s.Discontinuity {
			clock = time.Time{}
			if s.PDT.IsZero() && (i < len(m.Segments) || len(s.Parts) > 0) {
				bad(Date, "segment %d begins a discontinuity and has no EXT-X-PROGRAM-DATE-TIME", s.Seq)
			}
		}
		if !s.PDT.IsZero() {
			if off := s.PDT.Sub(clock); !clock.IsZero() && off.Abs() > drift {
				bad(Date, "segment %d: EXT-X-PROGRAM-DATE-TIME is %v off what the durations say", s.Seq, off)
			}
			clock, drift = s.PDT, rounding
		}
		if !clock.IsZero() {
			clock = clock.Add(s.Duration)
			drift += time.Millisecond
		}
	}
}

func (m *Media) checkHints(bad report) {
	parts := 0
	for _, h := range m.Hints {
		if h.Type != "PART" {
			continue
		}
		parts++
		for _, p := range m.Open.Parts {
			if p.URI == h.URI {
				bad(HintRule, "%s is hinted and listed", h.URI)
			}
		}
		for _, s := range m.Segments {
			for _, p := range s.Parts {
				if p.URI == h.URI {
					bad(HintRule, "%s is hinted and listed", h.URI)
				}
			}
		}
	}
	if parts > 1 {
		bad(HintRule, "%d parts hinted at once", parts)
	}
}

// Hint returns the URI of the hinted part, "" if there is none.
func (m *Media) Hint() string {
	for _, h := range m.Hints {
		if h.Type == "PART" {
			return h.URI
		}
	}
	return ""
}

// Last is the sequence number of the last complete segment; ok is false if there is
// none.
func (m *Media) Last() (seq uint64, ok bool) {
	if m.Open.Seq == m.Sequence {
		return 0, false
	}
	return m.Open.Seq - 1, true
}

// Has reports whether the playlist answers a blocking request for part of segment
// msn (part -1: the whole segment; RFC 6.2.5.2). The part after the last of a
// segment is the first of the next.
func (m *Media) Has(msn uint64, part int) bool {
	if m.EndList || m.Open.Seq > msn+1 {
		return true
	}
	if m.Open.Seq == msn {
		return part >= 0 && len(m.Open.Parts) > part
	}
	if m.Open.Seq < msn || part < 0 {
		return m.Open.Seq > msn
	}
	// msn is the last complete segment.
	return len(m.Open.Parts) > 0 || m.parts(msn) > part || m.parts(msn) == 0
}

func (m *Media) parts(seq uint64) int {
	for i := range m.Segments {
		if m.Segments[i].Seq == seq {
			return len(m.Segments[i].Parts)
		}
	}
	return 0
}

// Apply makes a full playlist of a delta update and the playlist before it
// (RFC 6.3.7).
func (m *Media) Apply(before *Media) (*Media, error) {
	if m.Skipped < 0 {
		return m, nil
	}
	full := *m
	full.Segments = nil
	var disc uint64
	for _, s := range before.Segments {
		if s.Seq >= m.Sequence && s.Seq < m.Sequence+uint64(m.Skipped) {
			full.Segments = append(full.Segments, s)
			disc = s.DiscSeq
		}
	}
	if len(full.Segments) != m.Skipped {
		return nil, fmt.Errorf("%d segments from %d on are skipped, %d of them were known", m.Skipped, m.Sequence, len(full.Segments))
	}
	carried := ""
	if m.Skipped > 0 {
		carried = full.Segments[m.Skipped-1].Map
	} else {
		disc = m.DiscontinuitySequence
	}
	for _, s := range m.Segments {
		if s.Discontinuity {
			disc++
		}
		s.DiscSeq = disc
		if s.Map == "" {
			s.Map = carried
		}
		full.Segments = append(full.Segments, s)
	}
	if full.Open.Discontinuity {
		disc++
	}
	full.Open.DiscSeq = disc
	if full.Open.Map == "" {
		full.Open.Map = carried
	}
	full.Skipped = -1
	return &full, nil
}
