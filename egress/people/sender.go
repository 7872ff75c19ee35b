package people

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/schemas"
)

// sender is who sends a request, with the rights that they have now.
type sender struct {
	user    schemas.User
	session *session // nil: they have no cookie
	link    *link    // nil: they have no share link
}

// allows reports whether the sender may do something, as access.Authorize asks. A share link
// allows one rendition, as long as whoever made it may watch that.
func (w *sender) allows(camera, rendition string, action access.Action) bool {
	if l := w.link; l != nil && (action != access.Watch || camera != l.Camera || rendition != l.Rendition) {
		return false
	}
	return access.Allows(&w.user, camera, rendition, action)
}

// by tells how the sender has shown who they are, for the audit log.
func (w *sender) by() string {
	switch {
	case w.link != nil:
		return "share"
	case w.session != nil:
		return "session"
	}
	return "token"
}

// session is what a session's cookie holds.
type session struct {
	User    string    `json:"u"`
	Stamp   string    `json:"s"` // of the user
	ID      string    `json:"i"`
	Begun   time.Time `json:"b"`
	Expires time.Time `json:"e"`
}

// sessionCookie is the name of the cookie.
const sessionCookie = "framelog_session"

// shown is what a request shows to tell who sends it. Its signature is checked; whether it
// still counts is not.
type shown struct {
	token   string // of the header Authorization; "": none
	nobody  bool   // something else stands in that header
	session *session
	link    *link
}

// shownKey is the key of a *shown in a request's context.
type shownKey struct{}

// shown returns what r shows. A share link or a token that is not valid is not replaced by a
// cookie.
func (s *Server) shown(r *http.Request) *shown {
	if is, ok := r.Context().Value(shownKey{}).(*shown); ok {
		return is
	}
	if auth := r.Header.Get("Authorization"); auth != "" {
		scheme, token, _ := strings.Cut(auth, " ")
		return &shown{token: token, nobody: !strings.EqualFold(scheme, "Bearer")}
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		var in session
		if unseal(s.users.SigningKey(), forSession, c.Value, &in) == nil {
			return &shown{session: &in}
		}
	}
	return &shown{}
}

// sender returns who sends r; nil if that is not known. It looks at the newest users at each
// call, so that a stream ends to tell of cameras when a right is taken away.
func (s *Server) sender(r *http.Request) *sender {
	is := s.shown(r)
	switch {
	case is.link != nil:
		return s.ofLink(is.link)
	case is.nobody:
		return nil
	case is.token != "":
		if u, ok := s.users.Token(is.token); ok {
			return &sender{user: u}
		}
		return nil
	case is.session != nil:
		return s.ofSession(is.session)
	}
	return nil
}

// ofSession returns who has the cookie of a session.
func (s *Server) ofSession(in *session) *sender {
	u, ok := s.users.User(in.User)
	if !ok || u.Stamp != in.Stamp || !time.Now().Before(in.Expires) || s.users.SignedOut(in.ID) {
		return nil
	}
	return &sender{user: u, session: in}
}

// ofLink returns who has made a share link.
func (s *Server) ofLink(l *link) *sender {
	u, ok := s.users.User(l.User)
	if !ok || u.Stamp != l.Stamp || !time.Now().Before(l.Until) {
		return nil
	}
	return &sender{user: u, link: l}
}

// LinkPath stands before the paths of share links: /s/<link>/hls/… is /hls/… with the rights
// of the link alone.
const LinkPath = "/s/"

// WithoutLink returns a path for a log: without the share link in it, which is a secret.
func WithoutLink(path string) string {
	rest, ok := strings.CutPrefix(path, LinkPath)
	if !ok {
		return path
	}
	_, rest, _ = strings.Cut(rest, "/")
	return LinkPath + "…/" + rest
}

// Wrap returns a handler that looks once at what a request shows, and then calls next. It
// takes share links out of paths.
func (s *Server) Wrap(next http.Handler) http.Handler {
	if !s.required() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		is := s.shown(r)
		if strings.HasPrefix(r.URL.Path, LinkPath) {
			if is, r = s.cutLink(r); is == nil {
				http.Error(w, "this link does not exist, or it has ended", http.StatusNotFound)
				return
			}
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				w.Header().Set("Allow", "GET, HEAD")
				http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
				return
			}
			w.Header().Set("Referrer-Policy", "no-referrer") // the path is a secret
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), shownKey{}, is)))
	})
}

// cutLink returns the share link in the path of r, and r without it; nil if it does not count.
func (s *Server) cutLink(r *http.Request) (*shown, *http.Request) {
	text, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, LinkPath), "/")
	raw, same := strings.CutPrefix(r.URL.EscapedPath(), LinkPath+text)
	var l link
	if !same || unseal(s.users.SigningKey(), forShare, text, &l) != nil || s.ofLink(&l) == nil {
		return nil, r
	}
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = "/"+rest, raw
	return &shown{link: &l}, r
}
