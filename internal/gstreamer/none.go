//go:build !cgo

package gstreamer

import (
	"context"
	"errors"
	"time"

	"github.com/framelog/framelog/internal/rtspconn"
)

// errNone is the error of everything here. Nothing can be opened without GStreamer, so no
// method of these types is ever called.
var errNone = errors.New("gstreamer: this framelog is built without GStreamer; use one that is built with cgo (the image framelog, not framelog-slim)")

// Built tells whether GStreamer is part of this binary.
const Built = false

// Init returns an error.
func Init() error { return errNone }

// Require returns an error.
func Require(...string) error { return errNone }

// Has returns false.
func Has(string) bool { return false }

type decoder interface {
	Element() string
	Push(ctx context.Context, data []byte, pts, dts int64, sync bool) error
	End()
	Next(ctx context.Context) (*Frame, error)
	Warning() string
	Hardware() bool
	Worked()
	Failed(err error)
	Close()
}

// Decoder decodes access units.
type Decoder struct{ decoder }

// NewDecoder returns an error.
func NewDecoder(Decoding) (*Decoder, error) { return nil, errNone }

type frame interface {
	Copy(buf []byte) ([]byte, error)
	Colorimetry() string
	Release()
}

// Frame is a picture.
type Frame struct {
	frame
	PTS           int64
	Width, Height int
	Aspect        Aspect
}

type encoder interface {
	Push(data []byte, pts, duration time.Duration) error
	Close() error
}

// Encoder encodes pictures or sound.
type Encoder struct{ encoder }

// NewH264Encoder returns an error.
func NewH264Encoder(H264Config, func(config []byte, u EncodedUnit)) (*Encoder, error) {
	return nil, errNone
}

// NewAACEncoder returns an error.
func NewAACEncoder(AACConfig, func(config []byte, u EncodedUnit)) (*Encoder, error) {
	return nil, errNone
}

type pictureEncoder interface {
	Push(ctx context.Context, data []byte, pts int64) error
	PushFrame(ctx context.Context, f *Frame, pts int64) error
	PushAgain(ctx context.Context, pts int64) error
	End()
	Immediate() bool
	Poll() (u EncodedUnit, ok bool, err error)
	Next(ctx context.Context) (EncodedUnit, error)
	Config() []byte
	Worked()
	Failed(err error)
	Close()
}

// PictureEncoder encodes the pictures of a fragment.
type PictureEncoder struct{ pictureEncoder }

// NewPictureEncoder returns an error.
func NewPictureEncoder(Encoding, Pictures, *Frame) (*PictureEncoder, error) { return nil, errNone }

type rtspConnection interface {
	Take() []rtspconn.Item
	Dropped() uint64
	Done() <-chan struct{}
	Err() error
	Playing() bool
	Selected() []rtspconn.Track
	Start(track uint8) (s rtspconn.Start, clockRate uint32, ok bool)
	Report(track uint8) (rtspconn.Report, bool)
	SoundArrived() time.Time
	NoSound() (encoding string, err error)
	Close(limit time.Duration) error
}

// RTSP is a connection to a camera.
type RTSP struct{ rtspConnection }

// OpenRTSP returns an error.
func OpenRTSP(rtspconn.Options) (*RTSP, error) { return nil, errNone }
