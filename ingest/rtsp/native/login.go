package native

import (
	"errors"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"

	"github.com/framelog/framelog/internal/rtspconn"
)

// login answers the challenges of a camera (RFC 2617). The library answers the first one
// alone, but a nonce may expire between two requests. On the other hand many cameras lock an
// account after a few wrong passwords: credentials that a camera refuses are not sent again.
type login struct {
	user, password string

	home    string // the address that was dialled first: that of the camera's URL
	trusted bool   // the connection goes to home

	sender     *auth.Sender // answers the newest challenge; nil: there was none
	challenged string       // the request that it came for; "": an answer to it was accepted
	last       string       // the last request
	sent       bool         // with an answer
	again      bool         // the last request may be sent again, with a new answer
	stale      int          // how often in a row the camera called an answer stale
}

// staleLimit is how often in a row a camera may call an answer stale.
const staleLimit = 3

// dials records where the next requests go. Only home gets credentials: a camera may redirect
// to any other host. The URLs of requests do not matter, because a camera may name itself by
// another host or port than the one at which it is reached.
func (l *login) dials(address string) {
	if l.home == "" {
		l.home = address
	}
	l.trusted = address == l.home
}

// do makes requests until one is not challenged any more, or the credentials are refused.
func (l *login) do(request func() error) error {
	for {
		l.again = false
		err := request()
		switch {
		case status(err) != int(base.StatusUnauthorized):
			return err
		case !l.trusted:
			return &rtspconn.Error{Failure: rtspconn.Redirected, Status: status(err)}
		case !l.again:
			return err
		}
	}
}

// authorize puts the answer to the newest challenge into a request.
func (l *login) authorize(r *base.Request) {
	l.last, l.sent = string(r.Method)+" "+r.URL.String(), false
	if l.sender != nil && l.trusted {
		l.sender.AddAuthorization(r)
		l.sent = true
	}
}

// answered looks at the answer to the last request.
func (l *login) answered(r *base.Response) {
	if r.StatusCode != base.StatusUnauthorized {
		if l.sent && l.challenged == l.last { // others may need no credentials
			l.challenged, l.stale = "", 0
		}
		return
	}
	challenge := r.Header["WWW-Authenticate"]
	switch {
	case !l.trusted, l.user == "" && l.password == "":
		return
	case l.sent && stale(challenge) && l.stale < staleLimit:
		l.stale++
	case l.sent && l.challenged == l.last:
		l.sender = nil // refused; not even TEARDOWN sends them again
		return
	}
	sender := &auth.Sender{WWWAuth: challenge, User: l.user, Pass: l.password}
	if sender.Initialize() == nil {
		l.sender, l.challenged, l.again = sender, l.last, true
	}
}

// stale reports whether a challenge says that the credentials are right and the nonce is old.
func stale(challenge base.HeaderValue) bool {
	for _, v := range challenge {
		var a headers.Authenticate
		if a.Unmarshal(base.HeaderValue{v}) == nil && a.Stale != nil && strings.EqualFold(*a.Stale, "true") {
			return true
		}
	}
	return false
}

// status returns the status code with which a camera refused a request, or 0.
func status(err error) int {
	var bad liberrors.ErrClientBadStatusCode
	var ours *rtspconn.Error
	switch {
	case errors.As(err, &bad):
		return int(bad.Code)
	case errors.As(err, &ours):
		return ours.Status
	}
	return 0
}
