// Package video gives processors the pictures of a fragment, and makes fragments of
// pictures. It uses GStreamer: programs that import it are built with cgo.
//
// Everything is lazy and bounded: pictures are decoded while the loop over them runs, a few
// ahead, and leaving the loop ends the decoder. What hardware can do is done in hardware
// unless Options and Encoding say otherwise. Which element works is logged once, to
// slog.Default; hardware that fails is replaced by software, with one warning.
package video

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// Format is how the pixels of a picture lie in memory.
type Format string

// The formats.
const (
	// I420 has a plane of Y, then one of U and one of V with half the width and height,
	// rounded up; a byte a value. Values and matrix are those of the source.
	I420 Format = "I420"
	// Gray8 is the plane of Y alone. In most streams black is 16 and white 235; in MJPEG,
	// and in others that say so, 0 and 255.
	Gray8 Format = "Gray8"
	RGB   Format = "RGB" // 3 bytes a pixel, from 0 to 255
	BGR   Format = "BGR"
)

// Bytes returns how long Picture.Data is for pictures of a size; 0 if f is not known.
func (f Format) Bytes(width, height int) int {
	switch f {
	case I420:
		return width*height + 2*((width+1)/2)*((height+1)/2)
	case Gray8:
		return width * height
	case RGB, BGR:
		return 3 * width * height
	}
	return 0
}

// Options are the pictures that are wanted. The zero value: all, as they are, in I420.
type Options struct {
	// Width and Height are the size in pixels. If one of them is 0, it follows from the
	// other, and is even; if both are, pictures have the size of the source.
	Width, Height int
	// FPS is how many pictures a second are wanted at most. There is one for each multiple
	// of 1/FPS seconds of media time, the picture that is shown then, and its PTS is that
	// time; but no picture comes twice. So pictures are evenly spaced over fragments too. 0:
	// all pictures, with their own PTS.
	FPS float64
	// Format defaults to I420.
	Format Format
	// Keyframes leaves out all pictures that need others to be decoded.
	Keyframes bool
	// Hardware is which decoders may be used: "" for any, "software", or a kind of hardware:
	// "va", "vaapi", "nvidia", "v4l2".
	Hardware string
}

// Picture is a decoded picture.
type Picture struct {
	PTS      int64 // when it is shown: media time, in ticks of schemas.MediaTimescale
	Duration int64 // how long, in the same ticks
	Width    int
	Height   int
	Format   Format
	// Data is the planes of the picture without padding, Format.Bytes long. It may be
	// changed. It is valid until the loop's next iteration: see Clone.
	Data []byte

	// What an encoder has to know, of decoded pictures.
	aspect      gstreamer.Aspect
	colorimetry string
}

// Clone returns a copy that stays valid.
func (p *Picture) Clone() *Picture {
	c := *p
	c.Data = slices.Clone(p.Data)
	return &c
}

// gst returns how GStreamer names a format.
func (f Format) gst() string { return strings.ToUpper(string(f)) }

// decoding checks what is wanted of a fragment, and says it to a decoder.
func (o Options) decoding(in *processors.Fragment) (gstreamer.Decoding, error) {
	if o.Format.Bytes(1, 1) == 0 {
		return gstreamer.Decoding{}, fmt.Errorf("video: format %q is not known; choose I420, Gray8, RGB or BGR", o.Format)
	}
	if err := checkWanted(o.Width, o.Height, o.FPS); err != nil {
		return gstreamer.Decoding{}, err
	}
	d, err := decodingOf(in, o.Hardware)
	d.Format = o.Format.gst()
	d.ScaleWidth, d.ScaleHeight = size(d.Width, d.Height, o.Width, o.Height)
	return d, err
}

// maxSize is the largest width and height, and maxRate the most pictures a second.
const (
	maxSize = 16384
	maxRate = 1000
)

// checkWanted checks a size and a rate that are wanted.
func checkWanted(width, height int, fps float64) error {
	if width < 0 || height < 0 || width > maxSize || height > maxSize {
		return fmt.Errorf("video: pictures of %dx%d; a side has 0 to %d pixels", width, height, maxSize)
	}
	if fps != 0 && !(fps >= 0.001 && fps <= maxRate) { // NaN is refused too
		return fmt.Errorf("video: %g pictures a second; 0 to %d are possible", fps, maxRate)
	}
	return nil
}

// decodingOf says what a fragment is to a decoder that gives pictures as they are.
func decodingOf(in *processors.Fragment, hardware string) (gstreamer.Decoding, error) {
	t := in.Video()
	if t == nil {
		return gstreamer.Decoding{}, fragmentError(in, errNoPictures)
	}
	if !t.Codec.Video() {
		return gstreamer.Decoding{}, fragmentError(in, fmt.Errorf("%q is no codec of pictures", t.Codec))
	}
	return gstreamer.Decoding{
		Codec: t.Codec, Config: t.Config, Width: int(t.Width), Height: int(t.Height), Hardware: hardware,
	}, nil
}

// size returns the size of pictures of w x h where wantW x wantH is wanted; 0x0: as they
// are. A side that follows from the other is even.
func size(w, h, wantW, wantH int) (int, int) {
	switch {
	case wantW == 0 && wantH == 0, wantW != 0 && wantH != 0:
		return wantW, wantH
	case w == 0 || h == 0: // not known
		return max(wantW, wantH), max(wantW, wantH)
	case wantH == 0:
		return wantW, even(float64(wantW) * float64(h) / float64(w))
	default:
		return even(float64(wantH) * float64(w) / float64(h)), wantH
	}
}

// even returns the nearest even number from 2 on.
func even(x float64) int { return max(2, 2*int(math.Round(x/2))) }

var errNoPictures = errors.New("it has no pictures")

// fragmentError adds the fragment to an error.
func fragmentError(in *processors.Fragment, err error) error {
	return fmt.Errorf("video: fragment %d of %s: %w", in.Seq, in.Camera, err)
}

// sourceRate returns the pictures a second of a chunk.
func sourceRate(c *schemas.Chunk) float64 {
	var ticks int64
	for _, s := range c.Video() {
		ticks += int64(s.Duration)
	}
	if ticks == 0 {
		return 1
	}
	return float64(len(c.Video())) * schemas.MediaTimescale / float64(ticks)
}

// CheckHardware returns an error if s is no value for Options.Hardware and
// Encoding.Hardware.
func CheckHardware(s string) error { return gstreamer.CheckHardware(s) }
