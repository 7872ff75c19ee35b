package video

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// rates are the rates that an encoder is told. A decoder configuration names the rate, and
// must not change with each small change of the camera's.
var rates = []float64{1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120}

// nominal returns the rate that is nearest.
func nominal(fps float64) int {
	best := rates[0]
	for _, r := range rates {
		if math.Abs(math.Log(r/fps)) < math.Abs(math.Log(best/fps)) {
			best = r
		}
	}
	return int(best)
}

// track makes the chunks of one encoding.
type track struct {
	in    *processors.Fragment
	e     Encoding
	cut   *cutter
	grid  *grid // nil: all pictures
	enc   *gstreamer.PictureEncoder
	shape shape // of the first picture

	video   schemas.Track
	steps   []step           // what is done by and by
	ends    int              // of chunks, in steps
	samples []schemas.Sample // of the open chunk
	begun   bool             // a chunk was yielded
}

func newTrack(in *processors.Fragment, source *chunks, e Encoding) (*track, error) {
	e, err := e.withDefaults()
	if err == nil && in.Video() == nil {
		err = fragmentError(in, errNoPictures)
	}
	if err != nil {
		return nil, err
	}
	t := &track{in: in, e: e, cut: &cutter{source: source, in: in, merge: e.Codec == schemas.MJPEG}}
	if e.FPS > 0 {
		t.grid = newGrid(e.FPS)
	}
	return t, nil
}

func (t *track) close() {
	if t.enc != nil {
		t.enc.Close()
	}
}

// start makes the encoder when the first picture is known.
func (t *track) start(p image, duration int64) error {
	c, err := t.cut.source.at(0)
	if err != nil {
		return err
	}
	fps := sourceRate(c)
	if d := schemas.MediaTimescale / float64(max(1, duration)); d < 0.7*fps {
		fps = d // pictures were left out
	}
	if t.e.FPS > 0 {
		fps = min(fps, t.e.FPS)
	}
	t.shape = p.shape()
	width, height := t.e.size(t.shape.w, t.shape.h)
	e := gstreamer.Encoding{Codec: t.e.Codec, Quality: t.e.Quality, Width: width, Height: height, Hardware: t.e.Hardware}
	told := nominal(fps)
	if e.Bitrate = t.e.Bitrate; e.Bitrate == 0 {
		e.Bitrate = int(float64(width*height) * fps / 10)
	}
	e.Bitrate = int(float64(e.Bitrate) * float64(told) / fps) // an encoder counts pictures, not seconds
	t.video = schemas.Track{
		ID: schemas.VideoTrack, Codec: t.e.Codec, Timescale: schemas.MediaTimescale, Width: uint16(width), Height: uint16(height),
	}
	t.enc, err = p.start(e, told)
	return err
}

// size returns the size of the output for pictures of w x h.
func (e Encoding) size(w, h int) (int, int) {
	width, height := size(w, h, e.Width, e.Height)
	if width == 0 || width > w || height > h {
		width, height = w, h
	}
	if e.Codec == schemas.H264 {
		width, height = max(2, width&^1), max(2, height&^1)
	}
	return width, height
}

// add encodes a picture.
func (t *track) add(ctx context.Context, p image) error {
	pts, duration := p.times()
	if t.grid != nil && t.enc == nil {
		duration = t.grid.takeFirst(pts, duration) - pts
	} else if t.grid != nil {
		at, until, ok := t.grid.take(pts, duration)
		if !ok {
			return nil
		}
		pts, duration = at, until-at
	}
	if t.enc == nil {
		if err := t.start(p, duration); err != nil {
			return fragmentError(t.in, err)
		}
	} else if p.shape() != t.shape {
		return fragmentError(t.in, errors.New("pictures to encode must all have one size and format"))
	}
	steps, err := t.cut.add(pts, duration)
	if errors.Is(err, errOrder) {
		return fragmentError(t.in, err)
	}
	if err != nil {
		return err
	}
	return t.do(ctx, steps, p)
}

// do gives pictures to the encoder.
func (t *track) do(ctx context.Context, steps []step, p image) error {
	for _, s := range steps {
		var err error
		switch {
		case s.end != nil:
			t.ends++
		case s.repeat:
			err = t.enc.PushAgain(ctx, s.pts-t.in.Media)
		default:
			err = p.push(ctx, t.enc, s.pts-t.in.Media)
		}
		if err != nil {
			return t.failed(ctx, err)
		}
		t.steps = append(t.steps, s)
	}
	return nil
}

// failed is an error of the encoder. The next attempt may have another one.
func (t *track) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.enc.Failed(err)
	return fragmentError(t.in, err)
}

// finish encodes what is left.
func (t *track) finish(ctx context.Context, yield func(*schemas.Chunk) bool) error {
	steps, err := t.cut.finish()
	if err != nil || t.enc == nil {
		return err
	}
	if err := t.do(ctx, steps, nil); err != nil {
		return err
	}
	t.enc.End()
	return t.collect(ctx, true, yield)
}

