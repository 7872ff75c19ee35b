package gstreamer

/*
#cgo pkg-config: gstreamer-1.0 gstreamer-app-1.0 gstreamer-rtp-1.0 gstreamer-rtsp-1.0 gstreamer-sdp-1.0 gio-2.0
#include "rtsp.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-gst/go-glib/glib"
	"github.com/go-gst/go-gst/gst"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// RTSP is one connection to a camera: rtspsrc, and then for the first video and the
// first audio a depayloader, a parser and an appsink. GStreamer's threads only put
// units into a bounded queue. One goroutine empties it with Take, at its own pace.
// Nothing wakes that goroutine: waking a Go thread for each unit would cost as much
// as all of GStreamer's work on the unit.
//
// Times are not GStreamer's. A probe in C before each depayloader replaces them by
// the extended RTP time. The elements after it keep that time, so neither the
// jitterbuffer's clock nor a sender report changes it.
type RTSP struct {
	opt      rtspconn.Options
	handle   cgo.Handle
	pipeline *gst.Pipeline
	src      *gst.Element
	signals  []glib.SignalHandle
	queue    *rtspconn.Queue

	collecting sync.Mutex // held while units move from waiting to queue; before mu
	waiting    *C.FlQueue // until the pipeline has stopped

	mu           sync.Mutex // guards what follows; held for a short time, never over calls into GStreamer
	selected     []rtspconn.Track
	chains       map[uint8]*rtspChain // of the selected tracks
	linked       map[uint8]bool
	tracks       map[uint8]*rtspTrack
	reports      map[uint32]rtspReport // by SSRC
	playing      bool
	redirected   bool      // to another address, which gets no credentials
	noSound      string    // encoding of sound that was announced and does not come
	noSoundErr   error     // why, if an element failed
	soundStream  uint      // rtspsrc's number of the sound that is selected
	videoStream  uint      // and of the video
	hasVideo     bool      // video is selected
	soundArrived time.Time // its first packet; zero: none yet
	err          error
	done         chan struct{} // closed with err set
	closing      bool

	closeOnce sync.Once
	closeErr  error
}

type rtspTrack struct {
	rtspconn.Track
	ssrc      uint32
	started   bool
	start     rtspconn.Start
	timescale uint32
	codec     schemas.Codec
	delay     int64 // ticks of the timescale that an encoder of ours put before the sound
}

type rtspReport struct {
	time uint32
	ntp  time.Time
}

// OpenRTSP begins to connect and returns at once. Take returns the units, and Done
// reports the end. The caller must Close it. Errors: *MissingError.
func OpenRTSP(opt rtspconn.Options) (*RTSP, error) {
	opt = opt.WithDefaults()
	if err := Init(); err != nil {
		return nil, err
	}
	if err := Require("rtspsrc", "rtpbin", "udpsrc"); err != nil {
		return nil, err
	}
	r := &RTSP{
		opt:     opt,
		queue:   rtspconn.NewQueue(opt.QueueUnits, opt.QueueBytes),
		chains:  map[uint8]*rtspChain{},
		linked:  map[uint8]bool{},
		tracks:  map[uint8]*rtspTrack{},
		reports: map[uint32]rtspReport{},
		done:    make(chan struct{}),
	}
	r.handle = cgo.NewHandle(r)
	r.wait()
	if err := r.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("gstreamer: build RTSP pipeline: %w", err), r.Close(opt.ConnectTimeout))
	}
	if err := r.pipeline.SetState(gst.StatePlaying); err != nil {
		return nil, errors.Join(fmt.Errorf("gstreamer: start RTSP pipeline: %w", err), r.Close(opt.ConnectTimeout))
	}
	return r, nil
}

func (r *RTSP) build() error {
	var err error
	if r.pipeline, err = gst.NewPipeline(""); err != nil {
		return err
	}
	r.watchBus()
	if r.src, err = gst.NewElement("rtspsrc"); err != nil {
		return err
	}
	for name, value := range map[string]any{
		"location": r.opt.Location, "user-id": r.opt.User, "user-pw": r.opt.Password,
		"user-agent": "Framelog",
	} {
		if value == "" {
			continue
		}
		if err := r.src.SetProperty(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	latency, protocols := 0, "tcp"
	if r.opt.UDP {
		latency, protocols = int(r.opt.Latency.Milliseconds()), "udp"
	}
	validate := "validate-all"
	if r.opt.InsecureTLS {
		validate = "no-flags"
	}
	for name, value := range map[string]string{
		"protocols":   protocols,
		"latency":     fmt.Sprint(latency),
		"buffer-mode": "none", // "auto" would hold packets back by the jitterbuffer's times, which are not used
		"ntp-sync":    "false",
		// The caller notices if no data comes.
		"timeout":                "0",
		"tcp-timeout":            fmt.Sprint((r.opt.ConnectTimeout + time.Second).Microseconds()), // the caller's own limit comes first
		"do-retransmission":      "false",
		"tls-validation-flags":   validate,
		"max-rtcp-rtp-time-diff": "-1",
	} {
		r.src.SetArg(name, value)
	}
	C.fl_rtsp_watch_certificate(element(r.src), C.uintptr_t(r.handle))
	C.fl_rtsp_watch_sdp(element(r.src))
	reopen := C.gboolean(0)
	if r.opt.Reopen {
		reopen = 1
	}
	C.fl_rtsp_watch_login(element(r.src), C.uintptr_t(r.handle), reopen)
	if err := r.connect("select-stream", r.selectStream); err != nil {
		return err
	}
	ordered := C.gboolean(0)
	if !r.opt.UDP {
		ordered = 1
	}
	if err := r.connect("new-manager", func(_, manager *gst.Element) {
		C.fl_rtsp_watch_manager(element(manager), C.uintptr_t(r.handle), ordered)
	}); err != nil {
		return err
	}
	if err := r.connect("pad-added", func(_ *gst.Element, pad *gst.Pad) {
		if err := r.addTrack(pad); err != nil {
			r.fail(err)
		}
	}); err != nil {
		return err
	}
	return r.pipeline.Add(r.src)
}

func (r *RTSP) connect(signal string, f any) error {
	h, err := r.src.Connect(signal, f)
	if err != nil {
		return fmt.Errorf("connect %s: %w", signal, err)
	}
	r.signals = append(r.signals, h)
	return nil
}

func element(e *gst.Element) *C.GstElement { return (*C.GstElement)(e.Unsafe()) }

// selectStream selects the first video and the first audio with a known
// encoding.
func (r *RTSP) selectStream(_ *gst.Element, stream uint, caps *gst.Caps) bool {
	t, media := rtspStream(caps)
	if media == "audio" && r.opt.NoAudio {
		return false
	}
	chain := chainOf(t, caps)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.selected {
		if s.ID == t.ID {
			return false
		}
	}
	if t.ID == 0 || chain == nil {
		switch media {
		case "video":
			r.failLocked(&rtspconn.UnsupportedError{Encoding: t.Encoding})
		case "audio":
			r.noSoundLocked(t)
		}
		return false
	}
	r.selected = append(r.selected, t)
	r.chains[t.ID] = chain
	if t.ID == schemas.AudioTrack {
		r.soundStream = stream
	} else {
		r.videoStream, r.hasVideo = stream, true
	}
	return true
}

// rtspStream reads the caps that rtspsrc makes of a media section of SDP.
func rtspStream(caps *gst.Caps) (t rtspconn.Track, media string) {
	s := caps.GetStructureAt(0)
	if v, err := s.GetValue("media"); err == nil {
		media, _ = v.(string)
	}
	if v, err := s.GetValue("encoding-name"); err == nil {
		name, _ := v.(string)
		t.Encoding = strings.ToUpper(name)
	}
	if v, err := s.GetValue("clock-rate"); err == nil {
		if rate, ok := v.(int); ok && rate > 0 {
			t.ClockRate = uint32(rate)
		}
	}
	switch {
	case t.ClockRate == 0:
	case media == "video":
		t.ID = schemas.VideoTrack
		t.FrameTime = rtspFrameTime(s)
	case media == "audio":
		t.ID = schemas.AudioTrack
	}
	return t, media
}

// rtspFrameTime reads the attributes of SDP. Caps have them with "a-" before the
// name, except those that begin with "x-".
func rtspFrameTime(s *gst.Structure) time.Duration {
	for _, name := range []string{"a-framerate", "x-framerate"} {
		v, err := s.GetValue(name)
		if err != nil {
			continue
		}
		text, _ := v.(string)
		if rate, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && rate >= 0.1 && rate <= 1000 {
			return time.Duration(float64(time.Second) / rate)
		}
	}
	return 0
}

// addTrack adds the elements of a stream after its pad. It runs on a thread of
// rtspsrc, before the stream's first packet.
func (r *RTSP) addTrack(pad *gst.Pad) error {
	caps := pad.GetCurrentCaps()
	if caps == nil {
		caps = pad.QueryCaps(nil)
	}
	if caps == nil || caps.GetSize() == 0 {
		return errors.New("gstreamer: add track: stream has no caps")
	}
	t, _ := rtspStream(caps)
	r.mu.Lock()
	chain := r.chains[t.ID]
	r.mu.Unlock()
	if chain == nil {
		return &rtspconn.UnsupportedError{Encoding: t.Encoding}
	}
	r.mu.Lock()
	again := r.linked[t.ID]
	r.linked[t.ID] = true
	if !again {
		r.tracks[t.ID] = &rtspTrack{Track: t, timescale: t.ClockRate, delay: chain.delay}
	}
	r.mu.Unlock()
	if again {
		return rtspconn.ErrRestarted
	}
	err := r.link(pad, t, chain)
	if err != nil && t.ID == schemas.AudioTrack {
		r.failSound(err)
		return nil
	}
	return err
}

// link builds a stream's chain and links it to the stream's pad.
func (r *RTSP) link(pad *gst.Pad, t rtspconn.Track, chain *rtspChain) error {
	if err := Require(chain.elements()...); err != nil {
		return err
	}
	bin, err := gst.NewBinFromString(chain.description(), false)
	if err != nil {
		return fmt.Errorf("gstreamer: build chain of %s: %w", t.Encoding, err)
	}
	first, sound := "depay", C.uintptr_t(0)
	if t.ID == schemas.AudioTrack {
		first, sound = "shield", C.uintptr_t(r.handle)
		if err := bin.SetProperty("name", C.FL_RTSP_SOUND_BIN); err != nil {
			return fmt.Errorf("gstreamer: name chain of %s: %w", t.Encoding, err)
		}
		// A decoder that waits for sound takes its bin out of PLAYING, and would take the
		// pipeline too. The sink of video that is added then would wait in the thread that
		// reads the sound.
		if err := bin.SetProperty("async-handling", true); err != nil {
			return fmt.Errorf("gstreamer: set up chain of %s: %w", t.Encoding, err)
		}
	}
	depay, err := bin.GetElementByName("depay")
	if err != nil {
		return fmt.Errorf("gstreamer: build chain of %s: %w", t.Encoding, err)
	}
	sink, err := bin.GetElementByName("sink")
	if err != nil {
		return fmt.Errorf("gstreamer: build chain of %s: %w", t.Encoding, err)
	}
	entry, err := bin.GetElementByName(first)
	if err != nil {
		return fmt.Errorf("gstreamer: build chain of %s: %w", t.Encoding, err)
	}
	C.fl_rtsp_entry(element(bin.Element), element(entry), sound)
	r.watch(depay, sink, t.ID, t.ClockRate, chain.payload)
	watchDecoded(bin, t.ClockRate)
	if err := r.pipeline.Add(bin.Element); err != nil {
		return fmt.Errorf("gstreamer: add chain of %s: %w", t.Encoding, err)
	}
	if !bin.SyncStateWithParent() {
		return fmt.Errorf("gstreamer: start chain of %s", t.Encoding)
	}
	if got := pad.Link(bin.GetStaticPad("sink")); got != gst.PadLinkOK {
		return fmt.Errorf("gstreamer: link chain of %s: %v", t.Encoding, got)
	}
	return nil
}

func (r *RTSP) wait() { r.waiting = C.fl_rtsp_queue_new(C.uintptr_t(r.handle)) }

func (r *RTSP) watchBus() {
	C.fl_rtsp_watch_bus(element(r.pipeline.Element), C.uintptr_t(r.handle))
}

// watch begins to deliver a track's units.
func (r *RTSP) watch(depay, sink *gst.Element, track uint8, clockRate uint32, payload int) {
	C.fl_rtsp_attach(element(depay), element(sink), r.waiting, C.guint8(track), C.guint32(clockRate), C.int(payload))
}

// Take empties the queue. The result is valid until the next Take; the Data of
// units stays valid. Call it about every 40 ms: it costs little if the queue is
// empty.
func (r *RTSP) Take() []rtspconn.Item {
	r.collect()
	return r.queue.Take()
}

// Dropped returns how many units were dropped because the queue was full.
func (r *RTSP) Dropped() uint64 { return r.queue.Dropped() }

// Done is closed when the connection has ended. Err then returns why. There may
// still be units to Take.
func (r *RTSP) Done() <-chan struct{} { return r.done }

// Err returns why the connection ended: *rtspconn.Error, *rtspconn.UnsupportedError,
// *rtspconn.CertificateError, rtspconn.ErrEnded, rtspconn.ErrRestarted, *MissingError.
func (r *RTSP) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Playing reports whether the camera has accepted PLAY.
func (r *RTSP) Playing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.playing
}

// Selected returns the tracks that the connection requested, without sound whose
// elements have failed. They are complete when it is playing.
func (r *RTSP) Selected() []rtspconn.Track {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]rtspconn.Track(nil), r.selected...)
}

// Start returns the first packet of a track; ok is false before there is one.
func (r *RTSP) Start(track uint8) (s rtspconn.Start, clockRate uint32, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tracks[track]
	if t == nil || !t.started {
		return rtspconn.Start{}, 0, false
	}
	return t.start, t.ClockRate, true
}

// Report returns the last sender report of a track.
func (r *RTSP) Report(track uint8) (rtspconn.Report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tracks[track]
	if t == nil || !t.started {
		return rtspconn.Report{}, false
	}
	rep, ok := r.reports[t.ssrc]
	if !ok {
		return rtspconn.Report{}, false
	}
	return rtspconn.Report{Time: rtspconn.Extend(t.start.Time, rep.time), NTP: rep.ntp}, true
}

func (r *RTSP) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failLocked(err)
}

func (r *RTSP) failLocked(err error) {
	if r.err == nil && !r.closing {
		r.err = err
		close(r.done)
	}
}

// Close ends the connection and waits until GStreamer has released it. After limit it
// returns rtspconn.ErrUnreleased; the release is completed if the pipeline stops later. It may
// be called again.
func (r *RTSP) Close(limit time.Duration) error {
	r.closeOnce.Do(func() { r.closeErr = r.close(limit) })
	return r.closeErr
}

func (r *RTSP) close(limit time.Duration) error {
	r.mu.Lock()
	if r.err == nil {
		r.err = rtspconn.ErrClosed
		close(r.done)
	}
	r.closing = true
	r.mu.Unlock()

	stopped := make(chan error, 1)
	go func() {
		var err error
		if r.pipeline != nil {
			C.fl_rtsp_shut(r.waiting) // before the pipeline: see FlOrdered
			err = r.pipeline.SetState(gst.StateNull)
			C.fl_rtsp_watch_bus(element(r.pipeline.Element), 0)
		}
		if r.src != nil {
			for _, h := range r.signals {
				r.src.HandlerDisconnect(h)
			}
		}
		// Now no thread of the pipeline runs any more, and the binding's finalizers
		// free the rest.
		r.src, r.pipeline, r.signals = nil, nil, nil
		r.collecting.Lock()
		if r.waiting != nil {
			C.fl_rtsp_queue_free(r.waiting)
			r.waiting = nil
		}
		r.collecting.Unlock()
		r.handle.Delete()
		stopped <- err
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-stopped:
		if err != nil {
			return fmt.Errorf("gstreamer: stop RTSP pipeline: %w", err)
		}
		return nil
	case <-timer.C:
		return rtspconn.ErrUnreleased
	}
}
