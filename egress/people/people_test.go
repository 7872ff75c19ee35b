package people

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/egress/people/peopletest"
	"github.com/framelog/framelog/schemas"
)

// house is a server with its users, in front of one route.
type house struct {
	*Server
	http.Handler
	users *peopletest.Users
	lines bytes.Buffer // of the log
}

func newHouse(t *testing.T, cfg Config) *house {
	t.Helper()
	h := &house{users: peopletest.New(
		peopletest.Viewer("anna", []string{"yard"}, []string{"*"}),
		peopletest.Viewer("bert", []string{"*"}, []string{"redacted"}),
	)}
	h.Server = New(cfg, Deps{Users: h.users, Verify: peopletest.Verify, Log: slog.New(slog.NewTextHandler(&h.lines, nil))})
	routes := append(h.Routes(), access.Route{
		Pattern: "GET /w/{camera}/{rendition}", Action: access.Watch, Denied: answer.Denied, Handler: func(http.ResponseWriter, *http.Request) {},
	})
	mux, err := access.NewMux(h.Policy(), routes, func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	h.Handler = h.Wrap(mux)
	return h
}

// ask sends a request. header are names and values.
func (h *house) ask(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func signInBody(name, password string) string {
	b, _ := json.Marshal(map[string]string{"name": name, "password": password})
	return string(b)
}

// cookieOf signs somebody in and returns the header Cookie.
func (h *house) cookieOf(t *testing.T, name string, header ...string) string {
	t.Helper()
	w := h.ask("POST", "/v1/session", signInBody(name, "secret of "+name), header...)
	return header1(t, w)
}

// header1 returns the one cookie that an answer sets, as the header Cookie.
func header1(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	all := w.Result().Cookies()
	if w.Code >= 400 || len(all) != 1 {
		t.Fatalf("%d %s, cookies %v", w.Code, w.Body, all)
	}
	return all[0].Name + "=" + all[0].Value
}

// watches returns the status of a request for a rendition.
func (h *house) watches(path string, header ...string) int {
	return h.ask("GET", path, "", header...).Code
}

// TestSession: a cookie is valid from sign-in to sign-out, to its end, and to a change of what
// its user may do; and it is one that scripts and other sites do not get.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{})
		w := h.ask("POST", "/v1/session", signInBody(" Anna ", "secret of anna"), "X-Forwarded-Proto", "https")
		cookie := header1(t, w)
		if c := w.Result().Cookies()[0]; !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge != 12*3600 {
			t.Errorf("cookie %+v", c)
		}
		if !strings.Contains(w.Body.String(), `"name":"anna","role":"viewer"`) {
			t.Errorf("answer %s", w.Body)
		}
		if c := h.ask("POST", "/v1/session", signInBody("anna", "secret of anna")).Result().Cookies()[0]; c.Secure {
			t.Error("without TLS a browser would not keep the cookie")
		}
		want := func(what string, code int, cookie string) {
			t.Helper()
			if got := h.watches("/w/yard/raw", "Cookie", cookie); got != code {
				t.Errorf("%s: %d, want %d", what, got, code)
			}
		}
		want("signed in", 200, cookie)
		if got := h.watches("/w/vault/raw", "Cookie", cookie); got != 404 {
			t.Errorf("another camera: %d", got)
		}
		want("nobody", 401, "")
		if w := h.ask("GET", "/v1/session", "", "Cookie", cookie); !strings.Contains(w.Body.String(), `"anna"`) || len(w.Result().Cookies()) > 0 {
			t.Errorf("who am I: %s %v", w.Body, w.Result().Cookies())
		}

		out := h.ask("DELETE", "/v1/session", "", "Cookie", cookie)
		if c := out.Result().Cookies(); out.Code != 204 || len(c) != 1 || c[0].MaxAge >= 0 {
			t.Errorf("sign-out: %d %v", out.Code, c)
		}
		want("after sign-out", 401, cookie)

		for what, change := range map[string]func(u *schemas.User){
			"another password": func(u *schemas.User) { u.Password, u.Stamp = "x", "2" },
			"fewer rights":     func(u *schemas.User) { u.Cameras, u.Stamp = []string{"gate"}, "3" },
		} {
			anna := peopletest.Viewer("anna", []string{"yard"}, []string{"*"})
			h.users.Set(anna)
			cookie := h.cookieOf(t, "anna")
			want("before "+what, 200, cookie)
			change(&anna)
			h.users.Set(anna)
			want("after "+what, 401, cookie)
		}
		h.users.Set(peopletest.Viewer("anna", []string{"yard"}, []string{"*"}))
		cookie = h.cookieOf(t, "anna")
		h.users.Drop("anna")
		want("after removal", 401, cookie)
	})
}

