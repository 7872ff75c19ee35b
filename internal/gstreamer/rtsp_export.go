package gstreamer

/*
#include "rtsp.h"
*/
import "C"

import (
	"math"
	"runtime/cgo"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// rtsp.c calls these functions on GStreamer's threads. They hand over and return.

func rtspOf(conn C.uintptr_t) *RTSP { return cgo.Handle(conn).Value().(*RTSP) }

//export framelogRTSPArrival
func framelogRTSPArrival(conn C.uintptr_t, stream C.guint) {
	r := rtspOf(conn)
	r.mu.Lock()
	defer r.mu.Unlock()
	if uint(stream) == r.soundStream && r.soundArrived.IsZero() {
		r.soundArrived = time.Now()
	}
}

//export framelogRTSPStart
func framelogRTSPStart(conn C.uintptr_t, id C.guint8, s *C.FlStart) {
	r := rtspOf(conn)
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tracks[uint8(id)]
	if t == nil {
		return
	}
	t.started = true
	t.ssrc = uint32(s.ssrc)
	t.start = rtspconn.Start{Time: int64(s.rtp_time), Arrived: time.Now()}
	if s.has_clock_base != 0 {
		t.start.HasClockBase = true
		t.start.ClockBase = rtspconn.Extend(t.start.Time, uint32(s.clock_base))
	}
}

//export framelogRTSPFull
func framelogRTSPFull(conn C.uintptr_t) { rtspOf(conn).collect() }

// collect moves the waiting units from C into the queue, and copies each unit once.
// The consumer calls it; if the consumer is late, a streaming thread does.
func (r *RTSP) collect() {
	r.collecting.Lock()
	defer r.collecting.Unlock()
	if r.waiting == nil || atomic.LoadInt32((*int32)(unsafe.Pointer(&r.waiting.count))) == 0 {
		return
	}
	items := C.fl_rtsp_steal(r.waiting)
	r.mu.Lock()
	for it := items; it != nil; it = it.next {
		if t := r.tracks[uint8(it.track)]; t != nil {
			r.collectItem(t, it)
		}
	}
	r.mu.Unlock()
	C.fl_rtsp_free(items)
}

// codecs maps GStreamer's names of media types to the log's codecs.
var codecs = map[string]schemas.Codec{
	"video/x-h264": schemas.H264, "video/x-h265": schemas.H265, "image/jpeg": schemas.MJPEG,
	"audio/mpeg": schemas.AAC, "audio/x-opus": schemas.Opus,
}

func (r *RTSP) collectItem(t *rtspTrack, it *C.FlItem) {
	if it.format.media != nil {
		media := C.GoString(it.format.media)
		f := &rtspconn.Format{
			Codec:    codecs[media],
			Name:     strings.TrimPrefix(media, "audio/"),
			Config:   C.GoBytes(unsafe.Pointer(it.format.config), C.int(it.format.config_size)),
			Width:    int(it.format.width),
			Height:   int(it.format.height),
			Rate:     int(it.format.rate),
			Channels: int(it.format.channels),
		}
		if f.Codec == schemas.Opus {
			f.Rate = codec.OpusRate // RFC 7587, 4.1, whatever was recorded
		}
		t.codec = f.Codec
		switch {
		case t.ID == schemas.VideoTrack:
			t.timescale = schemas.MediaTimescale
		case f.Rate > 0:
			t.timescale = uint32(f.Rate)
		default:
			t.timescale = t.ClockRate
		}
		r.queue.Put(rtspconn.Item{Track: t.ID, Format: f}, t.codec)
	}
	if it.size == 0 || it.size > math.MaxInt32 || uint64(it.unit.pts) == math.MaxUint64 {
		return
	}
	ns := rtpSinceZero(uint64(it.unit.pts), t.ClockRate)
	u := rtspconn.Unit{
		PTS:     schemas.Rescale(ns, uint32(time.Second), t.timescale) - t.delay,
		Data:    C.GoBytes(unsafe.Pointer(it.data), C.int(it.size)),
		Arrived: time.UnixMicro(int64(it.unit.arrived)),
		Lost:    uint32(it.unit.lost),
		Damaged: it.unit.damaged != 0,
	}
	if rep, ok := r.reports[t.ssrc]; ok {
		at := rtspconn.Extend(schemas.Rescale(ns, uint32(time.Second), t.ClockRate), rep.time)
		u.NTP = rep.ntp.Add(time.Duration(ns - schemas.Rescale(at, t.ClockRate, uint32(time.Second))))
	}
	r.queue.Put(rtspconn.Item{Track: t.ID, Unit: u, Packets: uint32(it.unit.packets)}, t.codec)
}

// rtpSinceZero removes the bias from a buffer's time, in nanoseconds.
func rtpSinceZero(pts uint64, clockRate uint32) int64 {
	return int64(pts) - schemas.Rescale(C.FL_RTSP_BIAS, clockRate, uint32(time.Second))
}

//export framelogRTSPReport
func framelogRTSPReport(conn C.uintptr_t, ssrc C.guint32, ntp C.guint64, rtp C.guint32) {
	if ntp == 0 {
		return // RFC 3550, 6.4.1: the sender has no wall clock
	}
	r := rtspOf(conn)
	r.mu.Lock()
	defer r.mu.Unlock()
	// Only two tracks are selected. This bounds the memory if a camera changes its
	// SSRC all the time.
	if _, ok := r.reports[uint32(ssrc)]; !ok && len(r.reports) >= 16 {
		clear(r.reports)
	}
	r.reports[uint32(ssrc)] = rtspReport{time: uint32(rtp), ntp: rtspconn.FromNTP(uint64(ntp))}
}

// GTlsCertificateFlags.
const (
	certBadIdentity  = 1 << 1
	certNotActivated = 1 << 2
	certExpired      = 1 << 3
)

// framelogRTSPOrdered returns the queue of the connection if a session is its video, else NULL.
//
//export framelogRTSPOrdered
func framelogRTSPOrdered(conn C.uintptr_t, session C.guint) *C.FlQueue {
	r := rtspOf(conn)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hasVideo || uint(session) != r.videoStream {
		return nil
	}
	return r.waiting
}

//export framelogRTSPMessage
func framelogRTSPMessage(conn C.uintptr_t, kind C.int, domain *C.char, code, status C.int) {
	r := rtspOf(conn)
	switch kind {
	case C.FL_RTSP_ERROR:
		e := rtspError(C.GoString(domain), int(code), int(status))
		r.mu.Lock()
		if r.redirected && e.Failure == rtspconn.NotAuthorized {
			e.Failure = rtspconn.Redirected
		}
		r.mu.Unlock()
		r.fail(e)
	case C.FL_RTSP_REDIRECTED:
		r.mu.Lock()
		r.redirected = true
		r.mu.Unlock()
	case C.FL_RTSP_SOUND_ERROR:
		r.failSound(rtspError(C.GoString(domain), int(code), 0))
	case C.FL_RTSP_EOS:
		r.fail(rtspconn.ErrEnded)
	case C.FL_RTSP_VIDEO_EOS:
		r.videoEnded()
	case C.FL_RTSP_CERTIFICATE:
		r.fail(&rtspconn.CertificateError{Expired: code&(certNotActivated|certExpired) != 0, Host: code&certBadIdentity != 0})
	case C.FL_RTSP_PLAYING:
		r.mu.Lock()
		r.playing = true
		r.mu.Unlock()
	}
}
