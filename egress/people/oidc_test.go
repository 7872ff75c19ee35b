package people

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"github.com/framelog/framelog/schemas"
)

// issuer is a provider of OpenID Connect. A person signs in there at once, as claims tells.
type issuer struct {
	*httptest.Server
	key    *ecdsa.PrivateKey
	keys   oidctest.Server
	claims map[string]any // of the next ID token, over those that are right

	mu       sync.Mutex
	attempts map[string]url.Values // by code
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key, attempts: map[string]url.Values{}, keys: oidctest.Server{
		PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k", Algorithm: oidc.ES256}},
		Algorithms: []string{oidc.ES256},
	}}
	mux := http.NewServeMux()
	mux.Handle("/", &i.keys)
	mux.HandleFunc("/auth", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewServer(mux)
	i.keys.SetIssuer(i.URL)
	t.Cleanup(i.Close)
	return i
}

// authorize is the authorization endpoint.
func (i *issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := randomID()
	i.mu.Lock()
	i.attempts[code] = q
	i.mu.Unlock()
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther)
}

// token is the token endpoint. It checks the client's secret and PKCE.
func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	q, ok := i.attempts[r.PostFormValue("code")]
	delete(i.attempts, r.PostFormValue("code"))
	i.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || id != "framelog" || secret != "hush" || base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	claims := map[string]any{
		"iss": i.URL, "aud": "framelog", "sub": "42", "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(),
		"nonce": q.Get("nonce"), "email": "Dora@Example.org", "email_verified": true, "groups": []string{"staff", "guards"},
	}
	maps.Copy(claims, i.claims)
	b, _ := json.Marshal(claims)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": oidctest.SignIDToken(i.key, "k", oidc.ES256, string(b))})
}

// provided is a house whose people sign in at i.
func provided(t *testing.T, i *issuer) *house {
	t.Helper()
	return newHouse(t, Config{OIDC: &OIDC{
		Issuer: i.URL, ClientID: "framelog", Secret: func() (string, error) { return "hush", nil }, URL: "https://cams.example",
		Scopes: []string{"openid"}, NameClaim: "email", GroupsClaim: "groups",
		Grants: []Grant{
			{Group: "guards", Role: schemas.Viewer, Cameras: []string{"yard"}, Renditions: []string{"*"}},
			{Group: "chiefs", Role: schemas.Admin},
		},
	}})
}

