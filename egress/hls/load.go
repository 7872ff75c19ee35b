package hls

import (
	"context"
	"fmt"
	"iter"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Log is what this package needs of the log; *medialog.Log is one.
type Log interface {
	medialog.Store
	// Entry finds the entry of one seq.
	Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error)
	// Tail follows t until ctx ends.
	Tail(ctx context.Context, t schemas.Topic, from medialog.Position) iter.Seq2[medialog.Event, error]
	// Topics lists the media topics there are.
	Topics(ctx context.Context) ([]schemas.Topic, error)
}

// segment is a media segment in its parts, with what its chunks told; or an
// init segment.
type segment struct {
	parts  blocks
	detail detail
	tracks []schemas.Track
}

// load makes a segment of the chunks in the log, one at a time.
func load(ctx context.Context, store medialog.Store, t schemas.Topic, e schemas.Entry) (*segment, error) {
	s := &segment{parts: make(blocks, 0, min(e.Chunks, 256))} // its number comes from outside
	var media int64
	for c, err := range store.Chunks(ctx, t, e) {
		if err != nil {
			return nil, err
		}
		i := len(s.parts)
		if c.Seq != e.Seq || c.Index != uint32(i) || i >= int(e.Chunks) {
			return nil, fmt.Errorf("hls: make segment %d: chunk %d.%d in the place of chunk %d", e.Seq, c.Seq, c.Index, i)
		}
		if i == 0 {
			s.tracks, media, s.detail.frame = c.Tracks, c.MediaStart(), frameTicks(c)
		}
		part, err := Part(s.tracks, c)
		if err != nil {
			return nil, err
		}
		s.parts = append(s.parts, part)
		s.detail.parts = append(s.detail.parts, partInfo(c, media))
	}
	if len(s.parts) == 0 || len(s.parts) != int(e.Chunks) {
		return nil, fmt.Errorf("hls: make segment %d: %d chunks, its entry says %d", e.Seq, len(s.parts), e.Chunks)
	}
	return s, nil
}
