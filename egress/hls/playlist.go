package hls

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// skipTargets, holdTargets and holdParts are the promises of
// EXT-X-SERVER-CONTROL in target durations and part targets (RFC 8216bis
// section 4.4.3.8: at least 6, 3 and 3).
const (
	skipTargets = 6
	holdTargets = 3
	holdParts   = 3
)

// PartInfo is what a playlist says about one part.
type PartInfo struct {
	Start, Duration int64 // ticks of schemas.MediaTimescale; Start counts from the fragment's
	Independent     bool  // begins with a sync sample
	Gap             bool  // the part does not exist
}

// Unfinished is the fragment after the newest entry, with the parts that it has
// so far.
type Unfinished struct {
	Seq, Session uint64
	Epoch        int64
	Layout       schemas.Layout
	Config       string
	OpenGOP      bool // see schemas.Chunk
	Start        time.Time
	Media        int64 // of its first sample
	Parts        []PartInfo
}

// Hint names the part that comes next.
type Hint struct {
	Seq   uint64
	Epoch int64
	Index uint32
}

// Report tells a client of one rendition how far another rendition is (RFC
// 8216bis section 4.4.5.4).
type Report struct {
	URI  string
	Seq  uint64
	Part int // index of the last part of Seq; -1 if it is listed without parts
}

// PlaylistOptions is what a media playlist holds besides entries.
type PlaylistOptions struct {
	Base       string                // URIs begin with it: the rendition's folder, "raw/"
	Parts      map[uint64][]PartInfo // of entries, by seq; an entry without parts is listed as a segment only
	Lead       bool                  // all entries are gaps before a topic's first fragment: their parts are always listed
	Unfinished *Unfinished
	Hint       *Hint
	Skip       bool // a delta update is wanted (_HLS_skip)
	Reports    []Report
}

// partTicks returns the part target of a layout, in ticks of schemas.MediaTimescale. It is
// 0 if its fragments are listed without parts: timed metadata without pictures or sound, and
// MJPEG, which HLS does not carry.
func partTicks(l schemas.Layout) uint32 {
	if l.Video == schemas.MJPEG || l.Video == "" && l.Audio == "" {
		return 0
	}
	return l.Part
}

// promise returns the limits of all segments and parts of a playlist, in the units
// of schemas.Layout: the largest target duration and the largest part target of its
// fragments. The parts of the unfinished fragment may be longer than its layout
// says. part is 0 if no fragment has parts.
func promise(entries []schemas.Entry, u *Unfinished) (target, part uint32) {
	for i := range entries {
		target = max(target, entries[i].Layout.Target)
		part = max(part, partTicks(entries[i].Layout))
	}
	if u != nil {
		target = max(target, u.Layout.Fit(unfinishedDuration(u)).Target)
		part = max(part, partTicks(u.Layout))
	}
	return target, part
}

