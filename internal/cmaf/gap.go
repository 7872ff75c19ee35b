package cmaf

import (
	"errors"
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// ErrNoGap is returned by [Gap] for a codec that has no sample without content.
var ErrNoGap = errors.New("cmaf: the codec has no sample without content")

// withoutContent holds the sample without content of each codec that has one. That of video
// is an access unit without a picture: the NAL unit that ends a coded video sequence (ITU-T
// H.264 section 7.4.1.2.3, H.265 section 7.4.2.4.4), with its length before it.
var withoutContent = map[schemas.Codec][]byte{
	schemas.H264: {0, 0, 0, 1, 10},
	schemas.H265: {0, 0, 0, 2, 36 << 1, 1},
	schemas.JSON: nothing,
}

// Gap makes the segment of a gap: one sample that lasts as long as the gap. A sample of
// video has no picture, one of timed metadata is the JSON value null. Players that know
// EXT-X-GAP do not request the segment. Others stop at a missing one: GStreamer's hlsdemux2
// requests it for ever. Errors: [ErrNoGap].
func Gap(e schemas.Entry) (Blocks, error) {
	codec := e.Layout.Codec()
	data, ok := withoutContent[codec]
	if !ok {
		return nil, ErrNoGap
	}
	t := schemas.Track{ID: schemas.VideoTrack, Codec: codec, Timescale: schemas.MediaTimescale}
	if codec == schemas.JSON {
		t.ID = schemas.DataTrack
	}
	b, err := makeChunk([]schemas.Track{t}, &schemas.Chunk{
		Seq: e.Seq, Last: true, Media: e.Media, Duration: e.Duration,
		Runs: []schemas.Run{{Track: t.ID, Samples: []schemas.Sample{{DTS: e.Media, Duration: uint32(e.Duration), Data: data}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("cmaf: make gap %d: %w", e.Seq, err)
	}
	return Blocks{b}, nil
}
