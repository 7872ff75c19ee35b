package access

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func plainly(_ Route, h http.Handler) http.Handler { return h }

func answer(w http.ResponseWriter, _ *http.Request)       { w.WriteHeader(http.StatusOK) }
func no(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusTeapot) }
func one(r *http.Request) (string, string)                { return r.URL.Query().Get("c"), "720p" }
func only(_ *http.Request, c, r string, a Action) bool {
	return c+"/"+r+" "+string(a) == "yard/720p watch"
}

func onlyWhole(_ *http.Request, c, r string, a Action) bool {
	return c == "yard" && r == "" && a == List
}
func forget(w http.ResponseWriter, r *http.Request) { answer(w, r) }
func asks(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X", tell(r, "yard")+tell(r, "shed"))
}

func tell(r *http.Request, camera string) string {
	return camera + map[bool]string{true: "+", false: "-"}[May(r, camera)]
}

// TestRouteThatForgets: no route can be made that forgets to say what is asked.
func TestRouteThatForgets(t *testing.T) {
	for _, c := range []struct {
		name  string
		route Route
		want  string // in the error, "" for none
	}{
		{"no action", Route{Pattern: "/a", Handler: forget}, "no action"},
		{"action of its own", Route{Pattern: "/a", Action: "look", Handler: forget}, "no action"},
		{"no handler", Route{Pattern: "/a", Action: List}, "no handler"},
		{"public camera", Route{Pattern: "/a/{camera}", Action: Public, Handler: forget}, "public"},
		{"public wildcard", Route{Pattern: "/a/{x}", Action: Public, Handler: forget}, "public"},
		{"public subject", Route{Pattern: "/a/", Action: Public, Subject: one, Handler: forget}, "public"},
		{"camera under another name", Route{Pattern: "/a/{id}", Action: List, Denied: no, Handler: forget}, "wildcard"},
		{"no answer for the denied", Route{Pattern: "/a/{camera}", Action: List, Handler: forget}, "denied"},
		{"one camera", Route{Pattern: "/a/{camera}", Action: List, Denied: no, Handler: forget}, ""},
		{"many cameras", Route{Pattern: "/a", Action: List, Handler: forget}, ""},
	} {
		_, err := NewMux(Policy{Authorize: Everyone}, []Route{c.route}, plainly)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := NewMux(Policy{}, nil, plainly); err == nil {
		t.Error("nobody decides")
	}
}

// TestMux: who is asked what before a handler runs.
func TestMux(t *testing.T) {
	for _, c := range []struct {
		name  string
		may   Authorize
		route Route
		path  string
		code  int
		x     string
	}{
		{"allowed", only, Route{Pattern: "/w/{camera}/{rendition}", Action: Watch, Denied: no, Handler: answer}, "/w/yard/720p", 200, ""},
		{"other rendition", only, Route{Pattern: "/w/{camera}/{rendition}", Action: Watch, Denied: no, Handler: answer}, "/w/yard/raw", 418, ""},
		{"other camera", only, Route{Pattern: "/w/{camera}/{rendition}", Action: Watch, Denied: no, Handler: answer}, "/w/shed/720p", 418, ""},
		{"other action", only, Route{Pattern: "/w/{camera}/{rendition}", Action: Change, Denied: no, Handler: answer}, "/w/yard/720p", 418, ""},
		{"subject", only, Route{Pattern: "/w/", Action: Watch, Subject: one, Denied: no, Handler: answer}, "/w/?c=yard", 200, ""},
		{"subject, denied", only, Route{Pattern: "/w/", Action: Watch, Subject: one, Denied: no, Handler: answer}, "/w/?c=shed", 418, ""},
		{"public", only, Route{Pattern: "/", Action: Public, Handler: answer}, "/", 200, ""},
		{"many", onlyWhole, Route{Pattern: "/l", Action: List, Handler: asks}, "/l", 200, "yard+shed-"},
		{"server", Everyone, Route{Pattern: "/m", Action: Operate, Handler: answer}, "/m", 200, ""},
		{"server, denied", only, Route{Pattern: "/m", Action: Operate, Handler: answer}, "/m", 403, ""},
		{"many, on a public route", Everyone, Route{Pattern: "/l", Action: Public, Handler: asks}, "/l", 200, "yard-shed-"},
	} {
		mux, err := NewMux(Policy{Authorize: c.may}, []Route{c.route}, plainly)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		if w.Code != c.code || w.Header().Get("X") != c.x {
			t.Errorf("%s: %d %q", c.name, w.Code, w.Header().Get("X"))
		}
	}
}

// TestUnknown: a sender who has to show who they are, and has not, gets 401 from every route
// that is not public, and nobody is told.
func TestUnknown(t *testing.T) {
	var told []string
	p := Policy{
		Authorize: Everyone,
		Known:     func(r *http.Request) bool { return r.Header.Get("X-Who") != "" },
		Allowed:   func(_ *http.Request, c, r string, a Action) { told = append(told, c+"/"+r+" "+string(a)) },
	}
	mux, err := NewMux(p, []Route{
		{Pattern: "/w/{camera}/{rendition}", Action: Watch, Denied: no, Handler: answer},
		{Pattern: "/l", Action: List, Handler: asks},
		{Pattern: "/m", Action: Operate, Handler: answer},
		{Pattern: "/", Action: Public, Handler: answer},
	}, plainly)
	if err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]int{"/w/yard/raw": 401, "/l": 401, "/m": 401, "/": 200} {
		for _, who := range []string{"", "anna"} {
			r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
			if r.Header.Set("X-Who", who); who != "" {
				code = 200
			}
			mux.ServeHTTP(w, r)
			if w.Code != code || (code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("%s as %q: %d %v, want %d", path, who, w.Code, w.Header(), code)
			}
		}
	}
	if strings.Join(told, ", ") != "yard/raw watch" {
		t.Errorf("told of %v", told)
	}
}

