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
		_, err := NewMux(Everyone, []Route{c.route}, plainly)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := NewMux(nil, nil, plainly); err == nil {
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
		{"many, on a public route", Everyone, Route{Pattern: "/l", Action: Public, Handler: asks}, "/l", 200, "yard-shed-"},
	} {
		mux, err := NewMux(c.may, []Route{c.route}, plainly)
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