// Playlist makes the live media playlist (RFC 8216bis section 4.4.3) of entries, whose
// seqs are dense. A rendition has one playlist for ever: tags tell what changes
// from fragment to fragment, and the target duration may grow. The playlist
// depends on the arguments only. It is nil if there are no entries.
func Playlist(entries []schemas.Entry, o PlaylistOptions) []byte {
	if len(entries) == 0 {
		return nil
	}
	var b strings.Builder
	target, part := promise(entries, o.Unfinished)
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:9\n")
	if independent(entries, o.Unfinished) {
		b.WriteString("#EXT-X-INDEPENDENT-SEGMENTS\n")
	}
	fmt.Fprintf(&b, "#EXT-X-TARGETDURATION:%d\n", target)
	writeControl(&b, target, part)
	fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n", entries[0].Seq)
	fmt.Fprintf(&b, "#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", entries[0].Session)

	// after returns how much footage follows an entry in the playlist. Gaps do not
	// count: a player that has played up to an absence goes on behind it with parts
	// only if it still sees the parts before it.
	after := make([]int64, len(entries))
	total := unfinishedDuration(o.Unfinished)
	for i := len(entries) - 1; i >= 0; i-- {
		after[i] = total
		if carried(&entries[i]) {
			total += entries[i].Duration
		}
	}
	skipped := 0
	if o.Skip {
		for skipped < len(entries) && after[skipped] >= skipTargets*int64(target)*schemas.MediaTimescale {
			skipped++
		}
	}
	// Shaka counts only the discontinuities that a delta update shows.
	for skipped > 0 && entries[skipped-1].Session != entries[0].Session {
		skipped--
	}
	if skipped > 0 {
		fmt.Fprintf(&b, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%d\n", skipped)
	}
	config := ""
	for i := range entries {
		e := &entries[i]
		if i < skipped {
			if carried(e) {
				config = e.Config
			}
			continue
		}
		if i > 0 && (e.Session != entries[i-1].Session || e.Seq != entries[i-1].Seq+1) {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if carried(e) {
			config = writeMap(&b, o.Base, config, e.Config)
		}
		writeDate(&b, e.Start)
		// The target duration of the entry's own layout counts: the playlist's may
		// grow, and hls.js takes parts for new ones if they come back.
		near := after[i]+e.Duration <= holdTargets*int64(e.Layout.Target)*schemas.MediaTimescale
		for n, p := range o.Parts[e.Seq] {
			if near || o.Lead {
				writePart(&b, o.Base+partURI(e.Seq, e.Epoch, uint32(n)), p)
			}
		}
		if !carried(e) {
			b.WriteString("#EXT-X-GAP\n")
		}
		fmt.Fprintf(&b, "#EXTINF:%s,\n%s\n", seconds(micros(e.Duration)), o.Base+segmentURI(e.Seq))
	}
	if f := o.Unfinished; f != nil && len(f.Parts) > 0 {
		if f.Session != entries[len(entries)-1].Session {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		writeMap(&b, o.Base, config, f.Config)
		writeDate(&b, f.Start)
		for n, p := range f.Parts {
			writePart(&b, o.Base+partURI(f.Seq, f.Epoch, uint32(n)), p)
		}
	}
	if part != 0 && o.Hint == nil && (o.Unfinished == nil || len(o.Unfinished.Parts) == 0) {
		// hls.js takes the last segment for an unfinished one if no line follows it,
		// and then finds that the next playlist is out of order.
		b.WriteString("# nothing is known of the next segment\n")
	}
	if h := o.Hint; h != nil {
		fmt.Fprintf(&b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%s\"\n", o.Base+partURI(h.Seq, h.Epoch, h.Index))
	}
	for _, r := range o.Reports {
		fmt.Fprintf(&b, "#EXT-X-RENDITION-REPORT:URI=\"%s\",LAST-MSN=%d", r.URI, r.Seq)
		if r.Part >= 0 {
			fmt.Fprintf(&b, ",LAST-PART=%d", r.Part)
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// independent reports whether every segment decodes without the one before it.
func independent(entries []schemas.Entry, u *Unfinished) bool {
	if u != nil && len(u.Parts) > 0 && u.OpenGOP {
		return false
	}
	return !slices.ContainsFunc(entries, func(e schemas.Entry) bool { return e.OpenGOP })
}

// carried reports whether HLS carries the footage of an entry. If not, the entry is
// listed as a gap.
func carried(e *schemas.Entry) bool { return e.Playable() && e.Layout.Video != schemas.MJPEG }

func unfinishedDuration(f *Unfinished) int64 {
	if f == nil || len(f.Parts) == 0 {
		return 0
	}
	last := f.Parts[len(f.Parts)-1]
	return last.Start + last.Duration
}

func writeControl(b *strings.Builder, target, part uint32) {
	fmt.Fprintf(b, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=%d.0,HOLD-BACK=%d.0", skipTargets*target, holdTargets*target)
	if part == 0 {
		b.WriteByte('\n')
		return
	}
	micros := partTarget(part)
	fmt.Fprintf(b, ",PART-HOLD-BACK=%s\n", seconds(holdParts*micros))
	fmt.Fprintf(b, "#EXT-X-PART-INF:PART-TARGET=%s\n", seconds(micros))
}

// partTarget is in microseconds, rounded up, so that no part is longer.
func partTarget(ticks uint32) int64 {
	return (int64(ticks)*1_000_000 + schemas.MediaTimescale - 1) / schemas.MediaTimescale
}

func writeMap(b *strings.Builder, base, have, want string) string {
	if have != want {
		fmt.Fprintf(b, "#EXT-X-MAP:URI=\"%s\"\n", base+initURI(want))
	}
	return want
}

func writeDate(b *strings.Builder, t time.Time) {
	var line [64]byte
	b.Write(appendDate(line[:0], t))
}

// appendDate appends a line with the layout 2006-01-02T15:04:05.000Z of a time. time.AppendFormat takes
// ten times as long, and the playlist of a day has 43,000 such lines.
func appendDate(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
	b = append(appendDigits(b, uint64(year), 4), '-')
	b = append(appendDigits(b, uint64(month), 2), '-')
	b = append(appendDigits(b, uint64(day), 2), 'T')
	b = append(appendDigits(b, uint64(hour), 2), ':')
	b = append(appendDigits(b, uint64(minute), 2), ':')
	b = append(appendDigits(b, uint64(second), 2), '.')
	return append(appendDigits(b, uint64(t.Nanosecond()/1e6), 3), 'Z', '\n')
}

// appendDigits appends a number with n digits.
func appendDigits(b []byte, v uint64, n int) []byte {
	b = append(b, "000000"[:n]...)
	for i := len(b) - 1; v > 0 && i >= len(b)-n; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return b
}

func writePart(b *strings.Builder, uri string, p PartInfo) {
	// The difference of rounded ends, so that parts add up to their segment.
	d := micros(p.Start+p.Duration) - micros(p.Start)
	fmt.Fprintf(b, "#EXT-X-PART:DURATION=%s,URI=\"%s\"", seconds(d), uri)
	if p.Independent {
		b.WriteString(",INDEPENDENT=YES")
	}
	if p.Gap {
		b.WriteString(",GAP=YES")
	}
	b.WriteByte('\n')
}

func micros(ticks int64) int64 { return schemas.Rescale(ticks, schemas.MediaTimescale, 1_000_000) }

func seconds(micros int64) string { return string(appendSeconds(nil, micros)) }

// appendSeconds appends seconds with six decimals.
func appendSeconds(b []byte, micros int64) []byte {
	if micros < 0 {
		b, micros = append(b, '-'), -micros
	}
	b = append(strconv.AppendInt(b, micros/1e6, 10), '.')
	return appendDigits(b, uint64(micros%1e6), 6)
}
