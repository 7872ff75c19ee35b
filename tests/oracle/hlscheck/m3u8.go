// Package hlscheck is a strict HLS client that reports what breaks the
// specification, RFC 8216bis (draft-pantos-hls-rfc8216bis, here "the RFC"), with
// and without low latency. It shares no code with what it checks: parser, rules and
// client are separate.
package hlscheck

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Media is a media playlist.
type Media struct {
	Version               int
	Target                time.Duration // EXT-X-TARGETDURATION
	PartTarget            time.Duration // of EXT-X-PART-INF, 0 without
	Control               *Control
	Sequence              uint64 // EXT-X-MEDIA-SEQUENCE
	DiscontinuitySequence uint64
	Independent           bool // EXT-X-INDEPENDENT-SEGMENTS
	EndList               bool
	Type                  string // EXT-X-PLAYLIST-TYPE
	// Skipped is how many segments a delta update left out at its start (RFC
	// 4.4.5.2); -1 if there is no EXT-X-SKIP.
	Skipped  int
	Segments []Segment
	// Open is the segment in progress: what follows the last URI. It has no URI and
	// no duration.
	Open    Segment
	Hints   []Hint
	Reports []Report

	needs   int    // the least EXT-X-VERSION that the tags in use allow (RFC 8)
	needsBy string // the tag that needs it
}

// Control is EXT-X-SERVER-CONTROL.
type Control struct {
	BlockReload                       bool
	SkipUntil, HoldBack, PartHoldBack time.Duration // 0: absent
}

// Segment is a media segment with the tags before it.
type Segment struct {
	Seq           uint64
	URI           string
	Duration      time.Duration
	Discontinuity bool
	DiscSeq       uint64    // its discontinuity sequence number
	PDT           time.Time // zero without EXT-X-PROGRAM-DATE-TIME
	Gap           bool
	Map           string // URI of the EXT-X-MAP that applies, "" without
	MapHere       bool   // the tag is before this segment
	Parts         []Part
}

// Part is EXT-X-PART.
type Part struct {
	URI              string
	Duration         time.Duration
	Independent, Gap bool
}

// Hint is EXT-X-PRELOAD-HINT.
type Hint struct{ Type, URI string }

// Report is EXT-X-RENDITION-REPORT.
type Report struct {
	URI      string
	MSN      uint64
	Part     int // -1 without
	HasMSN   bool
	position int
}

// Multivariant is a multivariant playlist.
type Multivariant struct {
	Version     int
	Independent bool
	Variants    []Variant
}

// Variant is EXT-X-STREAM-INF and its URI.
type Variant struct {
	URI        string
	Bandwidth  uint64
	Codecs     string
	Resolution string
	FrameRate  float64
}

// ErrKind is wrapped by an error of a parser that was given the other kind of
// playlist.
var ErrKind = errors.New("the other kind of playlist")

// The tags of each kind; all other #EXT tags must be ignored (RFC 6.3.1).
var (
	mediaTags = []string{
		"TARGETDURATION", "MEDIA-SEQUENCE", "DISCONTINUITY-SEQUENCE", "ENDLIST", "PLAYLIST-TYPE", "I-FRAMES-ONLY",
		"PART-INF", "SERVER-CONTROL", "BYTERANGE", "DISCONTINUITY", "KEY", "MAP", "PROGRAM-DATE-TIME", "GAP", "BITRATE",
		"PART", "DATERANGE", "SKIP", "PRELOAD-HINT", "RENDITION-REPORT",
	}
	multivariantTags = []string{"MEDIA", "STREAM-INF", "I-FRAME-STREAM-INF", "SESSION-DATA", "SESSION-KEY", "CONTENT-STEERING"}
	onceTags         = []string{
		"VERSION", "INDEPENDENT-SEGMENTS", "START", "TARGETDURATION", "MEDIA-SEQUENCE", "DISCONTINUITY-SEQUENCE",
		"ENDLIST", "PLAYLIST-TYPE", "I-FRAMES-ONLY", "PART-INF", "SERVER-CONTROL", "SKIP",
	}
)

func among(s string, all []string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

// line is one line of a playlist: a tag without "#EXT-X-" ("INF" for EXTINF) and
// what follows its colon, or a URI.
type line struct {
	number   int
	tag      string
	value    string
	hasValue bool
	uri      string
}

func (l line) err(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{l.number}, args...)...)
}