// TestSessionEnds: a session ends by itself. The page makes it longer, but not for ever, and
// not for a user of a provider.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Session: time.Hour})
		cookie := h.cookieOf(t, "anna")
		time.Sleep(time.Hour - time.Second)
		if got := h.watches("/w/yard/raw", "Cookie", cookie); got != 200 {
			t.Errorf("before the end: %d", got)
		}
		time.Sleep(time.Second)
		if got := h.watches("/w/yard/raw", "Cookie", cookie); got != 401 {
			t.Errorf("after the end: %d", got)
		}

		begun := time.Now()
		for cookie = h.cookieOf(t, "anna"); h.watches("/w/yard/raw", "Cookie", cookie) == 200; time.Sleep(40 * time.Minute) {
			if w := h.ask("GET", "/v1/session", "", "Cookie", cookie); len(w.Result().Cookies()) == 1 {
				cookie = header1(t, w)
			}
		}
		if d := time.Since(begun); d < longestSession || d > longestSession+time.Hour {
			t.Errorf("with a page that is open all the time it ended after %v", d)
		}

		first := h.cookieOf(t, "anna")
		time.Sleep(40 * time.Minute)
		second := header1(t, h.ask("GET", "/v1/session", "", "Cookie", first))
		h.ask("DELETE", "/v1/session", "", "Cookie", first)
		if got := h.watches("/w/yard/raw", "Cookie", second); got != 401 {
			t.Errorf("the newer cookie of a session that was ended: %d", got)
		}

		h.cfg.Session = 24 * time.Hour
		first = h.cookieOf(t, "anna")
		h.cfg.Session = 5 * time.Minute // by another configuration
		h.ask("DELETE", "/v1/session", "", "Cookie", first)
		h.cfg.Session = time.Hour
		time.Sleep(2 * time.Hour)
		if got := h.watches("/w/yard/raw", "Cookie", first); got != 401 {
			t.Errorf("long after sign-out: %d", got)
		}

		anna, _ := h.users.User("anna")
		anna.Subject = "https://login.example#1"
		h.users.Set(anna)
		first = h.cookieOf(t, "anna")
		time.Sleep(40 * time.Minute)
		if c := h.ask("GET", "/v1/session", "", "Cookie", first).Result().Cookies(); len(c) > 0 {
			t.Errorf("a session of a provider's user was made longer: %v", c)
		}
	})
}

