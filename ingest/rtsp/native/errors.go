package native

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"

	"github.com/framelog/framelog/internal/rtspconn"
)

// failure turns an error of the library into one of package rtspconn. Its text stays away: it
// may hold what was sent and received.
func failure(err error) error {
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
	case errors.As(err, &terminated):
		return rtspconn.ErrClosed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE), errors.As(err, &network):
		return &rtspconn.Error{Failure: rtspconn.Broken, Detail: "connection"}
	}
	return &rtspconn.Error{Failure: rtspconn.BadStream, Detail: fmt.Sprintf("%T", err)}
}

// broken reports whether a connection broke off.
func broken(err error) bool {
	var e *rtspconn.Error
	return errors.As(err, &e) && e.Failure == rtspconn.Broken
}
