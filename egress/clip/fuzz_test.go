package clip

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// healthy is footage that can always be read.
type healthy struct{ clip.Log }

func (h healthy) Chunks(ctx context.Context, _ schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return h.Log.Chunks(ctx, schemas.Topic{Camera: "yard"}, e)
}

// FuzzRequests: whatever is asked for below /clip/ of footage that can be read, nothing panics, and
// the answer is the client's fault, or a file of the camera's footage. Either is bounded.
func FuzzRequests(f *testing.F) {
	const times = "start=2026-03-01T12:00:01.4Z&end=2026-03-01T12:00:03Z"
	for _, s := range [][3]string{
		{"yard.mp4", times, ""},
		{"yard/720p.mp4", times, "bytes=1000-3999"},
		{"yard.mp4", times, "bytes=-0"},
		{"yard.mp4", times, "bytes=99999999999999999999-"},
		{"yard.mp4", times, "bytes=0-0,5-1"},
		{"yard.mp4", "start=-1h", ""},
		{"yard.mp4", "start=1772366400&end=1772366407", ""},
		{"yard.mp4", times + "&start=-1h", "chunks=1"},
		{"yard.mp4", times + "&seq=8", ""},
		{"yard.mp4", times + "&seq=18446744073709551616", ""},
		{"../yard.mp4", times, ""},
		{"yard/..%2f..%2fraw.mp4", times, ""},
		{"yard/\x00.mp4", times, ""},
		{"yard/raw/raw.mp4", times, ""},
		{".mp4", "", ""},
		{"YARD.mp4", times, ""},
		{"yard.mp4", "start=9999-12-31T23:59:59Z&end=0001-01-01T00:00:00Z", ""},
		{"yard.mp4", "start=-2562047h47m16s&end=-1ns", ""},
		{"yard.mp4", "%zz&start=%ff", ""},
		{"yard/dlq-x.mp4", times, ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	s := New(Config{}, Deps{Log: healthy{newFootage(testmedia.Start)}, Known: func(c string) bool { return c == "yard" }})
	mux, err := access.NewMux(access.Policy{Authorize: access.Everyone}, s.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, query, part string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.URL = &url.URL{Path: "/clip/" + path, RawQuery: query}
		r.Header.Set("Range", part)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		var failed struct{ Error string }
		switch n := w.Body.Len(); {
		case w.Code == 200 || w.Code == 206:
			if w.Header().Get("Content-Length") != strconv.Itoa(n) || n > 1<<16 || w.Header().Get("Content-Type") != "video/mp4" {
				t.Errorf("%q %q %q: %d, %d bytes, %v", path, query, part, w.Code, n, w.Header())
			}
		case w.Code >= 500 || n > 1<<12+6*len(query)+6*len(path):
			t.Errorf("%q %q %q: %d, %d bytes: %.200s", path, query, part, w.Code, n, w.Body)
		case (w.Code == 400 || w.Code == 409) && (json.Unmarshal(w.Body.Bytes(), &failed) != nil || failed.Error == ""):
			t.Errorf("%q %q %q: %d %s", path, query, part, w.Code, w.Body)
		}
	})
}