// TestForged: only what this Framelog has signed for this purpose counts.
func TestForged(t *testing.T) {
	h := newHouse(t, Config{})
	good := session{User: "anna", Stamp: "1", ID: "i", Begun: time.Now(), Expires: time.Now().Add(time.Hour)}
	sealed := func(key, purpose string, v any) string {
		text, err := seal([]byte(key), purpose, v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	key := string(h.users.Key)
	right := sealed(key, forSession, good)
	text, sum, _ := strings.Cut(right, ".")
	bert := good
	bert.User = "bert"
	bertText, _, _ := strings.Cut(sealed(key, forSession, bert), ".")
	for name, c := range map[string]struct {
		header string
		value  string
		code   int
	}{
		"right":                     {"Cookie", sessionCookie + "=" + right, 200},
		"another key":               {"Cookie", sessionCookie + "=" + sealed(strings.Repeat("j", 32), forSession, good), 401},
		"no key":                    {"Cookie", sessionCookie + "=" + sealed("", forSession, good), 401},
		"signed as a share":         {"Cookie", sessionCookie + "=" + sealed(key, forShare, good), 401},
		"no signature":              {"Cookie", sessionCookie + "=" + text, 401},
		"empty signature":           {"Cookie", sessionCookie + "=" + text + ".", 401},
		"cut signature":             {"Cookie", sessionCookie + "=" + right[:len(right)-2], 401},
		"signature of another text": {"Cookie", sessionCookie + "=" + bertText + "." + sum, 401},
		"no text":                   {"Cookie", sessionCookie + "=", 401},
		"too long":                  {"Cookie", sessionCookie + "=" + strings.Repeat("a", maxSealed) + "." + sum, 401},
		"another cookie":            {"Cookie", "session=" + right, 401},
		"cookie as a token":         {"Authorization", "Bearer " + right, 401},
		"token":                     {"Authorization", "Bearer token of anna", 200},
		"token, other letters":      {"Authorization", "bearer token of anna", 200},
		"unknown token":             {"Authorization", "Bearer token of carl", 401},
		"empty token":               {"Authorization", "Bearer ", 401},
		"another scheme":            {"Authorization", "Basic token of anna", 401},
	} {
		if got := h.watches("/w/yard/raw", c.header, c.value); got != c.code {
			t.Errorf("%s: %d, want %d", name, got, c.code)
		}
	}
	if got := h.watches("/w/yard/raw", "Cookie", sessionCookie+"="+right, "Authorization", "Bearer token of carl"); got != 401 {
		t.Errorf("a cookie beside a token that is not valid: %d", got)
	}
	h.users.Key = nil // not read yet
	if got := h.watches("/w/yard/raw", "Cookie", sessionCookie+"="+sealed("", forSession, good)); got != 401 {
		t.Errorf("without a signing key: %d", got)
	}
}

// TestSignInFails: a wrong name and a wrong password get the same answer, and nothing of either
// is in the log but the name of a user who exists.
func TestSignInFails(t *testing.T) {
	h := newHouse(t, Config{})
	var answers []string
	for _, c := range [][2]string{{"anna", "hunter2"}, {"hunter2", "secret of anna"}, {"anna", ""}, {"", ""}} {
		w := h.ask("POST", "/v1/session", signInBody(c[0], c[1]))
		answers = append(answers, w.Body.String())
		if w.Code != 401 || len(w.Result().Cookies()) > 0 || answers[0] != w.Body.String() {
			t.Errorf("%q: %d %s", c, w.Code, w.Body)
		}
	}
	if log := h.lines.String(); strings.Contains(log, "hunter2") || strings.Contains(log, "secret") || !strings.Contains(log, "user=anna") {
		t.Errorf("log:\n%s", log)
	}
	for name, c := range map[string][2]string{
		"a form":       {"application/x-www-form-urlencoded", signInBody("anna", "secret of anna")},
		"a text":       {"text/plain", signInBody("anna", "secret of anna")},
		"no JSON":      {"application/json", "name=anna"},
		"two values":   {"application/json", signInBody("anna", "secret of anna") + "{}"},
		"a large body": {"application/json", signInBody("anna", strings.Repeat("x", maxBody))},
	} {
		if w := h.ask("POST", "/v1/session", c[1], "Content-Type", c[0]); w.Code != 400 || len(w.Result().Cookies()) > 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestLimits: attempts for one name and those of one address are limited, and each refills.
// Others can sign in meanwhile, and attempts that succeed count for nothing.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}) // where httptest's requests come from
		try := func(name, password, addr string) int {
			return h.ask("POST", "/v1/session", signInBody(name, password), "X-Forwarded-For", addr).Code
		}
		until := func(name string, addr func(i int) string) (n int) {
			for try(name, "wrong", addr(n)) == 401 {
				n++
			}
			return n
		}
		for range 100 {
			if code := try("anna", "secret of anna", "10.0.0.1"); code != 200 {
				t.Fatalf("right: %d", code)
			}
		}
		if n := until("anna", func(i int) string { return netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}).String() }); n != 10 {
			t.Errorf("%d attempts for one name", n)
		}
		if code := try("anna", "secret of anna", "10.0.0.1"); code != 429 {
			t.Errorf("the right password beyond the limit: %d", code)
		}
		if code := try("bert", "secret of bert", "10.1.0.1"); code != 200 {
			t.Errorf("another name: %d", code)
		}
		time.Sleep(31 * time.Second)
		if code := try("anna", "secret of anna", "10.0.0.1"); code != 200 {
			t.Errorf("later: %d", code)
		}
		n := 0
		for try("nobody-"+string(rune('a'+n)), "wrong", "2001:db8::"+string(rune('a'+n%6))) == 401 {
			n++
		}
		if n != 20 {
			t.Errorf("%d attempts of one network", n)
		}
		if code := try("bert", "secret of bert", "2001:db8:0:1::a"); code != 200 {
			t.Errorf("another network: %d", code)
		}
		w := h.ask("POST", "/v1/session", signInBody("zoe", "wrong"), "X-Forwarded-For", "2001:db8::1")
		if w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	})
}

