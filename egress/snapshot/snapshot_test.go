package snapshot

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// fakeLog has fragments of two seconds by rendition: each has the given number of JPEGs,
// below 0 it is a gap. raw without JPEGs is H.264.
type fakeLog map[string][]int

func (l fakeLog) entry(rendition string, i int) schemas.Entry {
	e := schemas.Entry{
		Kind: schemas.KindWhole, Seq: uint64(100 + i), Start: at(float64(2 * i)), Media: 900, Duration: 2 * schemas.MediaTimescale,
		Layout: schemas.Layout{Video: schemas.MJPEG}, Role: schemas.RoleAlternative,
	}
	switch {
	case rendition == schemas.Raw && l[rendition][i] == 0:
		e.Role, e.Layout.Video = "", schemas.H264
	case rendition == schemas.Raw:
		e.Role = ""
	case rendition == "720p":
		e.Role, e.Layout.Video = schemas.RoleVariant, schemas.H264
	}
	if l[rendition][i] < 0 {
		e.Kind = schemas.KindGap
	}
	return e
}

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

func (l fakeLog) Entries(_ context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		for i := range l[t.Name()] {
			e := l.entry(t.Name(), i)
			if e.Seq < r.FromSeq || !r.To.IsZero() && !e.Start.Before(r.To) || !r.From.IsZero() && !e.End().After(r.From) {
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Chunks gives pictures that name themselves.
func (l fakeLog) Chunks(_ context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		n := l[t.Name()][e.Seq-100]
		var s []schemas.Sample
		for i := range n {
			step := e.Duration / int64(n)
			s = append(s, schemas.Sample{DTS: e.Media + int64(i)*step, Duration: uint32(step), Data: fmt.Appendf(nil, "%s %d.%d", t.Name(), e.Seq, i)})
		}
		yield(&schemas.Chunk{Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: s}}}, nil)
	}
}

type fakeDecoder struct{ asked string }

func (d *fakeDecoder) Picture(_ context.Context, camera string, at time.Time, width int) ([]byte, time.Time, error) {
	d.asked = fmt.Sprintf("%s %v %d", camera, at.Sub(epoch), width)
	switch at {
	case epoch.Add(time.Minute):
		return nil, at, ErrNoPicture
	case epoch.Add(2 * time.Second):
		return nil, at, errors.New("the role is away")
	}
	return []byte("exact"), at, nil
}

