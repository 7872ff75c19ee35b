package cmaf

import (
	"errors"
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// ErrNoGap is returned by [Gap] for a codec that has no sample without a picture.
var ErrNoGap = errors.New("cmaf: the codec has no sample without a picture")

// endOfSequence is an access unit without a picture: the NAL unit that ends a
// coded video sequence (ITU-T H.264 section 7.4.1.2.3, H.265 section 7.4.2.4.4),
// with its length before it.
var endOfSequence = map[schemas.Codec][]byte{
	schemas.H264: {0, 0, 0, 1, 10},
	schemas.H265: {0, 0, 0, 2, 36 << 1, 1},
}

// Gap makes the segment of a gap: one sample of video that lasts as long as the
// gap and has no picture. Players that know EXT-X-GAP do not request it. Others
// stop at a missing segment: GStreamer's hlsdemux2 requests it for ever.
// Errors: [ErrNoGap].
func Gap(e schemas.Entry) (Blocks, error) {
	data, ok := endOfSequence[e.Layout.Video]
	if !ok {
		return nil, ErrNoGap
	}
	b, err := makeChunk([]schemas.Track{{ID: schemas.VideoTrack, Codec: e.Layout.Video, Timescale: schemas.MediaTimescale}}, &schemas.Chunk{
		Seq: e.Seq, Last: true, Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{
			DTS: e.Media, Duration: uint32(e.Duration), Data: data,
		}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("cmaf: make gap %d: %w", e.Seq, err)
	}
	return Blocks{b}, nil
}
