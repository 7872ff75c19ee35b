package video

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// Pictures decodes the pictures of a fragment, in the order in which they are shown, as its
// chunks arrive. At the start of an open GOP the pictures that need the fragment before are
// left out. Pictures that cannot be decoded are left out too; if no picture can be, that is
// an error. Other errors: those of in, ctx's, a wrong option, what GStreamer lacks.
func Pictures(ctx context.Context, in *processors.Fragment, o Options) iter.Seq2[*Picture, error] {
	return func(yield func(*Picture, error) bool) {
		o.Format = cmp.Or(o.Format, I420)
		d, err := o.decoding(in)
		if err != nil {
			yield(nil, err)
			return
		}
		p := new(Picture)
		var buf []byte
		for f, err := range frames(ctx, in, d, o.Keyframes, o.FPS) {
			if err == nil {
				buf, err = f.Copy(buf)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			*p = Picture{
				PTS: f.at, Duration: f.duration, Width: f.Width, Height: f.Height, Format: o.Format, Data: buf,
				aspect: f.Aspect, colorimetry: f.Colorimetry(),
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// frame is a picture in GStreamer's memory. It is valid until the loop's next iteration.
type frame struct {
	*gstreamer.Frame
	at, duration int64 // as Picture.PTS and Duration
}

// frames decodes a fragment, and gives its pictures at most fps times a second; 0: all.
func frames(ctx context.Context, in *processors.Fragment, d gstreamer.Decoding, keyframes bool, fps float64) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		var g *grid
		if fps > 0 {
			g = newGrid(fps)
		}
		for f, err := range decode(ctx, in, d, keyframes) {
			if err != nil {
				yield(frame{}, err)
				return
			}
			if g != nil {
				at, until, ok := g.take(f.at, f.duration)
				if !ok {
					f.Release()
					continue
				}
				f.at, f.duration = at, until-at
			}
			if !give(f, yield) {
				return
			}
		}
	}
}

// give yields a frame, and releases it, also if the loop panics.
func give(f frame, yield func(frame, error) bool) bool {
	defer f.Release()
	return yield(f, nil)
}

// decode decodes a fragment. Whoever gets a frame releases it.
func decode(ctx context.Context, in *processors.Fragment, d gstreamer.Decoding, keyframes bool) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		for c, err := range in.Chunks(ctx) {
			if err != nil {
				yield(frame{}, err)
				return
			}
			d.Reorder, d.Recovery = reorders(in.Video(), c), recovers(in.Video(), c)
			break
		}
		n := &decoding{in: in, keyframes: keyframes}
		err := n.run(ctx, d, yield)
		var failed *hardwareError
		if errors.As(err, &failed) {
			d.Hardware = gstreamer.Software
			n.instead = failed
			err = n.run(ctx, d, yield)
		}
		if err != nil {
			yield(frame{}, err)
		}
	}
}

// reorders reports whether a decoder has to be told that pictures are reordered.
func reorders(t *schemas.Track, c *schemas.Chunk) bool {
	info, err := codec.Video(t.Codec, t.Config)
	if err != nil || info.Reorder >= 0 {
		return false
	}
	for _, s := range c.Video() {
		if s.PTSOffset != c.Video()[0].PTSOffset {
			return true
		}
	}
	return false
}

// recovers reports whether a fragment begins with a recovery point.
func recovers(t *schemas.Track, c *schemas.Chunk) bool {
	v := c.Video()
	if len(v) == 0 {
		return false
	}
	u, err := codec.Classify(t.Codec, v[0].Data)
	return err == nil && u.Picture == codec.Recovery
}

// hardwareError is that hardware has not decoded anything.
type hardwareError struct {
	err error
	by  decoder
}

func (e *hardwareError) Error() string { return e.err.Error() }

func (e *hardwareError) Unwrap() error { return e.err }

// errStopped tells that nobody wants more pictures.
var errStopped = errors.New("video: stopped")

// decoder is what a *gstreamer.Decoder does.
type decoder interface {
	Push(ctx context.Context, data []byte, pts, dts int64, sync bool) error
	End()
	Next(ctx context.Context) (*gstreamer.Frame, error)
	Close()
	Hardware() bool
	Worked()
	Failed(err error)
	Element() string
	Warning() string
}

var newDecoder = func(d gstreamer.Decoding) (decoder, error) { return gstreamer.NewDecoder(d) }

// decoding is the decoding of one fragment.
type decoding struct {
	in        *processors.Fragment
	keyframes bool
	instead   *hardwareError // why it is done again, in software

	mu        sync.Mutex
	units     int
	durations map[int64]int64 // of pictures in the decoder, by PTS
}

// run decodes. A goroutine feeds the decoder, so that a picture does not wait for the chunk
// after its own; it ends before run returns.
func (n *decoding) run(ctx context.Context, d gstreamer.Decoding, yield func(frame, error) bool) error {
	dec, err := newDecoder(d)
	if err != nil {
		return fragmentError(n.in, err)
	}
	defer dec.Close()
	n.units, n.durations = 0, map[int64]int64{}
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := n.feed(ctx, dec); err != nil {
			cancel(err)
		}
	}()
	defer func() {
		cancel(errStopped)
		<-done
	}()
	for count := 0; ; {
		f, err := dec.Next(ctx)
		switch {
		case err == nil:
		case outer.Err() != nil:
			return outer.Err()
		case ctx.Err() != nil:
			return context.Cause(ctx) // feed's error
		case errors.Is(err, io.EOF) && count > 0:
			return nil
		default:
			if errors.Is(err, io.EOF) {
				err = n.nothing(dec)
			}
			err = fragmentError(n.in, err)
			if count == 0 && dec.Hardware() {
				err = &hardwareError{err, dec}
			}
			return err
		}
		duration := n.duration(f.PTS)
		if duration == hidden {
			f.Release()
			continue
		}
		if count++; count == 1 {
			n.began(dec)
		}
		if !yield(frame{Frame: f, at: f.PTS + n.in.Media, duration: duration}, nil) {
			return nil
		}
	}
}

