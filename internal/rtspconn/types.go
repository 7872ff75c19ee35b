// Package rtspconn holds what the engines for RTSP have in common (GStreamer's in
// internal/gstreamer, and ingest/rtsp/native): what a connection is asked for, what it gives,
// why it ends, and the bounded queue between it and its consumer.
package rtspconn

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Options are the options of a connection. All fields but Location may be zero.
type Options struct {
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
	// Strict makes the native engine end with an *IncapableError where it can do less than
	// GStreamer's. Without Strict it leaves out the sound that it cannot record, and ends with
	// that error where it can record no picture.
	Strict bool

	QueueUnits int   // units that wait for Take; default 1024
	QueueBytes int64 // bytes that wait for Take; default 16 MiB
}

// WithDefaults returns o with the defaults in place of zeros.
func (o Options) WithDefaults() Options {
	o.Latency = cmp.Or(o.Latency, 200*time.Millisecond)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 5*time.Second)
	o.QueueUnits = cmp.Or(o.QueueUnits, 1024)
	o.QueueBytes = cmp.Or(o.QueueBytes, 16<<20)
	return o
}

// Track is a selected stream of a connection.
type Track struct {
	ID        uint8  // schemas.VideoTrack or schemas.AudioTrack
	Encoding  string // as in SDP, upper case: "H264", "PCMU"
	ClockRate uint32 // of RTP
	// FrameTime is the duration of a picture in the SDP (RFC 8866, 6.13, and the
	// x-framerate of older cameras); 0: the SDP does not have it.
	FrameTime time.Duration
}

// Start is the first RTP packet of a track.
type Start struct {
	Time    int64 // extended RTP time in units of ClockRate; the first is below 2^32
	Arrived time.Time
	// ClockBase is the extended RTP time that RTP-Info (RFC 2326, 12.33) names
	// for the start of the range, the same instant for all tracks.
	ClockBase    int64
	HasClockBase bool
}

// Report is an RTCP sender report (RFC 3550, 6.4.1).
type Report struct {
	Time int64 // extended RTP time in units of ClockRate
	NTP  time.Time
}

// Format is a track's format.
type Format struct {
	Codec         schemas.Codec // empty: none that the log keeps
	Name          string        // of the format, for people, if Codec is empty
	Config        []byte        // decoder configuration, as schemas.Track.Config
	Width, Height int
	Rate          int // Hz; audio
	Channels      int
}

// Unit is one access unit or audio frame.
type Unit struct {
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

// Item is a unit of a track, or if Format is set, the format of those that
// follow.
type Item struct {
	Track  uint8
	Format *Format
	Unit   Unit

	Packets uint32 // that the unit consists of, and those before it that gave no unit
}

// Failure is a kind of failure for which there is no better error.
type Failure int

// Kinds of failure.
const (
	Unknown       Failure = iota
	Status                // the camera answered a request with Error.Status
	NotFound              // the URL names nothing
	NotAuthorized         // the credentials are not accepted
	NoStreams             // the SDP describes no stream
	NoTransport           // no stream that was asked for is sent over this transport
	Unreachable           // no connection came about
	Broken                // the connection broke off
	BadStream             // what came cannot be read
	Redirected            // the camera redirects to another address, which wants credentials
	Requested             // the camera made a request (Error.Detail) that the engine cannot answer
)

// Error is why a connection failed. It holds no text of the camera: that may contain what
// was sent to it.
type Error struct {
	Failure Failure
	Status  int    // RTSP status code of the answer, or 0
	Detail  string // of the engine, for developers: a fixed word or a number
}

func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("rtspconn: RTSP status %d", e.Status)
	}
	return "rtspconn: connection failed: " + e.Detail
}

// Errors of connections.
var (
	ErrEnded     = errors.New("rtspconn: the camera ended the stream")
	ErrRestarted = errors.New("rtspconn: the camera started a track again")
	ErrClosed    = errors.New("rtspconn: connection is closed")
	// ErrUnreleased: a connection did not stop in time. What it holds stays
	// allocated until it does.
	ErrUnreleased = errors.New("rtspconn: connection did not stop in time")
)

// UnsupportedError names an encoding that the log has no codec for.
type UnsupportedError struct{ Encoding string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("rtspconn: encoding %q is not supported", e.Encoding)
}

// IncapableError says what of a camera the native engine leaves to GStreamer's.
type IncapableError struct{ What string }

func (e *IncapableError) Error() string { return e.What }

// CertificateError is a certificate that did not pass the check.
type CertificateError struct {
	Expired bool // or not valid yet
	Host    bool // for another host
}

func (e *CertificateError) Error() string {
	return "rtspconn: the camera's certificate is not accepted"
}

// Extend returns the 64-bit RTP time nearest to base whose low 32 bits are v.
func Extend(base int64, v uint32) int64 {
	return base + int64(int32(v-uint32(base)))
}

// FromNTP reads a 64-bit NTP timestamp (RFC 3550, 4), with the era that puts
// it between 1968 and 2104.
func FromNTP(v uint64) time.Time {
	const unixEpoch = 2208988800 // 1970 in seconds since 1900
	s := int64(v >> 32)
	if s < 1<<31 {
		s += 1 << 32
	}
	ns := int64((v & math.MaxUint32) * uint64(time.Second) >> 32)
	return time.Unix(s-unixEpoch, ns)
}
