package page

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func built(t *testing.T) *Handler {
	t.Helper()
	h, err := newFrom(fstest.MapFS{
		".gitkeep":            {},
		"index.html":          {Data: []byte("<!doctype html>")},
		"assets/app-1.js":     {Data: []byte("plain")},
		"assets/app-1.js.gz":  {Data: []byte("packed")},
		"assets/icon-2.svg":   {Data: []byte("<svg/>")},
		"assets/app-3.css":    {Data: []byte("a{}")},
		"assets/app-3.css.gz": {Data: []byte("packed")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// whole reports whether the page is there, and not the text that replaces it.
func whole(h *Handler) bool { return !bytes.Equal(h.files["/"].plain, []byte(missing)) }

func TestFiles(t *testing.T) {
	h := built(t)
	if !whole(h) {
		t.Error("there is a page")
	}
	for _, c := range []struct {
		name, method, path, accept string
		code                       int
		body, encoding, cache      string
	}{
		{"page", "GET", "/", "gzip", 200, "<!doctype html>", "", "no-cache"},
		{"head", "HEAD", "/", "", 200, "", "", "no-cache"},
		{"packed", "GET", "/assets/app-1.js", "gzip, deflate, br", 200, "packed", "gzip", "public, max-age=31536000, immutable"},
		{"anything", "GET", "/assets/app-1.js", "*", 200, "packed", "gzip", "public, max-age=31536000, immutable"},
		{"plain", "GET", "/assets/app-1.js", "", 200, "plain", "", "public, max-age=31536000, immutable"},
		{"not gzip", "GET", "/assets/app-1.js", "br, gzip;q=0", 200, "plain", "", "public, max-age=31536000, immutable"},
		{"weighed", "GET", "/assets/app-3.css", "br;q=1, gzip; q=0.5", 200, "packed", "gzip", "public, max-age=31536000, immutable"},
		{"never packed", "GET", "/assets/icon-2.svg", "gzip", 200, "<svg/>", "", "public, max-age=31536000, immutable"},
		{"one URL a thing", "GET", "/index.html", "", 404, "", "", ""},
		{"the packed file itself", "GET", "/assets/app-1.js.gz", "", 404, "", "", ""},
		{"hidden", "GET", "/.gitkeep", "", 404, "", "", ""},
		{"no such", "GET", "/assets/", "", 404, "", "", ""},
		{"method", "POST", "/", "", 405, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Header.Set("Accept-Encoding", c.accept)
			w := httptest.NewRecorder()
			w.Header().Set("Vary", "Origin") // by what stands before
			h.ServeHTTP(w, r)
			if w.Code != c.code || (c.body != "" && w.Body.String() != c.body) {
				t.Fatalf("%d %q", w.Code, w.Body)
			}
			if w.Code != 200 {
				return
			}
			head := w.Header()
			if head.Get("Content-Encoding") != c.encoding || head.Get("Cache-Control") != c.cache || strings.Join(head.Values("Vary"), ",") != "Origin,Accept-Encoding" {
				t.Errorf("headers %v", head)
			}
			if csp := head.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("policy %q", csp)
			}
			again := httptest.NewRequest("GET", c.path, nil)
			again.Header.Set("Accept-Encoding", c.accept)
			again.Header.Set("If-None-Match", head.Get("ETag"))
			w = httptest.NewRecorder()
			if h.ServeHTTP(w, again); w.Code != 304 {
				t.Errorf("again: %d", w.Code)
			}
		})
	}
}

func TestWithoutBuild(t *testing.T) {
	h, err := newFrom(fstest.MapFS{".gitkeep": {}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if whole(h) || w.Code != 200 || !strings.Contains(w.Body.String(), "make build") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
