// Package gstreamer is the only importer of go-gst. Other packages use
// GStreamer through it, so that the binding can be replaced.
//
// A binary that is built without cgo has no GStreamer (none.go): what needs it ends with
// an error.
package gstreamer

import (
	"fmt"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// MissingError lists elements that are not installed.
type MissingError struct {
	Elements []string
	Packages []string // Debian and Ubuntu packages that hold them
}

// Error names the elements and the command that installs them.
func (e *MissingError) Error() string {
	return fmt.Sprintf("gstreamer: missing element %s; install with: apt-get install %s",
		strings.Join(e.Elements, ", "), strings.Join(e.Packages, " "))
}

// Decoding is what a [Decoder] gets and gives.
type Decoding struct {
	Codec         schemas.Codec // H264, H265 or MJPEG
	Config        []byte        // decoder configuration, as schemas.Track.Config
	Width, Height int           // of the track; 0: not known
	// Reorder: pictures are decoded in another order than they are shown, and the
	// decoder configuration does not say how far they move. The decoder then holds back as
	// many as it may have to.
	Reorder bool
	// Recovery: the first picture is no IDR, but a recovery point of H.264.
	Recovery bool
	// Format is that of the pictures, as GStreamer names it: I420, GRAY8, RGB, BGR. Empty:
	// whatever the decoder gives, and Scale does not count.
	Format string
	// ScaleWidth and ScaleHeight are the size of the pictures. 0: as decoded.
	ScaleWidth, ScaleHeight int
	// Hardware is the family of decoders to use: see [CheckHardware].
	Hardware string
}

// Aspect is the width of a pixel over its height.
type Aspect struct{ N, D int }

// EncodedUnit is one access unit that an [Encoder] made.
type EncodedUnit struct {
	PTS  time.Duration // as pushed; for AAC that of the frame's first sample, including the encoder's delay
	DTS  time.Duration // may be below zero if there are B-frames
	Sync bool
	Data []byte // NAL units with 4-byte lengths, or a raw AAC frame; it belongs to the receiver
}

// H264Config is the settings of an encoder of pictures.
type H264Config struct {
	Width, Height int // pixels, even
	FPS           int // pictures a second
	// BFrames is how many B-frames may stand between two others. 0 (the
	// default) encodes without any delay.
	BFrames int
	// KeyInterval is the pictures of a GOP. It defaults to FPS.
	KeyInterval int
	// Bitrate in kbit/s. It defaults to 800.
	Bitrate int
	// Queue is how many pictures may wait for the encoder; a push beyond it
	// blocks. It defaults to 4.
	Queue int
}

// AACConfig is the settings of an encoder of sound.
type AACConfig struct {
	SampleRate int // Hz
	Channels   int
	// Bitrate in bit/s. It defaults to 64000.
	Bitrate int
	// Queue is the seconds of sound that may wait for the encoder; a push
	// beyond it blocks. It defaults to 1.
	Queue int
}

// Encoding is how a [PictureEncoder] encodes.
type Encoding struct {
	Codec         schemas.Codec // H264 or MJPEG
	Bitrate       int           // bit/s, of H264
	Quality       int           // 1 to 100, of MJPEG
	Width, Height int           // even in H264; pictures of another size are scaled
	Hardware      string        // the family of encoders to use: see [CheckHardware]
}

func (e Encoding) kbits() int { return max(1, (e.Bitrate+500)/1000) }

// Pictures describes what is pushed into a [PictureEncoder].
type Pictures struct {
	Format        string // as GStreamer names it
	Width, Height int
	Aspect        Aspect // zero: 1:1
	Colorimetry   string // as GStreamer names it; empty: its default
	FPS           int    // pictures a second, rounded
}
