package hlscheck

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseMedia reads a media playlist. It refuses what the syntax of RFC 4 does not
// allow. Check checks the rules about meaning.
func ParseMedia(text string) (*Media, error) {
	all, err := lines(text)
	if err != nil {
		return nil, err
	}
	p := &parser{m: &Media{Version: 1, Skipped: -1}, seen: map[string]bool{}}
	for _, l := range all {
		if err := p.line(l); err != nil {
			return nil, err
		}
	}
	return p.finish()
}

type parser struct {
	m    *Media
	seen map[string]bool
	next Segment // being read
	inf  bool    // EXTINF was seen for it
	mapr string
	// tags that belong to the segment came after its first part
	partsSeen bool
}

func (p *parser) need(version int, by string) {
	if version > p.m.needs {
		p.m.needs, p.m.needsBy = version, by
	}
}

func (p *parser) line(l line) error {
	if l.uri != "" {
		return p.segment(l)
	}
	if among(l.tag, multivariantTags) {
		return fmt.Errorf("%w: %w", ErrKind, l.err("EXT-X-%s in a media playlist", l.tag))
	}
	if among(l.tag, onceTags) {
		if p.seen[l.tag] {
			return l.err("EXT-X-%s twice", l.tag)
		}
		p.seen[l.tag] = true
	}
	switch l.tag {
	case "INF", "DISCONTINUITY", "PROGRAM-DATE-TIME", "GAP", "MAP", "PART", "BYTERANGE":
		return p.segmentTag(l)
	case "PART-INF", "SERVER-CONTROL", "SKIP", "PRELOAD-HINT", "RENDITION-REPORT":
		a, err := l.attributes()
		if err != nil {
			return err
		}
		return p.attributeTag(l, a)
	}
	return p.headerTag(l)
}

func (p *parser) headerTag(l line) (err error) {
	m := p.m
	var n uint64
	switch l.tag {
	case "VERSION":
		n, err = l.integer(l.value)
		m.Version = int(n)
	case "TARGETDURATION":
		n, err = l.integer(l.value)
		m.Target = time.Duration(min(n, 1<<20)) * time.Second
	case "MEDIA-SEQUENCE":
		if len(m.Segments) > 0 || p.partsSeen {
			return l.err("EXT-X-MEDIA-SEQUENCE behind a segment")
		}
		m.Sequence, err = l.integer(l.value)
	case "DISCONTINUITY-SEQUENCE":
		if len(m.Segments) > 0 || p.next.Discontinuity || p.partsSeen {
			return l.err("EXT-X-DISCONTINUITY-SEQUENCE behind a segment or a discontinuity")
		}
		m.DiscontinuitySequence, err = l.integer(l.value)
	case "PLAYLIST-TYPE":
		if l.value != "EVENT" && l.value != "VOD" {
			return l.err("EXT-X-PLAYLIST-TYPE %q", l.value)
		}
		m.Type = l.value
	case "INDEPENDENT-SEGMENTS", "ENDLIST":
		if l.hasValue {
			return l.err("EXT-X-%s with a value", l.tag)
		}
		m.Independent = m.Independent || l.tag == "INDEPENDENT-SEGMENTS"
		m.EndList = m.EndList || l.tag == "ENDLIST"
	case "KEY", "I-FRAMES-ONLY", "DEFINE":
		return l.err("EXT-X-%s: Framelog has no use for it", l.tag)
	}
	return err
}

