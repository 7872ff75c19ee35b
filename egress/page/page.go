// Package page serves the page that shows the cameras: the files that the
// build of web/ leaves in dist, embedded.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/httpgzip"
)

//go:embed all:dist
var dist embed.FS

// csp lets the page load only from this server. Videos play media sources, whose
// URLs are blobs.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// missing is served at / by a binary that was built without the page.
const missing = `<!doctype html><meta charset="utf-8"><title>Framelog</title>
<h1>Framelog runs, but this binary was built without its page</h1>
<p>Build both with <code>make build</code>, which needs Node.js 18 or newer. The API is at <a href="/v1/cameras">/v1/cameras</a>.</p>
`

type file struct {
	plain, gzip []byte // gzip is nil if it would not be smaller
	mime, etag  string
	immutable   bool
}

// Handler serves the page at / and its files at /assets/.
type Handler struct{ files map[string]file }

// New reads the embedded files.
func New() (*Handler, error) {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, fmt.Errorf("page: open files: %w", err)
	}
	return newFrom(sub)
}

// newFrom reads the files of a build: index.html and assets/. The names of assets
// hold a hash of their content. A file may have a .gz beside it.
func newFrom(files fs.FS) (*Handler, error) {
	h := &Handler{files: map[string]file{}}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".gz") || path.Base(name)[0] == '.' {
			return err
		}
		f := file{mime: mime.TypeByExtension(path.Ext(name)), immutable: strings.HasPrefix(name, "assets/")}
		if t, ok := types[path.Ext(name)]; ok {
			f.mime = t
		}
		if f.plain, err = fs.ReadFile(files, name); err != nil {
			return err
		}
		if gz, err := fs.ReadFile(files, name+".gz"); err == nil {
			f.gzip = gz
		}
		f.etag = etag(f.plain)
		h.files["/"+name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("page: read files: %w", err)
	}
	index, ok := h.files["/index.html"]
	if !ok {
		index = file{plain: []byte(missing), mime: types[".html"], etag: etag([]byte(missing))}
	}
	h.files["/"] = index
	delete(h.files, "/index.html") // so that each file has one URL
	return h, nil
}

// types are the content types. They do not depend on the machine's /etc/mime.types.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// ServeHTTP serves GET and HEAD of the files, with security headers.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f, ok := h.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	head := w.Header()
	head.Set("Content-Security-Policy", csp)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=()")
	head.Set("Content-Type", f.mime)
	head.Add("Vary", "Accept-Encoding")
	if f.immutable {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		head.Set("Cache-Control", "no-cache") // the browser asks each time, and usually gets 304
	}
	body, tag := f.plain, f.etag
	if f.gzip != nil && httpgzip.Accepted(r) {
		body, tag = f.gzip, strings.TrimSuffix(f.etag, `"`)+`-gz"`
		head.Set("Content-Encoding", "gzip")
		head.Set("Content-Length", strconv.Itoa(len(body)))
	}
	head.Set("ETag", tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