func TestAddress(t *testing.T) {
	s := New(Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, Deps{})
	for _, c := range []struct{ name, remote, forwarded, want string }{
		{"direct", "203.0.113.5:1234", "", "203.0.113.5"},
		{"a stranger's header", "203.0.113.5:1234", "198.51.100.1", "203.0.113.5"},
		{"Nginx on this machine", "127.0.0.1:99", "203.0.113.5", "203.0.113.5"},
		{"up", "@", "203.0.113.5", "203.0.113.5"},
		{"Nginx and up", "@", "203.0.113.5, 127.0.0.1", "203.0.113.5"},
		{"a listed proxy", "10.1.2.3:99", "203.0.113.5", "203.0.113.5"},
		{"what the client invented", "10.1.2.3:99", "1.2.3.4, 203.0.113.5", "203.0.113.5"},
		{"no address", "127.0.0.1:99", "unknown", "127.0.0.1"},
		{"this machine itself", "@", "127.0.0.1", "127.0.0.1"},
		{"IPv4 as IPv6", "[::ffff:203.0.113.5]:99", "", "203.0.113.5"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := s.address(r).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestShare: a link shows one rendition of one camera until it ends or its maker loses the
// right, and nothing else.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{})
		anna := h.cookieOf(t, "anna")
		w := h.ask("POST", "/v1/share/yard/raw", `{"for":"24h"}`, "Cookie", anna)
		var got Shared
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 201 || !got.Until.Equal(time.Now().Add(24*time.Hour).Truncate(time.Second)) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		at := strings.TrimSuffix(got.Path, "/")
		if got.Playlist != at+"/hls/yard/index.m3u8" {
			t.Errorf("%+v", got)
		}
		for path, code := range map[string]int{
			at + "/w/yard/raw": 200, at + "/w/yard/720p": 404, at + "/w/vault/raw": 404, "/w/yard/raw": 401,
			at + "x/w/yard/raw": 404, strings.Replace(at, "/s/", "/s/x", 1) + "/w/yard/raw": 404, "/s/w/yard/raw": 404, "/s//w/yard/raw": 404,
			at + "/../w/vault/raw": 307, at + "/w/vault%2fraw": 404, at + "/s/x/w/yard/raw": 404,
		} {
			if w := h.ask("GET", path, "", "Cookie", ""); w.Code != code {
				t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, code)
			}
		}
		// A link has the rights of nobody else who uses it.
		bert := h.cookieOf(t, "bert")
		if code := h.watches(at+"/w/vault/redacted", "Cookie", bert); code != 404 {
			t.Errorf("a link with a cookie: %d", code)
		}
		for _, c := range [][2]string{{"POST", at + "/v1/share/yard/raw"}, {"POST", at + "/v1/session"}, {"DELETE", at + "/v1/session"}} {
			if w := h.ask(c[0], c[1], `{"for":"24h"}`, "Cookie", anna); w.Code != 405 {
				t.Errorf("%s %s: %d", c[0], c[1], w.Code)
			}
		}
		if w := h.ask("GET", at+"/v1/session", ""); !strings.Contains(w.Body.String(), `"camera":"yard","rendition":"raw"`) || !strings.Contains(w.Body.String(), fmt.Sprintf(`"now":%d}`, time.Now().UnixMilli())) {
			t.Errorf("what is shared: %s", w.Body)
		}
		for body, code := range map[string]int{`{"for":"1s"}`: 400, `{"for":"721h"}`: 400, `{"for":"soon"}`: 400, `{}`: 400, ``: 400} {
			if w := h.ask("POST", "/v1/share/yard/raw", body, "Cookie", anna); w.Code != code {
				t.Errorf("%s: %d", body, w.Code)
			}
		}
		for path, code := range map[string]int{"/v1/share/vault/raw": 404, "/v1/share/yard/redacted": 201} {
			if w := h.ask("POST", path, `{"for":"1h"}`, "Cookie", anna); w.Code != code {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		if w := h.ask("POST", "/v1/share/yard/raw", `{"for":"1h"}`, "Cookie", bert); w.Code != 404 {
			t.Errorf("raw by whom may see redacted: %d", w.Code)
		}

		time.Sleep(24*time.Hour - time.Second)
		if code := h.watches(at + "/w/yard/raw"); code != 200 {
			t.Errorf("before its end: %d", code)
		}
		time.Sleep(time.Second)
		if code := h.watches(at + "/w/yard/raw"); code != 404 {
			t.Errorf("after its end: %d", code)
		}
		w = h.ask("POST", "/v1/share/yard/raw", `{"for":"24h"}`, "Cookie", h.cookieOf(t, "anna"))
		_ = json.Unmarshal(w.Body.Bytes(), &got)
		u, _ := h.users.User("anna")
		u.Cameras, u.Stamp = []string{"gate"}, "2"
		h.users.Set(u)
		if code := h.watches(strings.TrimSuffix(got.Path, "/") + "/w/yard/raw"); code != 404 {
			t.Errorf("after its maker has lost the right: %d", code)
		}
	})
}

// TestAudit: one line when somebody starts to watch, and one for each sign-in and share.
func TestAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{})
		anna := h.cookieOf(t, "anna")
		count := func() int { return strings.Count(h.lines.String(), "event=watch") }
		for range 100 {
			h.watches("/w/yard/raw", "Cookie", anna)
			h.watches("/w/vault/raw", "Cookie", anna)
			time.Sleep(4 * time.Minute)
		}
		if n := count(); n != 1 {
			t.Errorf("%d lines while somebody watches", n)
		}
		time.Sleep(2 * time.Minute)
		h.watches("/w/yard/raw", "Cookie", anna)
		h.watches("/w/yard/720p", "Cookie", anna)
		h.watches("/w/yard/raw", "Authorization", "Bearer token of anna")
		if n := count(); n != 4 {
			t.Errorf("%d lines after a pause, of another rendition and of a token:\n%s", n, h.lines.String())
		}
		for i := range 2 * maxWatched {
			h.watched.begins(watching{camera: "c", user: string(rune(i))}, time.Now())
		}
		if n := len(h.watched.at); n > maxWatched {
			t.Errorf("%d are remembered", n)
		}
		if log := h.lines.String(); !strings.Contains(log, "event=watch user=anna by=session camera=yard rendition=raw") || !strings.Contains(log, "event=sign-in user=anna") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// TestBrokersAway: a sign-out that cannot be written ends the session here, and says so.
func TestBrokersAway(t *testing.T) {
	h := newHouse(t, Config{})
	anna := h.cookieOf(t, "anna")
	h.users.Fail()
	if w := h.ask("DELETE", "/v1/session", "", "Cookie", anna); w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if code := h.watches("/w/yard/raw", "Cookie", anna); code != 401 {
		t.Errorf("%d", code)
	}
}

// TestOff: without users nobody has to sign in.
func TestOff(t *testing.T) {
	s := New(Config{}, Deps{})
	if p := s.Policy(); p.Known != nil || !p.Authorize(nil, "yard", "raw", access.Watch) {
		t.Error("somebody has to sign in")
	}
	for _, method := range []string{"GET", "DELETE"} {
		w := httptest.NewRecorder()
		map[string]http.HandlerFunc{"GET": s.whoAmI, "DELETE": s.signOut}[method](w, httptest.NewRequest(method, "/v1/session", nil))
		if w.Code >= 400 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}