func (p *parser) attributeTag(l line, a map[string]string) (err error) {
	m := p.m
	switch l.tag {
	case "PART-INF":
		m.PartTarget, err = l.seconds(a, "PART-TARGET", true)
	case "SERVER-CONTROL":
		c := &Control{}
		m.Control = c
		if c.BlockReload, err = l.yes(a, "CAN-BLOCK-RELOAD", false); err != nil {
			return err
		}
		if c.SkipUntil, err = l.seconds(a, "CAN-SKIP-UNTIL", false); err != nil {
			return err
		}
		if c.HoldBack, err = l.seconds(a, "HOLD-BACK", false); err != nil {
			return err
		}
		c.PartHoldBack, err = l.seconds(a, "PART-HOLD-BACK", false)
	case "SKIP":
		if len(m.Segments) > 0 || p.partsSeen {
			return l.err("EXT-X-SKIP behind a segment")
		}
		n, err := l.integer(a["SKIPPED-SEGMENTS"])
		if err != nil {
			return err
		}
		p.need(9, "EXT-X-SKIP")
		m.Skipped = int(min(n, 1<<30))
	case "PRELOAD-HINT":
		h := Hint{Type: a["TYPE"]}
		if h.Type != "PART" && h.Type != "MAP" {
			return l.err("TYPE %q", h.Type)
		}
		if h.URI, err = l.quoted(a, "URI", true); err != nil {
			return err
		}
		m.Hints = append(m.Hints, h)
	case "RENDITION-REPORT":
		r := Report{Part: -1, position: l.number}
		if r.URI, err = l.quoted(a, "URI", true); err != nil {
			return err
		}
		if v, ok := a["LAST-MSN"]; ok {
			r.HasMSN = true
			if r.MSN, err = l.integer(v); err != nil {
				return err
			}
		}
		if v, ok := a["LAST-PART"]; ok {
			n, err := l.integer(v)
			if err != nil {
				return err
			}
			r.Part = int(min(n, 1<<30))
		}
		m.Reports = append(m.Reports, r)
	}
	return err
}

func (p *parser) segmentTag(l line) (err error) {
	s := &p.next
	switch l.tag {
	case "INF":
		if p.inf {
			return l.err("EXTINF twice for one segment")
		}
		p.inf = true
		d, _, ok := strings.Cut(l.value, ",")
		if !ok {
			return l.err("EXTINF without a comma")
		}
		if s.Duration, err = seconds(d); err != nil {
			return l.err("EXTINF: %w", err)
		}
		if strings.Contains(d, ".") {
			p.need(3, "EXTINF with a fraction")
		}
		return nil
	case "GAP":
		// May come after the parts: it says that the whole segment is not there.
		s.Gap = true
		return nil
	case "PART":
		return p.part(l)
	case "BYTERANGE":
		return l.err("EXT-X-BYTERANGE: Framelog has no use for it")
	}
	if p.partsSeen {
		return l.err("EXT-X-%s behind the first part of its segment (RFC 4.4.4.9)", l.tag)
	}
	switch l.tag {
	case "DISCONTINUITY":
		if s.Discontinuity {
			return l.err("EXT-X-DISCONTINUITY twice for one segment")
		}
		s.Discontinuity = true
	case "PROGRAM-DATE-TIME":
		if !s.PDT.IsZero() {
			return l.err("EXT-X-PROGRAM-DATE-TIME twice for one segment")
		}
		if s.PDT, err = time.Parse(time.RFC3339Nano, l.value); err != nil {
			return l.err("EXT-X-PROGRAM-DATE-TIME: %w", err)
		}
	case "MAP":
		a, err := l.attributes()
		if err != nil {
			return err
		}
		if p.mapr, err = l.quoted(a, "URI", true); err != nil {
			return err
		}
		if _, ok := a["BYTERANGE"]; ok {
			return l.err("EXT-X-MAP with BYTERANGE: Framelog has no use for it")
		}
		s.MapHere = true
		p.need(6, "EXT-X-MAP")
	}
	return nil
}

func (p *parser) part(l line) error {
	if p.inf {
		return l.err("EXT-X-PART behind the EXTINF of its segment")
	}
	a, err := l.attributes()
	if err != nil {
		return err
	}
	var x Part
	if x.URI, err = l.quoted(a, "URI", true); err != nil {
		return err
	}
	if x.Duration, err = l.seconds(a, "DURATION", true); err != nil {
		return err
	}
	if x.Independent, err = l.yes(a, "INDEPENDENT", false); err != nil {
		return err
	}
	if x.Gap, err = l.yes(a, "GAP", false); err != nil {
		return err
	}
	if _, ok := a["BYTERANGE"]; ok {
		return l.err("EXT-X-PART with BYTERANGE: Framelog has no use for it")
	}
	p.next.Parts = append(p.next.Parts, x)
	p.partsSeen = true
	return nil
}

