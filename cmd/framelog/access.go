package main

import (
	"context"
	"net/http"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/people"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/internal/users"
	"github.com/framelog/framelog/schemas"
)

// signIn makes what signs people in. known is nil if nobody has to sign in; else it must run.
func (p *process) signIn() (folk *people.Server, known *users.Client, err error) {
	cfg := p.cfg
	if !cfg.Access.Enabled {
		return people.New(people.Config{}, people.Deps{}), nil, nil
	}
	if known, err = users.Connect(kafkaConfig(cfg, "framelog-egress"), p.log); err != nil {
		return nil, nil, err
	}
	p.atEnd(known.Close)
	pc := people.Config{Session: time.Duration(cfg.Access.Session), OIDC: provider(cfg)}
	for _, s := range cfg.Access.Proxies {
		n, _ := config.Network(s) // the configuration has checked it
		pc.Proxies = append(pc.Proxies, n)
	}
	folk = people.New(pc, people.Deps{Users: known, Verify: users.VerifyPassword, Log: p.log, Registerer: p.reg})
	return folk, known, nil
}

// provider returns the provider of OpenID Connect; nil if there is none.
func provider(cfg *config.Config) *people.OIDC {
	o := cfg.Access.OIDC
	if o.Issuer == "" {
		return nil
	}
	p := &people.OIDC{
		Issuer: o.Issuer, ClientID: o.ClientID, URL: o.URL, Scopes: o.Scopes, NameClaim: o.NameClaim, GroupsClaim: o.GroupsClaim,
		Secret: func() (string, error) { return secrets.Lookup(cfg.SecretsDir, o.ClientSecret) },
	}
	for _, g := range o.Grants {
		p.Grants = append(p.Grants, people.Grant{Group: g.Group, Role: schemas.UserRole(g.Role), Cameras: g.Cameras, Renditions: g.Renditions})
	}
	return p
}

// awaitUsers waits until the users are read, and says how to make the first administrator.
func (p *process) awaitUsers(ctx context.Context, known *users.Client) error {
	if err := known.Await(ctx); err != nil {
		return err
	}
	if !known.HasAdmin() {
		p.log.Warn("there is no administrator yet", "remedy", "make one: framelog users add NAME --role admin")
	}
	return nil
}

// asking returns the policy of a server that leaves its decisions on metrics to egress. ask
// sends egress a request, and returns the status of the answer; 0 if there is none.
func asking(ask func(r *http.Request) int) access.Policy {
	status := func(r *http.Request) int {
		q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://egress/v1/authorize", nil)
		if err != nil {
			return 0
		}
		q.Host, q.RemoteAddr = r.Host, r.RemoteAddr
		for _, name := range []string{"Authorization", "Cookie"} {
			q.Header[name] = r.Header[name]
		}
		q.Header.Set(access.AskedURI, "/metrics")
		return ask(q)
	}
	return access.Policy{
		Known: func(r *http.Request) bool { return status(r) != http.StatusUnauthorized },
		Authorize: func(r *http.Request, camera, _ string, action access.Action) bool {
			return camera == "" && action == access.Operate && status(r) == http.StatusNoContent
		},
	}
}

// askClient asks egress by a client of its socket.
func askClient(c *http.Client) func(r *http.Request) int {
	return func(r *http.Request) int {
		resp, err := c.Do(r)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
}

// askHandler asks egress in this process.
func askHandler(h func() http.Handler) func(r *http.Request) int {
	return func(r *http.Request) int {
		w := &statusWriter{header: http.Header{}, code: http.StatusOK}
		h().ServeHTTP(w, r)
		return w.code
	}
}

// statusWriter keeps the status of an answer.
type statusWriter struct {
	header http.Header
	code   int
}

func (w *statusWriter) Header() http.Header         { return w.header }
func (w *statusWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *statusWriter) WriteHeader(code int)        { w.code = code }