// lines splits a playlist into lines (RFC 4.1).
func lines(text string) ([]line, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("not UTF-8")
	}
	if strings.HasPrefix(text, "\ufeff") {
		return nil, errors.New("begins with a byte order mark")
	}
	var out []line
	for i, s := range strings.Split(text, "\n") {
		s = strings.TrimSuffix(s, "\r")
		for _, r := range s {
			if r < 0x20 || (r >= 0x7f && r < 0xa0) {
				return nil, fmt.Errorf("line %d: control character %q", i+1, r)
			}
		}
		if i == 0 {
			if s != "#EXTM3U" {
				return nil, errors.New("line 1: not #EXTM3U")
			}
			continue
		}
		if s == "" {
			continue
		}
		l := line{number: i + 1}
		switch {
		case strings.HasPrefix(s, "#EXTM3U"):
			return nil, l.err("a second #EXTM3U")
		case strings.HasPrefix(s, "#EXTINF:"):
			l.tag, l.value, l.hasValue = "INF", s[len("#EXTINF:"):], true
		case strings.HasPrefix(s, "#EXT-X-"):
			l.tag, l.value, l.hasValue = strings.TrimPrefix(s, "#EXT-X-"), "", false
			if name, value, ok := strings.Cut(l.tag, ":"); ok {
				l.tag, l.value, l.hasValue = name, value, true
			}
		case strings.HasPrefix(s, "#"):
			continue
		default:
			if strings.TrimSpace(s) != s {
				return nil, l.err("white space around a URI")
			}
			l.uri = s
		}
		out = append(out, l)
	}
	return out, nil
}

// attributes reads an attribute list (RFC 4.2). Quoted values keep their quotes, so
// that types can be distinguished.
func (l line) attributes() (map[string]string, error) {
	a := map[string]string{}
	rest := l.value
	for {
		name, more, ok := strings.Cut(rest, "=")
		if !ok || name == "" {
			return nil, l.err("attribute list: %q", rest)
		}
		for _, r := range name {
			if (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
				return nil, l.err("attribute name %q", name)
			}
		}
		if _, ok := a[name]; ok {
			return nil, l.err("attribute %s twice", name)
		}
		end := strings.IndexByte(more, ',')
		if strings.HasPrefix(more, `"`) {
			q := strings.IndexByte(more[1:], '"')
			if q < 0 {
				return nil, l.err("attribute %s: quotation does not end", name)
			}
			end = q + 2
			if end < len(more) && more[end] != ',' {
				return nil, l.err("attribute %s: %q behind the quotation", name, more[end:])
			}
			if end == len(more) {
				end = -1
			}
		}
		if end < 0 {
			a[name] = more
		} else {
			a[name] = more[:end]
		}
		if v := a[name]; v == "" || (!strings.HasPrefix(v, `"`) && strings.ContainsAny(v, "\" \t")) {
			return nil, l.err("attribute %s: value %q", name, v)
		}
		if end < 0 {
			return a, nil
		}
		rest = more[end+1:]
	}
}

func (l line) quoted(a map[string]string, name string, required bool) (string, error) {
	v, ok := a[name]
	if !ok {
		if required {
			return "", l.err("no %s", name)
		}
		return "", nil
	}
	if len(v) < 3 || v[0] != '"' {
		return "", l.err("%s: %s is no quoted string", name, v)
	}
	return v[1 : len(v)-1], nil
}

// yes reads an enumerated string whose values are YES and, where no is
// allowed, NO.
func (l line) yes(a map[string]string, name string, no bool) (bool, error) {
	v, ok := a[name]
	switch {
	case !ok || (no && v == "NO"):
		return false, nil
	case v == "YES":
		return true, nil
	}
	return false, l.err("%s: %q", name, v)
}

func (l line) seconds(a map[string]string, name string, required bool) (time.Duration, error) {
	v, ok := a[name]
	if !ok {
		if required {
			return 0, l.err("no %s", name)
		}
		return 0, nil
	}
	d, err := seconds(v)
	if err != nil {
		return 0, l.err("%s: %w", name, err)
	}
	return d, nil
}

func (l line) integer(v string) (uint64, error) {
	n, err := integer(v)
	if err != nil {
		return 0, l.err("%s: %w", l.tag, err)
	}
	return n, nil
}

// integer reads a decimal-integer of RFC 4.2: only digits, below 2^64.
func integer(v string) (uint64, error) {
	if v == "" || strings.Trim(v, "0123456789") != "" {
		return 0, fmt.Errorf("%q is no decimal integer", v)
	}
	return strconv.ParseUint(v, 10, 64)
}

// seconds reads a decimal-floating-point of RFC 4.2: digits and one dot.
func seconds(v string) (time.Duration, error) {
	whole, frac, dot := strings.Cut(v, ".")
	if strings.Trim(v, "0123456789.") != "" || whole == "" || (dot && frac == "") || strings.Contains(frac, ".") {
		return 0, fmt.Errorf("%q is no decimal number", v)
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || f > 1e9 {
		return 0, fmt.Errorf("%q is no duration", v)
	}
	return time.Duration(math.Round(f * float64(time.Second))), nil
}
