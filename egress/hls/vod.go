package hls

import (
	"fmt"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// vod is the media playlist (RFC 8216bis section 4.4.3) of a range of time. Seqs may be missing in it.
// Its entries are added in order: what a line tells depends on no later entry, so a playlist that was
// made goes on at its end. A day has 43,000 entries, which are not kept.
type vod struct {
	base  string // URIs begin with it: the rendition's folder, "raw/"
	lines []byte
	first schemas.Entry
	// seq and session are those of the last entry.
	seq, session uint64

	played schemas.Entry // the first one that is playable; the zero entry: none is
	newest schemas.Entry // the last one that is playable
	config string        // of the last EXT-X-MAP
	target uint32
	// carried: HLS carries one of them. dependent: a segment needs the one before it to be decoded.
	carried, dependent bool
}

// empty reports whether it has no entry.
func (v *vod) empty() bool { return len(v.lines) == 0 }

// add adds the next entry.
func (v *vod) add(e *schemas.Entry) {
	if room := cap(v.lines) - len(v.lines); room < 512 { // a long one would be copied many times otherwise
		v.lines = slices.Grow(v.lines, max(room+512, len(v.lines)/2))
	}
	switch {
	case v.empty():
		v.first = *e
	case e.Session != v.session || e.Seq != v.seq+1:
		v.lines = append(v.lines, "#EXT-X-DISCONTINUITY\n"...)
	}
	v.seq, v.session = e.Seq, e.Session
	if e.Playable() {
		if !v.played.Playable() {
			v.played = *e
		}
		v.newest = *e
	}
	v.target = max(v.target, e.Layout.Target)
	v.dependent = v.dependent || e.OpenGOP
	carried := carried(e)
	if v.carried = v.carried || carried; carried && v.config != e.Config {
		v.config = e.Config
		v.lines = fmt.Appendf(v.lines, "#EXT-X-MAP:URI=\"%s\"\n", v.base+initURI(e.Config))
	}
	v.lines = appendDate(v.lines, e.Start)
	if !carried {
		v.lines = append(v.lines, "#EXT-X-GAP\n"...)
	}
	v.lines = append(v.lines, "#EXTINF:"...)
	v.lines = appendSeconds(v.lines, micros(e.Duration))
	v.lines = append(v.lines, ",\n"...)
	v.lines = append(v.lines, v.base...)
	v.lines = append(appendSegmentURI(v.lines, e.Seq), '\n')
}

// playlist returns the playlist with the entries that were added. Players begin at a time.
func (v *vod) playlist(from time.Time) []byte {
	b := make([]byte, 0, len(v.lines)+512)
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:9\n"...)
	if !v.dependent {
		b = append(b, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	offset := max(0, from.Sub(v.first.Start))
	b = fmt.Appendf(b, "#EXT-X-TARGETDURATION:%d\n#EXT-X-PLAYLIST-TYPE:VOD\n", v.target)
	b = fmt.Appendf(b, "#EXT-X-START:TIME-OFFSET=%s,PRECISE=YES\n", seconds(offset.Microseconds()))
	b = fmt.Appendf(b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", v.first.Seq, v.first.Session)
	b = append(b, v.lines...)
	return append(b, "#EXT-X-ENDLIST\n"...)
}
