package people

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/schemas"
)

const (
	// maxBody bounds the body of a request, in bytes.
	maxBody = 4 << 10
	// checkLimit bounds the check of a password, with the wait for its turn, and a write of
	// a record.
	checkLimit = 10 * time.Second
	// longestSession is how long a session lasts if the page is open all the time.
	longestSession = 30 * 24 * time.Hour
)

// Me is the answer of GET /v1/session.
type Me struct {
	Required bool  `json:"required"` // people have to sign in
	OIDC     bool  `json:"oidc"`     // they may do it with the provider
	User     *User `json:"user"`     // null: nobody is signed in
	Share    *link `json:"share,omitempty"`
	// Now is the server's clock in milliseconds since the epoch. The page of a share link knows
	// it from here alone.
	Now int64 `json:"now"`
}

// User is who is signed in.
type User struct {
	Name string           `json:"name"`
	Role schemas.UserRole `json:"role"`
	// Renditions are the patterns of what the user may watch.
	Renditions []string `json:"renditions,omitempty"`
}

// whoAmI answers GET /v1/session. It also gives a new cookie in the second half of a
// session, so that a page that stays open stays signed in. A session of a provider's user is
// not made longer, since only the provider knows whether the user still exists.
func (s *Server) whoAmI(w http.ResponseWriter, r *http.Request) {
	me := Me{Required: s.required(), OIDC: s.oidc != nil, Now: time.Now().UnixMilli()}
	if me.Required {
		who := s.sender(r)
		switch {
		case who == nil:
		case who.link != nil:
			l := *who.link
			l.Stamp = ""
			me.Share = &l
		default:
			me.User = &User{who.user.Name, who.user.Role, who.user.Renditions}
		}
		if who != nil && who.session != nil && who.user.Subject == "" && time.Until(who.session.Expires) < s.cfg.Session/2 {
			s.giveCookie(w, r, *who.session)
		}
	}
	answer.JSON(w, http.StatusOK, me)
}

// begin begins a session of u.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, u schemas.User) {
	s.signIns.WithLabelValues("ok").Inc()
	s.log.Info("audit", "event", "sign-in", "user", u.Name, "address", s.address(r))
	s.giveCookie(w, r, session{User: u.Name, Stamp: u.Stamp, ID: randomID(), Begun: time.Now()})
}

// giveCookie sets the cookie of a session that expires s.cfg.Session from now.
func (s *Server) giveCookie(w http.ResponseWriter, r *http.Request, in session) {
	in.Expires = time.Now().Add(s.cfg.Session)
	if last := in.Begun.Add(longestSession); in.Expires.After(last) {
		in.Expires = last
	}
	value, err := seal(s.users.SigningKey(), forSession, in)
	if err != nil {
		s.log.Error("cannot sign a session", "err", err)
		return
	}
	http.SetCookie(w, cookie(r, sessionCookie, "/", value, time.Until(in.Expires)))
}

// cookie makes a cookie that no script can read, and that pages of other sites cannot make
// the browser send, except when a person follows a link.
func cookie(r *http.Request, name, path, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: name, Path: path, Value: value, MaxAge: max(int(life.Seconds()), -1),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure(r),
	}
}

// secure reports whether the browser uses TLS. A client that lies about it gets a cookie
// that it cannot use.
func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// signIn answers POST /v1/session with the cookie of a new session.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	var body struct{ Name, Password string }
	if err := decode(w, r, &body); err != nil {
		answer.Fail(w, http.StatusBadRequest, "the body is no sign-in: "+err.Error(), `send JSON such as {"name":"anna","password":"…"}`)
		return
	}
	if !s.required() {
		answer.Fail(w, http.StatusNotFound, "nobody has to sign in here", "")
		return
	}
	name, addr := strings.ToLower(strings.TrimSpace(body.Name)), s.address(r)
	if wait := s.limit(name, addr); wait > 0 {
		s.signIns.WithLabelValues("limited").Inc()
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		answer.Fail(w, http.StatusTooManyRequests, "there were too many attempts to sign in", fmt.Sprintf("try again in %d s", int(wait.Seconds())+1))
		return
	}
	u, right, err := s.check(r.Context(), name, body.Password)
	switch {
	case err != nil:
		s.unlimit(name, addr)
		answer.Fail(w, http.StatusServiceUnavailable, "too many people sign in at the same time", "try again")
		return
	case !right:
		s.signIns.WithLabelValues("wrong").Inc()
		// The name may be a password in the wrong field, so an unknown one is not logged.
		s.log.Warn("audit", "event", "sign-in refused", "user", u.Name, "address", addr)
		answer.Fail(w, http.StatusUnauthorized, "the name or the password is wrong", "")
		return
	}
	s.unlimit(name, addr)
	s.begin(w, r, u)
	answer.JSON(w, http.StatusOK, Me{Required: true, OIDC: s.oidc != nil, User: &User{u.Name, u.Role, u.Renditions}, Now: time.Now().UnixMilli()})
}

// check reports whether the password is that of the user with this name. u is the user, if
// there is one. The error says that there was no time to check.
func (s *Server) check(ctx context.Context, name, password string) (u schemas.User, right bool, err error) {
	if !s.waiting.TryAcquire(1) {
		return u, false, fmt.Errorf("people: more than %d wait", maxWaiting)
	}
	defer s.waiting.Release(1)
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	u, _ = s.users.User(name)
	right, err = s.verify(ctx, u.Password, password)
	if err != nil && ctx.Err() == nil {
		s.log.Error("cannot check a password", "user", u.Name, "err", err)
		err = nil
	}
	return u, right, err
}

// signOut answers DELETE /v1/session. It ends the session for every egress process, also
// where somebody has copied its cookie.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if !s.required() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	who := s.sender(r)
	http.SetCookie(w, cookie(r, sessionCookie, "/", "", -time.Second))
	w.Header().Set("Clear-Site-Data", `"cache"`) // segments may be in the browser's cache
	if who == nil || who.session == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), checkLimit)
	defer cancel()
	s.log.Info("audit", "event", "sign-out", "user", who.user.Name, "address", s.address(r))
	// Another egress may make the session longer until it has read the record. The cookie may
	// be from before access.session was made shorter.
	until := time.Now().Add(s.cfg.Session)
	if who.session.Expires.After(until) {
		until = who.session.Expires
	}
	if err := s.users.SignOut(ctx, who.session.ID, schemas.SignOut{User: who.user.Name, Until: until.Add(time.Hour)}); err != nil {
		s.log.Error("cannot write that a session has ended", "user", who.user.Name, "err", err)
		answer.Fail(w, http.StatusServiceUnavailable, "you are signed out here, but other servers may not know it", "sign in and out again when the brokers answer")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// decode reads the JSON body of a request. Only a script of our own page or a program can
// send this type.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return fmt.Errorf("the Content-Type is not application/json")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("it is not JSON of this form")
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("there is more than one value")
	}
	return nil
}
