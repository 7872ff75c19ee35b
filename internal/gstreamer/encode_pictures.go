package gstreamer

/*
#include "pipe.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/framelog/framelog/schemas"
)

// encodeQueue is how many pictures wait for a PictureEncoder, and how many units for Next.
const encodeQueue = 4

// PictureEncoder turns the pictures of one fragment into access units: an IDR and what
// follows it, in the order in which they are shown. All methods are called by one
// goroutine.
type PictureEncoder struct {
	pipe    *pipe
	element coder
	config  []byte
	units   []EncodedUnit // that came while Push waited
}

// NewPictureEncoder starts an encoder. first is the first picture if pictures are pushed
// as frames; else nil. Errors: *MissingError; that the element does not start.
func NewPictureEncoder(e Encoding, in Pictures, first *Frame) (*PictureEncoder, error) {
	return start(encoders, e.Codec, e.Hardware, func(el coder) (*PictureEncoder, error) { return newPictureEncoder(e, in, first, el) })
}

func newPictureEncoder(e Encoding, in Pictures, first *Frame, el coder) (*PictureEncoder, error) {
	if in.Aspect.N <= 0 || in.Aspect.D <= 0 {
		in.Aspect = Aspect{1, 1}
	}
	caps := fmt.Sprintf("video/x-raw,format=%s,width=%d,height=%d,pixel-aspect-ratio=%d/%d,framerate=%d/1", in.Format, in.Width, in.Height, in.Aspect.N, in.Aspect.D, in.FPS)
	if in.Colorimetry != "" {
		caps += ",colorimetry=" + in.Colorimetry
	}
	if first != nil {
		caps = goText(C.fl_sample_caps(first.sample, C.int(in.FPS)))
	}
	scale := func(format string, keep bool) string {
		return " ! " + convert(fmt.Sprintf("video/x-raw,format=%s,width=%d,height=%d,pixel-aspect-ratio=%d/%d", format, e.Width, e.Height, in.Aspect.N, in.Aspect.D), keep)
	}
	launch := pipeSource(encodeQueue)
	needs := []string{"appsrc", "videoconvertscale"}
	if e.Codec == schemas.MJPEG {
		// JPEG has all values, and BT.601 (JFIF). GStreamer converts the range of values only
		// together with the format.
		launch += scale("RGB", false) + " ! videoconvert ! video/x-raw,format=" + el.input + ",colorimetry=1:4:0:0 ! " + el.name + " " + el.settings(e)
		needs = append(needs, "videoconvert")
	} else {
		launch += scale(el.input, true) + " ! " + el.name + " " + el.settings(e) + " ! h264parse ! video/x-h264,stream-format=avc,alignment=au"
		needs = append(needs, "h264parse")
	}
	if err := Require(needs...); err != nil {
		return nil, err
	}
	p, err := newPipe(launch+" ! "+pipeSink(encodeQueue), caps, nil, encodeQueue, false)
	if err != nil {
		return nil, fmt.Errorf("gstreamer: start encoder %s: %w", el.name, err)
	}
	return &PictureEncoder{pipe: p, element: el}, nil
}

// Push gives the next picture: planes without padding, and its time in ticks from any zero
// that is near. It waits while the queue is full.
func (e *PictureEncoder) Push(ctx context.Context, data []byte, pts int64) error {
	return e.push(ctx, func() error { return e.pipe.push(data, pts, pts, true) })
}

// PushFrame is Push without a copy. f may be released then.
func (e *PictureEncoder) PushFrame(ctx context.Context, f *Frame, pts int64) error {
	return e.push(ctx, func() error { return e.pipe.pushSample(f.sample, pts) })
}

// PushAgain gives the last picture again, with another time.
func (e *PictureEncoder) PushAgain(ctx context.Context, pts int64) error {
	return e.push(ctx, func() error { return e.pipe.pushAgain(pts) })
}

// push takes what is encoded until there is room for another picture: the encoder does not
// go on while the queue of units is full.
func (e *PictureEncoder) push(ctx context.Context, push func() error) error {
	for {
		s, info, err := e.pipe.poll()
		switch {
		case err != nil:
			return e.wrap(err)
		case s != nil:
			u, err := e.unit(s, info)
			if err != nil {
				return err
			}
			e.units = append(e.units, u)
			continue
		case !e.pipe.full():
			return e.wrap(push())
		}
		select {
		case <-e.pipe.room:
		case <-e.pipe.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// End tells that no picture follows.
func (e *PictureEncoder) End() { e.pipe.end() }

// Immediate reports whether the unit of each picture comes before the next picture is
// pushed.
func (e *PictureEncoder) Immediate() bool { return e.element.family == Software }

// Poll returns the access unit of the next picture, if it is there: NAL units with 4-byte
// lengths, or a JPEG image. Its times have no meaning.
func (e *PictureEncoder) Poll() (u EncodedUnit, ok bool, err error) {
	if len(e.units) > 0 {
		u, e.units = e.units[0], e.units[1:]
		return u, true, nil
	}
	s, info, err := e.pipe.poll()
	if err != nil || s == nil {
		return EncodedUnit{}, false, e.wrap(err)
	}
	u, err = e.unit(s, info)
	return u, err == nil, err
}

// Next waits for what Poll returns. It returns io.EOF behind the last unit.
func (e *PictureEncoder) Next(ctx context.Context) (EncodedUnit, error) {
	if u, ok, err := e.Poll(); ok || err != nil {
		return u, err
	}
	s, info, err := e.pipe.pull(ctx)
	if err != nil {
		return EncodedUnit{}, e.wrap(err)
	}
	return e.unit(s, info)
}

// unit copies a sample, and frees it.
func (e *PictureEncoder) unit(s *C.GstSample, info C.FlSample) (EncodedUnit, error) {
	defer C.gst_sample_unref(s)
	if e.config == nil && e.element.codec == schemas.H264 {
		if e.config = codecData(unsafe.Pointer(s)); e.config == nil {
			return EncodedUnit{}, e.wrap(errNoConfig)
		}
	}
	u := EncodedUnit{Sync: info.delta == 0, Data: make([]byte, int(info.size))}
	if C.fl_sample_copy(s, 0, C.gpointer(unsafe.Pointer(unsafe.SliceData(u.Data)))) == 0 {
		return EncodedUnit{}, e.wrap(errors.New("a unit cannot be read"))
	}
	return u, nil
}

// Config returns the decoder configuration, as schemas.Track.Config, once Next has given a
// unit.
func (e *PictureEncoder) Config() []byte { return e.config }

// Worked is as that of Decoder.
func (e *PictureEncoder) Worked() { usable.work(e.element) }

// Failed is as that of Decoder.
func (e *PictureEncoder) Failed(err error) { usable.fail(e.element, 1, err) }

func (e *PictureEncoder) wrap(err error) error { return wrapElement(e.element, err) }

// wrapElement adds the element to an error, except to those of contexts and of ends.
func wrapElement(e coder, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("gstreamer: %s: %w", e.name, err)
}

// Close ends the encoder at once.
func (e *PictureEncoder) Close() { e.pipe.close() }
