package rtsp

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/internal/rtspconn"
)

// Kinds of failure, for errors.Is.
var (
	// ErrRefused: the camera answers and refuses. Only a person can correct that.
	ErrRefused = fmt.Errorf("rtsp: %w", ingest.ErrRefused)
	// ErrUnsupported: the log cannot keep the camera's video.
	ErrUnsupported = fmt.Errorf("rtsp: %w", ingest.ErrUnsupported)
	// ErrAway: nothing answers, or the connection ended.
	ErrAway = fmt.Errorf("rtsp: %w", ingest.ErrAway)
	// ErrStalled: there is a connection, and no video comes.
	ErrStalled = fmt.Errorf("rtsp: %w", ingest.ErrStalled)
)

// Error is why a connection ended. Its text has host and path of the camera, as
// in Config.Shown, and never user info, query or text from the camera.
type Error struct {
	Kind   error  // one of the kinds above
	Where  string // host and path
	Cause  string // in plain words
	Remedy string // what a person can do; may be empty
	Status int    // RTSP status code, or 0

	tryOther bool // another transport may work
	noData   bool // PLAY was accepted, and not one packet of video came
	probe    bool // the engine does not report what answers, or why nothing does
	early    bool // the connection ended before PLAY was accepted
	login    bool // the credentials are wrong or missing
}

func (e *Error) Error() string { return fmt.Sprintf("%v: %s: %s", e.Kind, e.Where, e.Short()) }

// Short returns only cause and remedy, for callers that know kind and camera.
func (e *Error) Short() string {
	if e.Remedy == "" {
		return e.Cause
	}
	return e.Cause + " (" + e.Remedy + ")"
}

func (e *Error) Unwrap() error { return e.Kind }

func where(u *url.URL) string { return u.Host + u.EscapedPath() }

// course is how far a connection came.
type course struct {
	transport string
	video     bool // the camera announced a video stream that was requested
	playing   bool // PLAY was accepted
	packets   bool // the first packet of video came
	live      bool // units were delivered
	stood     bool // this process stood still just before the end
}

// explain turns the error that ended a connection into an *Error. Errors that
// do not come from the camera, such as a missing plugin, stay as they are.
func explain(err error, where string, c course) error {
	e := &Error{Kind: ErrAway, Where: where}
	var (
		failed      *rtspconn.Error
		unsupported *rtspconn.UnsupportedError
		certificate *rtspconn.CertificateError
		incapable   *rtspconn.IncapableError
	)
	switch {
	case c.stood && away(err):
		e.Cause, e.Remedy = "the connection ended after ingest had stood still", "look whether this machine is suspended or has too little CPU"
	case errors.Is(err, errNoAnswer):
		e.Cause = "the camera did not begin its stream in time"
		e.Remedy = restart
		e.probe = true
	case errors.Is(err, errNoVideo):
		e.stalled(c)
	case errors.Is(err, errNoTrack):
		e.noVideo()
	case errors.Is(err, rtspconn.ErrEnded):
		e.Cause, e.Remedy = "the camera ended the stream", again
	case errors.Is(err, rtspconn.ErrRestarted):
		e.Cause, e.Remedy = "the camera started its stream again", again
	case errors.As(err, &unsupported):
		e.Kind = ErrUnsupported
		e.Cause = fmt.Sprintf("the camera's video is %s, which is not recorded", printable(unsupported.Encoding))
		e.Remedy = "set it to H.264, H.265 or MJPEG"
	case errors.As(err, &incapable) && !gstreamer.Built:
		e.Kind, e.Cause = ErrUnsupported, incapable.What+", for which ingest needs GStreamer, and this one is built without it"
		e.Remedy = "set the camera to H.264 or H.265, or use an ingest with GStreamer"
	case errors.As(err, &certificate):
		e.Kind, e.Cause = ErrRefused, "the camera's certificate is not signed by an authority that this system trusts"
		e.Remedy = "add the authority with update-ca-certificates, or set insecure_tls for this camera"
		if certificate.Expired {
			e.Cause = "the camera's certificate has expired or is not valid yet"
			e.Remedy = "set the camera's clock and renew its certificate"
		} else if certificate.Host {
			e.Cause = "the camera's certificate is for another host"
			e.Remedy = "write the host that it names into the camera's URL, or set insecure_tls for this camera"
		}
	case errors.As(err, &failed):
		e.ofConnection(failed, c)
	default:
		return err
	}
	return e
}

// away reports whether err means that the connection ended or nothing came.
func away(err error) bool {
	var failed *rtspconn.Error
	return errors.As(err, &failed) && failed.Status == 0 || errors.Is(err, errNoAnswer) || errors.Is(err, errNoVideo) || errors.Is(err, rtspconn.ErrEnded)
}

