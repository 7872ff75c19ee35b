package egress

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/people"
	"github.com/framelog/framelog/egress/people/peopletest"
	"github.com/framelog/framelog/schemas"
)

// inBubbleOf runs f beside a server of users.
func inBubbleOf(t *testing.T, users *peopletest.Users, f func(t *testing.T, s *surface)) {
	t.Helper()
	inBubbleWith(t, func(*surface) (access.Policy, *people.Server) {
		folk := people.New(people.Config{}, people.Deps{Users: users, Verify: peopletest.Verify})
		return folk.Policy(), folk
	}, f)
}

// tricks are other ways to write the path of a request about vault, for whom may see yard.
func tricks(path string) []string {
	with := func(old, repl string) string { return strings.Replace(path, old, repl, 1) }
	all := []string{
		path, with("vault", "yard/../vault"), with("vault", "yard%2f..%2fvault"), with("vault", "./vault"), with("vault", "%76ault"), with("vault", "Vault"),
		with("vault", "VAULT"), with("vault", "yard%2fvault"), with("vault", "vault%00yard"), with("vault", "yard%00vault"), with("vault", "vault;yard"),
		with("vault", "vault/"), with("vault", "/vault"), with("/", "//"), with("/", "/%2e%2e/"), with("/", "/hls/yard/../../"), path + "/", path + "%2f", path + "?camera=yard",
		path + "/../../yard/raw.m3u8",
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// senders are those who may not see vault: what they send, and whether they may see yard.
func senders(t *testing.T, s *surface, users *peopletest.Users) map[string][]string {
	t.Helper()
	signIn := func(name string) string {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/v1/session", strings.NewReader(`{"name":"`+name+`","password":"secret of `+name+`"}`))
		r.Header.Set("Content-Type", "application/json")
		s.ServeHTTP(w, r)
		if c := w.Result().Cookies(); len(c) == 1 {
			return c[0].Name + "=" + c[0].Value
		}
		t.Fatalf("%s cannot sign in: %d %s", name, w.Code, w.Body)
		return ""
	}
	all := peopletest.Viewer("carl", []string{"*"}, []string{"*"})
	users.Set(all)
	out := signIn("carl")
	w := httptest.NewRecorder()
	r := httptest.NewRequest("DELETE", "/v1/session", nil)
	r.Header.Set("Cookie", out)
	if s.ServeHTTP(w, r); w.Code != 204 {
		t.Fatalf("sign-out: %d", w.Code)
	}
	former := signIn("carl")
	all.Stamp, all.Cameras = "2", []string{"yard"}
	users.Set(all)
	expired := signIn("anna")
	time.Sleep(13 * time.Hour)
	return map[string][]string{
		"nobody":                    nil,
		"viewer of yard":            {"Cookie", signIn("anna")},
		"viewer of yard, token":     {"Authorization", "Bearer token of anna"},
		"signed out":                {"Cookie", out},
		"cookie of before a change": {"Cookie", former},
		"expired":                   {"Cookie", expired},
		"forged":                    {"Cookie", former + "x"},
		"unknown token":             {"Authorization", "Bearer token of vault"},
	}
}

// try is ask for many requests: of an answer that does not come at once it waits for an event.
func (s *surface) try(t *testing.T, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	if method+path == "GET/live" {
		return s.socket(t, header, func() {}, "raw")
	}
	ctx, cancel := context.WithCancel(t.Context())
	w, done := httptest.NewRecorder(), make(chan struct{})
	go func() {
		defer close(done)
		s.ServeHTTP(w, request(method, path, header...).WithContext(ctx))
	}()
	synctest.Wait()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
	}
	cancel()
	<-done
	return w
}

// signOutLast returns routes in an order in which all others are asked before a session ends.
func signOutLast(routes []access.Route) []access.Route {
	isOut := func(rt access.Route) bool { return rt.Pattern == "DELETE /v1/session" }
	i := slices.IndexFunc(routes, isOut)
	return append(slices.DeleteFunc(slices.Clone(routes), isOut), routes[i])
}

// TestViewerOfOneCamera: whoever may see one camera gets nothing of another, and no hint that
// there is one, on any route of any protocol, however the path is written.
func TestViewerOfOneCamera(t *testing.T) {
	users := peopletest.New(peopletest.Viewer("anna", []string{"yard"}, []string{"*"}))
	inBubbleOf(t, users, func(t *testing.T, s *surface) {
		for name, header := range senders(t, s, users) {
			known := strings.HasPrefix(name, "viewer")
			for _, rt := range signOutLast(s.routes) {
				for _, rq := range requests(t, rt) {
					about := strings.Contains(rq[1], "CAMERA")
					paths := tricks(strings.ReplaceAll(rq[1], "CAMERA", "vault"))
					if !known {
						paths = []string{paths[0], strings.ReplaceAll(rq[1], "CAMERA", "vault")} // they are refused before any path is read
					}
					for _, path := range paths {
						w := s.try(t, rq[0], path, header...)
						told := strings.ToLower(w.Body.String())
						if redirect := w.Code/100 == 3; !redirect && (strings.Contains(told, "secret") || strings.Contains(told, "10.9.8.7") || strings.Contains(told, "1234567")) { // a redirect repeats the path
							t.Errorf("%s: %s %s tells of a camera:\n%d %s", name, rq[0], path, w.Code, told)
						}
						ghost := s.try(t, rq[0], strings.ReplaceAll(path, "vault", "ghost"), header...)
						if about && (ghost.Code != w.Code || strings.ReplaceAll(ghost.Body.String(), "ghost", "vault") != w.Body.String()) {
							t.Errorf("%s: %s %s: %d %s, a camera that does not exist: %d %s", name, rq[0], path, w.Code, w.Body, ghost.Code, ghost.Body)
						}
						plain := path == strings.ReplaceAll(rq[1], "CAMERA", "vault")
						if plain && rt.Action != access.Public && !known && w.Code != http.StatusUnauthorized {
							t.Errorf("%s: %s %s: %d, want 401", name, rq[0], path, w.Code)
						}
						if plain && about && known && w.Code != 403 && w.Code != 404 {
							t.Errorf("%s: %s %s: %d, want 403 or 404", name, rq[0], path, w.Code)
						}
					}
				}
			}
		}
		if s.reg.changes > 0 {
			t.Errorf("%d changes", s.reg.changes)
		}
		for _, path := range s.reached {
			if strings.HasPrefix(path, "/hls/vault/") {
				t.Errorf("HLS was asked for %s", path)
			}
		}
	})
}

// TestRedactedAlone: whoever may see one rendition gets no other, also not what is made of raw.
func TestRedactedAlone(t *testing.T) {
	users := peopletest.New(peopletest.Viewer("bert", []string{"vault"}, []string{"redacted"}))
	inBubbleOf(t, users, func(t *testing.T, s *surface) {
		for path, code := range map[string]int{
			"/hls/vault/redacted.m3u8": 200, "/hls/vault/redacted/m1/7.m4s": 200, "/hls/vault/index.m3u8": 404, "/hls/vault/raw.m3u8": 404,
			"/hls/vault/720p.m3u8": 404, "/hls/vault/dlq-people.m3u8": 404, "/hls/vault/thumbnail.m3u8": 404, "/snapshot/vault.jpg": 404,
			"/v1/events/vault?rendition=raw": 404, "/v1/events/vault?rendition=secret-motion": 404, "/v1/cameras/vault": 200,
		} {
			if w := s.ask(t, "GET", path, "Authorization", "Bearer token of bert"); w.Code != code {
				t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, code)
			}
		}
		for _, path := range []string{"/v1/events", "/v1/events/vault", "/v1/cameras/vault"} {
			if w := s.ask(t, "GET", path, "Authorization", "Bearer token of bert"); w.Code != 200 || strings.Contains(w.Body.String(), "secret-event") || strings.Contains(w.Body.String(), "secret-motion") {
				t.Errorf("%s tells of another rendition: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

// TestRightTakenAway: a stream that is open tells nothing more once the right is taken away.
func TestRightTakenAway(t *testing.T) {
	users := peopletest.New(peopletest.Viewer("carl", []string{"vault"}, []string{"*"}))
	inBubbleOf(t, users, func(t *testing.T, s *surface) {
		token := []string{"Authorization", "Bearer token of carl"}
		if w := s.ask(t, "GET", "/v1/events", token...); !strings.Contains(w.Body.String(), "secret-event") {
			t.Fatalf("with the right: %s", w.Body)
		}
		time.Sleep(2 * time.Minute) // the topic of events is followed anew
		time.AfterFunc(500*time.Millisecond, func() { users.Set(peopletest.Viewer("carl", []string{"yard"}, []string{"*"})) })
		if w := s.ask(t, "GET", "/v1/events", token...); strings.Contains(w.Body.String(), "secret-event") {
			t.Errorf("after it was taken away: %s", w.Body)
		}
	})
}

// TestSocketRights: of one connection each rendition has its own right, which ends while the
// connection is open. A page of another site cannot open one.
func TestSocketRights(t *testing.T) {
	users := peopletest.New(peopletest.Viewer("bert", []string{"vault"}, []string{"redacted"}))
	inBubbleOf(t, users, func(t *testing.T, s *surface) {
		token := []string{"Authorization", "Bearer token of bert"}
		told := s.socket(t, token, func() {
			users.Set(peopletest.Viewer("bert", []string{"yard"}, []string{"*"}))
			time.Sleep(6 * time.Second)
		}, "raw", "redacted", "dlq-people").Body.String()
		for _, want := range []string{"part 2 0.0.0", "end 1 not_found", "end 2 not_found", "end 3 not_found"} {
			if !strings.Contains(told, want) {
				t.Errorf("%q is missing in\n%s", want, told)
			}
		}
		if strings.Contains(told, "part 1") || strings.Contains(told, "part 3") {
			t.Errorf("another rendition came:\n%s", told)
		}
		for origin, code := range map[string]int{"http://other.example": 403, "http://framelog.test": 200} {
			if w := s.socket(t, append(token, "Origin", origin), func() {}); w.Code != code {
				t.Errorf("from %s: %d %s, want %d", origin, w.Code, w.Body, code)
			}
		}
	})
}

// TestAuthorize: a proxy gets the answer that the request itself would get.
func TestAuthorize(t *testing.T) {
	admin := schemas.User{Name: "root", Role: schemas.Admin, Stamp: "1"}
	users := peopletest.New(peopletest.Viewer("anna", []string{"yard"}, []string{"*"}), admin)
	inBubbleOf(t, users, func(t *testing.T, s *surface) {
		for _, c := range []struct {
			who, path string
			code      int
		}{
			{"anna", "/hls/yard/raw/m1/7.m4s", 204},
			{"anna", "/hls/vault/raw/m1/7.m4s", 403},
			{"anna", "/hls/yard/../vault/raw/m1/7.m4s", 403},
			{"anna", "/hls/Yard/raw/m1/7.m4s", 403},
			{"anna", "/metrics", 403},
			{"root", "/hls/vault/raw/m1/7.m4s", 204},
			{"root", "/metrics", 204},
			{"carl", "/hls/yard/raw/m1/7.m4s", 401},
			{"carl", "/metrics", 401},
			{"carl", "/", 204},
		} {
			w := s.ask(t, "GET", "/v1/authorize", "Authorization", "Bearer token of "+c.who, access.AskedURI, c.path)
			if w.Code != c.code || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s, %s: %d, want %d", c.who, c.path, w.Code, c.code)
			}
		}
		var told struct{ User *struct{ Name string } }
		if w := s.ask(t, "GET", "/v1/session", "Authorization", "Bearer token of root"); json.Unmarshal(w.Body.Bytes(), &told) != nil || told.User == nil || told.User.Name != "root" {
			t.Errorf("who am I: %s", w.Body)
		}
	})
}
