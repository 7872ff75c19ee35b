// Package people knows who sends a request: by a session cookie, an API token or a share link.
// It signs people in and out, and gives egress/access the policy of who may do what.
package people

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/schemas"
)

// Users is what the topic of users tells; *users.Client implements it.
type Users interface {
	User(name string) (schemas.User, bool)
	// Token returns the user of a valid token.
	Token(text string) (schemas.User, bool)
	// SignedOut reports whether a session was ended.
	SignedOut(session string) bool
	// SigningKey returns the key that all egress processes share; nil if it is not known yet.
	SigningKey() []byte
	Put(ctx context.Context, u schemas.User) error
	SignOut(ctx context.Context, session string, o schemas.SignOut) error
}

// Config is the settings. The zero value of a field means its default.
type Config struct {
	// Session is how long a session lasts since the page was last open. Default 12 h.
	Session time.Duration
	// Proxies are the reverse proxies whose X-Forwarded-For tells the address of a client,
	// besides those on this machine. Default none.
	Proxies []netip.Prefix
	// OIDC is the provider with which people may sign in. nil: none.
	OIDC *OIDC
}

// Deps is what a Server works with.
type Deps struct {
	Users      Users                                                          // nil: everybody may do everything
	Verify     func(ctx context.Context, hash, password string) (bool, error) // needed with Users
	Log        *slog.Logger                                                   // nil: silent
	Registerer prometheus.Registerer                                          // nil: no metrics
}

// Server signs people in, and decides who may do what.
type Server struct {
	cfg     Config
	users   Users
	verify  func(ctx context.Context, hash, password string) (bool, error)
	log     *slog.Logger
	signIns *prometheus.CounterVec
	names   *limiter
	addrs   *limiter
	waiting *semaphore.Weighted // a place for each request that waits for its password to be checked
	watched watched
	oidc    *provider // nil: none
}

// maxWaiting bounds the requests that wait for their password to be checked.
const maxWaiting = 64

// New makes the server.
func New(cfg Config, deps Deps) *Server {
	cfg.Session = cmp.Or(cfg.Session, 12*time.Hour)
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, users: deps.Users, verify: deps.Verify, log: deps.Log,
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framelog_egress_sign_ins_total",
			Help: "Attempts to sign in. result: ok, wrong (name or password), limited (too many attempts), refused (by the provider, or by its groups).",
		}, []string{"result"}),
		// Who knows a name can keep its user from signing in, so the limit is not strict. It
		// allows 2,880 attempts a day.
		names: newLimiter(10, 30*time.Second), addrs: newLimiter(20, 5*time.Second),
		waiting: semaphore.NewWeighted(maxWaiting), watched: watched{at: map[watching]time.Time{}},
	}
	if cfg.OIDC != nil {
		s.oidc = newProvider(*cfg.OIDC)
	}
	if deps.Registerer != nil {
		deps.Registerer.MustRegister(s.signIns)
	}
	return s
}

// required reports whether people have to sign in.
func (s *Server) required() bool { return s.users != nil }

// Policy is what decides about requests.
func (s *Server) Policy() access.Policy {
	if !s.required() {
		return access.Policy{Authorize: access.Everyone}
	}
	return access.Policy{
		Known: func(r *http.Request) bool { return s.sender(r) != nil },
		Authorize: func(r *http.Request, camera, rendition string, action access.Action) bool {
			who := s.sender(r)
			return who != nil && who.allows(camera, rendition, action)
		},
		Allowed: s.audit,
	}
}

// Routes are the paths under /v1/session and /v1/share.
func (s *Server) Routes() []access.Route {
	routes := []access.Route{
		{Pattern: "GET /v1/session", Action: access.Public, Handler: s.whoAmI},
		{Pattern: "POST /v1/session", Action: access.Public, Handler: s.signIn},
		{Pattern: "DELETE /v1/session", Action: access.Public, Handler: s.signOut},
		{Pattern: "POST /v1/share/{camera}/{rendition}", Action: access.Watch, Denied: answer.Denied, Handler: s.share},
	}
	if s.oidc != nil {
		routes = append(routes,
			access.Route{Pattern: "GET " + oidcPath, Action: access.Public, Handler: s.toProvider},
			access.Route{Pattern: "GET " + CallbackPath, Action: access.Public, Handler: s.fromProvider},
		)
	}
	for i := range routes {
		routes[i].Label = "people"
	}
	return answer.Plain(routes)
}