// stalled fills in what is missing although PLAY was accepted.
func (e *Error) stalled(c course) {
	e.Kind, e.tryOther = ErrStalled, !c.live
	switch {
	case c.live:
		e.Cause, e.Remedy = "the camera has stopped sending video", restart
	case c.packets:
		e.Cause = "packets of video come, but no picture can be made of them"
		e.Remedy = "set the camera's video to plain H.264 or H.265, or restart the camera"
	case c.transport == TransportUDP:
		e.noData = true
		e.Cause = "connected, but no video arrives over UDP"
		e.Remedy = "set the transport to tcp, or let UDP from the camera through firewalls and routers"
	default:
		e.noData = true
		e.Cause, e.Remedy = "connected over TCP, but no video comes", "look at the camera's own page, or restart the camera"
	}
}

// ofBoth returns why no transport gives video: TCP failed with e, UDP with udp.
func (e *Error) ofBoth(udp *Error) *Error {
	switch {
	case !udp.tryOther:
		return udp
	case errors.Is(e.Kind, ErrStalled) && !e.noData:
		return e // packets come over TCP, but no picture
	case errors.Is(udp.Kind, ErrStalled) && !udp.noData:
		return udp // packets come over UDP, but no picture
	case e.noData && udp.noData:
		udp.Cause = "connected, but no video comes, neither over TCP nor over UDP"
		udp.Remedy = "look at the camera's own page, or restart the camera"
	case udp.noData:
		udp.Cause = "the camera offers video over UDP alone, and none arrives"
		udp.Remedy = "let UDP from the camera through firewalls and routers, or switch on RTP over TCP in the camera"
	case e.noData:
		return e // UDP is refused
	case e.Status == udp.Status:
		udp.Cause, udp.Remedy = "the camera offers video neither over TCP nor over UDP", "look at the camera's settings for RTSP and RTP"
	}
	return udp
}

func (e *Error) ofConnection(p *rtspconn.Error, c course) {
	e.Status = p.Status
	switch {
	case p.Failure == rtspconn.Redirected:
		e.Kind, e.Cause = ErrRefused, "the camera redirects to another host or port, which asks for a user and a password; both are sent only to the host and port in the camera's URL"
		e.Remedy = "write the host and port to which it redirects into the camera's URL"
	case p.Status == 401 || p.Status == 403 || p.Failure == rtspconn.NotAuthorized:
		e.login = true
		e.Kind, e.Cause, e.Remedy = ErrRefused, "user or password is not accepted", "check both in the camera's URL"
		if p.Status == 403 {
			e.Cause, e.Remedy = "access is forbidden", "give this user the right to see the stream, in the camera"
		}
	case p.Status == 404 || p.Failure == rtspconn.NotFound && p.Status == 0:
		e.Kind, e.Cause, e.Remedy = ErrRefused, "there is no stream at this path", "check the path in the camera's URL"
	case p.Failure == rtspconn.NoTransport && !c.video, p.Failure == rtspconn.NoStreams:
		e.noVideo()
	case p.Status == 461 || p.Failure == rtspconn.NoTransport:
		other := TransportUDP
		if c.transport == TransportUDP {
			other = TransportTCP
		}
		e.Kind, e.Cause, e.Remedy = ErrRefused, "the camera does not offer video over "+strings.ToUpper(c.transport), "set the transport to "+other
		e.tryOther = true
	case p.Status == 453 || p.Status == 503:
		e.Cause, e.Remedy = fmt.Sprintf("the camera has no room for another viewer, it says with status %d", p.Status), "close other connections to it"
	case p.Status >= 500:
		e.Cause, e.Remedy = fmt.Sprintf("the camera failed with status %d", p.Status), restart
	case p.Status >= 400:
		e.Kind, e.Cause = ErrRefused, fmt.Sprintf("the camera refuses with status %d", p.Status)
		e.Remedy = "check the path in the camera's URL, and its settings for RTSP"
	case p.Failure == rtspconn.Unreachable:
		e.Cause, e.Remedy, e.probe = "no connection to the camera", restart, true
	case p.Failure == rtspconn.Broken:
		e.Cause, e.Remedy = "the connection to the camera broke off", "look at the network; "+again
		e.early, e.probe = !c.playing, !c.playing
	case p.Failure == rtspconn.Requested:
		e.Cause = fmt.Sprintf("the camera made a request (%s), which only GStreamer can answer, and this ingest is built without it", p.Detail)
		e.Remedy = "use an ingest with GStreamer"
	case p.Failure == rtspconn.BadStream:
		e.Cause = fmt.Sprintf("the stream cannot be read (%s)", p.Detail)
		e.Remedy = restart
		e.probe = !c.playing
	default:
		e.Cause = fmt.Sprintf("the connection failed (%s)", p.Detail)
		e.Remedy = restart
		e.probe = !c.playing
	}
}

func (e *Error) noVideo() {
	e.Kind, e.Cause, e.Remedy = ErrUnsupported, "the camera announces no video", "check the path in the camera's URL"
}

// printable makes a word from the camera short and harmless.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > ' ' && r < 127 {
			return r
		}
		return -1
	}, s)
	if s == "" {
		return "unknown"
	}
	return s[:min(len(s), 32)]
}
