package people

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/schemas"
)

const oidcPath = "/v1/session/oidc"

// CallbackPath is where a provider of OpenID Connect sends browsers back to.
const CallbackPath = oidcPath + "/callback"

const (
	// oidcLimit bounds the requests to the provider of one sign-in.
	oidcLimit = 15 * time.Second
	// oidcPatience is how long a person may take at the provider.
	oidcPatience = 10 * time.Minute
	oidcCookie   = "framelog_oidc"
)

// OIDC is a provider of OpenID Connect (OpenID Connect Core 1.0, authorization code flow with
// PKCE).
type OIDC struct {
	Issuer   string // "https://login.example"
	ClientID string
	// Secret returns the client's secret at each sign-in, so that it can be changed.
	Secret func() (string, error)
	// URL is that of Framelog as browsers know it: "https://cams.example". The provider
	// sends people to URL and "/v1/session/oidc/callback".
	URL    string
	Scopes []string // "openid" and more
	// NameClaim is the claim that names a user, and GroupsClaim the one with their groups.
	NameClaim, GroupsClaim string
	// Grants tells what groups may do. The first that fits counts.
	Grants []Grant
}

// Grant is what a group may do.
type Grant struct {
	Group               string // "*": everybody whom the provider knows
	Role                schemas.UserRole
	Cameras, Renditions []string
}

// provider is an OIDC with what its discovery document tells.
type provider struct {
	cfg    OIDC
	client *http.Client

	mu    sync.Mutex
	found *oidc.Provider // nil until somebody has signed in
}

func newProvider(cfg OIDC) *provider {
	return &provider{cfg: cfg, client: &http.Client{Timeout: oidcLimit}}
}

// discover reads the provider's discovery document, once.
func (p *provider) discover() (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		// The provider keeps the context for its keys, so it is none of a request.
		found, err := oidc.NewProvider(oidc.ClientContext(context.Background(), p.client), p.cfg.Issuer)
		if err != nil {
			return nil, err
		}
		p.found = found
	}
	return p.found, nil
}

func (p *provider) oauth(found *oidc.Provider) (*oauth2.Config, error) {
	secret, err := p.cfg.Secret()
	if err != nil {
		return nil, err
	}
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: secret, Endpoint: found.Endpoint(),
		RedirectURL: strings.TrimSuffix(p.cfg.URL, "/") + CallbackPath, Scopes: p.cfg.Scopes,
	}, nil
}

// attempt is a sign-in that is at the provider. A signed cookie holds it meanwhile, so that
// any egress process can go on with it, and only the browser that began it.
type attempt struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"` // of PKCE (RFC 7636)
	Expires  time.Time `json:"e"`
}

// toProvider answers GET /v1/session/oidc: it sends the browser to the provider.
func (s *Server) toProvider(w http.ResponseWriter, r *http.Request) {
	found, err := s.oidc.discover()
	if err != nil {
		s.providerFailed(w, err)
		return
	}
	cfg, err := s.oidc.oauth(found)
	if err != nil {
		s.providerFailed(w, err)
		return
	}
	a := attempt{State: randomID(), Nonce: randomID(), Verifier: oauth2.GenerateVerifier(), Expires: time.Now().Add(oidcPatience)}
	value, err := seal(s.users.SigningKey(), forOIDC, a)
	if err != nil {
		s.providerFailed(w, err)
		return
	}
	http.SetCookie(w, cookie(r, oidcCookie, oidcPath, value, oidcPatience))
	http.Redirect(w, r, cfg.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), http.StatusSeeOther)
}

// providerFailed answers that the provider cannot be used.
func (s *Server) providerFailed(w http.ResponseWriter, err error) {
	s.log.Error("the provider of OpenID Connect cannot be used", "issuer", s.oidc.cfg.Issuer, "err", err)
	answer.Fail(w, http.StatusBadGateway, "the provider does not answer as it should", "try again; if it goes on, see the server's log")
}

