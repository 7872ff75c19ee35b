package cmaf

import (
	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// withParameterSets returns samples in which each sync sample that lacks a kind
// of parameter sets has those of the configuration before it. It changes no
// sample in place.
func withParameterSets(t schemas.Track, samples []schemas.Sample) ([]schemas.Sample, error) {
	if t.Codec != schemas.H264 && t.Codec != schemas.H265 {
		return samples, nil
	}
	copied := false
	for i := range samples {
		if !samples[i].Sync {
			continue
		}
		at, complete := scan(t.Codec, samples[i].Data)
		if complete {
			continue
		}
		nals, err := codec.ParameterSets(t.Codec, t.Config)
		if err != nil {
			return nil, err
		}
		sets := codec.JoinNALs(nals)
		if !copied {
			samples, copied = append([]schemas.Sample(nil), samples...), true
		}
		old := samples[i].Data
		data := make([]byte, 0, len(old)+len(sets))
		data = append(data, old[:at]...)
		data = append(data, sets...)
		samples[i].Data = append(data, old[at:]...)
	}
	return samples, nil
}

// scan looks for parameter sets in an access unit, up to its first slice. at is
// the position for them: after the delimiter, which must come first. complete
// reports whether there is one of each kind. Bytes that are no NAL units end the
// search.
func scan(c schemas.Codec, au []byte) (at int, complete bool) {
	var vps, sps, pps bool
	for rest := au; ; {
		nal, next, err := codec.NextNAL(rest)
		if err != nil {
			break
		}
		var delimiter, slice bool
		if c == schemas.H264 { // Rec. ITU-T H.264 table 7-1
			kind := nal[0] & 31
			vps, sps, pps = true, sps || kind == 7, pps || kind == 8
			delimiter, slice = kind == 9, kind >= 1 && kind <= 5
		} else { // Rec. ITU-T H.265 table 7-1
			kind := nal[0] >> 1 & 63
			vps, sps, pps = vps || kind == 32, sps || kind == 33, pps || kind == 34
			delimiter, slice = kind == 35, kind < 32
		}
		if delimiter && len(rest) == len(au) {
			at = len(au) - len(next)
		}
		if slice {
			break
		}
		rest = next
	}
	return at, vps && sps && pps
}
