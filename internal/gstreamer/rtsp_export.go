package gstreamer

/*
#include "rtsp.h"
*/
import "C"

import (
	"math"
	"runtime/cgo"
	"time"
	"unsafe"

	"github.com/framelog/framelog/schemas"
)

// These are called by rtsp.c on GStreamer's threads. They hand over and return.

func rtspOf(conn C.uintptr_t) *RTSP { return cgo.Handle(conn).Value().(*RTSP) }

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
	t.start = RTSPStart{Time: int64(s.rtp_time), Arrived: time.Now()}
	if s.has_clock_base != 0 {
		t.start.HasClockBase = true
		t.start.ClockBase = extend(t.start.Time, uint32(s.clock_base))
	}
}

//export framelogRTSPFormat
func framelogRTSPFormat(conn C.uintptr_t, id C.guint8, f *C.FlFormat) {
	r := rtspOf(conn)
	format := &RTSPFormat{
		Media:    C.GoString(f.media),
		Config:   C.GoBytes(unsafe.Pointer(f.config), C.int(f.config_size)),
		Width:    int(f.width),
		Height:   int(f.height),
		Rate:     int(f.rate),
		Channels: int(f.channels),
	}
	r.mu.Lock()
	t := r.tracks[uint8(id)]
	if t != nil {
		t.media = format.Media
		switch {
		case t.ID == schemas.VideoTrack:
			t.timescale = schemas.MediaTimescale
		case format.Rate > 0:
			t.timescale = uint32(format.Rate)
		default:
			t.timescale = t.ClockRate
		}
	}
	r.mu.Unlock()
	r.queue.put(RTSPItem{Track: uint8(id), Format: format}, format.Media)
}

//export framelogRTSPUnit
func framelogRTSPUnit(conn C.uintptr_t, id C.guint8, data unsafe.Pointer, size C.gsize, u *C.FlUnit) {
	now := time.Now()
	if size == 0 || size > math.MaxInt32 || uint64(u.pts) == math.MaxUint64 {
		return
	}
	r := rtspOf(conn)
	it := RTSPItem{Track: uint8(id), packets: uint32(u.packets)}
	it.Unit = RTSPUnit{
		Data:    C.GoBytes(data, C.int(size)),
		Arrived: now,
		Lost:    uint32(u.lost),
		Damaged: u.damaged != 0,
	}
	r.mu.Lock()
	t := r.tracks[uint8(id)]
	if t == nil {
		r.mu.Unlock()
		return
	}
	media := t.media
	ns := rtpSinceZero(uint64(u.pts), t.ClockRate)
	it.Unit.PTS = schemas.Rescale(ns, uint32(time.Second), t.timescale) - t.delay
	if rep, ok := r.reports[t.ssrc]; ok {
		at := extend(schemas.Rescale(ns, uint32(time.Second), t.ClockRate), rep.time)
		it.Unit.NTP = rep.ntp.Add(time.Duration(ns - schemas.Rescale(at, t.ClockRate, uint32(time.Second))))
	}
	r.mu.Unlock()
	r.queue.put(it, media)
}

// rtpSinceZero takes the bias off a buffer's time, in nanoseconds.
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
	// Only two tracks are selected; a camera that changes SSRC all the time
	// fills no memory.
	if _, ok := r.reports[uint32(ssrc)]; !ok && len(r.reports) >= 16 {
		clear(r.reports)
	}
	r.reports[uint32(ssrc)] = rtspReport{time: uint32(rtp), ntp: fromNTP(uint64(ntp))}
}

// fromNTP reads a 64-bit NTP timestamp (RFC 3550, 4), with the era that puts
// it between 1968 and 2104.
func fromNTP(v uint64) time.Time {
	const unixEpoch = 2208988800 // 1970 in seconds since 1900
	s := int64(v >> 32)
	if s < 1<<31 {
		s += 1 << 32
	}
	ns := int64((v & math.MaxUint32) * uint64(time.Second) >> 32)
	return time.Unix(s-unixEpoch, ns)
}

// GTlsCertificateFlags.
const (
	certBadIdentity  = 1 << 1
	certNotActivated = 1 << 2
	certExpired      = 1 << 3
)

//export framelogRTSPMessage
func framelogRTSPMessage(conn C.uintptr_t, kind C.int, domain *C.char, code, status C.int, text *C.char) {
	r := rtspOf(conn)
	switch kind {
	case C.FL_RTSP_ERROR:
		r.fail(&RTSPError{Domain: C.GoString(domain), Code: int(code), Status: int(status), Text: C.GoString(text)})
	case C.FL_RTSP_EOS:
		r.fail(ErrRTSPEnded)
	case C.FL_RTSP_CERTIFICATE:
		r.fail(&RTSPCertificateError{Expired: code&(certNotActivated|certExpired) != 0, Host: code&certBadIdentity != 0})
	case C.FL_RTSP_PROGRESS:
		// rtspsrc's words for OPTIONS to SETUP and for PLAY.
		if C.GoString(text) == "request" {
			r.mu.Lock()
			r.playing = true
			r.mu.Unlock()
		}
	}
}