// TestPrivate: what somebody gets who has signed in, no cache gives to others.
func TestPrivate(t *testing.T) {
	const public = "public, immutable, max-age=60"
	known := func(*http.Request) bool { return true }
	for _, c := range []struct {
		name       string
		known      func(*http.Request) bool
		action     Action
		says, want string
	}{
		{"signed in", known, Watch, public, "private, immutable, max-age=60"},
		{"signed in, not kept", known, Watch, "no-store", "no-store"},
		{"signed in, public route", known, Public, public, public},
		{"nobody has to", nil, Watch, public, public},
	} {
		rt := Route{Pattern: "/x", Action: c.action, Handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", c.says)
			_ = http.NewResponseController(w).Flush() // finds the writer below
			_, _ = w.Write([]byte("x"))
		}}
		if c.action == Watch {
			rt.Pattern, rt.Denied = "/x/{camera}", no
		}
		mux, err := NewMux(Policy{Authorize: Everyone, Known: c.known}, []Route{rt}, plainly)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", strings.Replace(rt.Pattern, "{camera}", "yard", 1), nil))
		if got := w.Result().Header.Get("Cache-Control"); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// TestAsk: the answer to a question is that of the routes, for paths that have one reading.
func TestAsk(t *testing.T) {
	var reached int
	routes := []Route{
		{Pattern: "GET /w/{camera}/{rendition}", Action: Watch, Denied: no, Handler: func(http.ResponseWriter, *http.Request) { reached++ }},
		{Pattern: "/", Action: Public, Handler: forget},
	}
	ask, err := NewAsk(Policy{Authorize: only}, routes)
	if err != nil {
		t.Fatal(err)
	}
	for uri, code := range map[string]int{
		"/w/yard/720p": 204, "/w/yard/720p?x=1": 204, "/w/yard/raw": 403, "/w/shed/720p": 403, "/else": 204,
		"": 403, "w/yard/720p": 403, "http://a/w/yard/720p": 403, "//w/yard/720p": 403, "/w//yard/720p": 403, "/w/./yard/720p": 403,
		"/w/shed/../yard/720p": 403, "/w/yard%2f720p": 403, "/w/%79ard/720p": 403, "/w/yard/720p/": 403, "/w/yard/720p%00": 403,
	} {
		r, w := httptest.NewRequest("GET", "/v1/authorize", nil), httptest.NewRecorder()
		r.Header.Set(AskedURI, uri)
		if ask(w, r); w.Code != code {
			t.Errorf("%q: %d, want %d", uri, w.Code, code)
		}
	}
	if reached > 0 {
		t.Error("a question has reached a handler")
	}
}
