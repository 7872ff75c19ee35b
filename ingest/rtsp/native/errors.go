package native

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"

	"github.com/framelog/framelog/internal/rtspconn"
)

// failure turns an error of the library into one of package rtspconn. Its text stays away: it
// may hold what was sent and received. strict is Options.Strict.
func failure(err error, strict bool) error {
	var (
		ours        *rtspconn.Error
		unsupported *rtspconn.UnsupportedError
		incapable   *rtspconn.IncapableError
		expired     x509.CertificateInvalidError
		host        x509.HostnameError
		authority   x509.UnknownAuthorityError
		wantsUDP    liberrors.ErrClientServerRequestedUDP
		wantsTCP    liberrors.ErrClientServerRequestedTCP
		terminated  liberrors.ErrClientTerminated
		request     liberrors.ErrClientUnhandledMethod
		network     net.Error
	)
	switch {
	case errors.As(err, &ours), errors.As(err, &unsupported), errors.As(err, &incapable):
		return err
	case status(err) != 0:
		return &rtspconn.Error{Failure: rtspconn.Status, Status: status(err)}
	case errors.As(err, &expired):
		return &rtspconn.CertificateError{Expired: expired.Reason == x509.Expired}
	case errors.As(err, &host):
		return &rtspconn.CertificateError{Host: true}
	case errors.As(err, &authority):
		return &rtspconn.CertificateError{}
	case errors.As(err, &wantsUDP), errors.As(err, &wantsTCP):
		return &rtspconn.Error{Failure: rtspconn.NoTransport, Detail: "transport"}
	case errors.As(err, &request) && strict:
		return &rtspconn.IncapableError{What: "it makes requests that must be answered (" + method(request.Method) + ")"}
	case errors.As(err, &request):
		return &rtspconn.Error{Failure: rtspconn.Requested, Detail: method(request.Method)}
	case errors.As(err, &terminated):
		return rtspconn.ErrClosed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE), errors.As(err, &network):
		return &rtspconn.Error{Failure: rtspconn.Broken, Detail: "connection"}
	}
	return &rtspconn.Error{Failure: rtspconn.BadStream, Detail: fmt.Sprintf("%T", err)}
}

// method returns the name of a camera's request, or a fixed word where it is no method of RTSP.
func method(m base.Method) string {
	if slices.Contains([]base.Method{base.Announce, base.GetParameter, base.SetParameter, base.Teardown, "REDIRECT"}, m) {
		return string(m)
	}
	return "another"
}

// broken reports whether a connection broke off.
func broken(err error) bool {
	var e *rtspconn.Error
	return errors.As(err, &e) && e.Failure == rtspconn.Broken
}
