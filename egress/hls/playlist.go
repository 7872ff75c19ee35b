package hls

import (
	"fmt"
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

// PartInfo is what a playlist says of one part.
type PartInfo struct {
	Start, Duration int64 // ticks of schemas.MediaTimescale; Start counts from the fragment's
	Independent     bool  // begins with a sync sample
}

// Open is the fragment after the newest entry, as far as it has come. Its
// parts are those that may be listed: see [Listable].
type Open struct {
	Seq, Session uint64
	Epoch        int64
	Config       string
	Start        time.Time
	Parts        []PartInfo
}

// Hint names the part that comes next.
type Hint struct {
	Seq   uint64
	Epoch int64
	Index uint32
}

// Report tells a client of one rendition where another one stands (RFC
// 8216bis section 4.4.5.4).
type Report struct {
	URI  string
	Seq  uint64
	Part int // index of the last part of Seq; -1 where it is complete
}

// PlaylistOptions is what a media playlist holds beside entries.
type PlaylistOptions struct {
	Parts   map[uint64][]PartInfo // of entries, by seq; an entry without is listed whole only
	Open    *Open
	Hint    *Hint
	Ended   bool // the camera has gone on to another layout: EXT-X-ENDLIST
	Skip    bool // a delta update is wanted (_HLS_skip)
	Reports []Report
}

// Playlist makes the media playlist (RFC 8216bis section 4.4.3) of entries,
// which are dense in seq and all of one layout, that of the first. It says
// nothing that is not in its arguments: no clock, no state.
func Playlist(entries []schemas.Entry, o PlaylistOptions) []byte {
	if len(entries) == 0 {
		return nil
	}
	var b strings.Builder
	layout := entries[0].Layout
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n")
	fmt.Fprintf(&b, "#EXT-X-TARGETDURATION:%d\n", layout.Target)
	writeControl(&b, layout)
	fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n", entries[0].Seq)
	fmt.Fprintf(&b, "#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", entries[0].Session)

	// after is what follows an entry's end in the playlist.
	after := make([]int64, len(entries))
	total := openDuration(o.Open)
	for i := len(entries) - 1; i >= 0; i-- {
		after[i] = total
		total += entries[i].Duration
	}
	skipped := 0
	if o.Skip && !o.Ended {
		for skipped < len(entries) && after[skipped] >= skipTargets*int64(layout.Target)*schemas.MediaTimescale {
			skipped++
		}
	}
	if skipped > 0 {
		fmt.Fprintf(&b, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%d\n", skipped)
	}
	config := ""
	for i := range entries {
		e := &entries[i]
		if i < skipped {
			if e.Playable() {
				config = e.Config
			}
			continue
		}
		if i > 0 && e.Session != entries[i-1].Session {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if e.Playable() {
			config = writeMap(&b, config, e.Config)
		}
		writeDate(&b, e.Start)
		if after[i]+e.Duration <= holdTargets*int64(layout.Target)*schemas.MediaTimescale {
			for n, p := range o.Parts[e.Seq] {
				writePart(&b, e.Seq, e.Epoch, uint32(n), p)
			}
		}
		if e.Kind == schemas.KindGap {
			b.WriteString("#EXT-X-GAP\n")
		}
		fmt.Fprintf(&b, "#EXTINF:%s,\n%s\n", seconds(micros(e.Duration)), segmentURI(e.Seq))
	}
	if o.Ended {
		b.WriteString("#EXT-X-ENDLIST\n")
		return []byte(b.String())
	}
	if f := o.Open; f != nil && len(f.Parts) > 0 {
		if f.Session != entries[len(entries)-1].Session {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		writeMap(&b, config, f.Config)
		writeDate(&b, f.Start)
		for n, p := range f.Parts {
			writePart(&b, f.Seq, f.Epoch, uint32(n), p)
		}
	}
	if layout.Part != 0 && o.Hint == nil && (o.Open == nil || len(o.Open.Parts) == 0) {
		// hls.js takes the last segment for the one in progress where no line
		// follows it, and then finds the next playlist out of order.
		b.WriteString("# nothing is known of the next segment\n")
	}
	if h := o.Hint; h != nil {
		fmt.Fprintf(&b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%s\"\n", partURI(h.Seq, h.Epoch, h.Index))
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

// Listable is those of a fragment's parts that a playlist of layout may list:
// up to the one at which the fragment would come out too long for it. What
// comes after belongs to a fragment of the next layout.
func Listable(layout schemas.Layout, parts []PartInfo) []PartInfo {
	if layout.Part == 0 {
		return nil
	}
	for i, p := range parts {
		if layout.Fit(p.Start+p.Duration) != layout {
			return parts[:i]
		}
	}
	return parts
}

func openDuration(f *Open) int64 {
	if f == nil || len(f.Parts) == 0 {
		return 0
	}
	last := f.Parts[len(f.Parts)-1]
	return last.Start + last.Duration
}

func writeControl(b *strings.Builder, l schemas.Layout) {
	fmt.Fprintf(b, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=%d.0,HOLD-BACK=%d.0", skipTargets*l.Target, holdTargets*l.Target)
	if l.Part == 0 {
		b.WriteByte('\n')
		return
	}
	target := partTarget(l)
	fmt.Fprintf(b, ",PART-HOLD-BACK=%s\n", seconds(holdParts*target))
	fmt.Fprintf(b, "#EXT-X-PART-INF:PART-TARGET=%s\n", seconds(target))
}

// partTarget is in microseconds, rounded up, so that no part is longer.
func partTarget(l schemas.Layout) int64 {
	return (int64(l.Part)*1_000_000 + schemas.MediaTimescale - 1) / schemas.MediaTimescale
}

func writeMap(b *strings.Builder, have, want string) string {
	if have != want {
		fmt.Fprintf(b, "#EXT-X-MAP:URI=\"%s\"\n", initURI(want))
	}
	return want
}

func writeDate(b *strings.Builder, t time.Time) {
	b.WriteString("#EXT-X-PROGRAM-DATE-TIME:")
	b.WriteString(t.UTC().Format("2006-01-02T15:04:05.000Z"))
	b.WriteByte('\n')
}

func writePart(b *strings.Builder, seq uint64, epoch int64, index uint32, p PartInfo) {
	// A difference of rounded ends, so that the parts add up to the segment.
	d := micros(p.Start+p.Duration) - micros(p.Start)
	fmt.Fprintf(b, "#EXT-X-PART:DURATION=%s,URI=\"%s\"", seconds(d), partURI(seq, epoch, index))
	if p.Independent {
		b.WriteString(",INDEPENDENT=YES")
	}
	b.WriteByte('\n')
}

func segmentURI(seq uint64) string { return MuxerVersion + "/" + strconv.FormatUint(seq, 10) + ".m4s" }

func partURI(seq uint64, epoch int64, index uint32) string {
	return fmt.Sprintf("%s/%d.%d.%d.m4s", MuxerVersion, seq, epoch, index)
}

func initURI(config string) string { return MuxerVersion + "/init-" + config + ".mp4" }

func micros(ticks int64) int64 { return schemas.Rescale(ticks, schemas.MediaTimescale, 1_000_000) }

func seconds(micros int64) string {
	return strconv.FormatFloat(float64(micros)/1e6, 'f', 6, 64)
}