func (p *parser) segment(l line) error {
	if !p.inf {
		return l.err("a URI without EXTINF")
	}
	if len(p.m.Hints) > 0 {
		return l.err("a segment behind EXT-X-PRELOAD-HINT")
	}
	p.next.URI = l.uri
	p.next.Map = p.mapr
	p.m.Segments = append(p.m.Segments, p.next)
	p.next, p.inf, p.partsSeen = Segment{}, false, false
	return nil
}

func (p *parser) finish() (*Media, error) {
	m := p.m
	if p.inf {
		return nil, fmt.Errorf("EXTINF without a URI")
	}
	if !p.seen["TARGETDURATION"] || m.Target == 0 {
		return nil, fmt.Errorf("no EXT-X-TARGETDURATION")
	}
	if p.seen["PART-INF"] && m.PartTarget == 0 {
		return nil, fmt.Errorf("PART-TARGET is 0")
	}
	p.next.Map = p.mapr
	m.Open = p.next
	m.number()
	return m, nil
}

// number gives each segment its media and discontinuity sequence number (RFC
// 6.2.1 and 4.4.3.3).
func (m *Media) number() {
	seq, disc := m.Sequence, m.DiscontinuitySequence
	if m.Skipped > 0 {
		seq += uint64(m.Skipped) // only Apply knows how many discontinuities were skipped
	}
	for i := range m.Segments {
		if m.Segments[i].Discontinuity {
			disc++
		}
		m.Segments[i].Seq, m.Segments[i].DiscSeq = seq, disc
		seq++
	}
	if m.Open.Discontinuity {
		disc++
	}
	m.Open.Seq, m.Open.DiscSeq = seq, disc
}

// ParseMultivariant reads a multivariant playlist.
func ParseMultivariant(text string) (*Multivariant, error) {
	all, err := lines(text)
	if err != nil {
		return nil, err
	}
	m := &Multivariant{Version: 1}
	seen := map[string]bool{}
	var open *Variant
	for _, l := range all {
		switch {
		case l.uri != "" && open == nil:
			return nil, l.err("a URI without EXT-X-STREAM-INF")
		case l.uri != "":
			open.URI = l.uri
			m.Variants = append(m.Variants, *open)
			open = nil
			continue
		case open != nil:
			return nil, l.err("EXT-X-STREAM-INF without a URI")
		case l.tag == "INF" || among(l.tag, mediaTags):
			return nil, fmt.Errorf("%w: %w", ErrKind, l.err("EXT-X-%s in a multivariant playlist", l.tag))
		case among(l.tag, onceTags) && seen[l.tag]:
			return nil, l.err("EXT-X-%s twice", l.tag)
		}
		seen[l.tag] = true
		switch l.tag {
		case "VERSION":
			n, err := l.integer(l.value)
			if err != nil {
				return nil, err
			}
			m.Version = int(min(n, 1<<20))
		case "INDEPENDENT-SEGMENTS":
			m.Independent = true
		case "STREAM-INF":
			if open, err = variant(l); err != nil {
				return nil, err
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("EXT-X-STREAM-INF without a URI")
	}
	if len(m.Variants) == 0 {
		return nil, fmt.Errorf("no variant")
	}
	return m, nil
}

func variant(l line) (*Variant, error) {
	a, err := l.attributes()
	if err != nil {
		return nil, err
	}
	v := &Variant{Resolution: a["RESOLUTION"]}
	if v.Bandwidth, err = l.integer(a["BANDWIDTH"]); err != nil {
		return nil, err
	}
	if v.Codecs, err = l.quoted(a, "CODECS", false); err != nil {
		return nil, err
	}
	if r := v.Resolution; r != "" {
		w, h, ok := strings.Cut(r, "x")
		_, err1 := integer(w)
		_, err2 := integer(h)
		if !ok || err1 != nil || err2 != nil {
			return nil, l.err("RESOLUTION %q", r)
		}
	}
	if r, ok := a["FRAME-RATE"]; ok {
		if _, err := seconds(r); err != nil {
			return nil, l.err("FRAME-RATE: %w", err)
		}
		v.FrameRate, _ = strconv.ParseFloat(r, 64)
	}
	return v, nil
}