// hidden is the duration of a picture that nobody sees. The leading pictures of an open GOP
// of H.264 are decoded without what they need: if they were left out, a decoder would take
// others for lost, since others may refer to them.
const hidden = -1

// began tells how decoders do, when the first picture has come.
func (n *decoding) began(dec decoder) {
	dec.Worked()
	if n.instead != nil {
		n.instead.by.Failed(n.instead)
	}
}

// nothing is the error of a fragment without any picture.
func (n *decoding) nothing(dec decoder) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := fmt.Errorf("%s decoded none of its %d pictures", dec.Element(), n.units)
	if w := dec.Warning(); w != "" {
		err = fmt.Errorf("%w (%s)", err, w)
	}
	return err
}

// duration returns the duration of the picture at a time since the fragment's start, and
// forgets it.
func (n *decoding) duration(pts int64) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.durations[pts]
	delete(n.durations, pts)
	return d
}

// feed gives the fragment's access units to the decoder.
func (n *decoding) feed(ctx context.Context, dec decoder) error {
	lead := leading{open: n.in.OpenGOP, codec: n.in.Video().Codec}
	for c, err := range n.in.Chunks(ctx) {
		if err != nil {
			return err
		}
		for _, s := range c.Video() {
			if n.keyframes && !s.Sync || len(s.Data) == 0 { // GStreamer has no empty buffers
				continue
			}
			pts, dts := s.DTS+int64(s.PTSOffset)-n.in.Media, s.DTS-n.in.Media
			duration := int64(s.Duration)
			if lead.undecodable(s) {
				if lead.codec == schemas.H265 {
					continue // decoders leave them out too
				}
				duration = hidden
			}
			n.mu.Lock()
			n.units++
			n.durations[pts] = duration
			n.mu.Unlock()
			err := dec.Push(ctx, s.Data, pts, dts, s.Sync)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return nil //nolint:nilerr // Next returns the decoder's error, after the pictures before it
			}
		}
	}
	dec.End()
	return nil
}

// leading finds the pictures at the start of an open GOP that need the fragment before.
type leading struct {
	open  bool
	codec schemas.Codec
	first int64 // PTS of the first picture
	begun bool
}

// undecodable reports whether the next access unit is one of them.
func (l *leading) undecodable(s schemas.Sample) bool {
	pts := s.DTS + int64(s.PTSOffset)
	switch {
	case !l.open:
		return false
	case !l.begun:
		l.first, l.begun = pts, true
		return false
	case pts > l.first: // none comes behind it
		l.open = false
		return false
	}
	u, err := codec.Classify(l.codec, s.Data)
	return err == nil && u.Picture != codec.RADL
}