// collect yields the chunks that are finished. It waits for chunks whose pictures the
// encoder has, except with hardware that may hold them back; with all it waits for these
// too.
func (t *track) collect(ctx context.Context, all bool, yield func(*schemas.Chunk) bool) error {
	for len(t.steps) > 0 {
		s := t.steps[0]
		if s.end != nil {
			t.steps = t.steps[1:]
			t.ends--
			if !yield(t.chunk(s)) {
				return errStopped
			}
			continue
		}
		u, ok, err := t.unit(ctx, all || t.ends > 0 && t.enc.Immediate())
		if err != nil {
			return t.failed(ctx, err)
		}
		if !ok {
			return nil
		}
		if !t.begun && len(t.samples) == 0 {
			t.enc.Worked()
		}
		t.steps = t.steps[1:]
		t.samples = append(t.samples, schemas.Sample{
			DTS: s.dts, PTSOffset: int32(s.pts - s.dts), Sync: u.Sync, Data: u.Data,
		})
	}
	return nil
}

// unit returns the next access unit; ok is false if there is none yet.
func (t *track) unit(ctx context.Context, wait bool) (u gstreamer.EncodedUnit, ok bool, err error) {
	if wait {
		u, err = t.enc.Next(ctx)
		ok = err == nil
	} else {
		u, ok, err = t.enc.Poll()
	}
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("the encoder gave fewer pictures than it got")
	case ok && !t.begun && len(t.samples) == 0 && !u.Sync:
		err = errors.New("the encoder did not begin with an IDR")
	}
	return u, ok, err
}

// chunk makes a chunk of the pictures that are done.
func (t *track) chunk(s step) *schemas.Chunk {
	c := &schemas.Chunk{Start: s.end.Start, Captured: s.end.Captured, CameraTime: s.end.CameraTime}
	if s.behind != nil {
		c.Last, c.Ended = s.behind.Last, s.behind.Ended
	}
	if n := len(t.samples); n > 0 {
		for i := range t.samples {
			until := s.at
			if i+1 < n {
				until = t.samples[i+1].DTS
			}
			t.samples[i].Duration = uint32(until - t.samples[i].DTS)
		}
		c.Runs = append(c.Runs, schemas.Run{Track: schemas.VideoTrack, Samples: t.samples})
	} else {
		c.Media, c.Duration = s.end.Media, s.end.Duration
	}
	t.samples = nil
	sound := t.e.Codec == schemas.H264
	for _, r := range s.end.Runs {
		if sound && r.Track == schemas.AudioTrack {
			c.Runs = append(c.Runs, r)
		}
	}
	if !t.begun {
		t.begun = true
		t.video.Config = t.enc.Config()
		c.Tracks = append(c.Tracks, t.video)
		for _, a := range t.in.Tracks {
			if sound && a.ID == schemas.AudioTrack {
				c.Tracks = append(c.Tracks, a)
			}
		}
	}
	return c
}

// image is a picture to encode.
type image interface {
	times() (pts, duration int64)
	shape() shape
	// start makes an encoder for it and those like it.
	start(e gstreamer.Encoding, fps int) (*gstreamer.PictureEncoder, error)
	push(ctx context.Context, e *gstreamer.PictureEncoder, at int64) error
}

// shape is what all pictures of an encoder have in common.
type shape struct {
	w, h   int
	format Format // of pixels in memory of Go
}

func (f frame) times() (pts, duration int64) { return f.at, f.duration }

func (f frame) shape() shape { return shape{w: f.Width, h: f.Height} }

func (f frame) start(e gstreamer.Encoding, fps int) (*gstreamer.PictureEncoder, error) {
	return gstreamer.NewPictureEncoder(e, gstreamer.Pictures{Aspect: f.Aspect, FPS: fps}, f.Frame)
}

func (f frame) push(ctx context.Context, e *gstreamer.PictureEncoder, at int64) error {
	return e.PushFrame(ctx, f.Frame, at)
}

// raw is a picture in memory of Go.
type raw struct{ *Picture }

func (r raw) times() (pts, duration int64) { return r.PTS, r.Duration }

func (r raw) shape() shape { return shape{r.Width, r.Height, r.Format} }

func (r raw) start(e gstreamer.Encoding, fps int) (*gstreamer.PictureEncoder, error) {
	return gstreamer.NewPictureEncoder(e, gstreamer.Pictures{
		Format: r.Format.gst(), Width: r.Width, Height: r.Height, Aspect: r.aspect, Colorimetry: r.colorimetry, FPS: fps,
	}, nil)
}

func (r raw) push(ctx context.Context, e *gstreamer.PictureEncoder, at int64) error {
	return e.Push(ctx, r.Data, at)
}

func (p *Picture) check() error {
	n := p.Format.Bytes(p.Width, p.Height)
	if p.Width <= 0 || p.Height <= 0 || p.Width > maxSize || p.Height > maxSize || n == 0 || n != len(p.Data) {
		return fmt.Errorf("a picture of %dx%d in %q has %d bytes of data, it should have %d", p.Width, p.Height, p.Format, len(p.Data), n)
	}
	return nil
}
