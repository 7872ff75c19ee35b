package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// Access is who may use this Framelog.
type Access struct {
	Enabled bool     `yaml:"enabled" default:"false" doc:"People and programs have to sign in, and get only what their rights allow: see docs/access.md. A listen that other machines can reach needs it, or insecure: true."`
	Session Duration `yaml:"session" default:"12h" min:"5m" max:"720h" doc:"How long somebody stays signed in after the page was last open."`
	Proxies []string `yaml:"proxies" default:"" doc:"Addresses or networks of reverse proxies on other machines, such as 10.0.0.7 or 10.0.0.0/8. The limits of sign-in and the audit log take the client's address from their header X-Forwarded-For. Proxies on this machine need no entry."`
	OIDC    OIDC     `yaml:"oidc"`
}

// OIDC is a provider of OpenID Connect.
type OIDC struct {
	Issuer       string   `yaml:"issuer" default:"" doc:"URL of a provider of OpenID Connect, with which people may sign in. Empty: none."`
	ClientID     string   `yaml:"client_id" default:"" doc:"Name of Framelog at the provider."`
	ClientSecret string   `yaml:"client_secret" default:"" doc:"Secret of Framelog at the provider: ${FRAMELOG_SECRET_X}, ${file:NAME} (a file in secrets_dir), or the secret itself."`
	URL          string   `yaml:"url" default:"" doc:"URL of the page as browsers know it, such as https://cams.example. The provider must allow it with /v1/session/oidc/callback behind it."`
	Scopes       []string `yaml:"scopes" default:"openid,profile,email" doc:"What Framelog asks the provider for."`
	NameClaim    string   `yaml:"name_claim" default:"email" doc:"Claim that names a user."`
	GroupsClaim  string   `yaml:"groups_claim" default:"groups" doc:"Claim with the groups of a user."`
	Grants       []Grant  `yaml:"grants" doc:"What groups may do. The first entry that fits a user counts; a user whom none fits is refused."`
}

// Grant is what a group of a provider may do.
type Grant struct {
	Group      string   `yaml:"group" doc:"Name of the group; * is everybody whom the provider knows. Needed."`
	Role       string   `yaml:"role" oneof:"viewer,operator,admin" doc:"What they may do. Needed."`
	Cameras    []string `yaml:"cameras" default:"" doc:"Patterns of the cameras that a viewer or operator may see: * stands for any characters, ? for one."`
	Renditions []string `yaml:"renditions" default:"" doc:"Patterns of the renditions that they may watch, such as redacted. Empty: all, as *."`
}

// ServerTLS is the certificate of the HTTP server. The files are in PEM.
type ServerTLS struct {
	Cert string `yaml:"cert" default:"" doc:"File with the certificate of listen and those that it is signed by (PEM). Empty: framelog up makes a certificate if access.enabled is true and other machines can reach listen; without access, and in framelog egress, listen is without TLS. The file is read again when it changes."`
	Key  string `yaml:"key" default:"" doc:"File with the key of that certificate (PEM, without a password)."`
}

// validateAccess checks the sections access and tls.
func (c *Config) validateAccess() error {
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return c.Errorf("tls", "name both files, tls.cert and tls.key, or none", "a certificate and its key belong together")
	}
	for i, p := range c.Access.Proxies {
		if _, err := Network(p); err != nil {
			return c.Errorf(c.Element("access.proxies", i), "want an address or a network, as 10.0.0.7 or 10.0.0.0/8", "%q is neither", p)
		}
	}
	return c.validateOIDC()
}

// Network parses an address or a network.
func Network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

func (c *Config) validateOIDC() error {
	o := &c.Access.OIDC
	if o.Issuer == "" {
		return nil
	}
	for _, f := range []struct{ key, value string }{{"issuer", o.Issuer}, {"url", o.URL}} {
		if u, err := url.Parse(f.value); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			return c.Errorf("access.oidc."+f.key, "want a URL as https://login.example", "%q is none", f.value)
		}
	}
	for _, f := range []struct{ key, value string }{{"client_id", o.ClientID}, {"name_claim", o.NameClaim}} {
		if f.value == "" {
			return c.Errorf("access.oidc."+f.key, "set it as the provider has it", "it is empty")
		}
	}
	if err := secrets.CheckText(o.ClientSecret); err != nil {
		return c.Errorf("access.oidc.client_secret", "", "%v", err)
	}
	if !slices.Contains(o.Scopes, "openid") {
		return c.Errorf("access.oidc.scopes", "add openid", "without openid the provider does not tell who signs in")
	}
	if len(o.Grants) == 0 {
		return c.Errorf("access.oidc.grants", "say what a group may do: {group: guards, role: viewer, cameras: ['*']}", "nobody could sign in without an entry")
	}
	for i := range o.Grants {
		g := &o.Grants[i]
		if len(g.Renditions) == 0 && g.Role != string(schemas.Admin) {
			g.Renditions = []string{"*"}
		}
		key := "access.oidc.grants[" + strconv.Itoa(i) + "]"
		if g.Group == "" {
			return c.Errorf(key, "name one in group, or * for everybody", "it has no group")
		}
		u := schemas.User{Name: "x", Role: schemas.UserRole(g.Role), Cameras: g.Cameras, Renditions: g.Renditions, Stamp: "x"}
		if err := u.Validate(); err != nil {
			return c.Errorf(key, "", "%s", strings.TrimPrefix(err.Error(), "user x: "))
		}
	}
	return nil
}
