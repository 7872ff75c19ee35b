package gstreamer

/*
#include "pipe.h"
*/
import "C"

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/framelog/framelog/schemas"
)

// Queues of a Decoder: access units that wait to be decoded, and pictures that wait for
// Next. A decoder holds its own reference pictures beside.
const (
	unitQueue    = 8
	pictureQueue = 4
)

// Decoder turns the access units of one fragment into pictures. Push and End come from
// one goroutine, Next from one; Close when both have returned.
type Decoder struct {
	pipe    *pipe
	element coder
}

// parsers by codec: they tell decoders what a stream is, and convert its form.
var parsers = map[schemas.Codec]string{schemas.H264: "h264parse ! ", schemas.H265: "h265parse ! "}

// NewDecoder starts a decoder. Errors: *MissingError; that the element does not start.
func NewDecoder(d Decoding) (*Decoder, error) {
	return start(decoders, d.Codec, d.Hardware, func(e coder) (*Decoder, error) { return newDecoder(d, e) })
}

func newDecoder(d Decoding, e coder) (*Decoder, error) {
	launch := pipeSource(unitQueue) + " ! " + parsers[d.Codec] + e.name
	if e.args != nil {
		launch += " " + e.args(d)
	}
	launch += " ! video/x-raw ! deinterlace fields=top" // not in a device's memory
	needs := []string{"appsrc", "h264parse", "h265parse", "deinterlace"}
	if d.Format != "" {
		caps := "video/x-raw,format=" + d.Format
		if d.ScaleWidth > 0 {
			caps += fmt.Sprintf(",width=%d,height=%d", d.ScaleWidth, d.ScaleHeight)
		}
		launch += " ! " + convert(caps, d.Format == "I420" || d.Format == "GRAY8")
		needs = append(needs, "videoconvertscale")
	}
	if err := Require(needs...); err != nil {
		return nil, err
	}
	p, err := newPipe(launch+" ! "+pipeSink(pictureQueue), streamCaps(d), d.Config, unitQueue, true)
	if err != nil {
		return nil, fmt.Errorf("gstreamer: start decoder %s: %w", e.name, err)
	}
	return &Decoder{pipe: p, element: e}, nil
}

func streamCaps(d Decoding) string {
	caps := map[schemas.Codec]string{
		schemas.H264:  "video/x-h264,stream-format=avc,alignment=au",
		schemas.H265:  "video/x-h265,stream-format=hvc1,alignment=au",
		schemas.MJPEG: "image/jpeg,framerate=0/1",
	}[d.Codec]
	if d.Width > 0 && d.Height > 0 {
		caps += fmt.Sprintf(",width=%d,height=%d", d.Width, d.Height)
	}
	return caps
}

// Element returns the name of the element that decodes.
func (d *Decoder) Element() string { return d.element.name }

// Push gives the next access unit, with times in ticks of schemas.MediaTimescale from any
// zero that is near. It waits while the queue is full.
func (d *Decoder) Push(ctx context.Context, data []byte, pts, dts int64, sync bool) error {
	err := d.pipe.waitRoom(ctx)
	if err == nil {
		err = d.pipe.push(data, pts, dts, sync)
	}
	return d.wrap(err)
}

// End tells that no unit follows. The pictures that are left come then.
func (d *Decoder) End() { d.pipe.end() }

// Next waits for the next picture, in the order in which they are shown. It returns io.EOF
// behind the last one.
func (d *Decoder) Next(ctx context.Context) (*Frame, error) {
	s, info, err := d.pipe.pull(ctx)
	if err != nil {
		return nil, d.wrap(err)
	}
	return &Frame{
		PTS: pipeTicks(info.pts), Width: int(info.width), Height: int(info.height),
		Aspect: Aspect{int(info.par_n), int(info.par_d)}, sample: s, size: int(info.size),
	}, nil
}

func (d *Decoder) wrap(err error) error { return wrapElement(d.element, err) }

// Warning returns what an element complained about last, "" if none did.
func (d *Decoder) Warning() string { return d.pipe.warning() }

// Hardware reports whether it decodes in hardware.
func (d *Decoder) Hardware() bool { return d.element.family != Software }

// Worked tells that it has decoded a picture, Failed that software decoded what it did not.
// Hardware that fails again and again is not used any more.
func (d *Decoder) Worked() { usable.work(d.element) }

// Failed is described at Worked.
func (d *Decoder) Failed(err error) { usable.fail(d.element, 1, err) }

// Close ends the decoder at once.
func (d *Decoder) Close() { d.pipe.close() }

// Frame is a picture in GStreamer's memory. Release it.
type Frame struct {
	PTS           int64 // ticks, as pushed
	Width, Height int
	Aspect        Aspect

	sample *C.GstSample
	size   int
}

// Copy copies the planes of the picture, without padding, into buf, which grows if it has
// to.
func (f *Frame) Copy(buf []byte) ([]byte, error) {
	if cap(buf) < f.size {
		buf = make([]byte, f.size)
	}
	buf = buf[:f.size]
	if C.fl_sample_copy(f.sample, 1, C.gpointer(unsafe.Pointer(unsafe.SliceData(buf)))) == 0 {
		return nil, fmt.Errorf("gstreamer: picture at %d cannot be read", f.PTS)
	}
	return buf, nil
}

// Colorimetry names the colours of the picture, as GStreamer does.
func (f *Frame) Colorimetry() string { return goText(C.fl_sample_colorimetry(f.sample)) }

// Release frees the picture.
func (f *Frame) Release() { C.gst_sample_unref(f.sample) }
