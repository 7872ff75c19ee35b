//go:build cgo

package gstreamer

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/go-gst/go-gst/gst"
	"github.com/go-gst/go-gst/gst/app"
)

// Encoder is one GStreamer pipeline from raw media to access units. Push and
// Close come from one goroutine.
type Encoder struct {
	pipeline *gst.Pipeline
	src      *app.Source
	deliver  func(config []byte, u EncodedUnit)
	shifted  bool // the encoder adds a constant to all times

	mu     sync.Mutex
	pushed bool
	base   time.Duration // that constant; before it is known, the first picture's time
	known  bool
	config []byte
	err    error
}

// NewH264Encoder starts an encoder of I420 pictures (planes without padding).
// deliver is called from GStreamer's thread, in decode order, with the body of
// avcC and the access unit; it must not block for long.
func NewH264Encoder(c H264Config, deliver func(config []byte, u EncodedUnit)) (*Encoder, error) {
	if c.KeyInterval == 0 {
		c.KeyInterval = c.FPS
	}
	if c.Bitrate == 0 {
		c.Bitrate = 800
	}
	if c.Queue == 0 {
		c.Queue = 4
	}
	// One thread and no lookahead: the least delay and the least CPU.
	tune := "tune=zerolatency bframes=0"
	if c.BFrames > 0 {
		tune = fmt.Sprintf("bframes=%d b-adapt=false sync-lookahead=0 rc-lookahead=0 mb-tree=false", c.BFrames)
	}
	return newEncoder(fmt.Sprintf("appsrc name=src format=time block=true max-bytes=%d"+
		" caps=video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1"+
		" ! x264enc threads=1 speed-preset=superfast bitrate=%d key-int-max=%d option-string=scenecut=0 %s"+
		" ! h264parse ! video/x-h264,stream-format=avc,alignment=au"+
		" ! appsink name=sink sync=false max-buffers=%d",
		c.Width*c.Height*3/2*c.Queue, c.Width, c.Height, c.FPS, c.Bitrate, c.KeyInterval, tune, c.KeyInterval),
		true, deliver, "appsrc", "x264enc", "h264parse")
}

// NewAACEncoder starts an encoder of interleaved 16-bit little-endian samples
// to AAC-LC. deliver is called as that of [NewH264Encoder], with the
// AudioSpecificConfig.
func NewAACEncoder(c AACConfig, deliver func(config []byte, u EncodedUnit)) (*Encoder, error) {
	if c.Bitrate == 0 {
		c.Bitrate = 64000
	}
	if c.Queue == 0 {
		c.Queue = 1
	}
	if err := Init(); err != nil {
		return nil, err
	}
	enc := "avenc_aac"
	if !Has(enc) && Has("voaacenc") {
		enc = "voaacenc"
	}
	return newEncoder(fmt.Sprintf("appsrc name=src format=time block=true max-bytes=%d"+
		" caps=audio/x-raw,format=S16LE,layout=interleaved,rate=%d,channels=%d"+
		" ! audioconvert ! %s bitrate=%d ! aacparse ! audio/mpeg,mpegversion=4,stream-format=raw"+
		" ! appsink name=sink sync=false max-buffers=64",
		c.SampleRate*c.Channels*2*c.Queue, c.SampleRate, c.Channels, enc, c.Bitrate),
		false, deliver, "appsrc", "audioconvert", enc, "aacparse")
}

func newEncoder(launch string, shifted bool, deliver func([]byte, EncodedUnit), elements ...string) (*Encoder, error) {
	if err := Init(); err != nil {
		return nil, err
	}
	if err := Require(elements...); err != nil {
		return nil, err
	}
	p, err := gst.NewPipelineFromString(launch)
	if err != nil {
		return nil, fmt.Errorf("gstreamer: make encoder: %w", err)
	}
	src, err := p.GetElementByName("src")
	if err != nil {
		return nil, fmt.Errorf("gstreamer: make encoder: %w", err)
	}
	sink, err := p.GetElementByName("sink")
	if err != nil {
		return nil, fmt.Errorf("gstreamer: make encoder: %w", err)
	}
	e := &Encoder{pipeline: p, src: app.SrcFromElement(src), deliver: deliver, shifted: shifted}
	app.SinkFromElement(sink).SetCallbacks(&app.SinkCallbacks{NewSampleFunc: e.sample})
	if err := p.SetState(gst.StatePlaying); err != nil {
		_ = p.SetState(gst.StateNull)
		return nil, fmt.Errorf("gstreamer: start encoder: %w", err)
	}
	return e, nil
}

// Push encodes one picture or one run of sound samples. It copies data, and
// blocks while the queue is full.
func (e *Encoder) Push(data []byte, pts, duration time.Duration) error {
	e.mu.Lock()
	err := e.err
	if !e.pushed && e.shifted {
		// x264enc moves all times by a constant, so that no DTS is below zero. The
		// first unit that comes out is the first picture that went in; other pictures
		// may go in before.
		e.base = pts
	}
	e.pushed = true
	e.mu.Unlock()
	if err != nil {
		return err
	}
	b := gst.NewBufferFromBytes(data)
	b.SetPresentationTimestamp(gst.ClockTime(pts))
	b.SetDuration(gst.ClockTime(duration))
	r := e.src.PushBuffer(b) // takes a reference of its own
	runtime.SetFinalizer(b, nil)
	b.Unref() // at once: the garbage collector does not know its size
	if r != gst.FlowOK {
		return fmt.Errorf("gstreamer: push to encoder: %w", e.failure(r))
	}
	return nil
}

// failure returns the error on the bus, or else the flow return.
func (e *Encoder) failure(r gst.FlowReturn) error {
	bus := e.pipeline.GetPipelineBus()
	for m := bus.Pop(); m != nil; m = bus.Pop() {
		if m.Type() == gst.MessageError {
			return m.ParseError()
		}
	}
	return errors.New(r.String())
}

// sample runs on GStreamer's thread.
func (e *Encoder) sample(s *app.Sink) gst.FlowReturn {
	sample := s.PullSample()
	if sample == nil {
		return gst.FlowEOS
	}
	b := sample.GetBuffer()
	if b == nil {
		return gst.FlowOK
	}
	u := EncodedUnit{
		PTS: time.Duration(b.PresentationTimestamp()), DTS: time.Duration(b.DecodingTimestamp()),
		Sync: !b.HasFlags(gst.BufferFlagDeltaUnit), Data: b.Bytes(),
	}
	runtime.SetFinalizer(b, nil)
	defer b.Unref()
	if b.DecodingTimestamp() == gst.ClockTimeNone {
		u.DTS = u.PTS
	}
	e.mu.Lock()
	if e.config == nil {
		if e.config = codecData(unsafe.Pointer(sample.Instance())); e.config == nil {
			e.err = errNoConfig
			e.mu.Unlock()
			return gst.FlowError
		}
	}
	if !e.known && e.shifted {
		e.base = u.PTS - e.base
	}
	e.known = true
	config, base := e.config, e.base
	e.mu.Unlock()
	u.PTS -= base
	u.DTS -= base
	e.deliver(config, u)
	return gst.FlowOK
}

// Close ends the pipeline. After it nothing is delivered. It may be called more
// than once.
func (e *Encoder) Close() error {
	if err := e.pipeline.SetState(gst.StateNull); err != nil {
		return fmt.Errorf("gstreamer: stop encoder: %w", err)
	}
	return nil
}
