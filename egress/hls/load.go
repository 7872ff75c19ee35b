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

// segment is a media segment's bytes with what its chunks told.
type segment struct {
	data   []byte
	ends   []int // of each part within data
	detail detail
	tracks []schemas.Track
}

func (s *segment) part(i uint32) []byte {
	if int(i) >= len(s.ends) {
		return nil
	}
	start := 0
	if i > 0 {
		start = s.ends[i-1]
	}
	return s.data[start:s.ends[i]]
}

// join makes a segment of parts that are at hand.
func join(parts [][]byte, d detail, tracks []schemas.Track) *segment {
	s := &segment{detail: d, tracks: tracks}
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	s.data = make([]byte, 0, n)
	for _, p := range parts {
		s.data = append(s.data, p...)
		s.ends = append(s.ends, len(s.data))
	}
	return s
}

// load makes a segment of the chunks in the log, one at a time.
func load(ctx context.Context, store medialog.Store, t schemas.Topic, e schemas.Entry) (*segment, error) {
	s := &segment{}
	var media int64
	for c, err := range store.Chunks(ctx, t, e) {
		if err != nil {
			return nil, err
		}
		i := len(s.ends)
		if c.Seq != e.Seq || c.Index != uint32(i) || i >= int(e.Chunks) {
			return nil, fmt.Errorf("hls: make segment %d: chunk %d.%d in the place of chunk %d", e.Seq, c.Seq, c.Index, i)
		}
		if i == 0 {
			s.tracks, media, s.detail.frame = c.Tracks, c.MediaStart(), frameTicks(c)
		}
		if s.data, err = appendPart(s.data, s.tracks, c); err != nil {
			return nil, fmt.Errorf("hls: make segment %d: chunk %d: %w", e.Seq, i, err)
		}
		s.ends = append(s.ends, len(s.data))
		s.detail.parts = append(s.detail.parts, partInfo(c, media))
	}
	if len(s.ends) == 0 || len(s.ends) != int(e.Chunks) {
		return nil, fmt.Errorf("hls: make segment %d: %d chunks, its entry says %d", e.Seq, len(s.ends), e.Chunks)
	}
	return s, nil
}
