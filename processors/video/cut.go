package video

import (
	"context"
	"errors"
	"iter"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// chunks is the source's chunks, read as they are needed. Several cutters share it.
type chunks struct {
	next func() (*schemas.Chunk, error, bool)
	stop func()
	read []*schemas.Chunk
	done bool
}

func newChunks(ctx context.Context, in *processors.Fragment) *chunks {
	next, stop := iter.Pull2(in.Chunks(ctx))
	return &chunks{next: next, stop: stop}
}

// at returns the i-th chunk, and waits for it; nil if there is none.
func (c *chunks) at(i int) (*schemas.Chunk, error) {
	for len(c.read) <= i && !c.done {
		n, err, ok := c.next()
		if err != nil {
			return nil, err
		}
		if c.done = !ok; ok {
			c.read = append(c.read, n)
		}
	}
	if i >= len(c.read) {
		return nil, nil
	}
	return c.read[i], nil
}

// step is what comes next in the output: a picture, or the end of a chunk.
type step struct {
	pts, dts int64 // of a picture
	repeat   bool  // it is the picture before again

	end    *schemas.Chunk // the source's chunk that the output's begins with; nil: a picture
	at     int64          // where the chunk ends, in decode time
	behind *schemas.Chunk // the source's chunk that the output's ends with
}

// cutter decides into which chunks pictures go, and when they are decoded. It is pure, but
// it waits for the source's chunks.
//
// The output's chunks begin and end where the source's do, in decode time. There are no
// B-frames, so the decode time of a picture is its PTS less a constant, which puts the first
// one at the fragment's start. If no picture begins in a chunk, the one before stands there
// again, so that no part of HLS is longer than in the source. With merge there are no parts:
// then the picture before lasts longer, and such a chunk has none in the output.
type cutter struct {
	source *chunks
	media  int64 // the fragment's start
	merge  bool

	begun bool
	shift int64          // PTS less decode time
	i     int            // the source's chunk in which the next picture may be
	open  *schemas.Chunk // the source's chunk that the open chunk begins with; nil: none is open
	dts   int64          // of the picture before
}

var errOrder = errors.New("pictures must come in the order in which they are shown")

// add returns the steps that the next picture makes. There are none if it is behind the
// fragment's end.
func (c *cutter) add(pts, duration int64) ([]step, error) {
	if !c.begun {
		c.begun, c.shift, c.dts = true, pts-c.media, c.media-1
	}
	dts := pts - c.shift
	src, steps, err := c.seek(dts)
	if err != nil || src == nil {
		return nil, err
	}
	if c.open != nil && c.open != src { // with merge
		steps = append(steps, step{end: c.open, at: src.MediaStart()})
		c.open = nil
	}
	if c.open == nil {
		c.open, dts = src, src.MediaStart()
	}
	if dts <= c.dts {
		return nil, errOrder
	}
	c.dts = dts
	steps = append(steps, step{pts: pts, dts: dts})
	if !c.merge && pts-c.shift+duration >= src.MediaEnd() {
		steps = append(steps, c.leave(src)...) // no other picture begins in it
	}
	return steps, nil
}

// seek finds the source's chunk with a decode time, and leaves those before it. A picture
// behind the last chunk belongs to that, unless the chunk has ended: then src is nil.
func (c *cutter) seek(dts int64) (src *schemas.Chunk, steps []step, err error) {
	for {
		if src, err = c.source.at(c.i); src == nil || err != nil {
			return nil, nil, err
		}
		if len(src.Video()) > 0 {
			if dts < src.MediaEnd() {
				return src, steps, nil
			}
			if next, err := c.source.at(c.i + 1); next == nil || err != nil {
				return src, steps, err
			}
		}
		steps = append(steps, c.leave(src)...)
	}
}

// leave returns the steps at the end of a chunk of the source.
func (c *cutter) leave(src *schemas.Chunk) (steps []step) {
	c.i++
	if c.merge {
		return nil
	}
	if c.open == nil && len(src.Video()) > 0 {
		c.dts = src.MediaStart()
		steps = append(steps, step{dts: c.dts, pts: c.dts + c.shift, repeat: true})
	}
	c.open = nil
	return append(steps, step{end: src, at: src.MediaEnd(), behind: src})
}

// finish returns the steps behind the last picture.
func (c *cutter) finish() (steps []step, err error) {
	if !c.begun {
		return nil, nil
	}
	var last *schemas.Chunk
	for i := 0; ; i++ {
		src, err := c.source.at(i)
		if err != nil {
			return nil, err
		}
		if src == nil {
			break
		}
		if i >= c.i {
			steps = append(steps, c.leave(src)...)
		}
		if len(src.Video()) > 0 {
			last = src
		}
	}
	if c.open != nil {
		steps = append(steps, step{end: c.open, at: last.MediaEnd(), behind: last})
	}
	return steps, nil
}
