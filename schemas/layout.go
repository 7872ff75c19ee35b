package schemas

// Layout is what an HLS playlist says of a fragment's kind (RFC 8216bis section
// 4.4.3.1 and 4.4.3.7): every fragment has exactly one. A playlist lists
// fragments of any, and takes its target duration from the newest. IDs grow by 1
// from 0 over a camera's life.
type Layout struct {
	ID     uint32
	Target uint32 // EXT-X-TARGETDURATION in seconds, a step of TargetLadder
	Part   uint32 // PART-TARGET in ticks of MediaTimescale; 0 where parts are of no use (MJPEG)
	Video  Codec
	Audio  Codec // empty without audio
}

// TargetLadder is the values that a target duration takes, in seconds. A
// camera starts at the first and only ever climbs.
var TargetLadder = [...]uint32{2, 4, 6, 12, 30, 60}

// PartTarget is the PART-TARGET for chunks of n frames of frame ticks each:
// 1.1 times their duration, so that a full part lies between 85 and 100 per
// cent of it (RFC 8216bis section 4.4.4.9).
func PartTarget(n int, frame uint32) uint32 {
	return uint32((uint64(n)*uint64(frame)*11 + 9) / 10)
}

// fits says whether a segment of d ticks may stand under a target duration:
// rounded to the nearest second it must not exceed it (RFC 8216bis 4.4.3.1).
func fits(d int64, target uint32) bool {
	return (d+MediaTimescale/2)/MediaTimescale <= int64(target)
}

// Fit is l, or the next layout where a fragment of d ticks is too long for it.
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

// Next is the layout of a fragment whose part target, codecs and tracks are
// those of want, after fragments of layout l: l itself where nothing differs.
// The zero l is no layout yet. ID and Target of want are not looked at.
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
