package gstreamer

import (
	"fmt"

	"github.com/framelog/framelog/internal/rtspconn"
)

// Domains and codes of GErrors (gst/gsterror.h).
const (
	resourceDomain = "gst-resource-error-quark"
	streamDomain   = "gst-stream-error-quark"

	resourceNotFound      = 3
	resourceOpenRead      = 5
	resourceOpenWrite     = 6
	resourceOpenReadWrite = 7
	resourceRead          = 9
	resourceWrite         = 10
	resourceSettings      = 13 // an SDP without streams
	resourceNotAuthorized = 15

	// streamCodecNotFound is rtspsrc's error if the camera has refused all
	// requested streams (461), or none was requested.
	streamCodecNotFound = 6
)

// rtspError makes an error of what a pipeline tells. GStreamer's texts stay away: they may
// hold what was sent and received.
func rtspError(domain string, code, status int) *rtspconn.Error {
	e := &rtspconn.Error{Failure: rtspFailure(domain, code), Status: status, Detail: fmt.Sprintf("%s %d", domain, code)}
	if e.Failure == rtspconn.Unknown && status != 0 {
		e.Failure = rtspconn.Status
	}
	return e
}

func rtspFailure(domain string, code int) rtspconn.Failure {
	switch domain {
	case streamDomain:
		if code == streamCodecNotFound {
			return rtspconn.NoTransport
		}
		return rtspconn.BadStream
	case resourceDomain:
		switch code {
		case resourceNotFound:
			return rtspconn.NotFound
		case resourceNotAuthorized:
			return rtspconn.NotAuthorized
		case resourceSettings:
			return rtspconn.NoStreams
		case resourceOpenRead, resourceOpenWrite, resourceOpenReadWrite:
			return rtspconn.Unreachable
		case resourceRead, resourceWrite:
			return rtspconn.Broken
		}
	}
	return rtspconn.Unknown
}