func get(t *testing.T, l fakeLog, d Decoder, path string) *httptest.ResponseRecorder {
	t.Helper()
	s := New(Config{MaxAge: 10 * time.Minute}, Deps{
		Log: l, Decoder: d, Known: func(camera string) bool { return camera != "nobody" },
		Newest: func(context.Context, string) (map[string]schemas.Entry, error) {
			newest := map[string]schemas.Entry{}
			for name, all := range l {
				newest[name] = l.entry(name, len(all)-1)
			}
			return newest, nil
		},
	})
	mux, err := access.NewMux(func(_ *http.Request, camera, rendition string, a access.Action) bool {
		return camera != "hidden" && (camera == "" || rendition == schemas.Raw) && a == access.Watch
	}, s.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	return w
}

func TestSnapshot(t *testing.T) {
	thumbnails := fakeLog{"720p": {1, 1}, "thumbnail": {1, 1, -1, -1, -1, 1, 1}, "dlq-x": {1}, "raw": {0, 0, 0, 0, 0, 0, 0, 0}}
	for _, c := range []struct {
		name    string
		log     fakeLog
		decoder Decoder
		path    string // behind /snapshot/; AT5 is the time 5 s after epoch
		code    int
		body    string
		settled bool
	}{
		{"newest", thumbnails, nil, "yard.jpg", 200, "thumbnail 106.0", false},
		{"in a fragment", thumbnails, nil, "yard.jpg?at=AT3", 200, "thumbnail 101.0", true},
		{"in a gap, behind a picture", thumbnails, nil, "yard.jpg?at=AT5", 200, "thumbnail 101.0", true},
		{"in a gap, before a picture", thumbnails, nil, "yard.jpg?at=AT9", 200, "thumbnail 105.0", true},
		{"later than all", thumbnails, nil, "yard.jpg?at=AT20", 200, "thumbnail 106.0", false},
		{"far from all", thumbnails, nil, "yard.jpg?at=AT60", 404, "near this time", false},
		{"MJPEG camera", fakeLog{"raw": {10, 10}, "thumbnail": {1, 1}}, nil, "yard.jpg?at=AT2.41", 200, "raw 101.2", true},
		{"newest of an MJPEG camera", fakeLog{"raw": {10, 10}}, nil, "yard.jpg", 200, "raw 101.9", false},
		{"another rendition of MJPEG", fakeLog{"720p": {1}, "mosaic": {1}}, nil, "yard.jpg", 200, "mosaic 100.0", false},
		{"nothing to show", fakeLog{"720p": {1}}, nil, "yard.jpg", 501, "run the processor thumbnail", false},
		{"gaps alone", fakeLog{"thumbnail": {-1, -1}}, nil, "yard.jpg", 404, "near this time", false},
		{"exact", thumbnails, &fakeDecoder{}, "yard.jpg?at=AT3.5&width=320", 200, "exact", true},
		{"newest, exact", thumbnails, &fakeDecoder{}, "yard.jpg", 200, "exact", false},
		{"the decoder is away", thumbnails, &fakeDecoder{}, "yard.jpg?at=AT2", 200, "thumbnail 101.0", true},
		{"the decoder has none", thumbnails, &fakeDecoder{}, "yard.jpg?at=AT60", 404, "near this time", false},
		{"no time", thumbnails, nil, "yard.jpg?at=noon", 400, "at:", false},
		{"no width", thumbnails, nil, "yard.jpg?width=wide", 400, "width:", false},
		{"unknown camera", thumbnails, nil, "nobody.jpg", 404, "no camera", false},
		{"hidden camera", thumbnails, nil, "hidden.jpg", 404, "no camera", false},
		{"no picture's path", thumbnails, nil, "yard.png", 404, "/snapshot/<camera>.jpg", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, query, _ := strings.Cut(c.path, "?")
			if _, s, ok := strings.Cut(query, "at=AT"); ok {
				s, rest, _ := strings.Cut(s, "&")
				var seconds float64
				if _, err := fmt.Sscan(s, &seconds); err != nil {
					t.Fatal(err)
				}
				query = "at=" + url.QueryEscape(at(seconds).Format(time.RFC3339Nano)) + "&" + rest
			}
			w := get(t, c.log, c.decoder, "/snapshot/"+path+"?"+query)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.body) {
				t.Fatalf("%d %s, want %d with %q", w.Code, w.Body, c.code, c.body)
			}
			cache := "no-store"
			if c.settled {
				cache = "public, max-age=600"
			}
			if got := w.Header().Get("Cache-Control"); got != cache {
				t.Errorf("Cache-Control: %s", got)
			}
			if c.code == 200 && (w.Header().Get("Content-Type") != "image/jpeg" || w.Body.String() != c.body) {
				t.Errorf("%q as %s", w.Body, w.Header().Get("Content-Type"))
			}
		})
	}
	d := &fakeDecoder{}
	w := get(t, thumbnails, d, "/snapshot/yard.jpg?width=640&at="+at(3.5).Format(time.RFC3339Nano))
	if d.asked != "yard 3.5s 640" || w.Header().Get("Framelog-Time") != "2030-01-02T03:04:08.5Z" {
		t.Errorf("asked for %q, taken at %s", d.asked, w.Header().Get("Framelog-Time"))
	}
	if w := get(t, thumbnails, nil, "/snapshot/yard.jpg?at="+at(5).Format(time.RFC3339Nano)); w.Header().Get("Framelog-Time") != "2030-01-02T03:04:07Z" {
		t.Errorf("the nearest was taken at %s", w.Header().Get("Framelog-Time"))
	}
}