// fromProvider answers GET /v1/session/oidc/callback, to which the provider sends the browser
// back. It begins a session.
func (s *Server) fromProvider(w http.ResponseWriter, r *http.Request) {
	var a attempt
	c, err := r.Cookie(oidcCookie)
	if err == nil {
		err = unseal(s.users.SigningKey(), forOIDC, c.Value, &a)
	}
	q := r.URL.Query()
	http.SetCookie(w, cookie(r, oidcCookie, oidcPath, "", -time.Second))
	if err != nil || !time.Now().Before(a.Expires) || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(a.State)) != 1 {
		answer.Fail(w, http.StatusBadRequest, "this sign-in was not begun in this browser, or it took too long", "begin again at /")
		return
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(r.Context(), s.oidc.client), oidcLimit)
	defer cancel()
	u, err := s.oidc.user(ctx, q.Get("code"), a)
	if err == nil {
		u, err = s.keep(ctx, u)
	}
	switch {
	case errors.Is(err, errRefused):
		s.endSessions(ctx, u)
		s.signIns.WithLabelValues("refused").Inc()
		s.log.Warn("audit", "event", "sign-in refused", "user", u.Name, "address", s.address(r), "err", err)
		answer.Fail(w, http.StatusForbidden, "the provider knows you, but you may not use this Framelog", "ask whoever runs it")
		return
	case err != nil:
		s.signIns.WithLabelValues("refused").Inc()
		s.providerFailed(w, err)
		return
	}
	s.begin(w, r, u)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

var errRefused = errors.New("people: the user may not sign in")

// user exchanges the code for an ID token, checks it, and makes a user of its claims.
func (p *provider) user(ctx context.Context, code string, a attempt) (u schemas.User, err error) {
	found, err := p.discover()
	if err != nil {
		return u, err
	}
	cfg, err := p.oauth(found)
	if err != nil {
		return u, err
	}
	token, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return u, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: p.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return u, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return u, errors.New("people: the ID token is of another sign-in")
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return u, err
	}
	return p.cfg.grant(id.Issuer+"#"+id.Subject, claims)
}

// grant makes a user of claims. Errors: errRefused.
func (o *OIDC) grant(subject string, claims map[string]any) (schemas.User, error) {
	name, _ := claims[o.NameClaim].(string)
	if verified, told := claims["email_verified"].(bool); o.NameClaim == "email" && told && !verified {
		return schemas.User{}, fmt.Errorf("%w: the provider has not verified their e-mail address", errRefused)
	}
	u := schemas.User{Name: strings.ToLower(name), Subject: subject}
	var groups []string
	switch g := claims[o.GroupsClaim].(type) {
	case string:
		groups = []string{g}
	case []any:
		for _, one := range g {
			if s, ok := one.(string); ok {
				groups = append(groups, s)
			}
		}
	}
	i := slices.IndexFunc(o.Grants, func(g Grant) bool { return g.Group == "*" || slices.Contains(groups, g.Group) })
	if i < 0 {
		return u, fmt.Errorf("%w: none of their groups is in access.oidc.grants", errRefused)
	}
	u.Role, u.Cameras, u.Renditions = o.Grants[i].Role, o.Grants[i].Cameras, o.Grants[i].Renditions
	return u, nil
}

// endSessions ends the sessions and share links of a user whom the provider has described, and
// who may not sign in any more.
func (s *Server) endSessions(ctx context.Context, u schemas.User) {
	old, exists := s.users.User(u.Name)
	if !exists || old.Subject != u.Subject {
		return
	}
	old.Stamp = randomID()
	if err := s.users.Put(ctx, old); err != nil {
		s.log.Error("cannot end the sessions of a user who may not sign in any more", "user", u.Name, "err", err)
	}
}

// keep writes the user whom a provider has described, if they are new or their rights are
// others. Sessions with other rights end by this. Errors: errRefused.
func (s *Server) keep(ctx context.Context, u schemas.User) (schemas.User, error) {
	old, exists := s.users.User(u.Name)
	if exists && old.Subject != u.Subject {
		return u, fmt.Errorf("%w: another user has this name", errRefused)
	}
	if exists && old.Role == u.Role && slices.Equal(old.Cameras, u.Cameras) && slices.Equal(old.Renditions, u.Renditions) {
		return old, nil
	}
	u.Stamp, u.Tokens = randomID(), old.Tokens
	if err := u.Validate(); err != nil {
		return u, fmt.Errorf("%w: %w", errRefused, err)
	}
	return u, s.users.Put(ctx, u)
}
