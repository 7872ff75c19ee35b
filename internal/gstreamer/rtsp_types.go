package gstreamer

import (
	"errors"
	"fmt"
	"time"
)

// RTSPOptions are the options of a connection. All fields but Location may be zero.
type RTSPOptions struct {
	Location       string        // rtsp:// or rtsps:// URL without user info
	User, Password string        // for Digest or Basic
	UDP            bool          // RTP over UDP; else interleaved in the RTSP connection
	Latency        time.Duration // how long a missing packet is waited for over UDP; default 200ms
	ConnectTimeout time.Duration // of the TCP connection and of each RTSP answer; default 5s
	// Reopen is for a camera that closes the connection after each challenge
	// (401): the answer goes over a new connection. With Reopen, credentials that the
	// camera refuses are sent twice, else once.
	Reopen      bool
	InsecureTLS bool // accept any certificate, not only those that the system's authorities have signed
	NoAudio     bool // ask the camera for no sound

	QueueUnits int   // units that wait for Take; default 1024
	QueueBytes int64 // bytes that wait for Take; default 16 MiB
}

// RTSPTrack is a selected stream of a connection.
type RTSPTrack struct {
	ID        uint8  // schemas.VideoTrack or schemas.AudioTrack
	Encoding  string // as in SDP, upper case: "H264", "PCMU"
	ClockRate uint32 // of RTP
	// FrameTime is the duration of a picture in the SDP (RFC 8866, 6.13, and the
	// x-framerate of older cameras); 0: the SDP does not have it.
	FrameTime time.Duration
}

// RTSPStart is the first RTP packet of a track.
type RTSPStart struct {
	Time    int64 // extended RTP time in units of ClockRate; the first is below 2^32
	Arrived time.Time
	// ClockBase is the extended RTP time that RTP-Info (RFC 2326, 12.33) names
	// for the start of the range, the same instant for all tracks.
	ClockBase    int64
	HasClockBase bool
}

// RTSPReport is an RTCP sender report (RFC 3550, 6.4.1).
type RTSPReport struct {
	Time int64 // extended RTP time in units of ClockRate
	NTP  time.Time
}

// RTSPFormat is a track's format from its parser.
type RTSPFormat struct {
	Media         string // "video/x-h264"
	Config        []byte // codec_data
	Width, Height int
	Rate          int // Hz; audio
	Channels      int
}

// RTSPUnit is one access unit or audio frame.
type RTSPUnit struct {
	// PTS is RTP time since 0 of the track's first cycle of 2^32 ticks, in
	// units of the format's timescale: 90000 for video, Rate for audio. It
	// goes back if the camera's time does. It is exact if that timescale is the
	// track's clock rate.
	PTS     int64
	Data    []byte
	Arrived time.Time
	NTP     time.Time // by the last sender report; zero without one
	Lost    uint32    // packets missing since the unit before, dropped ones included
	Damaged bool      // packets of this unit are missing
}

// RTSPItem is a unit of a track, or if Format is set, the format of those that
// follow.
type RTSPItem struct {
	Track  uint8
	Format *RTSPFormat
	Unit   RTSPUnit

	packets uint32
}

// RTSPError is why a pipeline failed. It holds numbers only: GStreamer's messages may
// hold what was sent and received.
type RTSPError struct {
	Domain string // the GError's, as "gst-resource-error-quark"
	Code   int
	Status int // RTSP status code of the answer, or 0
}

func (e *RTSPError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("gstreamer: RTSP status %d", e.Status)
	}
	return fmt.Sprintf("gstreamer: pipeline failed: %s %d", e.Domain, e.Code)
}

// Errors of RTSP connections.
var (
	ErrRTSPEnded     = errors.New("gstreamer: the camera ended the stream")
	ErrRTSPRestarted = errors.New("gstreamer: the camera started a track again")
	ErrRTSPClosed    = errors.New("gstreamer: connection is closed")
	// ErrUnreleased: a pipeline did not stop in time. What it holds stays
	// allocated until it does.
	ErrUnreleased = errors.New("gstreamer: pipeline did not stop in time")
)

// RTSPUnsupportedError names an encoding that the log has no codec for.
type RTSPUnsupportedError struct{ Encoding string }

func (e *RTSPUnsupportedError) Error() string {
	return fmt.Sprintf("gstreamer: encoding %q is not supported", e.Encoding)
}

// RTSPCertificateError is a certificate that did not pass the check.
type RTSPCertificateError struct {
	Expired bool // or not valid yet
	Host    bool // for another host
}

func (e *RTSPCertificateError) Error() string {
	return "gstreamer: the camera's certificate is not accepted"
}
