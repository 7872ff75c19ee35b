package hls

import (
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// endOfSequence is an access unit that has no picture: the NAL unit that ends a
// coded video sequence (ITU-T H.264 section 7.4.1.2.3, H.265 section 7.4.2.4.4),
// with its length before it.
var endOfSequence = map[schemas.Codec][]byte{
	schemas.H264: {0, 0, 0, 1, 10},
	schemas.H265: {0, 0, 0, 2, 36 << 1, 1},
}

// gapSegment makes the media segment of a gap. Players that know EXT-X-GAP do
// not ask for it. It is for those that do not, and that stand still where a
// segment fails (GStreamer's hlsdemux2 asks for it for ever): time passes in it,
// and there is no picture.
func gapSegment(e *schemas.Entry) ([]byte, error) {
	data, ok := endOfSequence[e.Layout.Video]
	if !ok {
		return nil, errGap
	}
	b, err := appendPart(nil, []schemas.Track{{ID: schemas.VideoTrack, Codec: e.Layout.Video, Timescale: schemas.MediaTimescale}}, &schemas.Chunk{
		Seq: e.Seq, Last: true, Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{
			DTS: e.Media, Duration: uint32(e.Duration), Data: data,
		}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("hls: make segment %d, a gap: %w", e.Seq, err)
	}
	return b, nil
}
