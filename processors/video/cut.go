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
// B-frames, so the decode time of a picture is its PTS less a constant. If no picture begins
// where a chunk begins, the one before stands there again, so that no part of HLS is longer
// than in the source. With merge there are no parts: then the picture before lasts longer, and
// such a chunk has none in the output.
//
// The fragment's first picture is shown from the fragment's start on. Otherwise players would
// see a hole, if pictures were left out or, at the start of an open GOP, cannot be decoded.
type cutter struct {
	source *chunks
	in     *processors.Fragment
	merge  bool

	begun bool
	shift int64          // PTS less decode time
	i     int            // the source's chunk in which the next picture may be
	open  *schemas.Chunk // the source's chunk that the open chunk begins with; nil: none is open
	pts   int64          // of the picture before
	dts   int64
}

// snap is how much later than its chunk a picture may begin that is moved to the chunk's
// start, in decode time.
const snap = schemas.MediaTimescale / 50

var errOrder = errors.New("pictures must come in the order in which they are shown")

// add returns the steps that the next picture makes. There are none if it is behind the
// fragment's end.
func (c *cutter) add(pts, duration int64) ([]step, error) {
	if c.begun && pts <= c.pts {
		return nil, errOrder
	}
	c.pts = pts
	until := pts + duration
	if !c.begun {
		var err error
		if pts, err = c.begin(pts); err != nil {
			return nil, err
		}
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
	if start := src.MediaStart(); c.open == nil {
		if c.merge || dts-start <= snap {
			dts = start
		} else {
			steps = append(steps, c.again(src))
		}
		c.open = src
	}
	c.dts = max(dts, c.dts+1)
	steps = append(steps, step{pts: pts, dts: c.dts})
	if !c.merge && until-c.shift >= src.MediaEnd() {
		steps = append(steps, c.leave(src)...) // no other picture begins in it
	}
	return steps, nil
}

// begin returns when the fragment's first picture is shown.
func (c *cutter) begin(pts int64) (int64, error) {
	for i, key := 0, int64(0); ; i++ {
		src, err := c.source.at(i)
		if err != nil {
			return 0, err
		}
		if src == nil {
			break
		}
		v := src.Video()
		if i == 0 {
			key = v[0].DTS + int64(v[0].PTSOffset)
		}
		behind := !c.in.OpenGOP
		for _, s := range v {
			at := s.DTS + int64(s.PTSOffset)
			if at <= key {
				pts = min(pts, at)
			} else {
				behind = true // no leading picture comes behind it
				break
			}
		}
		if behind {
			break
		}
	}
	c.begun, c.shift, c.dts = true, pts-c.in.Media, c.in.Media-1
	return pts, nil
}

// seek finds the source's chunk with a decode time, and leaves those before it.
func (c *cutter) seek(dts int64) (src *schemas.Chunk, steps []step, err error) {
	for {
		src, err = c.source.at(c.i)
		if src == nil || err != nil || len(src.Video()) > 0 && dts < src.MediaEnd() {
			return src, steps, err
		}
		if len(src.Video()) > 0 {
			if next, err := c.source.at(c.i + 1); next == nil || err != nil {
				return nil, nil, err // behind the end
			}
		}
		steps = append(steps, c.leave(src)...)
	}
}

// again returns the step of the picture before at the start of a chunk.
func (c *cutter) again(src *schemas.Chunk) step {
	c.dts = src.MediaStart()
	return step{dts: c.dts, pts: c.dts + c.shift, repeat: true}
}

// leave returns the steps at the end of a chunk of the source.
func (c *cutter) leave(src *schemas.Chunk) (steps []step) {
	c.i++
	if c.merge {
		return nil
	}
	if c.open == nil && len(src.Video()) > 0 {
		steps = append(steps, c.again(src))
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
