package hls

import (
	"context"
	"fmt"
	"iter"

	"github.com/framelog/framelog/internal/cmaf"
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
	parts  cmaf.Blocks
	detail detail
	tracks []schemas.Track
}

// load makes the segment of an entry of the chunks in the log. It holds one
// chunk of the log at a time.
func load(ctx context.Context, store medialog.Store, t schemas.Topic, e schemas.Entry) (*segment, error) {
	s := &segment{}
	var media int64
	var err error
	s.parts, err = cmaf.Segment(e, func(yield func(*schemas.Chunk, error) bool) {
		for c, err := range store.Chunks(ctx, t, e) {
			if err == nil {
				if c.Index == 0 {
					s.tracks, media, s.detail.frame = c.Tracks, c.MediaStart(), frameTicks(c)
				}
				s.detail.parts = append(s.detail.parts, partInfo(c, media))
			}
			if !yield(c, err) {
				return
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("hls: load segment: %w", err)
	}
	return s, nil
}
