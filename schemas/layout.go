package schemas

import "cmp"

// Layout holds the values that an HLS playlist states for a group of fragments (RFC
// 8216bis sections 4.4.3.1 and 4.4.3.7). Every fragment has exactly one. A playlist
// lists fragments of several layouts, and takes its target duration from the newest.
// IDs begin at 0, and grow by 1.
type Layout struct {
	ID     uint32 `msgpack:"id"`
	Target uint32 `msgpack:"target"` // EXT-X-TARGETDURATION in seconds, a step of TargetLadder
	Part   uint32 `msgpack:"part"`   // PART-TARGET in ticks of MediaTimescale; 0 if there are no parts (MJPEG)
	Video  Codec  `msgpack:"video,omitempty"`
	Audio  Codec  `msgpack:"audio,omitempty"` // empty without audio
	Data   Codec  `msgpack:"data,omitempty"`  // empty without timed metadata
}

// Codec returns the codec of the video, without video that of the track that there is.
func (l Layout) Codec() Codec { return cmp.Or(l.Video, l.Audio, l.Data) }

// TargetLadder holds the values of a target duration, in seconds. A camera starts at
// the first one, and never goes back to a smaller one.
var TargetLadder = [...]uint32{2, 4, 6, 12, 30, 60}

// PartTarget returns the PART-TARGET for chunks of n frames of frame ticks each. It is
// 1.1 times their duration, so a full part has between 85 and 100 per cent of it (RFC
// 8216bis section 4.4.4.9).
func PartTarget(n int, frame uint32) uint32 {
	return uint32((uint64(n)*uint64(frame)*11 + 9) / 10)
}

// fits reports whether a playlist with this target duration may list a segment of d
// ticks: the target must not be below d, rounded to the nearest second (RFC 8216bis
// section 4.4.3.1).
func fits(d int64, target uint32) bool {
	return (d+MediaTimescale/2)/MediaTimescale <= int64(target)
}

// Fit returns l, or the next layout if a fragment of d ticks is too long for l.
func (l Layout) Fit(d int64) Layout {
	if fits(d, l.Target) {
		return l
	}
	for _, t := range TargetLadder {
		if fits(d, t) {
			l.Target = t
			break
		}
	}
	l.ID++
	return l
}

// Next returns the layout of the next fragment, after those of layout l: l itself if
// it has the part target and the codecs of want. ID and Target of want do not
// matter. The zero l means that there is no layout yet.
func (l Layout) Next(want Layout) Layout {
	want.ID, want.Target = l.ID, l.Target
	if l == want && l != (Layout{}) {
		return l
	}
	if l == (Layout{}) {
		want.Target = TargetLadder[0]
		return want
	}
	want.ID++
	return want
}
