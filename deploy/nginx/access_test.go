package nginx_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/framelog/framelog/deploy/nginx"
	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/egress/people"
	"github.com/framelog/framelog/egress/people/peopletest"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// cameras is a registry with yard and vault, which do nothing.
type cameras struct{}

func (cameras) Put(context.Context, schemas.Camera) error    { return nil }
func (cameras) Delete(context.Context, string) error         { return nil }
func (cameras) End(context.Context) (map[int32]int64, error) { return map[int32]int64{}, nil }
func (cameras) Follow(c context.Context, f func(registry.Snapshot)) error {
	f(registry.Snapshot{Cameras: map[string]schemas.Camera{"yard": {ID: "yard"}, "vault": {ID: "vault"}}})
	<-c.Done()
	return c.Err()
}

// TestAccess: Nginx serves a file, and what is in its cache, to those alone who may watch the
// camera at that moment, however the path is written; others learn nothing from the answer.
func TestAccess(t *testing.T) {
	anna := peopletest.Viewer("anna", []string{"yard"}, []string{"*"})
	users := peopletest.New(anna, schemas.User{Name: "root", Role: schemas.Admin, Stamp: "1"})
	folk := people.New(people.Config{}, people.Deps{Users: users, Verify: peopletest.Verify})
	var made atomic.Int64
	web, err := egress.New(egress.Config{Guard: egress.Guard{Policy: folk.Policy()}}, egress.Deps{
		Registry: cameras{}, People: folk, HLS: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			made.Add(1)
			w.Header().Set("Cache-Control", "public, immutable, max-age=3600")
			w.Header().Set("X-Accel-Expires", "3600")
			if strings.Contains(r.URL.Path, "/404") || strings.Contains(r.URL.Path, "ghost") {
				w.Header().Set("Cache-Control", "no-store")
				http.Error(w, "nothing", http.StatusNotFound)
				return
			}
			_, _ = io.WriteString(w, "secret footage")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(web)
	t.Cleanup(srv.Close)
	files := t.TempDir()
	for _, camera := range []string{"yard", "vault"} {
		dir := filepath.Join(files, "hls", camera, "raw", "m1")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "7.m4s"), []byte("secret footage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := testenv.NginxWith(t, nginx.Settings{Files: files}, srv.URL)
	ask := func(path, who string, header ...string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = path // as it is written
		if who != "" {
			req.Header.Set("Authorization", "Bearer token of "+who)
		}
		resp, body := send(t, req, header)
		return resp.StatusCode, body, resp.Header
	}
	const file, kept = "/hls/CAMERA/raw/m1/7.m4s", "/hls/CAMERA/raw/m1/8.m4s"
	of := func(path, camera string) string { return strings.Replace(path, "CAMERA", camera, 1) }
	for _, camera := range []string{"yard", "vault"} { // into the cache
		for range 2 {
			if code, body, head := ask(of(kept, camera), "root"); code != 200 || body != "secret footage" || head.Get("Cache-Control") != "private, immutable, max-age=3600" {
				t.Fatalf("%s: %d %q %v", camera, code, body, head)
			}
		}
	}
	if n := made.Load(); n != 2 {
		t.Fatalf("%d segments were made: the cache keeps none", n)
	}
	check := func(what string, want int, path, who string, header ...string) {
		t.Helper()
		code, body, head := ask(path, who, header...)
		if code != want || (code == 200) != (body == "secret footage") || code != 200 && strings.Contains(body, "secret") {
			t.Errorf("%s, %s: %d %q, want %d", what, path, code, body, want)
		}
		if (code == 401 || code == 403) && head.Get("Cache-Control") != "no-store" {
			t.Errorf("%s, %s: %v", what, path, head)
		}
	}
	for _, path := range []string{file, kept} {
		check("own camera", 200, of(path, "yard"), "anna")
		check("another camera", 404, of(path, "vault"), "anna")
		check("nobody", 401, of(path, "yard"), "")
		check("unknown token", 401, of(path, "yard"), "carl")
		check("forged cookie", 401, of(path, "yard"), "", "Cookie", "framelog_session=x.y")
		check("another site", 403, of(path, "yard"), "anna", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
		check("question in the request itself", 404, of(path, "vault"), "anna", "X-Original-URI", of(path, "yard"))
		a, bodyA, headA := ask(of(path, "vault"), "anna")
		b, bodyB, headB := ask(of(path, "ghost"), "anna")
		for _, h := range []http.Header{headA, headB} {
			h.Del("Date")
		}
		if a != b || bodyA != strings.Replace(bodyB, "ghost", "vault", 1) || len(headA) != len(headB) {
			t.Errorf("%s: a camera that one may not see: %d %q %v, one that does not exist: %d %q %v", path, a, bodyA, headA, b, bodyB, headB)
		}
		for _, trick := range []string{
			"yard/../vault", "yard/%2e%2e/vault", "yard%2f..%2fvault", "./vault", "/vault", "%76ault", "yard/raw/m1/../../../vault", "vault%00", "Vault", "VAULT", "yard;/../vault",
		} {
			for _, who := range []string{"anna", ""} {
				code, body, _ := ask(of(path, trick), who)
				if code != 401 && code != 403 && code != 404 && code != 400 || strings.Contains(body, "secret") {
					t.Errorf("%s as %q: %d %q", of(path, trick), who, code, body)
				}
			}
		}
	}
	check("a trick for one's own camera", 200, "/hls/vault/../yard/raw/m1/7.m4s", "anna")

	anna.Cameras, anna.Stamp = []string{"gate"}, "2"
	users.Set(anna)
	for _, path := range []string{file, kept} {
		check("after the right was taken away", 404, of(path, "yard"), "anna")
	}
	users.Drop("anna")
	for _, path := range []string{file, kept} {
		check("after the user was removed", 401, of(path, "yard"), "anna")
	}
	srv.Close()
	for _, path := range []string{file, kept} {
		check("nobody decides", 503, of(path, "yard"), "root")
	}
}
