package hls

import (
	"context"
	"fmt"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// segment is a media segment as the list of its parts, with details of its
// chunks that are not in its entry; or an init segment.
type segment struct {
	parts  cmaf.Blocks
	detail detail
	tracks []schemas.Track
}

// detail holds what the chunks of a fragment say in addition to its entry.
type detail struct {
	parts []PartInfo
	frame uint32 // the most common duration of a video sample of chunk 0, in ticks
}

// add takes the next chunk. media is the media time at which the fragment starts.
func (d *detail) add(c *schemas.Chunk, media int64) {
	if c.Index == 0 {
		d.frame = frameTicks(c)
	}
	var p PartInfo
	if v := c.Video(); len(v) > 0 || c.Layout.Video == "" {
		p = PartInfo{Start: c.MediaStart() - media, Duration: c.MediaEnd() - c.MediaStart(), Independent: len(v) == 0 || v[0].Sync}
	}
	d.parts = append(d.parts, p)
}

// frameTicks is the most common duration of the chunk's video samples. Of two
// that are as common it is the shorter.
func frameTicks(c *schemas.Chunk) uint32 {
	count := map[uint32]int{}
	var best uint32
	for _, s := range c.Video() {
		count[s.Duration]++
		if n := count[s.Duration]; best == 0 || n > count[best] || n == count[best] && s.Duration < best {
			best = s.Duration
		}
	}
	return best
}

// loadSegment makes the segment of an entry from the log. It holds one chunk of
// the log at a time.
func loadSegment(ctx context.Context, log chunkReader, t schemas.Topic, e schemas.Entry) (*segment, error) {
	s := &segment{}
	var media int64
	var err error
	s.parts, err = cmaf.Segment(e, func(yield func(*schemas.Chunk, error) bool) {
		for c, err := range log.Chunks(ctx, t, e) {
			if err == nil {
				if c.Index == 0 {
					s.tracks, media = c.Tracks, c.MediaStart()
				}
				s.detail.add(c, media)
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

// makeInit makes the init segment of tracks, whose configuration hash is config.
func makeInit(config string, tracks []schemas.Track) (*segment, error) {
	if have := schemas.ConfigHash(tracks); have != config {
		return nil, fmt.Errorf("hls: make init %s: the chunks of the fragment have configuration %s", config, have)
	}
	b, err := cmaf.Init(tracks)
	if err != nil {
		return nil, err
	}
	return &segment{parts: cmaf.Blocks{b}, tracks: tracks}, nil
}
