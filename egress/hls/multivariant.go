package hls

import (
	"fmt"
	"math"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// Variant is one rendition in a multivariant playlist.
type Variant struct {
	URI           string
	Peak, Average int64 // bit/s
	Tracks        []schemas.Track
	FrameRate     float64 // frames per second; 0 if it is not known
}

// Multivariant makes the multivariant playlist (RFC 8216bis section 4.4.6). It does
// not contain INDEPENDENT-SEGMENTS: players read it once, and the tag would hold
// for all segments that come later.
func Multivariant(variants []Variant) []byte {
	var b strings.Builder
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:9\n")
	for _, v := range variants {
		fmt.Fprintf(&b, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d", v.Peak, v.Average)
		if c := Codecs(v.Tracks); c != "" {
			fmt.Fprintf(&b, ",CODECS=%q", c)
		}
		for _, t := range v.Tracks {
			if t.Codec.Video() && t.Width > 0 && t.Height > 0 {
				fmt.Fprintf(&b, ",RESOLUTION=%dx%d", t.Width, t.Height)
			}
		}
		if v.FrameRate > 0 {
			fmt.Fprintf(&b, ",FRAME-RATE=%.3f", v.FrameRate)
		}
		fmt.Fprintf(&b, "\n%s\n", v.URI)
	}
	return []byte(b.String())
}

// chunkOverhead is an upper estimate of the bytes that boxes add to a chunk. An
// entry has the bytes of the samples, not their number.
const chunkOverhead = 512

// Bandwidth returns bit rates of entries (RFC 8216bis section 4.4.6.2), in bit/s:
// the largest of any run of segments that lasts between 0.5 and 1.5 target
// durations, and the average of all. Gaps have no bits and do not count.
func Bandwidth(entries []schemas.Entry) (peak, average int64) {
	rate := func(bytes, ticks int64) int64 {
		return int64(math.Ceil(float64(bytes) * 8 * schemas.MediaTimescale / float64(ticks)))
	}
	var bytes, ticks int64
	for i := range entries {
		e := &entries[i]
		if !e.Playable() || e.Duration <= 0 {
			continue
		}
		bytes += size(e)
		ticks += e.Duration
		target := int64(e.Layout.Target) * schemas.MediaTimescale
		var runBytes, runTicks int64
		for j := i; j < len(entries) && entries[j].Playable(); j++ {
			runBytes += size(&entries[j])
			runTicks += entries[j].Duration
			if 2*runTicks > 3*target {
				break
			}
			if 2*runTicks >= target {
				peak = max(peak, rate(runBytes, runTicks))
			}
		}
	}
	if ticks > 0 {
		average = rate(bytes, ticks)
	}
	return max(peak, average), average
}

func size(e *schemas.Entry) int64 { return e.Bytes + int64(e.Chunks)*chunkOverhead }