// signIn goes to the provider and comes back. It returns the answer to the way back.
func (i *issuer) signIn(t *testing.T, h *house, change func(back *url.URL, cookie *string)) *httptest.ResponseRecorder {
	t.Helper()
	to := h.ask("GET", oidcPath, "")
	if to.Code != http.StatusSeeOther {
		t.Fatalf("to the provider: %d %s", to.Code, to.Body)
	}
	cookie := header1(t, to)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to.Header().Get("Location"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || back.Scheme+"://"+back.Host+back.Path != "https://cams.example"+CallbackPath {
		t.Fatalf("the provider sends back to %v, %v", back, err)
	}
	if change != nil {
		change(back, &cookie)
	}
	return h.ask("GET", back.RequestURI(), "", "Cookie", cookie)
}

// session returns the cookie of the session that an answer begins; "": it begins none.
func sessionOf(w *httptest.ResponseRecorder) string {
	for _, c := range w.Result().Cookies() {
		if c.Name == sessionCookie {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// TestOIDC: a person of a group signs in with the rights of that group. Another group later
// means other rights, and ends sessions with the former ones.
func TestOIDC(t *testing.T) {
	i := newIssuer(t)
	h := provided(t, i)
	w := i.signIn(t, h, nil)
	first := sessionOf(w)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" || first == "" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	u, ok := h.users.User("dora@example.org")
	if !ok || u.Role != schemas.Viewer || u.Subject != i.URL+"#42" || u.Password != "" {
		t.Errorf("user %+v", u)
	}
	if a, b := h.watches("/w/yard/raw", "Cookie", first), h.watches("/w/vault/raw", "Cookie", first); a != 200 || b != 404 {
		t.Errorf("yard %d, vault %d", a, b)
	}
	second := sessionOf(i.signIn(t, h, nil))
	if code := h.watches("/w/yard/raw", "Cookie", first); code != 200 {
		t.Errorf("a second sign-in with the same rights ends the first session: %d", code)
	}
	i.claims = map[string]any{"groups": "chiefs"}
	third := sessionOf(i.signIn(t, h, nil))
	if code := h.watches("/w/vault/raw", "Cookie", third); code != 200 {
		t.Errorf("as an administrator: %d", code)
	}
	if code := h.watches("/w/yard/raw", "Cookie", second); code != 401 {
		t.Errorf("a session with former rights: %d", code)
	}
	var shared Shared
	if err := json.Unmarshal(h.ask("POST", "/v1/share/yard/raw", `{"for":"24h"}`, "Cookie", third).Body.Bytes(), &shared); err != nil {
		t.Fatal(err)
	}
	link := strings.TrimSuffix(shared.Path, "/") + "/w/yard/raw"
	if code := h.watches(link); code != 200 {
		t.Errorf("her link: %d", code)
	}
	i.claims = map[string]any{"groups": "retired"}
	if w := i.signIn(t, h, nil); w.Code != 403 || sessionOf(w) != "" {
		t.Errorf("without a group: %d %s", w.Code, w.Body)
	}
	if a, b := h.watches("/w/yard/raw", "Cookie", third), h.watches(link); a != 401 || b != 404 {
		t.Errorf("after the provider told that she has no group: session %d, link %d", a, b)
	}
	if w := h.ask("POST", "/v1/session", signInBody("dora@example.org", "")); w.Code != 401 {
		t.Errorf("without a password: %d", w.Code)
	}
}

// TestOIDCRefused: no session begins unless the whole way was right.
func TestOIDCRefused(t *testing.T) {
	i := newIssuer(t)
	for name, c := range map[string]struct {
		claims map[string]any
		change func(back *url.URL, cookie *string)
		users  []schemas.User
		code   int
	}{
		"no group":             {claims: map[string]any{"groups": []string{"staff"}}, code: 403},
		"groups of no form":    {claims: map[string]any{"groups": 7}, code: 403},
		"no name":              {claims: map[string]any{"email": ""}, code: 403},
		"address not verified": {claims: map[string]any{"email_verified": false}, code: 403},
		"name of a local user": {claims: map[string]any{"email": "anna"}, code: 403},
		"name of another":      {users: []schemas.User{{Name: "dora@example.org", Role: schemas.Admin, Subject: i.URL + "#7", Stamp: "1"}}, code: 403},
		"for another client":   {claims: map[string]any{"aud": "other"}, code: 502},
		"of another issuer":    {claims: map[string]any{"iss": "https://evil.example"}, code: 502},
		"expired":              {claims: map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}, code: 502},
		"of another sign-in":   {claims: map[string]any{"nonce": "x"}, code: 502},
		"another state":        {change: func(back *url.URL, _ *string) { set(back, "state", "x") }, code: 400},
		"no state":             {change: func(back *url.URL, _ *string) { set(back, "state", "") }, code: 400},
		"another browser":      {change: func(_ *url.URL, cookie *string) { *cookie = "" }, code: 400},
		"forged cookie":        {change: func(_ *url.URL, cookie *string) { *cookie += "x" }, code: 400},
		"another code":         {change: func(back *url.URL, _ *string) { set(back, "code", "x") }, code: 502},
		"the provider says no": {change: func(back *url.URL, _ *string) { set(back, "code", ""); set(back, "error", "access_denied") }, code: 502},
		"cookie of a session": {change: func(_ *url.URL, cookie *string) {
			*cookie = oidcCookie + "=" + strings.TrimPrefix(*cookie, sessionCookie+"=") + "."
		}, code: 400},
		"brokers cannot record": {code: 502},
	} {
		h := provided(t, i)
		for _, u := range c.users {
			h.users.Set(u)
		}
		if name == "brokers cannot record" {
			h.users.Fail()
		}
		i.claims = c.claims
		w := i.signIn(t, h, c.change)
		if w.Code != c.code || sessionOf(w) != "" {
			t.Errorf("%s: %d %s, session %q, want %d", name, w.Code, w.Body, sessionOf(w), c.code)
		}
	}
	i.claims = nil
	h := provided(t, i)
	h.oidc.cfg.Secret = func() (string, error) { return "", errors.New("no such file") }
	if w := h.ask("GET", oidcPath, ""); w.Code != 502 || strings.Contains(w.Body.String(), "no such file") {
		t.Errorf("without a secret: %d %s", w.Code, w.Body)
	}
	i.Close()
	if w := provided(t, i).ask("GET", oidcPath, ""); w.Code != 502 {
		t.Errorf("the provider is away: %d %s", w.Code, w.Body)
	}
}

func set(u *url.URL, key, value string) {
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
}
